"""Parts of a sound hidden, and what a model then says: which parts an answer hangs on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.inference.classifier import WINDOWS_AT_ONCE, Classifier
from earmark.sound.heat import HeatMap

if TYPE_CHECKING:
    from torch import Tensor

    from earmark.inference.rehearing import Change

STRETCHES, SHORTEST_STRETCH_S = 20, 0.05
BANDS = 6
NEIGHBOURS = 1  # hidden with a patch, before it and after it
BACKGROUND = 0.2  # of a sound's frames are as quiet as its background, frequency by frequency
FRAME_S = 0.032
STEPS_PER_FRAME = 4
TINY = 1e-12
ROUNDING = 1e-4
SURELY = 1e-12  # log odds are infinite at 0 and 1


class Patches:
    """A sound cut into patches of time and frequency, each of which can be hidden in its own background.

    Stretches are equally long and bands equally wide in mels. What is hidden is turned down, frequency by frequency, to
    what the quietest fifth of the sound has at most: a hole of silence would be a sound of its own, which a model has
    never heard. What is not hidden stays as it is, sample for sample, save within 16 ms of an edge.

    Args:
        waveform: (samples,), float32, mono.
        sample_rate: Hz.
        bands: How many; 1 hides all frequencies at once.

    Example:
        >>> time_s = np.arange(16_000) / 16_000
        >>> beep = np.sin(6_000 * time_s) * ((time_s > 0.2) & (time_s < 0.4))
        >>> patches = Patches(beep.astype(np.float32), 16_000, bands=1)
        >>> hidden = (patches.time_edges_s[:-1] < 0.5)[None]
        >>> round(float(np.abs(patches.hide(hidden)).max()), 3), round(float(np.abs(patches.hide(~hidden)).max()), 3)
        (0.0, 1.0)
    """

    def __init__(self, waveform: NDArray[np.float32], sample_rate: int, *, bands: int = BANDS) -> None:
        import torch

        self.waveform = np.asarray(waveform, dtype=np.float32)
        self.length = len(waveform)
        duration_s = self.length / sample_rate
        stretches = int(np.clip(duration_s / SHORTEST_STRETCH_S, 1, STRETCHES))
        self.shape = (bands, stretches)
        self.time_edges_s = np.linspace(0, duration_s, stretches + 1)
        self.band_edges_hz = _divide_in_mels(sample_rate / 2, bands)
        n_fft = max(16, 2 ** round(np.log2(FRAME_S * sample_rate)))
        self._hop_length = n_fft // STEPS_PER_FRAME
        self._window = torch.hann_window(n_fft)
        padded = np.pad(self.waveform, (0, -self.length % n_fft + n_fft))
        spectrum = torch.stft(
            torch.from_numpy(padded),
            n_fft,
            self._hop_length,
            window=self._window,
            pad_mode="constant",
            return_complex=True,
        ).T.contiguous()
        frames, bins = spectrum.shape
        magnitude = spectrum.abs()
        background = magnitude[: 1 + self.length // self._hop_length].quantile(BACKGROUND, dim=0)
        # (frames, bins): what is taken away from each where it is hidden.
        self._taken = spectrum * (1.0 - (background / magnitude.clamp_min(TINY)).clamp_max(1.0))
        self._overlap = self._overlap_add(self._window.square().expand(frames, -1))
        centres_hz = np.arange(bins) * sample_rate / n_fft
        self._band = np.searchsorted(self.band_edges_hz[1:-1], centres_hz, side="right")
        times_s = np.arange(frames) * self._hop_length / sample_rate
        self._stretch = np.searchsorted(self.time_edges_s[1:-1], times_s, side="right")

    def hide(self, hidden: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The sound without the patches that ``hidden``, (bands, stretches), marks."""
        change = self.change(hidden)
        whole = self.waveform.copy()
        whole[change.begin : change.end] = change.samples
        return whole

    def change(self, hidden: NDArray[np.bool_]) -> Change:
        """What hiding these patches changes."""
        import torch

        from earmark.inference.rehearing import Change

        frames = np.flatnonzero(hidden[:, self._stretch].any(0))
        if not len(frames):
            return Change(0, self.waveform[:0])
        first, stop = int(frames[0]), int(frames[-1]) + 1
        chosen = torch.from_numpy(hidden.T[np.ix_(self._stretch[first:stop], self._band)])
        pieces = torch.fft.irfft(torch.where(chosen, self._taken[first:stop], 0.0)) * self._window
        total = self._overlap_add(pieces)
        # The first frame is centred on the first sample, so half of it lies before the sound.
        offset = first * self._hop_length
        place = offset - len(self._window) // 2
        taken = (total / self._overlap[offset : offset + len(total)].clamp_min(TINY)).numpy()
        begin, end = max(0, place), min(self.length, place + len(taken))
        return Change(begin, self.waveform[begin:end] - taken[begin - place : end - place])

    def _overlap_add(self, pieces: Tensor) -> Tensor:
        """(frames, n_fft) -> (samples,), each frame a hop after the one before."""
        parts = pieces.reshape(len(pieces), STEPS_PER_FRAME, self._hop_length)
        total = parts.new_zeros(len(pieces) + STEPS_PER_FRAME - 1, self._hop_length)
        for step in range(STEPS_PER_FRAME):
            total[step : step + len(pieces)] += parts[:, step]
        return total.flatten()


def map_occlusion(classifier: Classifier, patches: Patches, index: int, score: float) -> HeatMap:
    """How far the log odds of a class fall when a patch is hidden, together with its neighbours in time.

    Three stretches of a band are hidden at once, moved on by one: what a model hears in an event's first part may
    otherwise stand in for the second. A patch has the mean fall of all that hid it.

    Args:
        classifier: Any.
        patches: Of the sound, at the model's rate.
        index: Of the class.
        score: Its probability with nothing hidden.

    Source:
        Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 4.2.
    """
    bands, stretches = patches.shape
    place = np.arange(stretches)
    near = np.abs(place[:, None] - place) <= NEIGHBOURS
    masks = (np.eye(bands, dtype=bool)[:, None, :, None] & near[None, :, None, :]).reshape(-1, *patches.shape)
    scores = score_hidden(classifier, patches, masks, index)
    falls = (_log_odds(np.array(score)) - _log_odds(scores)).reshape(patches.shape)
    means = np.maximum(falls @ near / near.sum(0), 0.0)
    # What lies within the rounding of a model's sums is no fall.
    highest = means.max() if means.max() > ROUNDING else 0.0
    return HeatMap(means / highest if highest else np.zeros(patches.shape), patches.time_edges_s, patches.band_edges_hz)


def score_hidden(
    classifier: Classifier, patches: Patches, masks: Sequence[NDArray[np.bool_]] | NDArray[np.bool_], index: int
) -> NDArray[np.floating]:
    """(masks,): the probability of a class with the patches of each mask hidden."""
    from earmark.inference.rehearing import Rehearing, can_rehear

    batches = [masks[begin : begin + WINDOWS_AT_ONCE] for begin in range(0, len(masks), WINDOWS_AT_ONCE)]
    if can_rehear(classifier, patches.length):
        rehearing = Rehearing(classifier, patches.waveform)
        parts = [rehearing.score([patches.change(mask) for mask in batch]) for batch in batches]
    else:
        parts = [classifier.score([patches.hide(mask) for mask in batch]) for batch in batches]
    return np.concatenate(parts)[:, index]


def average_over_patches(heat: HeatMap, patches: Patches) -> NDArray[np.floating]:
    """(bands, stretches): the mean heat of each patch, over 8 x 8 points."""
    bands, stretches = patches.shape
    steps = (np.arange(8) + 0.5) / 8
    times_s = (patches.time_edges_s[:-1, None] + np.diff(patches.time_edges_s)[:, None] * steps).ravel()
    frequencies_hz = (patches.band_edges_hz[:-1, None] + np.diff(patches.band_edges_hz)[:, None] * steps).ravel()
    return heat.at(times_s, frequencies_hz).reshape(bands, 8, stretches, 8).mean((1, 3))


def _log_odds(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    bounded = np.clip(probabilities, SURELY, 1 - SURELY)
    return np.log(bounded / (1 - bounded))


def _divide_in_mels(highest_hz: float, bands: int) -> NDArray[np.floating]:
    """(bands + 1,), Hz, from 0."""
    from transformers.audio_utils import hertz_to_mel, mel_to_hertz

    edges = np.linspace(0, float(hertz_to_mel(highest_hz, mel_scale="slaney")), bands + 1)
    return np.asarray(mel_to_hertz(edges, mel_scale="slaney"))
