"""What a sheet shows is what librosa, numpy and the features give."""

import librosa
import numpy as np
import pytest

from earmark.errors import RecipeError, SoundError
from earmark.sound.analysis import AnalysisSettings, analyse_sound, measure_spectrum

RATE_HZ = 16_000


def make_tone(frequency_hz, *, seconds=1.0, rate_hz=RATE_HZ, amplitude=1.0):
    tone = np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)
    return (amplitude * tone).astype(np.float32)


def make_noise(samples=RATE_HZ, amplitude=0.1):
    return np.random.default_rng(1).normal(0, amplitude, samples).astype(np.float32)


def test_a_full_scale_sine_is_0_db_in_the_spectrum_and_a_tenth_of_it_is_20_less():
    for amplitude, level_db in ((1.0, 0.0), (0.1, -20.0)):
        found = analyse_sound(make_tone(1000, amplitude=amplitude), RATE_HZ)
        assert found.strongest_hz == 1000
        assert found.spectrum_db.max() == pytest.approx(level_db, abs=0.01)


def test_the_spectrum_is_the_tutorials():
    """Hugging Face's audio course, on which the tutorial draws: Hann window, DFT, amplitude in decibels."""
    sound = make_noise(4096)
    theirs_db = librosa.amplitude_to_db(np.abs(np.fft.rfft(sound * np.hanning(4096))), ref=np.max)[1:]
    frequencies_hz, level_db = measure_spectrum(sound, RATE_HZ)
    assert frequencies_hz.tolist() == np.fft.rfftfreq(4096, 1 / RATE_HZ)[1:].tolist()
    loud = theirs_db > -40
    np.testing.assert_allclose((level_db - level_db.max())[loud], theirs_db[loud], atol=0.3)


def test_spectrogram_mel_and_mfcc_are_librosas():
    sound = make_noise()
    settings = AnalysisSettings(n_fft=1024, hop_length=256, n_mels=64, n_mfcc=13)
    found = analyse_sound(sound, RATE_HZ, settings)
    frames = {"n_fft": 1024, "hop_length": 256, "pad_mode": "constant"}
    power = np.abs(librosa.stft(sound, **frames)) ** 2
    np.testing.assert_allclose(found.linear_db, librosa.power_to_db(power, ref=np.max), atol=0.01)
    mel = librosa.feature.melspectrogram(y=sound, sr=RATE_HZ, n_mels=64, **frames)
    np.testing.assert_allclose(found.mel_db, librosa.power_to_db(mel, ref=np.max), atol=0.01)
    theirs = librosa.feature.mfcc(y=sound, sr=RATE_HZ, n_mfcc=13, n_mels=64, **frames)
    np.testing.assert_allclose(found.mfcc, theirs, atol=0.01)


def test_quiet_sounds_have_their_80_db_too():
    sound = make_noise()
    loud, quiet = analyse_sound(sound, RATE_HZ), analyse_sound(1e-4 * sound, RATE_HZ)
    np.testing.assert_allclose(quiet.linear_db, loud.linear_db, atol=0.01)
    np.testing.assert_allclose(quiet.mel_db, loud.mel_db, atol=0.01)


@pytest.mark.parametrize(
    ("rate_hz", "n_fft"), [(8_000, 512), (16_000, 1024), (22_050, 1024), (44_100, 2048), (48_000, 2048), (96_000, 4096)]
)
def test_the_window_is_near_46_ms_at_any_rate(rate_hz, n_fft):
    found = analyse_sound(make_noise(2 * rate_hz), rate_hz)
    assert found.n_fft == n_fft
    assert 0.03 < found.n_fft / rate_hz < 0.066
    assert found.hop_length == min(found.n_fft // 4, 2 * rate_hz // 300)


def test_short_sounds_are_looked_at_in_smaller_steps_unless_told():
    assert analyse_sound(make_noise(4800), RATE_HZ).hop_length == 16
    assert analyse_sound(make_noise(4800), RATE_HZ, AnalysisSettings(hop_length=512)).hop_length == 512


def test_the_spectrum_is_taken_where_it_is_loudest():
    sound = np.concatenate([0.01 * make_noise(3 * RATE_HZ), make_tone(2000), 0.01 * make_noise(RATE_HZ)])
    found = analyse_sound(sound, RATE_HZ)
    assert 3.0 <= found.spectrum_start_s <= 4.0 - 4096 / RATE_HZ
    assert found.spectrum_length == 4096
    assert found.strongest_hz == pytest.approx(2000, abs=2)


def test_the_spectrum_is_taken_where_it_is_asked_for_in_the_files_own_time():
    sound = np.concatenate([make_tone(500), make_tone(3000)])
    at = [analyse_sound(sound, RATE_HZ, AnalysisSettings(spectrum_at_s=s), start_s=10.0) for s in (10.0, 11.5)]
    assert [found.strongest_hz for found in at] == [500, 3000]
    assert at[0].spectrum_start_s == 10.0
    late = analyse_sound(sound, RATE_HZ, AnalysisSettings(spectrum_at_s=1.99))
    assert (late.spectrum_start, late.spectrum_length) == (2 * RATE_HZ - 4096, 4096)
    for outside_s in (9.9, 12.0):
        with pytest.raises(SoundError, match=rf"no spectrum at {outside_s:g} s: .* from 10 to 12 s"):
            analyse_sound(sound, RATE_HZ, AnalysisSettings(spectrum_at_s=outside_s), start_s=10.0)


def test_a_sound_shorter_than_the_window_is_taken_whole():
    found = analyse_sound(make_tone(1000, seconds=0.1), RATE_HZ)
    assert (found.spectrum_start, found.spectrum_length) == (0, 1600)


def test_silence_has_no_strongest_frequency_and_is_dark():
    found = analyse_sound(np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ)
    assert found.strongest_hz is None
    assert found.peak == 0
    assert found.spectrum_db.max() == pytest.approx(-140)
    assert found.linear_db.max() == found.mel_db.max() == -80


def test_what_cannot_be_is_refused():
    with pytest.raises(SoundError, match="no samples"):
        analyse_sound(np.array([], dtype=np.float32), RATE_HZ)
    with pytest.raises(RecipeError, match="n_mfcc = 40 needs at least as many mel bands"):
        analyse_sound(make_noise(), RATE_HZ, AnalysisSettings(n_mels=20))
