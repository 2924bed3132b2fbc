"""A waveform at another rate."""

from collections.abc import Iterable, Iterator

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


def resample_pieces(pieces: Iterable[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """What `resample` gives of a whole, piece by piece as its pieces come.

    Args:
        pieces: Each (samples,), float32.
        from_rate: Hz.
        to_rate: Hz.

    Yields:
        (samples,) float32, of any lengths, none included: the resampler waits for what follows.

    Example:
        >>> sum(len(piece) for piece in resample_pieces([np.zeros(22_050, np.float32)] * 2, 44_100, 16_000))
        16000
    """
    if from_rate == to_rate:
        yield from pieces
        return
    import soxr

    resampler = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")
    for samples in pieces:
        yield resampler.resample_chunk(samples)
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
