"""Mel spectrogram, log-mel and MFCC: pure torch functions over batches, and the modules around them.

Everything here works inside a model's graph: no Python depends on the data, so a model that holds a front end
exports whole. All spectrograms have shape (…, bands, frames), with ``frames = 1 + samples // hop_length``: frames are
centred on multiples of ``hop_length`` and the ends are padded with zeros, so zeros appended to a clip add frames but
change none of those it had.
"""

import warnings
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from earmark.errors import RecipeError
from earmark.sound.mel_bands import apply_mel, find_bins

MelScale = Literal["slaney", "htk"]
MelNorm = Literal["slaney", "none"]
Reference = Literal["one", "max"]

MIN_POWER = 1e-10  # librosa's amin: digital silence is -100 dB


@lru_cache(maxsize=32)
def mel_filters(
    *,
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: MelScale = "slaney",
    mel_norm: MelNorm = "slaney",
) -> Tensor:
    """Triangular mel filters.

    Args:
        sample_rate: Hz.
        n_fft: FFT length, samples.
        n_mels: Number of bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; ``None`` means ``sample_rate / 2``.
        mel_scale: ``"slaney"`` (linear below 1 kHz, as librosa) or ``"htk"`` (logarithmic throughout).
        mel_norm: ``"slaney"`` gives every band the same area, ``"none"`` the same height.

    Returns:
        (1 + n_fft // 2, n_mels), float32.

    Raises:
        RecipeError: not ``0 <= f_min < f_max <= sample_rate / 2``; the message names the nearest valid value.

    Example:
        >>> mel_filters(sample_rate=16_000, n_fft=512, n_mels=40).shape
        torch.Size([257, 40])

    Source:
        Slaney's Auditory Toolbox (1998) and the HTK Book (2006); checked against ``librosa.filters.mel``.
    """
    from transformers.audio_utils import hertz_to_mel, mel_to_hertz

    nyquist_hz = sample_rate / 2
    upper_hz = nyquist_hz if f_max is None else f_max
    if upper_hz > nyquist_hz:
        raise RecipeError(
            f"f_max = {upper_hz:g} Hz lies above half the sample rate; use at most {nyquist_hz:g} Hz (or leave it out)."
        )
    if not 0 <= f_min < upper_hz:
        raise RecipeError(f"f_min = {f_min:g} Hz must lie between 0 and f_max = {upper_hz:g} Hz; use 0 for all of it.")
    # Not transformers' mel_filter_bank: it puts the bins in the wrong places for an odd rate or FFT length (0.05 dB at
    # 11,025 Hz).
    lowest, highest = hertz_to_mel(np.array([f_min, upper_hz], dtype=np.float64), mel_scale=mel_scale)
    edges_hz = mel_to_hertz(np.linspace(lowest, highest, n_mels + 2), mel_scale=mel_scale)
    from_bin_hz = edges_hz - np.arange(1 + n_fft // 2)[:, None] * sample_rate / n_fft
    width_hz = np.diff(edges_hz)
    rising, falling = -from_bin_hz[:, :-2] / width_hz[:-1], from_bin_hz[:, 2:] / width_hz[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if mel_norm == "slaney":
        bank *= 2.0 / (edges_hz[2:] - edges_hz[:-2])
    if not bank.any(axis=0).all():
        warnings.warn(f"Some of the {n_mels} mel bands hold no bin of a {n_fft}-point FFT; use fewer.", stacklevel=2)
    return torch.from_numpy(bank).float()


@lru_cache(maxsize=32)
def dct_matrix(n_mfcc: int, n_mels: int) -> Tensor:
    """Orthonormal DCT-II, (n_mels, n_mfcc): the step from log-mel bands to cepstral coefficients.

    Example:
        >>> basis = dct_matrix(20, 20)
        >>> bool(torch.allclose(basis.T @ basis, torch.eye(20), atol=1e-5))
        True
    """
    if n_mfcc > n_mels:
        raise RecipeError(f"n_mfcc = {n_mfcc} needs at least as many mel bands; n_mels is {n_mels}.")
    # Transformers builds models on the "meta" device before it loads them; a matrix kept from there would be empty.
    band = torch.arange(n_mels, dtype=torch.float64, device="cpu")
    order = torch.arange(n_mfcc, dtype=torch.float64, device="cpu")
    basis = torch.cos(torch.pi / n_mels * (band[:, None] + 0.5) * order[None, :]) * (2.0 / n_mels) ** 0.5
    basis[:, 0] /= 2.0**0.5
    return basis.float()


@lru_cache(maxsize=32)
def _hann(length: int) -> Tensor:
    return torch.hann_window(length, periodic=True, device="cpu")


def mel_spectrogram(
    waveform: Tensor,
    *,
    sample_rate: int,
    n_fft: int = 1024,
    hop_length: int = 512,
    n_mels: int = 64,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: MelScale = "slaney",
    mel_norm: MelNorm = "slaney",
    power: float = 2.0,
) -> Tensor:
    """Mel spectrogram, linear: STFT (periodic Hann window of ``n_fft``) -> power or amplitude -> mel bands.

    Args:
        waveform: (samples,) or (batch, samples), float32, mono, nominally in [-1, 1].
        sample_rate: Hz.
        n_fft: Window and FFT length, samples.
        hop_length: Step between frames, samples.
        n_mels: Number of bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; ``None`` means ``sample_rate / 2``.
        mel_scale: ``"slaney"`` or ``"htk"``.
        mel_norm: ``"slaney"`` (equal area) or ``"none"`` (equal height).
        power: 2 for power, 1 for amplitude.

    Returns:
        (n_mels, frames) or (batch, n_mels, frames), float32, ``frames = 1 + samples // hop_length``.

    Raises:
        RecipeError: not ``0 <= f_min < f_max <= sample_rate / 2``; the message names the nearest valid value.

    Example:
        >>> mel_spectrogram(torch.zeros(2, 16_000), sample_rate=16_000).shape
        torch.Size([2, 64, 32])

    Source:
        Slaney's Auditory Toolbox (1998) and the HTK Book (2006); checked against
        ``librosa.feature.melspectrogram`` with ``pad_mode="constant"``.
    """
    filters = mel_filters(
        sample_rate=sample_rate,
        n_fft=n_fft,
        n_mels=n_mels,
        f_min=f_min,
        f_max=f_max,
        mel_scale=mel_scale,
        mel_norm=mel_norm,
    )
    window = _hann(n_fft).to(waveform.device)
    heard = find_bins(filters)
    return apply_mel(waveform, window, filters.to(waveform.device), heard, hop_length=hop_length, power=power)


def to_db(mel: Tensor, *, power: float = 2.0, reference: Reference = "one", top_db: float | None = None) -> Tensor:
    """Decibels of a mel spectrogram.

    Args:
        mel: (…, bands, frames), power or amplitude, not negative.
        power: 2 if ``mel`` is power, 1 if it is amplitude.
        reference: ``"one"``: 0 dB is a value of 1; ``"max"``: 0 dB is the clip's loudest value.
        top_db: Nothing lies further than this below the clip's loudest value; ``None`` leaves all.

    Returns:
        The shape of ``mel``, dB. The floor is -100 dB (a power of 1e-10) before any reference is taken away.

    Example:
        >>> to_db(torch.tensor([[1.0, 0.1, 0.0]]))
        tensor([[   0.,  -10., -100.]])

    Source:
        ``librosa.power_to_db`` and ``librosa.amplitude_to_db``.
    """
    level_db = mel.clamp_min(MIN_POWER ** (power / 2))
    # Where nobody needs gradients, in place: fresh memory costs as much as the logarithm.
    level_db = level_db.log10() * (20.0 / power) if level_db.requires_grad else level_db.log10_().mul_(20.0 / power)
    if top_db is None and reference == "one":
        return level_db
    loudest_db = level_db.amax(dim=(-2, -1), keepdim=True)
    if top_db is not None:
        level_db = torch.maximum(level_db, loudest_db - top_db)
    return level_db - loudest_db if reference == "max" else level_db


def log_mel(
    waveform: Tensor,
    *,
    sample_rate: int,
    n_fft: int = 1024,
    hop_length: int = 512,
    n_mels: int = 64,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: MelScale = "slaney",
    mel_norm: MelNorm = "slaney",
    power: float = 2.0,
    reference: Reference = "one",
    top_db: float | None = None,
) -> Tensor:
    """Log-mel spectrogram in decibels: ``to_db(mel_spectrogram(...))``.

    Args:
        waveform: (samples,) or (batch, samples), float32, mono, nominally in [-1, 1].
        sample_rate: Hz.
        n_fft: Window and FFT length, samples.
        hop_length: Step between frames, samples.
        n_mels: Number of bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; ``None`` means ``sample_rate / 2``.
        mel_scale: ``"slaney"`` or ``"htk"``.
        mel_norm: ``"slaney"`` (equal area) or ``"none"`` (equal height).
        power: 2 for power, 1 for amplitude.
        reference: ``"one"`` or ``"max"`` (the clip's loudest value becomes 0 dB).
        top_db: Dynamic range kept below the clip's loudest value, dB; ``None`` keeps all.

    Returns:
        (n_mels, frames) or (batch, n_mels, frames), float32, dB; ``frames = 1 + samples // hop_length``.

    Raises:
        RecipeError: not ``0 <= f_min < f_max <= sample_rate / 2``; the message names the nearest valid value.

    Example:
        >>> log_mel(torch.zeros(16_000), sample_rate=16_000).shape
        torch.Size([64, 32])

    Source:
        Checked against ``librosa.power_to_db(librosa.feature.melspectrogram(...))``.
    """
    mel = mel_spectrogram(
        waveform,
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        f_min=f_min,
        f_max=f_max,
        mel_scale=mel_scale,
        mel_norm=mel_norm,
        power=power,
    )
    return to_db(mel, power=power, reference=reference, top_db=top_db)


def mfcc(
    waveform: Tensor,
    *,
    sample_rate: int,
    n_mfcc: int = 40,
    n_fft: int = 2048,
    hop_length: int = 512,
    n_mels: int = 128,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: MelScale = "slaney",
    mel_norm: MelNorm = "slaney",
    top_db: float | None = 80.0,
) -> Tensor:
    """Mel-frequency cepstral coefficients: orthonormal DCT-II over the bands of a log-mel power spectrogram.

    Args:
        waveform: (samples,) or (batch, samples), float32, mono, nominally in [-1, 1].
        sample_rate: Hz.
        n_mfcc: Number of coefficients, at most ``n_mels``; the first follows the loudness.
        n_fft: Window and FFT length, samples.
        hop_length: Step between frames, samples.
        n_mels: Number of mel bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; ``None`` means ``sample_rate / 2``.
        mel_scale: ``"slaney"`` or ``"htk"``.
        mel_norm: ``"slaney"`` or ``"none"``.
        top_db: Dynamic range kept below the clip's loudest value, dB.

    Returns:
        (n_mfcc, frames) or (batch, n_mfcc, frames), float32.

    Raises:
        RecipeError: ``n_mfcc > n_mels``, or band edges outside ``[0, sample_rate / 2]``.

    Example:
        >>> mfcc(torch.zeros(22_050), sample_rate=22_050).shape
        torch.Size([40, 44])

    Source:
        Davis and Mermelstein (1980); the defaults and values are those of ``librosa.feature.mfcc``.
    """
    bands_db = log_mel(
        waveform,
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        f_min=f_min,
        f_max=f_max,
        mel_scale=mel_scale,
        mel_norm=mel_norm,
        top_db=top_db,
    )
    return dct_matrix(n_mfcc, n_mels).to(waveform.device).T @ bands_db


class MelSpectrogram(nn.Module):
    """`mel_spectrogram` as a module: window and filters are buffers, saved with the model and exported with it.

    Example:
        >>> MelSpectrogram(sample_rate=16_000)(torch.zeros(2, 16_000)).shape
        torch.Size([2, 64, 32])
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        *,
        sample_rate: int,
        n_fft: int = 1024,
        hop_length: int = 512,
        n_mels: int = 64,
        f_min: float = 0.0,
        f_max: float | None = None,
        mel_scale: MelScale = "slaney",
        mel_norm: MelNorm = "slaney",
        power: float = 2.0,
    ) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.power = power
        filters = mel_filters(
            sample_rate=sample_rate,
            n_fft=n_fft,
            n_mels=n_mels,
            f_min=f_min,
            f_max=f_max,
            mel_scale=mel_scale,
            mel_norm=mel_norm,
        )
        self.register_buffer("window", torch.hann_window(n_fft, periodic=True))
        self.register_buffer("filters", filters.clone())
        self.heard = find_bins(filters)

    def forward(self, waveform: Tensor) -> Tensor:
        return apply_mel(waveform, self.window, self.filters, self.heard, hop_length=self.hop_length, power=self.power)
