"""From a mel spectrogram back to a waveform: one hears what the features keep, and what they throw away."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from earmark.errors import RecipeError
from earmark.sound.features import MelNorm, MelScale, mel_filters

DESCENTS = 100  # steps of the least-squares search: beyond, the Griffin-Lim step decides how close the result comes
ITERATIONS = 64
MOMENTUM = 0.99


def invert_mel(
    mel: Tensor,
    *,
    sample_rate: int,
    n_fft: int = 1024,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: MelScale = "slaney",
    mel_norm: MelNorm = "slaney",
    power: float = 2.0,
) -> Tensor:
    """The linear spectrogram that has this mel spectrogram: non-negative least squares.

    Many spectra have the same mel bands. This one is found from the pseudo-inverse, cut off at zero, by accelerated
    projected gradient descent.

    Args:
        mel: (n_mels, frames), linear (not dB), not negative, as from `mel_spectrogram` with the same settings.
        sample_rate: Hz.
        n_fft: FFT length, samples.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; ``None`` means ``sample_rate / 2``.
        mel_scale: ``"slaney"`` or ``"htk"``.
        mel_norm: ``"slaney"`` or ``"none"``.
        power: 2 if ``mel`` is power, 1 if it is amplitude.

    Returns:
        (1 + n_fft // 2, frames), float32: amplitudes of the STFT.

    Raises:
        RecipeError: not ``0 <= f_min < f_max <= sample_rate / 2``; the message names the nearest valid value.

    Example:
        >>> invert_mel(torch.ones(40, 7), sample_rate=16_000, n_fft=512).shape
        torch.Size([257, 7])

    Source:
        Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm" (2009), with the projection on what is
        not negative in the place of the shrinkage; ``librosa.feature.inverse.mel_to_stft`` does the same job.
    """
    filters = mel_filters(
        sample_rate=sample_rate,
        n_fft=n_fft,
        n_mels=mel.shape[0],
        f_min=f_min,
        f_max=f_max,
        mel_scale=mel_scale,
        mel_norm=mel_norm,
    )
    energy = (torch.linalg.pinv(filters.T) @ mel).clamp_min(0.0)
    ahead, pace = energy, 1.0
    step = 1.0 / float(torch.linalg.matrix_norm(filters, 2)) ** 2
    for _ in range(DESCENTS):
        following = (ahead - step * (filters @ (filters.T @ ahead - mel))).clamp_min(0.0)
        faster = (1.0 + math.sqrt(1.0 + 4.0 * pace * pace)) / 2.0
        ahead = following + (pace - 1.0) / faster * (following - energy)
        energy, pace = following, faster
    return energy.pow(1.0 / power)


def find_waveform(
    amplitude: Tensor,
    *,
    n_fft: int,
    hop_length: int,
    length: int | None = None,
    iterations: int = ITERATIONS,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """A waveform whose STFT has these amplitudes, as nearly as can be: Griffin-Lim with momentum.

    Args:
        amplitude: (1 + n_fft // 2, frames), not negative; frames are centred and the ends padded with zeros, as in
            `mel_spectrogram`.
        n_fft: Window and FFT length, samples.
        hop_length: Step between frames, samples; at most half of ``n_fft``.
        length: Samples wanted, such that ``frames = 1 + length // hop_length``; ``None`` means the fewest of them.
        iterations: Rounds; the amplitudes are put back after each.
        seed: Of the random phases that it starts from.
        on_progress: Called with (rounds done, rounds in all).

    Returns:
        (length,), float32. The same seed gives the same samples.

    Raises:
        RecipeError: ``hop_length`` is more than half of ``n_fft``: the frames do not overlap enough to tell phases.

    Example:
        >>> find_waveform(torch.ones(257, 8), n_fft=512, hop_length=128, length=1_000).shape
        torch.Size([1000])

    Source:
        Griffin and Lim (1984); with momentum: Perraudin, Balazs and Søndergaard, "A fast Griffin-Lim algorithm" (2013).
    """
    if not 0 < hop_length <= n_fft // 2:
        raise RecipeError(
            f"hop_length = {hop_length} is too long to make sound from frames of {n_fft} samples; "
            f"use at most {n_fft // 2}, best {n_fft // 4}."
        )
    window = torch.hann_window(n_fft, periodic=True)
    length = (amplitude.shape[1] - 1) * hop_length if length is None else length
    if 1 + length // hop_length != amplitude.shape[1]:
        raise ValueError(f"length is {length}, of which {amplitude.shape[1]} frames every {hop_length} are not made")
    random = torch.Generator().manual_seed(seed)
    phase = torch.polar(torch.ones_like(amplitude), 2 * torch.pi * torch.rand(amplitude.shape, generator=random))
    before = torch.zeros_like(phase)
    for done in range(iterations):
        waveform = torch.istft(amplitude * phase, n_fft, hop_length, window=window, length=length)
        spectrum = torch.stft(
            waveform, n_fft, hop_length, window=window, center=True, pad_mode="constant", return_complex=True
        )
        phase = spectrum - MOMENTUM / (1.0 + MOMENTUM) * before
        phase = phase / phase.abs().clamp_min(1e-16)
        before = spectrum
        if on_progress is not None:
            on_progress(done + 1, iterations)
    return torch.istft(amplitude * phase, n_fft, hop_length, window=window, length=length)


def resynthesise(
    mel: Tensor,
    *,
    sample_rate: int,
    n_fft: int = 1024,
    hop_length: int = 512,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: MelScale = "slaney",
    mel_norm: MelNorm = "slaney",
    power: float = 2.0,
    length: int | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """A sound that has this mel spectrogram: `invert_mel`, then `find_waveform`.

    Args:
        mel: (n_mels, frames), linear (not dB), as from `mel_spectrogram` with the same settings.
        sample_rate: Hz.
        n_fft: Window and FFT length, samples.
        hop_length: Step between frames, samples; at most half of ``n_fft``.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; ``None`` means ``sample_rate / 2``.
        mel_scale: ``"slaney"`` or ``"htk"``.
        mel_norm: ``"slaney"`` or ``"none"``.
        power: 2 if ``mel`` is power, 1 if it is amplitude.
        length: Samples of the sound that ``mel`` was made of; ``None`` means ``(frames - 1) * hop_length``.
        seed: Of the random phases.
        on_progress: Called with (rounds done, rounds in all).

    Returns:
        (length,), float32. Phases are not those of the original: compare it by ear or by `spectral_convergence`.

    Raises:
        RecipeError: ``hop_length`` is more than half of ``n_fft``, or band edges outside ``[0, sample_rate / 2]``.

    Example:
        >>> from earmark.sound.features import mel_spectrogram
        >>> tone = torch.sin(2 * torch.pi * 440 * torch.arange(8_000) / 16_000)
        >>> mel = mel_spectrogram(tone, sample_rate=16_000, hop_length=256)
        >>> resynthesise(mel, sample_rate=16_000, hop_length=256, length=8_000).shape
        torch.Size([8000])

    Source:
        See `invert_mel` and `find_waveform`; ``librosa.feature.inverse.mel_to_audio`` does the same job.
    """
    amplitude = invert_mel(
        mel,
        sample_rate=sample_rate,
        n_fft=n_fft,
        f_min=f_min,
        f_max=f_max,
        mel_scale=mel_scale,
        mel_norm=mel_norm,
        power=power,
    )
    return find_waveform(
        amplitude, n_fft=n_fft, hop_length=hop_length, length=length, seed=seed, on_progress=on_progress
    )


def spectral_convergence(mel: Tensor, wanted: Tensor, *, power: float = 2.0) -> float:
    """How far a spectrogram is from the one wanted: the norm of the difference of amplitudes over the norm wanted.

    Args:
        mel: (n_mels, frames), linear.
        wanted: The same shape.
        power: 2 if both are power, 1 if they are amplitude.

    Returns:
        0 where they are equal (two silences, too), 1 as far as silence is from the one wanted.

    Example:
        >>> round(spectral_convergence(torch.tensor([[1.0, 0.81]]), torch.tensor([[1.0, 1.0]])), 4)
        0.0707

    Source:
        Sturmel and Daudet, "Signal reconstruction from STFT magnitude: a state of the art" (2011).
    """
    got, target = mel.pow(1.0 / power), wanted.pow(1.0 / power)
    difference = float(torch.linalg.norm(got - target))
    return difference / float(torch.linalg.norm(target)) if difference else 0.0
