"""Mel features against librosa, and what a user sees when settings do not fit."""

import librosa
import numpy as np
import pytest
import torch

from earmark.errors import RecipeError
from earmark.sound.features import MelSpectrogram, dct_matrix, log_mel, mel_filters, mel_spectrogram, mfcc, to_db
from earmark.sound.synthesis import synthesise

TOLERANCE_DB = 3e-3  # processors round their Fourier transforms differently; the quietest bins show it

# Every rate, length, scale, norm and power a recipe may name, in combinations that meet each value at least once.
MEL_SETTINGS = [
    {"sample_rate": 8_000, "n_fft": 256, "hop_length": 80, "n_mels": 23, "mel_scale": "htk", "mel_norm": "none"},
    {"sample_rate": 16_000, "n_fft": 400, "hop_length": 160, "n_mels": 40, "mel_scale": "htk", "mel_norm": "slaney"},
    {"sample_rate": 16_000, "n_fft": 512, "hop_length": 256, "n_mels": 64, "power": 1.0},
    {"sample_rate": 22_050, "n_fft": 2048, "hop_length": 512, "n_mels": 128},
    {"sample_rate": 22_050, "n_fft": 1024, "hop_length": 441, "n_mels": 64, "f_min": 50.0, "f_max": 8_000.0},
    {"sample_rate": 32_000, "n_fft": 1024, "hop_length": 320, "n_mels": 64, "mel_norm": "none", "f_max": 14_000.0},
    {"sample_rate": 32_000, "n_fft": 1023, "hop_length": 333, "n_mels": 30, "f_min": 125.5, "power": 1.0},
    # An odd rate and an odd FFT length: half of each is no whole number.
    {"sample_rate": 11_025, "n_fft": 1024, "hop_length": 256, "n_mels": 64},
    {"sample_rate": 44_100, "n_fft": 4096, "hop_length": 1024, "n_mels": 96, "mel_scale": "htk", "power": 1.0},
    {"sample_rate": 48_000, "n_fft": 1200, "hop_length": 480, "n_mels": 60, "mel_norm": "none", "f_min": 20.0},
]
RANGES = [("one", None), ("one", 80.0), ("max", None), ("max", 80.0)]


def make_clip(sample_rate: int, seed: int = 0) -> np.ndarray:
    """Over a second of birdsong and wind with a silent stretch: tones, noise, and frames that lie on the floor."""
    clip = synthesise("birdsong", seed=seed, duration_s=1.3, sample_rate=sample_rate)
    clip = clip + synthesise("wind", seed=seed, duration_s=1.3, sample_rate=sample_rate)
    clip[len(clip) // 2 : len(clip) * 3 // 4] = 0.0
    return clip.astype(np.float32)


def librosa_mel(clip: np.ndarray, settings: dict) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=clip,
        sr=settings["sample_rate"],
        n_fft=settings["n_fft"],
        hop_length=settings["hop_length"],
        n_mels=settings["n_mels"],
        fmin=settings.get("f_min", 0.0),
        fmax=settings.get("f_max"),
        htk=settings.get("mel_scale") == "htk",
        norm="slaney" if settings.get("mel_norm", "slaney") == "slaney" else None,
        power=settings.get("power", 2.0),
        pad_mode="constant",
    )


def librosa_db(mel: np.ndarray, power: float, reference: str, top_db: float | None) -> np.ndarray:
    loudest = np.max if reference == "max" else 1.0
    if power == 2.0:
        return librosa.power_to_db(mel, ref=loudest, amin=1e-10, top_db=top_db)
    return librosa.amplitude_to_db(mel, ref=loudest, amin=1e-5, top_db=top_db)


@pytest.mark.parametrize("settings", MEL_SETTINGS)
def test_mel_spectrogram_equals_librosa(settings):
    clip = make_clip(settings["sample_rate"])
    expected = librosa_mel(clip, settings)
    mel = mel_spectrogram(torch.from_numpy(clip), **settings).numpy()
    assert mel.shape == expected.shape
    assert mel.shape[-1] == 1 + len(clip) // settings["hop_length"]
    np.testing.assert_allclose(mel, expected, rtol=1e-4, atol=1e-7 * expected.max())


@pytest.mark.parametrize(("reference", "top_db"), RANGES)
@pytest.mark.parametrize("settings", MEL_SETTINGS)
def test_log_mel_equals_librosa_in_decibels(settings, reference, top_db):
    clip = make_clip(settings["sample_rate"])
    expected = librosa_db(librosa_mel(clip, settings), settings.get("power", 2.0), reference, top_db)
    level_db = log_mel(torch.from_numpy(clip), reference=reference, top_db=top_db, **settings).numpy()
    assert np.abs(level_db - expected).max() < TOLERANCE_DB


@pytest.mark.parametrize("settings", [entry for entry in MEL_SETTINGS if entry.get("power", 2.0) == 2.0])
@pytest.mark.parametrize("n_mfcc", [13, 20])
def test_mfcc_equals_librosa(settings, n_mfcc):
    clip = make_clip(settings["sample_rate"])
    bands_db = librosa_db(librosa_mel(clip, settings), 2.0, "one", 80.0)
    expected = librosa.feature.mfcc(S=bands_db, n_mfcc=n_mfcc)
    cepstrum = mfcc(torch.from_numpy(clip), n_mfcc=n_mfcc, **settings).numpy()
    # The first coefficient sums all bands: its unit is sqrt(n_mels) decibels.
    assert np.abs(cepstrum - expected).max() < TOLERANCE_DB * settings["n_mels"] ** 0.5


def test_mfcc_without_settings_is_librosas_mfcc_without_settings():
    clip = make_clip(22_050)
    expected = librosa.feature.mfcc(y=clip, sr=22_050, n_mfcc=40)
    cepstrum = mfcc(torch.from_numpy(clip), sample_rate=22_050).numpy()
    assert np.abs(cepstrum - expected).max() < TOLERANCE_DB * 128**0.5


@pytest.mark.parametrize("settings", MEL_SETTINGS)
def test_mel_filters_equal_librosa(settings):
    expected = librosa.filters.mel(
        sr=settings["sample_rate"],
        n_fft=settings["n_fft"],
        n_mels=settings["n_mels"],
        fmin=settings.get("f_min", 0.0),
        fmax=settings.get("f_max"),
        htk=settings.get("mel_scale") == "htk",
        norm="slaney" if settings.get("mel_norm", "slaney") == "slaney" else None,
    )
    kept = {key: value for key, value in settings.items() if key not in {"hop_length", "power"}}
    np.testing.assert_allclose(mel_filters(**kept).numpy(), expected.T, atol=1e-6 * expected.max())


@pytest.mark.parametrize("feature", [log_mel, mfcc, mel_spectrogram])
def test_a_batch_gives_each_clip_what_it_gets_alone(feature):
    # The clips differ in level by 60 dB, so a range or reference taken over the batch instead of the clip would show.
    clips = torch.stack([torch.from_numpy(make_clip(16_000, seed)) * 10.0 ** (-seed) for seed in range(4)])
    options = {"reference": "max", "top_db": 80.0} if feature is log_mel else {}
    together = feature(clips, sample_rate=16_000, **options)
    for clip, row in zip(clips, together, strict=True):
        torch.testing.assert_close(row, feature(clip, sample_rate=16_000, **options), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_digital_silence_is_minus_100_db(power):
    level_db = log_mel(torch.zeros(16_000), sample_rate=16_000, power=power)
    torch.testing.assert_close(level_db, torch.full_like(level_db, -100.0))


def test_silence_relative_to_its_own_maximum_is_0_db_not_nan():
    level_db = log_mel(torch.zeros(4_000), sample_rate=16_000, reference="max", top_db=80.0)
    assert torch.equal(level_db, torch.zeros_like(level_db))


def test_ten_times_the_amplitude_is_20_db_more():
    clip = torch.from_numpy(synthesise("rain", seed=1, duration_s=0.5, sample_rate=16_000))
    for power in (1.0, 2.0):
        louder = to_db(mel_spectrogram(10 * clip, sample_rate=16_000, power=power), power=power)
        softer = to_db(mel_spectrogram(clip, sample_rate=16_000, power=power), power=power)
        torch.testing.assert_close(louder - softer, torch.full_like(louder, 20.0), rtol=0, atol=1e-3)


def test_zeros_appended_to_a_clip_change_none_of_its_frames():
    clip = torch.from_numpy(make_clip(16_000))
    short = log_mel(clip, sample_rate=16_000)
    long = log_mel(torch.nn.functional.pad(clip, (0, 5_000)), sample_rate=16_000)
    assert long.shape[-1] > short.shape[-1]
    torch.testing.assert_close(long[:, : short.shape[-1]], short, rtol=0, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 100, 511, 512, 513])
def test_clips_shorter_than_a_window_have_frames_too(samples):
    level_db = log_mel(torch.ones(samples), sample_rate=16_000)
    assert level_db.shape == (64, 1 + samples // 512)
    assert torch.isfinite(level_db).all()


def test_the_module_gives_what_the_function_gives():
    clips = torch.stack([torch.from_numpy(make_clip(16_000, seed)) for seed in range(2)])
    settings = {"sample_rate": 16_000, "n_fft": 400, "hop_length": 160, "n_mels": 40, "mel_scale": "htk", "power": 1.0}
    module = MelSpectrogram(**settings)
    assert torch.equal(module(clips), mel_spectrogram(clips, **settings))
    assert set(module.state_dict()) == {"window", "filters"}, "both must be saved with the model"


def test_more_bands_than_the_fft_can_fill_are_warned_of():
    with pytest.warns(UserWarning, match="Some of the 128 mel bands hold no bin of a 256-point FFT; use fewer"):
        mel_filters.__wrapped__(sample_rate=16_000, n_fft=256, n_mels=128)


def test_f_max_above_half_the_sample_rate_names_the_highest_possible():
    with pytest.raises(RecipeError) as caught:
        log_mel(torch.zeros(8_000), sample_rate=8_000, f_max=5_000.0)
    assert str(caught.value) == (
        "f_max = 5000 Hz lies above half the sample rate; use at most 4000 Hz (or leave it out)."
    )


@pytest.mark.parametrize(("f_min", "f_max"), [(-1.0, None), (4_000.0, None), (9_000.0, None), (500.0, 500.0)])
def test_f_min_must_lie_below_f_max(f_min, f_max):
    with pytest.raises(RecipeError, match=rf"^f_min = {f_min:g} Hz must lie between 0 and f_max = .*; use 0"):
        mel_spectrogram(torch.zeros(8_000), sample_rate=8_000, f_min=f_min, f_max=f_max)


def test_more_coefficients_than_bands_are_refused():
    with pytest.raises(RecipeError, match="n_mfcc = 41 needs at least as many mel bands; n_mels is 40"):
        mfcc(torch.zeros(8_000), sample_rate=8_000, n_mfcc=41, n_mels=40)


def test_what_is_kept_between_calls_is_real_even_if_first_asked_for_on_the_meta_device():
    # Transformers makes models on the meta device when it loads them; a kept matrix without values broke all later use.
    for kept in (dct_matrix, mel_filters):
        kept.cache_clear()
    with torch.device("meta"):
        dct_matrix(7, 31)
        mel_filters(sample_rate=8_000, n_fft=256, n_mels=31)
    cepstrum = mfcc(torch.from_numpy(make_clip(8_000)), sample_rate=8_000, n_mfcc=7, n_mels=31, n_fft=256)
    assert cepstrum.device.type == "cpu"
    assert torch.isfinite(cepstrum).all()


def test_many_clips_at_once_give_what_each_gives_alone() -> None:
    """They go through in pieces of a few clips; 20 of 0.9 s are more than one piece."""
    clips = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 28_800)).astype(np.float32))
    module = MelSpectrogram(sample_rate=32_000, n_fft=2048, n_mels=128)
    together = module(clips)
    alone = torch.stack([module(clip) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_bands_without_a_single_bin_are_silent() -> None:
    """More narrow bands than the FFT has bins for: some groups of bands hear nothing at all."""
    with pytest.warns(UserWarning, match="hold no bin"):
        filters = mel_filters(sample_rate=32_000, n_fft=256, n_mels=120, f_max=1500.0)
    module = MelSpectrogram(sample_rate=32_000, n_fft=256, n_mels=120, f_max=1500.0)
    clip = torch.from_numpy(np.random.default_rng(0).standard_normal(8_000).astype(np.float32))
    bands = module(clip)
    silent = ~filters.any(dim=0)
    assert silent.any()
    assert not bands[silent].any()
    assert bands[~silent].amin() > 0
