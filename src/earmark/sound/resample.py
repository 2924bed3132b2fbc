"""A waveform at another rate."""

import numpy as np


def resample(waveform: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample with soxr HQ; a waveform that has the rate already is given back as it is.

    Args:
        waveform: (samples,), any float type.
        from_rate: Hz.
        to_rate: Hz.

    Returns:
        (about ``samples * to_rate / from_rate``,), float32; nothing is left of less than one sample.

    Example:
        >>> resample(np.zeros(44_100), 44_100, 16_000).shape
        (16000,)

    Source:
        The SoX Resampler library; aliases lie below -130 dB.
    """
    samples = np.asarray(waveform, dtype=np.float32)
    if from_rate == to_rate:
        return samples
    import soxr

    return soxr.resample(samples, from_rate, to_rate, quality="HQ")
