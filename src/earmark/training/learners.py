"""What learns: one of our own models, or one of Transformers, behind the same few handles.

A learner knows how its batches are put together, what of it never changes in a run and may be computed once, and what
is left of training to be cleared away at its end. The trainer knows nothing else of a model.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ClipsError
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
from earmark.models.front_ends import Encoded
from earmark.models.lora import merge_lora
from earmark.models.pretrained import load_pretrained_audio, prepare_inputs
from earmark.models.probe import apply_head, encode_window
from earmark.sound.windows import cut_pieces
from earmark.training.augmentation import build_disturbance
from earmark.training.batches import EncodedClips, Example, collate_waveforms
from earmark.training.recipe import Recipe

STATISTICS_CLIPS = 512  # as many training clips as the standardisation needs to settle


class OwnLearner:
    """A front end and a network of ours, built from a recipe whose window is settled.

    Args:
        recipe: Says what it is made of.
        labels: The classes.
        multi_label: Whether a clip may have several.
    """

    def __init__(self, recipe: Recipe, labels: tuple[str, ...], *, multi_label: bool) -> None:
        self.recipe = recipe
        self.model = build_model(recipe, labels, multi_label=multi_label)
        self.extractor: Any = EarmarkFeatureExtractor(sampling_rate=self.model.config.sampling_rate)
        self.window: int = self.model.config.window
        self.multi_label = multi_label
        self.note = self.model.load_pretrained_backbone() if recipe.model.pretrained else None
        # A summary over time never changes in a run where nothing is augmented.
        self.encodes_once = recipe.front_end.kind != "log_mel" and not recipe.augments
        self.channels_last: bool = self.model.front_end.over_time  # halves a CPU's time per step, and a GPU's too

    def trained(self) -> nn.Module:
        """The module that takes batches of waveforms, made ready for them."""
        disturbance = build_disturbance(self.recipe, self.model.config.sampling_rate)
        if disturbance is not None:
            self.model.disturb = disturbance
        if self.channels_last:
            self.model.to(memory_format=torch.channels_last)
        return self.model

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Examples -> a batch for `trained`."""
        return collate_waveforms(examples)

    def encode(self, waveforms: list[np.ndarray]) -> Encoded:
        """Windows of sound -> what never changes."""
        batch = collate_waveforms([{"waveform": waveform, "target": np.zeros(1)} for waveform in waveforms])
        return self.model.encode(batch["input_values"], batch.get("attention_mask"))

    def head(self, encoded: Encoded) -> Tensor:
        """What never changes -> logits (windows, classes)."""
        return self.model.head(encoded)

    @torch.no_grad()
    def begin(self, waveforms: ClipWaveforms, rows: np.ndarray, encoded: EncodedClips | None, seed: int) -> None:
        """Take mean and deviation of the features, from training clips alone."""
        if not self.recipe.model.standardise:
            return
        if encoded is not None:
            windows = torch.from_numpy(encoded.windows_of(rows))
            self.model.standardise.fit([Encoded(encoded.encoded.features[windows], encoded.encoded.frames[windows])])
            return
        chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:STATISTICS_CLIPS])
        batches = []
        for row in chosen:
            waveform = torch.from_numpy(np.array(waveforms.read(int(row), 0, self.window)))[None]
            batches.append(self.model.encode(waveform))
        self.model.standardise.fit(batches)

    def finish(self) -> None:
        """Clear away what belongs to training alone."""
        self.model.disturb = nn.Identity()
        self.model.eval()


class NativeLearner:
    """An audio model of Transformers, unwrapped: what is saved opens without Earmark.

    Args:
        recipe: Names it, and says how it is tuned.
        labels: The classes.
        multi_label: Whether a clip may have several.
    """

    def __init__(self, recipe: Recipe, labels: tuple[str, ...], *, multi_label: bool) -> None:
        self.tuning = recipe.model.tuning
        loaded = load_pretrained_audio(
            recipe.model.name,
            labels,
            multi_label=multi_label,
            tuning=self.tuning,
            freeze_feature_encoder=recipe.model.freeze_convolutions,
            normalise=True if recipe.model.normalise else None,
        )
        self.model = loaded.model
        self.extractor = loaded.extractor
        self.sample_rate = loaded.sample_rate
        self.shortest = loaded.shortest
        self.note = loaded.note
        self.multi_label = multi_label
        self.encodes_once = self.tuning == "probe"
        self.channels_last = False
        window_s = recipe.audio.window_s
        self.window = loaded.window if window_s == "auto" else min(loaded.window, round(window_s * self.sample_rate))
        # Read by our classifier, so that prediction hears windows as long as those that were learnt from.
        self.model.config.window = self.window

    def trained(self) -> nn.Module:
        """The module that takes batches of waveforms."""
        return _WindowsOfClips(self.model, multi_label=self.multi_label)

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Examples -> a batch for `trained`: their windows, whose they are, and how much sound each holds."""
        examples = list(examples)
        pieces = [cut_pieces(len(example["waveform"]), self.window) for example in examples]
        windows = [
            np.ascontiguousarray(example["waveform"][start:stop])
            for example, spans in zip(examples, pieces, strict=True)
            for start, stop in spans
        ]
        counts = torch.tensor([len(spans) for spans in pieces])
        return {
            **self._prepare(windows),
            "owners": torch.arange(len(examples)).repeat_interleave(counts),
            "weights": torch.tensor([float(len(window)) for window in windows]),
            "targets": torch.from_numpy(np.stack([example["target"] for example in examples])),
        }

    def encode(self, waveforms: list[np.ndarray]) -> Encoded:
        """Windows of sound -> what the frozen encoder makes of each; one by one, so that no padding is heard."""
        rows = [encode_window(self.model, self._prepare([np.ascontiguousarray(wave)])) for wave in waveforms]
        features = torch.cat(rows)
        return Encoded(features, torch.ones(len(features), dtype=torch.long))

    def _prepare(self, windows: list[np.ndarray]) -> dict[str, Tensor]:
        return prepare_inputs(self.extractor, windows, sample_rate=self.sample_rate, shortest=self.shortest)

    def head(self, encoded: Encoded) -> Tensor:
        """What the encoder gave -> logits (windows, classes)."""
        return apply_head(self.model, encoded.features)

    def begin(self, waveforms: ClipWaveforms, rows: np.ndarray, encoded: EncodedClips | None, seed: int) -> None:
        """Nothing is fitted: the extractor has its own idea of a level."""

    def finish(self) -> None:
        """Put the adapters' weights into the layers they belong to."""
        if self.tuning == "lora":
            merge_lora(self.model)
        self.model.eval()


Learner = OwnLearner | NativeLearner


class EncodedHead(nn.Module):
    """The part of a model that learns, for windows that were encoded before."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.model = learner.model
        self._head = learner.head
        self._multi_label = learner.multi_label

    def forward(self, features: Tensor, frames: Tensor, owners: Tensor, weights: Tensor) -> SequenceClassifierOutput:
        logits = self._head(Encoded(features, frames))
        return SequenceClassifierOutput(logits=average_logits(logits, owners, weights, multi_label=self._multi_label))


class _WindowsOfClips(nn.Module):
    """A model of Transformers that is asked about clips, each of one window or more."""

    def __init__(self, model: nn.Module, *, multi_label: bool) -> None:
        super().__init__()
        self.model = model
        self._multi_label = multi_label

    def forward(self, owners: Tensor, weights: Tensor, **inputs: Tensor) -> SequenceClassifierOutput:
        logits = self.model(**inputs).logits
        return SequenceClassifierOutput(logits=average_logits(logits, owners, weights, multi_label=self._multi_label))


def average_logits(logits: Tensor, owners: Tensor, weights: Tensor, *, multi_label: bool) -> Tensor:
    """Logits of windows -> logits of clips: the mean probability by how much sound each window holds, as in prediction.

    Args:
        logits: (windows, classes).
        owners: (windows,), which clip each belongs to, in order.
        weights: (windows,), samples of sound in each.
        multi_label: Whether classes stand on their own.
    """
    clips = int(owners[-1]) + 1
    if clips == len(logits):
        return logits
    shares = weights / torch.zeros(clips, device=weights.device).index_add_(0, owners, weights)[owners]
    probabilities = logits.float().sigmoid() if multi_label else logits.float().softmax(-1)
    mean = torch.zeros(clips, logits.shape[1], device=logits.device)
    mean.index_add_(0, owners, probabilities * shares[:, None])
    return mean.logit(eps=1e-7) if multi_label else mean.clamp_min(torch.finfo(mean.dtype).tiny).log()


def build_model(recipe: Recipe, labels: tuple[str, ...], *, multi_label: bool) -> EarmarkForAudioClassification:
    """A model of ours with fresh weights; rate and window must be settled (`earmark.training.build`)."""
    rate, window_s = recipe.audio.sample_rate, recipe.audio.window_s
    if isinstance(rate, str) or isinstance(window_s, str):
        raise ClipsError("Sample rate and window are settled by the clips; call settle_rate and fit_window first.")
    backbone: dict[str, Any] = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(recipe.model).items()}
    config = EarmarkConfig(
        sampling_rate=rate,
        window=round(window_s * rate),
        front_end=recipe.front_end_settings(),
        backbone=backbone,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type="multi_label_classification" if multi_label else "single_label_classification",
    )
    return EarmarkForAudioClassification(config)


def build_learner(recipe: Recipe, labels: tuple[str, ...], *, multi_label: bool) -> Learner:
    """What a recipe trains, with fresh or pretrained weights; `build_model` says what must be settled before."""
    kind = NativeLearner if recipe.brings_features else OwnLearner
    return kind(recipe, labels, multi_label=multi_label)
