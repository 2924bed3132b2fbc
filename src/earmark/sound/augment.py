"""What happens to sound in training only: to a waveform (NumPy), and to a batch of spectrograms (torch)."""

import numpy as np
import torch
from torch import Tensor, nn

from earmark.sound.level import measure_level_db


def roll(waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Turn a clip round in time by a random number of samples: what leaves at the end comes in at the start.

    Example:
        >>> sorted(roll(np.arange(4.0), np.random.default_rng(0)).tolist())
        [0.0, 1.0, 2.0, 3.0]
    """
    end = len(waveform) - int(generator.integers(len(waveform)))
    return np.concatenate((waveform[end:], waveform[:end]))


def change_gain(waveform: np.ndarray, generator: np.random.Generator, *, max_db: float) -> np.ndarray:
    """Make a clip louder or softer by up to ``max_db``, every step in dB equally likely.

    Example:
        >>> bool(abs(change_gain(np.ones(2), np.random.default_rng(0), max_db=6.0)[0]) <= 2.0)
        True
    """
    return waveform * np.float32(10 ** (generator.uniform(-max_db, max_db) / 20))


def change_speed(waveform: np.ndarray, factor: float) -> np.ndarray:
    """Play a clip faster or slower, so that its pitch rises or falls with it.

    Args:
        waveform: (samples,), float32.
        factor: Above one it becomes shorter and higher.

    Returns:
        (samples / factor,), float32, by linear interpolation: what that does to the highest frequencies is part of the
        disturbance.

    Example:
        >>> change_speed(np.arange(5, dtype=np.float32), 2.0)
        array([0., 2., 4.], dtype=float32)

    Source:
        "Scale augmentation" in Tokozume, Ushiku and Harada, "Learning from Between-class Examples" (2018).
    """
    length = int((len(waveform) - 1) / factor) + 1
    rows = torch.from_numpy(np.array(waveform, dtype=np.float32))[None, None]
    # Five times as fast as np.interp, which works in float64.
    return nn.functional.interpolate(rows, length, mode="linear", align_corners=True)[0, 0].numpy()


def mix_loudness_aware(first: np.ndarray, second: np.ndarray, *, ratio: float) -> np.ndarray:
    """Mix two clips so that the first is heard as ``ratio`` of the whole, whatever their levels.

    Args:
        first: (samples,), float32.
        second: (samples,), float32.
        ratio: Share of the first clip, 0 to 1; also its share of the target.

    Returns:
        (samples,), float32, at the energy the two clips would have on average.

    Example:
        >>> mix_loudness_aware(np.ones(4, np.float32), np.zeros(4, np.float32), ratio=1.0)
        array([1., 1., 1., 1.], dtype=float32)

    Source:
        Tokozume, Ushiku and Harada, "Learning from Between-class Examples for Deep Sound Recognition" (2018), eq. 2;
        levels here are of the loudest frame, without A-weighting.
    """
    if ratio >= 1.0:
        return first
    if ratio <= 0.0:
        return second
    difference_db = measure_level_db(first) - measure_level_db(second)
    share = 1.0 / (1.0 + 10 ** (difference_db / 20) * (1.0 - ratio) / ratio)
    scale = 1.0 / np.sqrt(share**2 + (1.0 - share) ** 2)
    mixed = np.float32(share * scale) * first
    mixed += np.float32((1.0 - share) * scale) * second
    return mixed


class DisturbSpectrogram(nn.Module):
    """Disturb each spectrogram in training only: hide parts, add noise, bend it over the bands, make it weaker.

    One stretch of frames and one of bands become zero (the mean, where features are standardised). Then half of the
    spectrograms get Gaussian noise, half of them, drawn anew, the curve of a random filter, and half of them are
    multiplied by one factor each.

    Args:
        max_frames: Longest stretch of time hidden, frames.
        max_mels: Widest stretch of bands hidden.
        noise: Deviation of the noise, in the spectrogram's own unit; 0 for none.
        gain: The factor lies between ``1 - gain`` and ``1 + gain``; 0 for none.
        filtering: Each band is raised or lowered by up to this, in the spectrogram's own unit, along a line through
            three to six random points; 0 for none.
        lowest: What no value may fall below afterwards: 0.0 for a power spectrogram, ``None`` for decibels.

    Example:
        >>> DisturbSpectrogram(8, 4).eval()(torch.ones(2, 64, 50)).sum().item()
        6400.0

    Source:
        Park et al., "SpecAugment" (2019), without its time warping; Nam, Kim and Park, "FilterAugment" (2022), the
        linear kind.
    """

    def __init__(
        self,
        max_frames: int = 0,
        max_mels: int = 0,
        *,
        noise: float = 0.0,
        gain: float = 0.0,
        filtering: float = 0.0,
        lowest: float | None = None,
    ) -> None:
        super().__init__()
        self.max_frames = max_frames
        self.max_mels = max_mels
        self.noise = noise
        self.gain = gain
        self.filtering = filtering
        self.lowest = lowest

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(rows, mels, frames) -> the same shape."""
        if not self.training:
            return spectrogram
        disturbed = self._mask(spectrogram)
        rows = len(spectrogram)
        # What is off draws nothing: a training with masks alone repeats itself whatever else could be asked for.
        if self.noise > 0:
            chosen = _draw_half(rows).to(spectrogram)
            disturbed = disturbed + self.noise * chosen * torch.randn_like(disturbed)
        if self.filtering > 0:
            curve = self.filtering * _draw_half(rows) * _draw_curve(rows, spectrogram.shape[1])
            disturbed = disturbed + curve.to(spectrogram)
        if self.gain > 0:
            factor = 1 + self.gain * (2 * torch.rand(rows, 1, 1) - 1) * _draw_half(rows)
            disturbed = disturbed * factor.to(spectrogram)
        return disturbed if self.lowest is None else disturbed.clamp_min(self.lowest)

    def _mask(self, spectrogram: Tensor) -> Tensor:
        rows, mels, frames = spectrogram.shape
        hidden = _draw_stretch(rows, mels, self.max_mels).unsqueeze(2) | _draw_stretch(
            rows, frames, self.max_frames
        ).unsqueeze(1)
        return spectrogram.masked_fill(hidden.to(spectrogram.device), 0.0)


def _draw_half(rows: int) -> Tensor:
    """(rows, 1, 1): one for about half of the rows, zero for the others."""
    return (torch.rand(rows, 1, 1) < 0.5).float()


def _draw_curve(rows: int, bands: int) -> Tensor:
    """(rows, bands, 1): a line through three to six points between -1 and 1 for each row."""
    points = 2 * torch.rand(rows, 1, int(torch.randint(3, 7, ()))) - 1
    return nn.functional.interpolate(points, bands, mode="linear", align_corners=True).transpose(1, 2)


def _draw_stretch(rows: int, length: int, longest: int) -> Tensor:
    """(rows, length), bool: true on a stretch of random length up to ``longest`` at a random place."""
    width = torch.rand(rows) * (min(longest, length) + 1)
    start = torch.rand(rows) * (length - width.floor() + 1)
    position = torch.arange(length)[None, :]
    begin = start.floor()[:, None]
    return (position >= begin) & (position < begin + width.floor()[:, None])
