"""A sound heard again with a stretch of it changed: only what the change reaches is computed anew."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.inference.classifier import Classifier
from earmark.inference.decision import WindowLogits
from earmark.inference.torch_network import TorchNetwork
from earmark.models import EarmarkForAudioClassification


class Change(NamedTuple):
    """Samples from ``begin`` on, and what they are instead."""

    begin: int
    samples: NDArray[np.float32]

    @property
    def end(self) -> int:
        """The first sample after it."""
        return self.begin + len(self.samples)


class Rehearing:
    """A model of ours that sums a mel spectrogram up, and one sound of at most one window.

    The spectrogram of the sound is kept; of a changed one, only the frames that see the change are computed.

    Args:
        classifier: One that `can_rehear` the sound.
        waveform: (samples,), at the model's rate.

    Example:
        >>> rehearing = Rehearing(classifier, waveform)                              # doctest: +SKIP
        >>> rehearing.score([Change(8_000, np.zeros(800, np.float32))]).shape        # doctest: +SKIP
        (1, 10)
    """

    def __init__(self, classifier: Classifier, waveform: NDArray[np.float32]) -> None:
        network = classifier.network
        assert isinstance(network, TorchNetwork)
        self._model: Any = network.model
        self._device = network.device
        self._multi_label = classifier.multi_label
        self._length = len(waveform)
        mel = self._model.front_end.mel
        self._hop_length, self._n_fft = mel.hop_length, len(mel.window)
        # Frames beside a stretch, so that none of those wanted sees beyond its ends.
        self._margin = -(-self._n_fft // (2 * self._hop_length))
        self._padded = np.pad(waveform, self._margin * self._hop_length)
        self._bands = self._measure(waveform[None])[0]

    @torch.inference_mode()
    def score(self, changes: Sequence[Change]) -> NDArray[np.floating]:
        """(changes, classes): the probabilities with each change made to the sound, one at a time."""
        bands = self._bands.expand(len(changes), -1, -1).clone()
        spans = [self._find_frames(change) for change in changes]
        count = max(stop - first for first, stop in spans)
        firsts = [min(first, bands.shape[-1] - count) for first, _ in spans]
        stretches = np.stack([self._cut(change, first, count) for change, first in zip(changes, firsts, strict=True)])
        renewed = self._measure(stretches)[..., self._margin : self._margin + count]
        for row, first in enumerate(firsts):
            bands[row, :, first : first + count] = renewed[row]
        lengths = torch.full((len(changes),), self._length, device=self._device)
        logits = self._model.head(self._model.front_end.summarise(bands, lengths)).float().cpu().numpy()
        sounds = np.arange(len(changes))
        return WindowLogits(logits, sounds, np.ones(len(sounds)), len(sounds), self._multi_label).average()

    @torch.inference_mode()
    def _measure(self, waveforms: NDArray[np.float32]) -> torch.Tensor:
        return self._model.front_end.mel(torch.from_numpy(waveforms).to(self._device))

    def _find_frames(self, change: Change) -> tuple[int, int]:
        """The frames that see a change: the first, and the one after the last."""
        reach, hop_length = self._n_fft // 2, self._hop_length
        first = max(0, (change.begin - reach) // hop_length)
        stop = min(self._bands.shape[-1], (change.end + reach) // hop_length + 1)
        return first, max(stop, first)

    def _cut(self, change: Change, first: int, count: int) -> NDArray[np.float32]:
        """The samples that so many frames see, and the margin beside them, with the change made."""
        start = first * self._hop_length
        stretch = self._padded[start : start + (count + 2 * self._margin - 1) * self._hop_length].copy()
        place = change.begin + self._margin * self._hop_length - start
        begin, end = max(place, 0), min(place + len(change.samples), len(stretch))
        if begin < end:
            stretch[begin:end] = change.samples[begin - place : end - place]
        return stretch


def can_rehear(classifier: Classifier, length: int) -> bool:
    """Whether a sound of so many samples is one window to a model of ours that sums its spectrogram up."""
    network = classifier.network
    return (
        isinstance(network, TorchNetwork)
        and isinstance(network.model, EarmarkForAudioClassification)
        and not network.model.front_end.over_time
        and network.shortest <= length <= classifier.window
    )
