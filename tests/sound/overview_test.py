"""The overview: librosa's mel filters, the same picture however the sound is cut, each column in its place."""

import librosa
import numpy as np
import pytest

from earmark.sound.overview import SoundOverview, make_mel_filters, to_mel


def draw(sound, cuts=(), *, sample_rate=16_000, columns=50, duration_s=None, n_mels=40):
    length_s = len(sound) / sample_rate if duration_s is None else duration_s
    overview = SoundOverview(sample_rate, duration_s=length_s, columns=columns, n_mels=n_mels)
    for piece in np.split(sound, list(cuts)):
        overview.push(piece)
    return overview.finish()


@pytest.mark.parametrize(("sample_rate", "n_fft", "n_mels"), [(16_000, 1024, 64), (44_100, 2048, 96), (8_000, 512, 20)])
def test_filters_are_librosa_s(sample_rate, n_fft, n_mels):
    expected = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels).T
    np.testing.assert_allclose(make_mel_filters(sample_rate, n_fft, n_mels), expected, atol=1e-6)


@pytest.mark.parametrize("frequency_hz", [100.0, 999.0, 1000.0, 4000.0, 16_000.0])
def test_mels_are_librosa_s(frequency_hz):
    assert to_mel(frequency_hz) == pytest.approx(librosa.hz_to_mel(frequency_hz))


def test_the_picture_is_the_same_however_the_sound_is_cut():
    sound = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    whole = draw(sound)
    assert whole.shape == (40, 50)
    np.testing.assert_allclose(draw(sound, [1, 2, 700, 701, 30_000, 49_999]), whole, atol=1e-5)


def test_a_click_is_seen_in_its_own_column_however_long_the_sound_is():
    sound = np.zeros(60 * 16_000, np.float32)
    sound[round(42.3 * 16_000)] = 1.0
    columns = np.flatnonzero(draw(sound, range(0, len(sound), 50_000), columns=60).max(0))
    assert columns.tolist() == [42]


def test_every_column_of_a_short_sound_shows_something():
    tone = np.sin(np.arange(4_000) * 0.3).astype(np.float32)
    levels = draw(tone, columns=900)
    assert levels.shape == (40, 900)
    assert (levels.max(0) > 0.5).all()


def test_levels_reach_from_80_db_below_the_loudest_value_to_it():
    tone = np.sin(np.arange(32_000) * 0.3).astype(np.float32)
    tone[16_000:] *= 10 ** (-40 / 20)
    levels = draw(tone, columns=10)
    assert levels.max() == pytest.approx(1.0)
    assert levels[:, 7].max() == pytest.approx(0.5, abs=0.01)


def test_silence_is_black_and_a_sound_that_breaks_off_leaves_black():
    assert not draw(np.zeros(9_000, np.float32)).any()
    half = draw(np.random.default_rng(0).standard_normal(16_000).astype(np.float32), duration_s=2.0, columns=10)
    assert half[:, :5].any(0).all()
    assert not half[:, 6:].any()


def test_one_sample_is_a_picture():
    assert draw(np.ones(1, np.float32), columns=3).shape == (40, 3)
