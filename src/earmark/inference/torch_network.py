"""A model of Transformers, ours or not, as a classifier asks it: in torch, on the fastest device there is."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earmark.errors import EarmarkError, ModelError
from earmark.inference.classifier import Classifier, find_model
from earmark.inference.decision import Decision
from earmark.inference.device import choose_device, count_threads, use_threads
from earmark.models import EarmarkConfig  # this import makes our models known to the Auto classes, too
from earmark.models.pretrained import SHORTEST_S, ignores_padding, load_quietly, longest_window, prepare_inputs

MOST_LANES = 16  # each holds a batch and what the network makes of it


class TorchNetwork:
    """A model and its feature extractor, as `earmark.inference.classifier.Network`.

    Args:
        model: A model whose forward gives ``logits``; put in eval mode, and on a CPU channels-last.
        extractor: Its feature extractor.
        device: Where to run; chosen by itself if not given.

    Example:
        >>> classifier = Classifier(TorchNetwork(model, extractor, "cpu"))   # doctest: +SKIP
    """

    def __init__(self, model: Any, extractor: Any, device: str | torch.device | None = None) -> None:
        self.device = torch.device(device) if device is not None else choose_device()
        self.model = model.to(self.device).eval()
        if self.device.type == "cpu":
            # Convolutions would bring their weights into this order anew for every batch: a fifth of a ResNet's time.
            self.model.to(memory_format=torch.channels_last)
        self.extractor = extractor
        self.sample_rate: int = extractor.sampling_rate
        self.labels: tuple[str, ...] = tuple(model.config.id2label[i] for i in range(model.config.num_labels))
        # A native model trained by us says how long its windows were; ours always does.
        self.window: int = getattr(model.config, "window", None) or longest_window(extractor)
        ours = model.config.model_type == EarmarkConfig.model_type
        self.shortest = 1 if ours else round(SHORTEST_S * self.sample_rate)
        self.ignores_padding = ours or ignores_padding(model.config, extractor)
        self.multi_label = model.config.problem_type == "multi_label_classification"
        self.decision = Decision.from_config(model.config)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], device: str | None = None) -> "TorchNetwork":
        """What `Classifier.from_pretrained` loads."""
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

        place = find_model(name)
        try:
            with load_quietly():
                model, loading = AutoModelForAudioClassification.from_pretrained(
                    place,
                    output_loading_info=True,
                    dtype=torch.float32,  # some are stored in half precision, which takes no sound as it comes
                )
                extractor = AutoFeatureExtractor.from_pretrained(place)
        except EarmarkError:
            raise
        except Exception as error:  # a damaged directory or an unknown id fails in many ways, all the user's to mend
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"{name} cannot be loaded as an audio-classification model: {reason}") from error
        if loading["missing_keys"]:
            raise ModelError(
                f"{name} holds no trained classifier (its weights lack {sorted(loading['missing_keys'])[0]}); "
                "fine-tune it first, or give a model that was."
            )
        if not Path(name).exists():
            model.name_or_path = str(name)  # the Hub's name for it, not that of the folder in the cache
        return cls(model, extractor, device)

    def prepare(self, waveforms: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """What the model's forward takes, on its device, for waveforms at its sample rate."""
        inputs = prepare_inputs(self.extractor, waveforms, sample_rate=self.sample_rate, shortest=self.shortest)
        return {key: value.to(self.device) for key, value in inputs.items()}

    @contextmanager
    def side_by_side(self) -> Iterator[int]:
        """How many threads may ask at a time: one a core, each of which then computes on its own; one on a GPU.

        Threads that share a batch wait for each other wherever decoding keeps a core busy; this way none ever waits.
        """
        if self.device.type != "cpu":
            yield 1
            return
        lanes = min(count_threads(), MOST_LANES)
        with use_threads(1):
            yield lanes

    @torch.inference_mode()
    def run(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Logits (windows, classes), float32, of waveforms of at most ``window`` samples."""
        return self.model(**self.prepare(waveforms)).logits.float().cpu().numpy()


def reach_torch(classifier: Classifier) -> TorchNetwork:
    """The torch network of a classifier, for what needs more of it than its answers.

    Raises:
        ModelError: it runs elsewhere.
    """
    if not isinstance(classifier.network, TorchNetwork):
        raise ModelError(
            "This needs the network itself, which an exported file does not show; give the model directory."
        )
    return classifier.network
