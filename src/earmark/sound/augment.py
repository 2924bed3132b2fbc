"""What happens to sound in training only: to a waveform (NumPy), and to a batch of spectrograms (torch)."""

import numpy as np
import torch
from torch import Tensor, nn

LEVEL_FRAME = 1024  # samples over which a level is measured for mixing


def roll(waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Turn a clip round in time by a random number of samples: what leaves at the end comes in at the start.

    Example:
        >>> sorted(roll(np.arange(4.0), np.random.default_rng(0)).tolist())
        [0.0, 1.0, 2.0, 3.0]
    """
    return np.roll(waveform, int(generator.integers(len(waveform))))


def change_gain(waveform: np.ndarray, generator: np.random.Generator, *, max_db: float) -> np.ndarray:
    """Make a clip louder or softer by up to ``max_db``, every step in dB equally likely.

    Example:
        >>> bool(abs(change_gain(np.ones(2), np.random.default_rng(0), max_db=6.0)[0]) <= 2.0)
        True
    """
    return waveform * np.float32(10 ** (generator.uniform(-max_db, max_db) / 20))


def measure_level_db(waveform: np.ndarray) -> float:
    """The loudest frame's level, dB of full scale; -100 dB for digital silence.

    Example:
        >>> measure_level_db(np.ones(2048, dtype=np.float32))
        0.0
    """
    usable = max(len(waveform) // LEVEL_FRAME, 1) * LEVEL_FRAME
    frames = waveform[:usable].reshape(-1, min(LEVEL_FRAME, len(waveform)))
    power = float(np.einsum("ij,ij->i", frames, frames).max()) / frames.shape[1]
    return float(10 * np.log10(max(power, 1e-10)))


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
    return np.float32(share * scale) * first + np.float32((1.0 - share) * scale) * second


class MaskSpectrogram(nn.Module):
    """Hide one stretch of frames and one of bands of each spectrogram behind zeros (the mean), in training only.

    Args:
        max_frames: Longest stretch of time hidden, frames.
        max_mels: Widest stretch of bands hidden.

    Example:
        >>> MaskSpectrogram(8, 4).eval()(torch.ones(2, 64, 50)).sum().item()
        6400.0

    Source:
        Park et al., "SpecAugment" (2019), without its time warping.
    """

    def __init__(self, max_frames: int, max_mels: int) -> None:
        super().__init__()
        self.max_frames = max_frames
        self.max_mels = max_mels

    def forward(self, spectrogram: Tensor) -> Tensor:
        if not self.training:
            return spectrogram
        rows, mels, frames = spectrogram.shape
        hidden = _draw_stretch(rows, mels, self.max_mels).unsqueeze(2) | _draw_stretch(
            rows, frames, self.max_frames
        ).unsqueeze(1)
        return spectrogram.masked_fill(hidden.to(spectrogram.device), 0.0)


def _draw_stretch(rows: int, length: int, longest: int) -> Tensor:
    """(rows, length), bool: true on a stretch of random length up to ``longest`` at a random place."""
    width = torch.rand(rows) * (min(longest, length) + 1)
    start = torch.rand(rows) * (length - width.floor() + 1)
    position = torch.arange(length)[None, :]
    begin = start.floor()[:, None]
    return (position >= begin) & (position < begin + width.floor()[:, None])
