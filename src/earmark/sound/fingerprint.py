"""What is kept of a sound to know it again: after a shift, a gain, MP3 at 64 kbit/s, or noise at 20 dB.

A row of bytes for every 32 ms, about 2.5 kB a second, in three parts:

- how loud each of 16 mel bands is: rough, and fast to compare at every shift;
- how loud the frame is after the spectrum has been half flattened;
- the sign of each of its samples then, at 16 kHz. Two rains have the same spectrum and the same envelope, but never
  the same signs; a copy keeps most of them.
"""

import numpy as np

from earmark.sound.resample import resample

SAMPLE_RATE = 16_000
FRAME_LENGTH = 512
LONGEST_S = 10.0
"""Nothing after this is kept."""

_N_FFT = 2048
_N_BANDS = 16
_BAND_EDGES_HZ = (100.0, 7_000.0)
_ROW_BYTES = _N_BANDS + 1 + FRAME_LENGTH // 8
_STEP_DB = 0.25
_SILENCE_DB = -90.0  # the last bit of a 16-bit file
_SHORTEST_FRAMES = 4
_LOWEST_HZ = 60.0  # below it lie offsets, wind and handling
_SMOOTHING_HZ = 150.0
_FLATTENING = 0.5  # 0 leaves the spectrum, 1 makes it white and gives the noise of a copy as much say as its sound


def fingerprint(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The fingerprint of a sound, for ``earmark.data.near_duplicates.find_near_duplicates``.

    Only the first 10 seconds enter: copies that are shifted by a second or less share most of them.

    Args:
        waveform: (samples,), mono, nominally in [-1, 1]; what is not finite counts as zero.
        sample_rate: Hz; fingerprints of different rates can be compared.

    Returns:
        (frames, 81) uint8, ``frames = ceil(seconds / 0.032)``, at most 313; no frames for less than 0.1 s, and zeros
        for a sound that is nowhere louder than -90 dBFS.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, 44_100)
        >>> fingerprint(noise, 44_100).shape
        (32, 81)

    Source:
        The sign bits follow the one-bit correlators of radio astronomy (Van Vleck and Middleton 1966), the flattening
        the partly whitened cross-correlation of Knapp and Carter (1976).
    """
    samples = np.nan_to_num(np.asarray(waveform[: round(LONGEST_S * sample_rate)], np.float32), posinf=0.0, neginf=0.0)
    if len(samples):
        samples -= samples.mean()  # an offset would ring at both ends
    samples = resample(samples, sample_rate, SAMPLE_RATE)[: round(LONGEST_S * SAMPLE_RATE)]
    frames = -(-len(samples) // FRAME_LENGTH)
    if frames < _SHORTEST_FRAMES:
        return np.zeros((0, _ROW_BYTES), np.uint8)
    flat, loudest_db = _flatten(samples)
    if loudest_db < _SILENCE_DB:
        return np.zeros((frames, _ROW_BYTES), np.uint8)
    blocks = np.pad(flat, (0, frames * FRAME_LENGTH - len(flat))).reshape(frames, FRAME_LENGTH)
    levels = _measure_levels(blocks)[:, None]
    return np.hstack([_to_bytes(_measure_bands(samples, frames)), _to_bytes(levels), np.packbits(blocks >= 0, axis=1)])


def read_bands(kept: np.ndarray) -> np.ndarray:
    """The amplitudes of the mel bands in a fingerprint.

    Args:
        kept: What ``fingerprint`` gave.

    Returns:
        (frames, 16) float32; the loudest is 1.
    """
    return _to_amplitudes(kept[:, :_N_BANDS])


def read_signs(kept: np.ndarray) -> np.ndarray:
    """The signs in a fingerprint, each times the square root of its frame's amplitude.

    With the amplitude itself a single click would outweigh all the rest, and clicks are alike.

    Args:
        kept: What ``fingerprint`` gave.

    Returns:
        (512 * frames,) float32, at 16 kHz.
    """
    signs = np.unpackbits(kept[:, _N_BANDS + 1 :], axis=1).astype(np.float32) * 2 - 1
    return (signs * np.sqrt(_to_amplitudes(kept[:, _N_BANDS : _N_BANDS + 1]))).ravel()


def _flatten(samples: np.ndarray) -> tuple[np.ndarray, float]:
    """The waveform with its spectrum half flattened, and the level of its loudest frame before that, dBFS."""
    from scipy import fft, ndimage  # type: ignore[import-untyped]

    length = fft.next_fast_len(len(samples), real=True)
    spectrum = fft.rfft(samples, length)
    spectrum[: round(_LOWEST_HZ * length / SAMPLE_RATE)] = 0
    whole = fft.irfft(spectrum, length)[: len(samples) // FRAME_LENGTH * FRAME_LENGTH]
    loudest = _measure_levels(whole.reshape(-1, FRAME_LENGTH)).max()
    power = ndimage.uniform_filter1d(np.abs(spectrum) ** 2, max(round(_SMOOTHING_HZ * length / SAMPLE_RATE), 3))
    # The floor keeps what a codec has emptied from coming back as rounding errors.
    spectrum /= np.maximum(power + 1e-5 * power.max(), 1e-30) ** (_FLATTENING / 2)
    return fft.irfft(spectrum, length)[: len(samples)], float(20 * np.log10(loudest + 1e-10))


def _measure_levels(blocks: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(blocks), axis=1))


def _measure_bands(samples: np.ndarray, frames: int) -> np.ndarray:
    """(frames, 16): the amplitude of each mel band around the middle of each frame."""
    from scipy import fft

    # Mirrored, not padded with zeros: else all clips would share a fade at both ends.
    margin = (_N_FFT - FRAME_LENGTH) // 2
    missing = frames * FRAME_LENGTH - len(samples)
    padded = np.pad(samples, (margin, margin + missing), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::FRAME_LENGTH]
    power = np.abs(fft.rfft(windows * np.hanning(_N_FFT).astype(np.float32), axis=1)) ** 2
    bins = _find_band_bins()
    return np.sqrt(np.add.reduceat(power[:, : bins[-1]], bins[:-1], axis=1))


def _find_band_bins() -> np.ndarray:
    """The first FFT bin of each band and the one after the last: equal steps of HTK's mel scale."""
    low, high = 2595 * np.log10(1 + np.array(_BAND_EDGES_HZ) / 700)
    edges_hz = 700 * (10 ** (np.linspace(low, high, _N_BANDS + 1) / 2595) - 1)
    return np.round(edges_hz * _N_FFT / SAMPLE_RATE).astype(int)


def _to_bytes(amplitudes: np.ndarray) -> np.ndarray:
    """Steps of a quarter of a decibel; 255 is the loudest, 0 is 64 dB below it or nothing at all."""
    below_db = 20 * np.log10(np.maximum(amplitudes / max(amplitudes.max(), 1e-20), 1e-10))
    return np.clip(np.round(255 + below_db / _STEP_DB), 0, 255).astype(np.uint8)


def _to_amplitudes(steps: np.ndarray) -> np.ndarray:
    amplitudes = 10 ** ((np.arange(256) - 255) * _STEP_DB / 20)
    amplitudes[0] = 0
    return amplitudes.astype(np.float32)[steps]
