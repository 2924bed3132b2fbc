"""How loud a sound is, and noise that is as loud as asked."""

from typing import Literal

import numpy as np

LEVEL_FRAME = 1024  # samples over which a level is measured

Colour = Literal["white", "pink"]


def measure_level_db(waveform: np.ndarray) -> float:
    """The loudest frame's level, dB of full scale; -100 dB for digital silence.

    Example:
        >>> measure_level_db(np.ones(2048, dtype=np.float32))
        0.0
    """
    usable = max(len(waveform) // LEVEL_FRAME, 1) * LEVEL_FRAME
    frames = waveform[:usable].reshape(-1, min(LEVEL_FRAME, len(waveform)))
    power = float(np.vecdot(frames, frames).max()) / frames.shape[1]
    return float(10 * np.log10(max(power, 1e-10)))


def make_noise(colour: Colour, length: int, *, level_db: float, seed: int) -> np.ndarray:
    """Gaussian noise, white or pink, at a level; its peaks may go beyond full scale.

    Args:
        colour: ``"white"``: the same power at every frequency; ``"pink"``: 3 dB less each octave.
        length: Samples.
        level_db: Its RMS over all of it, dB of full scale.
        seed: Decides all that is random.

    Returns:
        (length,), float32.

    Example:
        >>> noise = make_noise("pink", 8_000, level_db=-20.0, seed=0)
        >>> round(float(np.sqrt((noise**2).mean())), 3)
        0.1
    """
    noise = np.random.default_rng(seed).standard_normal(length)
    if colour == "pink":
        spectrum = np.fft.rfft(noise)
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
        spectrum[0] = 0.0
        noise = np.fft.irfft(spectrum, length)
    return (noise * 10 ** (level_db / 20) / np.sqrt((noise**2).mean())).astype(np.float32)
