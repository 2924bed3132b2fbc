"""One sound taken apart for the eye: spectrum of a moment, spectrogram, mel spectrogram, MFCC, as arrays of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import SoundError

WINDOW_S = 0.046
SHORTEST_PICTURE = 300  # frames: a shorter sound is looked at in smaller steps
RANGE_DB = 80.0
FAINTEST_DB = -140.0  # of full scale: nothing in a spectrum lies below


@dataclass(frozen=True)
class AnalysisSettings:
    """How a sound is taken apart.

    Args:
        n_fft: Window and FFT length of spectrogram, mel spectrogram and MFCC, samples; ``None``: the power of two
            nearest to 46 ms (2048 at 44.1 kHz).
        hop_length: Step between frames, samples; ``None``: a quarter of ``n_fft``, less for sounds so short that they
            would have fewer than 300 frames.
        n_mels: Number of mel bands.
        n_mfcc: Number of cepstral coefficients, at most ``n_mels``.
        spectrum_at_s: Where the window of the spectrum begins, seconds from the start of the file; ``None``: where the
            sound is loudest.
        spectrum_length: Length of that window, samples.
    """

    n_fft: int | None = None
    hop_length: int | None = None
    n_mels: int = 128
    n_mfcc: int = 40
    spectrum_at_s: float | None = None
    spectrum_length: int = 4096


@dataclass(frozen=True, eq=False)
class SoundAnalysis:
    """A sound taken apart.

    Args:
        waveform: (samples,), float32.
        sample_rate: Hz.
        start_s: Where in its file the waveform begins, seconds.
        n_fft: Window and FFT length, samples.
        hop_length: Step between frames, samples.
        spectrum_start: First sample of the spectrum's window.
        spectrum_length: Its length, samples.
        frequencies_hz: (bins,), of the spectrum, without 0 Hz.
        spectrum_db: (bins,), 0 dB is a sine at full scale.
        linear_db: (1 + n_fft // 2, frames), dB of the loudest value, from -80 to 0.
        mel_db: (n_mels, frames), dB of the loudest value, from -80 to 0.
        mfcc: (n_mfcc, frames).
    """

    waveform: NDArray[np.float32]
    sample_rate: int
    start_s: float
    n_fft: int
    hop_length: int
    spectrum_start: int
    spectrum_length: int
    frequencies_hz: NDArray[np.floating]
    spectrum_db: NDArray[np.floating]
    linear_db: NDArray[np.floating]
    mel_db: NDArray[np.floating]
    mfcc: NDArray[np.floating]

    @property
    def duration_s(self) -> float:
        """Length of what is shown, seconds."""
        return len(self.waveform) / self.sample_rate

    @property
    def peak(self) -> float:
        """The largest absolute sample."""
        return float(np.abs(self.waveform).max())

    @property
    def spectrum_start_s(self) -> float:
        """Where in the file the spectrum's window begins, seconds."""
        return self.start_s + self.spectrum_start / self.sample_rate

    @property
    def strongest_hz(self) -> float | None:
        """The frequency at which the spectrum is highest; ``None`` in silence."""
        return float(self.frequencies_hz[self.spectrum_db.argmax()]) if self.peak else None


def analyse_sound(
    waveform: NDArray[np.floating],
    sample_rate: int,
    settings: AnalysisSettings | None = None,
    *,
    start_s: float = 0.0,
) -> SoundAnalysis:
    """Take a sound apart.

    Args:
        waveform: (samples,), float, mono, nominally in [-1, 1].
        sample_rate: Hz.
        settings: How; ``None`` for what suits the sound.
        start_s: Where in its file the waveform begins, seconds.

    Returns:
        All that a sheet shows.

    Raises:
        SoundError: there is no sample, or the spectrum's window begins outside of the sound.
        RecipeError: more coefficients than mel bands.

    Example:
        >>> found = analyse_sound(np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000), 16_000)
        >>> found.strongest_hz, found.n_fft, found.hop_length, found.mel_db.shape
        (1000.0, 1024, 53, (128, 302))

    Source:
        `earmark.sound.features`; the spectrum as in `measure_spectrum`.
    """
    if waveform.size == 0:
        raise SoundError("There is nothing to show: the sound has no samples. Check its start and end.")
    settings = settings or AnalysisSettings()
    samples = np.ascontiguousarray(waveform, dtype=np.float32)
    n_fft = settings.n_fft or max(16, 2 ** round(np.log2(WINDOW_S * sample_rate)))
    hop_length = settings.hop_length or max(1, min(n_fft // 4, len(samples) // SHORTEST_PICTURE))
    begin, length = _choose_window(samples, sample_rate, settings, start_s)
    frequencies_hz, spectrum_db = measure_spectrum(samples[begin : begin + length], sample_rate)
    linear_db, mel_db, coefficients = _measure_frames(samples, sample_rate, n_fft, hop_length, settings)
    return SoundAnalysis(
        waveform=samples,
        sample_rate=sample_rate,
        start_s=start_s,
        n_fft=n_fft,
        hop_length=hop_length,
        spectrum_start=begin,
        spectrum_length=length,
        frequencies_hz=frequencies_hz,
        spectrum_db=spectrum_db,
        linear_db=linear_db,
        mel_db=mel_db,
        mfcc=coefficients,
    )


def measure_spectrum(
    waveform: NDArray[np.floating], sample_rate: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Amplitude spectrum of a short sound under a Hann window.

    Args:
        waveform: (samples,), float, mono.
        sample_rate: Hz.

    Returns:
        Frequencies in Hz without 0, and levels in dB: 0 dB is a sine at full scale, nothing lies below -140.

    Example:
        >>> frequencies_hz, level_db = measure_spectrum(np.sin(np.pi / 4 * np.arange(4096)), 16_000)
        >>> float(frequencies_hz[level_db.argmax()]), abs(round(float(level_db.max()), 2))
        (2000.0, 0.0)
    """
    # Periodic, without the zero at its start, of which a very short sound would be nothing but.
    window = np.hanning(len(waveform) + 2)[1:-1]
    n_fft = max(16, len(waveform))
    amplitude = 2 * np.abs(np.fft.rfft(waveform * window, n_fft)) / window.sum()
    level_db = 20 * np.log10(np.maximum(amplitude, 10 ** (FAINTEST_DB / 20)))
    return np.fft.rfftfreq(n_fft, 1 / sample_rate)[1:], level_db[1:]


def _choose_window(
    waveform: NDArray[np.float32], sample_rate: int, settings: AnalysisSettings, start_s: float
) -> tuple[int, int]:
    """First sample and length of the spectrum's window: where it is asked for, else where the sound is loudest."""
    length = min(settings.spectrum_length, len(waveform))
    if settings.spectrum_at_s is None:
        energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
        starts = np.arange(0, len(waveform) - length + 1, max(1, length // 8))
        return int(starts[(energy[starts + length] - energy[starts]).argmax()]), length
    begin = round((settings.spectrum_at_s - start_s) * sample_rate)
    if not 0 <= begin < len(waveform):
        end_s = start_s + len(waveform) / sample_rate
        raise SoundError(
            f"There is no spectrum at {settings.spectrum_at_s:g} s: what is shown goes "
            f"from {start_s:g} to {end_s:g} s; name a time within."
        )
    return min(begin, len(waveform) - length), length


def _measure_frames(
    waveform: NDArray[np.float32], sample_rate: int, n_fft: int, hop_length: int, settings: AnalysisSettings
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Spectrogram and mel spectrogram in dB, and the MFCC: the same frames in all three."""
    import torch

    from earmark.sound.features import mel_spectrogram, mfcc, to_db

    same: dict[str, Any] = {
        "sample_rate": sample_rate,
        "n_fft": n_fft,
        "hop_length": hop_length,
        "n_mels": settings.n_mels,
    }
    peak = float(np.abs(waveform).max())
    # Brought to full scale, so that quiet sounds have their 80 dB, too.
    full = torch.from_numpy(waveform / (peak or 1.0))
    spectrum = torch.stft(
        full, n_fft, hop_length, window=torch.hann_window(n_fft), pad_mode="constant", return_complex=True
    )
    pictures = (spectrum.abs().square_(), mel_spectrogram(full, **same))
    linear_db, mel_db = (
        to_db(power, reference="max", top_db=RANGE_DB).numpy() if peak else power.numpy() - RANGE_DB
        for power in pictures
    )
    return linear_db, mel_db, mfcc(torch.from_numpy(waveform), n_mfcc=settings.n_mfcc, **same).numpy()
