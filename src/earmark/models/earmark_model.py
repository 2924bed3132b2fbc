"""Our own models in the form Transformers knows: a configuration, a feature extractor, a model.

The model eats a waveform of any length: its front end is inside, and a sound longer than the window it was trained on
is cut into windows whose probabilities are averaged, each by how much sound it holds. A short one is padded with
zeros that count nowhere. So a clip gets the same answer alone, in a batch, through `transformers.pipeline` and from
Earmark.
"""

from typing import Any

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import BatchFeature, PreTrainedConfig, PreTrainedModel, SequenceFeatureExtractor
from transformers.modeling_outputs import SequenceClassifierOutput

from earmark.errors import ModelError
from earmark.models.backbones import TimmNetwork, build_backbone
from earmark.models.front_ends import Encoded, Standardise, build_front_end
from earmark.sound.resample import resample


@strict
class EarmarkConfig(PreTrainedConfig):
    """What an Earmark model is made of.

    Args:
        sampling_rate: Hz.
        window: Longest stretch the network sees at once, samples; longer sounds are averaged over windows.
        front_end: A front end's settings with its ``kind``; see `earmark.models.front_ends`.
        backbone: A backbone's settings with its ``name``; see `earmark.models.backbones`.

    Example:
        >>> EarmarkConfig(sampling_rate=16_000, window=16_000, num_labels=3).num_labels
        3
    """

    model_type = "earmark"

    sampling_rate: int = 32_000
    window: int = 160_000
    front_end: dict[str, Any] | None = None
    backbone: dict[str, Any] | None = None


class EarmarkFeatureExtractor(SequenceFeatureExtractor):
    """Resample, pad, and nothing else: the features proper are computed inside the model.

    Args:
        sampling_rate: The model's rate, Hz.

    Example:
        >>> extractor = EarmarkFeatureExtractor(sampling_rate=16_000)
        >>> batch = extractor([np.zeros(8_000), np.zeros(16_000)], sampling_rate=16_000, return_tensors="pt")
        >>> batch["input_values"].shape, batch["attention_mask"].sum(1)
        (torch.Size([2, 16000]), tensor([ 8000, 16000]))
    """

    model_input_names = ["input_values", "attention_mask"]  # noqa: RUF012 - the attribute Transformers reads

    def __init__(self, feature_size: int = 1, sampling_rate: int = 32_000, padding_value: float = 0.0, **kwargs: Any):
        super().__init__(feature_size, sampling_rate, padding_value, **kwargs)

    def __call__(
        self,
        raw_speech: np.ndarray | list[np.ndarray] | list[float],
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
        **_: Any,
    ) -> BatchFeature:
        """Waveforms (mono, any rate) -> ``input_values`` (clips, samples) and ``attention_mask`` (1 where sound is).

        Raises:
            ModelError: a waveform that is empty or has more than one dimension.
        """
        single = isinstance(raw_speech, np.ndarray | Tensor) or (
            len(raw_speech) > 0 and isinstance(raw_speech[0], float | int)
        )
        batch: list[Any] = [raw_speech] if single else list(raw_speech)
        waveforms = [self._prepare(waveform, sampling_rate or self.sampling_rate) for waveform in batch]
        longest = max(len(waveform) for waveform in waveforms)
        values = np.zeros((len(waveforms), longest), dtype=np.float32)
        mask = np.zeros((len(waveforms), longest), dtype=np.int64)
        for row, waveform in enumerate(waveforms):
            values[row, : len(waveform)] = waveform
            mask[row, : len(waveform)] = 1
        return BatchFeature({"input_values": values, "attention_mask": mask}, tensor_type=return_tensors)

    def _prepare(self, waveform: Any, sampling_rate: int) -> np.ndarray:
        samples = np.asarray(waveform, dtype=np.float32)
        if samples.ndim != 1 or samples.size == 0:
            raise ModelError(
                f"A waveform must be one row of samples; this one has shape {samples.shape}. "
                "Average its channels first, or give the file to earmark's Classifier."
            )
        samples = resample(samples, sampling_rate, self.sampling_rate)
        if samples.size == 0:
            raise ModelError(f"A waveform at {sampling_rate} Hz is shorter than one sample at {self.sampling_rate} Hz.")
        return samples


class EarmarkForAudioClassification(PreTrainedModel):
    """Front end, standardisation and backbone in one: waveforms in, logits out.

    Example:
        >>> config = EarmarkConfig(
        ...     sampling_rate=16_000, window=16_000, num_labels=3, front_end={"kind": "mfcc_mean"},
        ...     backbone={"name": "mlp", "hidden": [8], "dropout": 0.0, "batch_norm": False, "activation": "relu"})
        >>> EarmarkForAudioClassification(config).eval()(torch.zeros(2, 40_000)).logits.shape
        torch.Size([2, 3])
    """

    config_class = EarmarkConfig
    base_model_prefix = "earmark"
    main_input_name = "input_values"

    def __init__(self, config: EarmarkConfig) -> None:
        super().__init__(config)
        if config.front_end is None or config.backbone is None:
            raise ModelError("An Earmark configuration needs a front_end and a backbone; `earmark train` writes both.")
        self.front_end = build_front_end(config.front_end, config.sampling_rate)
        self.standardise = Standardise(self.front_end.size, over_time=self.front_end.over_time)
        self.standardises = bool(config.backbone.get("standardise", True))
        frames = 1 + config.window // self.front_end.config.hop_length
        self.backbone = build_backbone(
            config.backbone, self.front_end.size, frames, config.num_labels, over_time=self.front_end.over_time
        )
        # What happens to spectrograms in training only; set by the trainer, without weights, never saved.
        self.disturb: nn.Module = nn.Identity()
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave every layer as its own constructor made it; Transformers would draw all from one narrow normal."""

    def encode(self, input_values: Tensor, attention_mask: Tensor | None = None) -> Encoded:
        """All that never changes in a run: the front end, before standardisation.

        Args:
            input_values: (clips, samples), at most ``config.window`` samples.
            attention_mask: (clips, samples), 1 where sound is.
        """
        lengths = _count_samples(input_values, attention_mask)
        return self._encode_windows(input_values, lengths)

    def _encode_windows(self, waveform: Tensor, lengths: Tensor) -> Encoded:
        if self.front_end.over_time:
            # A network sees always the same width, so a clip's answer cannot depend on its neighbours' lengths.
            missing = self.config.window - waveform.shape[1]
            # Padding by nothing copies all the same; an exported graph knows no length beforehand.
            if torch.compiler.is_compiling() or missing:
                waveform = nn.functional.pad(waveform, (0, missing))
        # Decibels of quiet frames need float32, whatever the network is trained in.
        with torch.no_grad(), torch.autocast(waveform.device.type, enabled=False):
            return self.front_end(waveform.float(), lengths)

    def head(self, encoded: Encoded) -> Tensor:
        """Encoded windows -> logits (windows, classes)."""
        standardised = self.standardise(encoded) if self.standardises else encoded
        return self.backbone(Encoded(self.disturb(standardised.features), standardised.frames))

    def forward(self, input_values: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Waveforms (clips, samples) of any length -> logits (clips, classes)."""
        lengths = _count_samples(input_values, attention_mask)
        window = self.config.window
        windows = -(-input_values.shape[1] // window)
        if windows == 1:
            return SequenceClassifierOutput(logits=self.head(self._encode_windows(input_values, lengths)))
        padded = nn.functional.pad(input_values, (0, windows * window - input_values.shape[1]))
        starts = torch.arange(windows, device=lengths.device) * window
        held = (lengths[:, None] - starts[None, :]).clamp(0, window)
        logits = self.head(self._encode_windows(padded.reshape(-1, window), held.flatten()))
        weights = held / held.sum(1, keepdim=True)
        return SequenceClassifierOutput(logits=self.average_windows(logits.reshape(*held.shape, -1), weights))

    def average_windows(self, logits: Tensor, weights: Tensor) -> Tensor:
        """(clips, windows, classes) -> (clips, classes): the mean probability, given back as logits."""
        multi_label = self.config.problem_type == "multi_label_classification"
        probabilities = logits.float().sigmoid() if multi_label else logits.float().softmax(-1)
        mean = (probabilities * weights[..., None]).sum(1)
        tiny = torch.finfo(mean.dtype).tiny
        return mean.logit(eps=1e-7) if multi_label else mean.clamp_min(tiny).log()

    def load_pretrained_backbone(self) -> str | None:
        """Take pretrained weights for the backbone where there are any; return why not, if they cannot be had."""
        return self.backbone.load_pretrained() if isinstance(self.backbone, TimmNetwork) else None


def _count_samples(input_values: Tensor, attention_mask: Tensor | None) -> Tensor:
    if attention_mask is None:
        return torch.full((input_values.shape[0],), input_values.shape[1], device=input_values.device)
    return attention_mask.sum(1).long()
