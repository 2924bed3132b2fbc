"""What can be told of a sound without knowing what it is of: length, level, noise floor, silence, clipping, bandwidth.

Two uses: faults of a recording, and what a classifier might learn in place of the sound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FAINTEST_DB = -140.0
"""What stands for minus infinity: no level is given below it."""

FULL_SCALE = 0.999
FRAME_S = 0.02
SILENT_BELOW_LOUDEST_DB = 80.0  # what a file holds where nothing was recorded; pauses between sounds are louder
SILENT_DB = -100.0  # rounding to 16 bits alone leaves -98
FLOOR_PERCENTILE = 10

LOWEST_CUT_HZ = 2000.0  # no usual channel ends below; a low-pitched sound may
FULL_BAND = 0.9  # of half the rate: above it, every converter's own filter ends the band
_SPECTRUM_S = 0.046
_SPECTRUM_FRAMES = 400  # at most, evenly spread over a long sound
_FEWEST_FRAMES = 4
_BANDS_PER_OCTAVE = 24
_BANDS_BELOW, _BANDS_WITHIN = 6, 3  # a quarter of an octave below the edge, an eighth for the edge itself
_CLIFF_DB = 18.0  # over those three eighths at most: as steep as filters are and sounds are not
_BACKGROUND_CLIFF_DB = 10.0
_SOUNDING_BELOW_LOUDEST_DB = 40.0
_ROUNDING_DB = 10 * np.log10(2.0**-30 / 12)  # in each bin, of rounding to 16 bits
_HEARD_DB = -95.0  # more than rounding leaves
_EMPTY_DB = 8.0  # above that: rounding with dither, as loud as its loudest band


@dataclass(frozen=True, slots=True)
class SoundTraits:
    """What a recording is like, whatever it is of.

    Attributes:
        duration_s: Length, seconds.
        sample_rate: The file's own, Hz.
        channels: As stored.
        codec: As ``SoundInfo.codec`` has it; ``""`` where unknown.
        bit_depth: Bits a sample, where the codec has such a thing.
        peak: The largest absolute sample; 1 is full scale, lossy codecs go beyond.
        level_db: RMS over the whole sound, dBFS (a full-scale square wave is 0), at least -140; so are all levels.
        peak_level_db: ``peak`` in dBFS.
        noise_floor_db: The RMS level that a tenth of the 20 ms frames stay below, dBFS.
        silence_share: Share of the 20 ms frames that hold nothing: 80 dB below the loudest, or below -100 dBFS.
        clipped_share: Share of the samples at full scale.
        dc_offset: Mean of the samples.
        bandwidth_hz: Where the spectrum ends as if cut off, Hz; half the sample rate where it does not.
        constant: All samples are the same, as in digital silence.
        broken_samples: How many are NaN or infinite; they count nowhere else.
    """

    duration_s: float
    sample_rate: int
    channels: int
    codec: str
    bit_depth: int | None
    peak: float
    level_db: float
    peak_level_db: float
    noise_floor_db: float
    silence_share: float
    clipped_share: float
    dc_offset: float
    bandwidth_hz: float
    constant: bool
    broken_samples: int


def measure_traits(
    waveform: NDArray[np.floating],
    sample_rate: int,
    *,
    channels: int = 1,
    codec: str = "",
    bit_depth: int | None = None,
) -> SoundTraits:
    """Measure what a recording is like.

    Args:
        waveform: (samples,) or (samples, channels), float, nominally in [-1, 1], at the file's own rate; one sample or
            more. Levels, peak and clipping are over all channels, the spectrum is that of their mean.
        sample_rate: Hz.
        channels: Of the file, where the waveform is already mixed to mono.
        codec: Of the file, as ``probe`` names it.
        bit_depth: Of the file; ``None`` reads it off a codec such as ``pcm_24``.

    Returns:
        The traits; every number in them is finite.

    Raises:
        ValueError: there is no sample.

    Example:
        >>> tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
        >>> traits = measure_traits(tone, 44_100, codec="pcm_16")
        >>> round(traits.level_db, 2), round(traits.peak, 2), traits.bandwidth_hz, traits.bit_depth
        (-9.03, 0.5, 22050.0, 16)
    """
    samples = np.asarray(waveform, dtype=np.float32)
    if not samples.size:
        raise ValueError("a sound without samples has no traits")
    samples, broken = _without_broken(samples.reshape(len(samples), -1))
    magnitudes = np.abs(samples)
    peak = float(magnitudes.max())
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    frames_db = _measure_frames(samples, sample_rate)
    return SoundTraits(
        duration_s=len(samples) / sample_rate,
        sample_rate=sample_rate,
        channels=samples.shape[1] if samples.shape[1] > 1 else channels,
        codec=codec,
        bit_depth=read_bit_depth(codec) if bit_depth is None else bit_depth,
        peak=peak,
        level_db=_to_db(float(np.vdot(samples, samples)) / samples.size),
        peak_level_db=_to_db(peak**2),
        noise_floor_db=float(np.percentile(frames_db, FLOOR_PERCENTILE)),
        silence_share=float(np.mean(frames_db < max(frames_db.max() - SILENT_BELOW_LOUDEST_DB, SILENT_DB))),
        clipped_share=np.count_nonzero(magnitudes >= FULL_SCALE) / samples.size if peak >= FULL_SCALE else 0.0,
        dc_offset=float(mono.mean(dtype=np.float64)),
        bandwidth_hz=measure_bandwidth(mono, sample_rate),
        constant=bool(np.all(samples == samples[0, 0])),
        broken_samples=broken,
    )


def measure_bandwidth(waveform: NDArray[np.floating], sample_rate: int) -> float:
    """Where a sound's spectrum ends as if cut off; half the sample rate where nothing has cut it.

    A telephone, an MP3 encoder or a resampler leaves a cliff: all of the band below it sounds, nothing above it ever
    does. A sound that merely has little treble falls off gently, so it is not taken for one; nor is a glide of a pure
    tone, which in most moments is not where the cliff would be.

    Args:
        waveform: (samples,), float, mono.
        sample_rate: Hz.

    Returns:
        Hz. Cliffs are looked for from 2 kHz to 90 % of half the rate; sounds below about 0.2 s show none.

    Example:
        >>> import soxr
        >>> noise = np.random.default_rng(0).standard_normal(16_000).astype("float32") / 10
        >>> telephone = soxr.resample(noise[:8_000], 8_000, 44_100)
        >>> 3600 < measure_bandwidth(telephone, 44_100) < 4200, measure_bandwidth(noise, 16_000)
        (True, 8000.0)
    """
    half_hz = sample_rate / 2
    n_fft = 2 ** round(np.log2(max(_SPECTRUM_S * sample_rate, 16)))
    edges_hz = LOWEST_CUT_HZ * 2 ** (np.arange(-_BANDS_BELOW, 24 * _BANDS_PER_OCTAVE) / _BANDS_PER_OCTAVE)
    edges_hz = edges_hz[edges_hz < half_hz]
    if len(waveform) < _FEWEST_FRAMES * n_fft or half_hz * FULL_BAND <= LOWEST_CUT_HZ:
        return half_hz
    bands_db, sounding = _measure_bands(waveform, n_fft, np.round(edges_hz * n_fft / sample_rate).astype(int))
    if np.count_nonzero(sounding) < _FEWEST_FRAMES:
        return half_hz
    band = _find_cliff(bands_db, sounding, int(np.count_nonzero(edges_hz < FULL_BAND * half_hz)))
    return half_hz if band is None or edges_hz[band] >= FULL_BAND * half_hz else float(edges_hz[band])


def read_bit_depth(codec: str) -> int | None:
    """Bits a sample of a codec that stores samples as they are; ``None`` for all others.

    Example:
        >>> read_bit_depth("pcm_16"), read_bit_depth("pcm_s8"), read_bit_depth("float"), read_bit_depth("mp3")
        (16, 8, 32, None)
    """
    if codec in ("float", "double"):
        return 32 if codec == "float" else 64
    found = re.fullmatch(r"pcm_[a-z]?(\d+)", codec)
    return int(found[1]) if found else None


def _to_db(power: float) -> float:
    return max(10 * float(np.log10(max(power, 1e-30))), FAINTEST_DB)


def _without_broken(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Samples with zeros where they are not finite, and how many those are."""
    finite = np.isfinite(samples)
    broken = samples.size - int(np.count_nonzero(finite))
    return (np.where(finite, samples, np.float32(0)), broken) if broken else (samples, 0)


def _measure_frames(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.floating]:
    """RMS levels of the 20 ms frames over all channels, dBFS; what is left over at the end is no frame."""
    length = max(1, min(round(FRAME_S * sample_rate), len(samples)))
    frames = samples[: len(samples) // length * length].reshape(-1, length * samples.shape[1])
    power = np.einsum("ij,ij->i", frames, frames) / frames.shape[1]
    return np.maximum(10 * np.log10(np.maximum(power, 1e-30)), FAINTEST_DB)


def _measure_bands(
    waveform: NDArray[np.floating], n_fft: int, edges: NDArray[np.integer]
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """(frames, bands), dB: the power a bin between each edge and the next; and which frames are no pause.

    Nothing counts below what rounding to 16 bits leaves in a bin, and frames of nothing else are left out: a cliff down
    there is a codec's or a file's, not the recording's.
    """
    from scipy.fft import rfft  # type: ignore[import-untyped]  # NumPy's takes five times as long

    step = max(n_fft, len(waveform) // _SPECTRUM_FRAMES)
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(waveform, dtype=np.float32), n_fft)[::step]
    level = np.einsum("ij,ij->i", frames, frames) / n_fft
    heard = level > 10 ** (_HEARD_DB / 10)
    sounding = level[heard] > level.max() * 10 ** (-_SOUNDING_BELOW_LOUDEST_DB / 10)
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    spectrum = rfft(frames[heard] * window)
    power = (spectrum.real**2 + spectrum.imag**2) / np.float32(np.square(window).sum())
    bands = np.add.reduceat(power, edges, axis=1) / np.diff(np.append(edges, power.shape[1]))
    return 10 * np.log10(np.maximum(bands, 10 ** (_ROUNDING_DB / 10))), sounding


def _find_cliff(bands_db: NDArray[np.floating], sounding: NDArray[np.bool_], bands: int) -> int | None:
    """The first band beyond the cliff, looked for up to band ``bands``; ``None`` without one.

    Below it most moments sound, above it hardly any ever does. Notes that end at some pitch do that, too: so either
    nothing at all is left above, or the background ends there as well.
    """
    usual_db = np.median(bands_db[sounding], axis=0)
    background_db = np.percentile(bands_db, FLOOR_PERCENTILE, axis=0)
    highest_db = np.percentile(bands_db[sounding], 90, axis=0)
    above_db = np.maximum.accumulate(highest_db[::-1])[::-1]
    # Entry i of the two running medians ends before band i + _BANDS_BELOW.
    below_db, background_below_db = (
        np.median(np.lib.stride_tricks.sliding_window_view(levels, _BANDS_BELOW), axis=-1)
        for levels in (usual_db, background_db)
    )
    places = np.arange(_BANDS_BELOW, min(bands, len(usual_db) - _BANDS_WITHIN))
    before, beyond = places - _BANDS_BELOW, places + _BANDS_WITHIN
    drop_db = below_db[before] - above_db[beyond]
    empty = above_db[beyond] < _ROUNDING_DB + _EMPTY_DB
    ends_too = background_below_db[before] - background_db[beyond] > _BACKGROUND_CLIFF_DB
    drop_db = np.where(empty | ends_too, drop_db, 0.0)
    if not len(drop_db) or drop_db.max() <= _CLIFF_DB:
        return None
    found = int(drop_db.argmax())
    middle_db = above_db[beyond[found]] + drop_db[found] / 2
    return int(places[found] + np.count_nonzero(usual_db[places[found] : beyond[found]] > middle_db))
