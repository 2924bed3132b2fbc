"""What the page draws: checked against librosa, the same however the sound comes, bounded whatever its length."""

import base64

import librosa
import numpy as np
import pytest

from earmark.serving.picture import COLUMNS, PictureMaker
from earmark.sound.overview import make_mel_filters


def unpack(picture):
    mel = np.frombuffer(base64.b64decode(picture["mel"]), dtype=np.uint8).reshape(picture["bands"], -1)
    low, high = (np.frombuffer(base64.b64decode(picture[name]), dtype=np.int8) for name in ("low", "high"))
    return mel, low, high


def make(waveform, sample_rate, pieces=1, stated_s=None):
    maker = PictureMaker(sample_rate, stated_s or len(waveform) / sample_rate)
    for piece in np.array_split(waveform, pieces):
        maker.push(piece)
    return maker.finish()


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels"), [(16_000, 1024, 128), (44_100, 2048, 128), (8_000, 512, 40)]
)
def test_mel_filters_are_those_of_librosa(sample_rate, n_fft, n_mels):
    ours = make_mel_filters(sample_rate, n_fft, n_mels).T
    np.testing.assert_allclose(ours, librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels), atol=1e-7)


def test_the_mel_spectrogram_is_that_of_librosa():
    waveform = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    waveform[8_000:] += librosa.tone(1_000, sr=16_000, length=24_000).astype(np.float32)
    picture = make(waveform, 16_000)
    hop = round(picture["column_s"] * 16_000)
    power = librosa.feature.melspectrogram(
        y=waveform, sr=16_000, n_fft=1024, hop_length=hop, n_mels=128, pad_mode="constant"
    )
    expected = 255 * (1 + np.maximum(librosa.power_to_db(power, ref=np.max, top_db=None), -80) / 80)
    mel, _, _ = unpack(picture)
    assert np.abs(mel[:, : power.shape[1]] - expected[:, : mel.shape[1]]).max() < 0.51


def test_the_envelope_holds_the_extremes_of_each_column():
    waveform = np.random.default_rng(1).uniform(-0.5, 0.5, 16_000).astype(np.float32)
    waveform[5_000] = -0.8
    picture = make(waveform, 16_000)
    _, low, high = unpack(picture)
    columns = waveform.reshape(-1, round(picture["column_s"] * 16_000))
    assert picture["peak"] == pytest.approx(0.8)
    np.testing.assert_array_equal(low, (columns.min(1) / 0.8 * 127).round())
    np.testing.assert_array_equal(high, (columns.max(1) / 0.8 * 127).round())


def test_the_picture_is_the_same_however_the_sound_is_cut():
    waveform = np.random.default_rng(2).normal(0, 0.1, 50_000).astype(np.float32)
    assert make(waveform, 8_000, pieces=37) == make(waveform, 8_000)


@pytest.mark.parametrize("stated_s", [0.01, 1.0])
def test_a_sound_longer_than_it_says_has_a_bounded_picture_all_the_same(stated_s):
    waveform = np.zeros(800_000, dtype=np.float32)
    waveform[-4_000:] = 0.5
    picture = make(waveform, 8_000, pieces=200, stated_s=stated_s)
    mel, low, high = unpack(picture)
    assert COLUMNS / 2 < picture["columns"] <= 3 * COLUMNS
    assert abs(len(high) - picture["columns"]) <= 1
    assert picture["columns"] * picture["column_s"] == pytest.approx(100, rel=0.02)
    assert high[: round(0.98 * len(high))].max() == 0
    assert high[-3:].max() == 127
    assert low.min() == 0
    assert mel[:, : int(0.98 * picture["columns"])].max() == 0


def test_a_long_sound_has_columns_enough_and_no_more():
    picture = make(np.zeros(8_000 * 600, dtype=np.float32), 8_000, pieces=60)
    assert COLUMNS / 2 <= picture["columns"] <= 2 * COLUMNS


@pytest.mark.parametrize("length", [1, 7, 100])
def test_the_shortest_sounds_have_a_picture(length):
    mel, low, _ = unpack(make(np.full(length, 0.25, dtype=np.float32), 16_000))
    assert mel.shape[0] == 128
    assert len(low) >= 1
