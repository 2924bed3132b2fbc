"""What comes back from a mel spectrogram has that mel spectrogram, as nearly as librosa's way or nearer."""

import librosa
import numpy as np
import pytest
import torch

from earmark.errors import RecipeError
from earmark.sound.features import mel_spectrogram
from earmark.sound.resynthesis import find_waveform, invert_mel, resynthesise, spectral_convergence
from earmark.sound.synthesis import synthesise

RATE_HZ = 16_000
FRAMES = {"sample_rate": RATE_HZ, "n_fft": 512, "hop_length": 128}


def make_sound(name, seconds=1.0):
    return torch.from_numpy(synthesise(name, seed=3, duration_s=seconds, sample_rate=RATE_HZ).astype(np.float32))


def to_mel(waveform, n_mels=40, **changes):
    return mel_spectrogram(waveform, n_mels=n_mels, **{**FRAMES, **changes})


@pytest.mark.parametrize("name", ["bell", "rain", "birdsong"])
def test_the_sound_made_anew_has_the_mel_spectrogram_it_was_made_from(name):
    mel = to_mel(make_sound(name))
    again = resynthesise(mel, length=RATE_HZ, **FRAMES)
    assert again.shape == (RATE_HZ,)
    assert again.dtype == torch.float32
    assert spectral_convergence(to_mel(again), mel) < 0.08


def test_it_comes_as_near_as_librosa_in_the_same_number_of_rounds():
    mel = to_mel(make_sound("bell", 0.5))
    theirs = librosa.feature.inverse.mel_to_audio(
        mel.numpy(), sr=RATE_HZ, n_fft=512, hop_length=128, pad_mode="constant", n_iter=32, length=RATE_HZ // 2
    )
    amplitude = invert_mel(mel, sample_rate=RATE_HZ, n_fft=512)
    ours = find_waveform(amplitude, n_fft=512, hop_length=128, length=RATE_HZ // 2, iterations=32)
    distance, theirs_distance = (
        spectral_convergence(to_mel(torch.as_tensor(again, dtype=torch.float32)), mel) for again in (ours, theirs)
    )
    assert distance <= 1.05 * theirs_distance


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_linear_spectrogram_has_the_same_bands_and_nothing_below_zero(power):
    mel = to_mel(make_sound("birdsong"), power=power)
    amplitude = invert_mel(mel, sample_rate=RATE_HZ, n_fft=512, power=power)
    assert amplitude.shape == (257, mel.shape[1])
    assert float(amplitude.min()) >= 0
    filters = torch.from_numpy(librosa.filters.mel(sr=RATE_HZ, n_fft=512, n_mels=40))
    assert spectral_convergence(filters @ amplitude**power, mel, power=power) < 0.04


def test_the_bands_limits_and_scale_are_those_of_the_features():
    kind = {"f_min": 100.0, "f_max": 6_000.0, "mel_scale": "htk", "mel_norm": "none"}
    mel = to_mel(make_sound("bell"), **kind)
    again = resynthesise(mel, length=RATE_HZ, **FRAMES, **kind)
    assert spectral_convergence(to_mel(again, **kind), mel) < 0.1


def test_the_seed_decides_and_nothing_else():
    mel = to_mel(make_sound("rain", 0.3))
    first, second, other = (resynthesise(mel, seed=seed, **FRAMES) for seed in (7, 7, 8))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert len(first) == (mel.shape[1] - 1) * 128


def test_momentum_is_what_brings_it_near():
    """Against plain Griffin-Lim (1984) in as many rounds."""
    mel = to_mel(make_sound("bell"))
    plain = librosa.griffinlim(
        invert_mel(mel, sample_rate=RATE_HZ, n_fft=512).numpy(),
        hop_length=128,
        n_iter=64,
        momentum=0.0,
        pad_mode="constant",
        length=RATE_HZ,
        random_state=0,
    )
    ours = spectral_convergence(to_mel(resynthesise(mel, length=RATE_HZ, **FRAMES)), mel)
    assert ours < spectral_convergence(to_mel(torch.as_tensor(plain, dtype=torch.float32)), mel)


def test_silence_stays_silent_and_short_sounds_have_their_length():
    silence = resynthesise(torch.zeros(40, 9), **FRAMES)
    assert float(silence.abs().max()) == 0
    assert spectral_convergence(torch.zeros(40, 9), torch.zeros(40, 9)) == 0
    short = torch.full((50,), 0.5)
    assert resynthesise(to_mel(short), length=50, **FRAMES).shape == (50,)


def test_progress_counts_the_rounds():
    steps = []
    find_waveform(
        torch.ones(257, 3),
        n_fft=512,
        hop_length=128,
        iterations=3,
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_steps_too_long_to_tell_phases_are_refused_with_the_remedy():
    with pytest.raises(RecipeError, match=r"hop_length = 400 is too long .* use at most 256, best 128"):
        find_waveform(torch.ones(257, 4), n_fft=512, hop_length=400)
    with pytest.raises(ValueError, match="length is 5000"):
        find_waveform(torch.ones(257, 4), n_fft=512, hop_length=128, length=5000)
