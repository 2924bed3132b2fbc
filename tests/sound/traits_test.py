"""What is told of a sound without knowing what it is of."""

import io

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from earmark.sound.codecs import pass_through_codec
from earmark.sound.decode import decode
from earmark.sound.synthesis import SOUND_NAMES, synthesise
from earmark.sound.traits import measure_bandwidth, measure_traits

RATE = 44_100
TIME_S = np.arange(5 * RATE) / RATE


def white(level_db: float, length: int = 5 * RATE, seed: int = 0) -> np.ndarray:
    return 10 ** (level_db / 20) * np.random.default_rng(seed).standard_normal(length)


def as_16_bit(waveform: np.ndarray) -> np.ndarray:
    return (np.round(waveform * 32_768) / 32_768).astype(np.float32)


def hum() -> np.ndarray:
    return 0.05 * sum(np.sin(2 * np.pi * 50 * k * TIME_S + k) / k**1.5 for k in range(1, 20))


def heartbeat() -> np.ndarray:
    beats = np.zeros_like(TIME_S)
    for start_s in np.arange(0.2, 4.8, 0.8):
        for delay_s, strength in ((0.0, 0.3), (0.3, 0.2)):
            swell = np.exp(-(((TIME_S - start_s - delay_s) / 0.02) ** 2))
            beats += strength * swell * np.sin(2 * np.pi * 45 * (TIME_S - start_s))
    return beats


def test_levels_peak_and_length_of_a_sine() -> None:
    traits = measure_traits(0.5 * np.sin(2 * np.pi * 441 * TIME_S), RATE, channels=2, codec="pcm_24")
    assert traits.level_db == pytest.approx(20 * np.log10(0.5) - 10 * np.log10(2), abs=1e-3)
    assert traits.peak_level_db == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert (traits.duration_s, traits.sample_rate, traits.channels, traits.bit_depth) == (5.0, RATE, 2, 24)
    assert (traits.silence_share, traits.clipped_share, traits.constant, traits.broken_samples) == (0, 0, False, 0)
    assert traits.dc_offset == pytest.approx(0, abs=1e-6)


def test_noise_floor_and_silence_of_a_sound_with_pauses() -> None:
    loud, quiet, nothing = white(-20, RATE), white(-60, RATE), np.zeros(2 * RATE)
    with_noise = measure_traits(np.concatenate([loud, quiet]), RATE)
    assert with_noise.noise_floor_db == pytest.approx(-60, abs=0.5)
    assert with_noise.silence_share == 0, "a quiet room is no silence"
    with_nothing = measure_traits(np.concatenate([loud, quiet, nothing]), RATE)
    assert with_nothing.silence_share == pytest.approx(0.5, abs=0.01)
    assert with_nothing.noise_floor_db == -140


def test_share_of_samples_at_full_scale_in_any_channel() -> None:
    waveform = np.zeros((1000, 2), np.float32)
    waveform[:100, 0], waveform[100:150, 1] = 1.0, -1.2
    traits = measure_traits(waveform, 8000)
    assert traits.clipped_share == pytest.approx(150 / 2000)
    assert (traits.channels, traits.peak) == (2, pytest.approx(1.2))


def test_offset_of_the_samples() -> None:
    assert measure_traits(0.03 + white(-40), RATE).dc_offset == pytest.approx(0.03, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_constant_is_known_as_such(value: float) -> None:
    traits = measure_traits(np.full(RATE, value), RATE)
    assert traits.constant
    assert traits.dc_offset == pytest.approx(value)
    assert traits.silence_share == (1.0 if value == 0 else 0.0)
    assert traits.level_db == (-140 if value == 0 else pytest.approx(20 * np.log10(0.25), abs=1e-4))


def test_broken_samples_are_counted_and_count_nowhere_else() -> None:
    waveform = white(-20)
    waveform[[3, 5000]] = np.nan
    waveform[7] = np.inf
    traits = measure_traits(waveform, RATE)
    assert traits.broken_samples == 3
    assert traits.level_db == pytest.approx(-20, abs=0.05)
    assert np.isfinite([traits.peak, traits.noise_floor_db, traits.dc_offset, traits.bandwidth_hz]).all()


def test_one_sample_is_enough_and_none_is_not() -> None:
    assert measure_traits(np.array([0.5]), 8000).duration_s == 1 / 8000
    with pytest.raises(ValueError, match="without samples"):
        measure_traits(np.zeros(0), 8000)


def test_a_telephone_recording_in_a_file_of_a_higher_rate_is_found() -> None:
    found = []
    for name in SOUND_NAMES:
        telephone = soxr.resample(synthesise(name, seed=1, duration_s=3.0, sample_rate=8000), 8000, RATE)
        found.append(measure_bandwidth(as_16_bit(telephone), RATE))
    assert sum(3400 < bandwidth_hz < 4300 for bandwidth_hz in found) >= 9, found


def test_a_recording_through_a_telephone_filter_is_found_beneath_other_noise() -> None:
    band = butter(12, [300, 3400], "bandpass", fs=RATE, output="sos")
    sent = sosfilt(band, white(-20)) + white(-75, seed=1)
    assert 3200 < measure_bandwidth(as_16_bit(sent), RATE) < 4200


@pytest.mark.parametrize("name", SOUND_NAMES)
def test_a_full_band_recording_is_not_called_limited(name: str) -> None:
    waveform = synthesise(name, seed=1, duration_s=3.0, sample_rate=RATE)
    assert measure_bandwidth(waveform, RATE) == measure_bandwidth(as_16_bit(waveform), RATE) == RATE / 2


@pytest.mark.parametrize("noise_db", [-140, -85, -60])
@pytest.mark.parametrize("make", [hum, heartbeat])
def test_a_sound_without_treble_is_not_called_limited(make, noise_db: float) -> None:
    for gain in (1.0, 0.01):
        sound = as_16_bit(gain * make() + white(noise_db))
        assert measure_bandwidth(sound, RATE) == RATE / 2
        assert measure_traits(sound, RATE).bandwidth_hz == RATE / 2


def test_a_gliding_tone_is_not_called_limited() -> None:
    pitch_hz = 2500 + 1000 * np.sin(2 * np.pi * 0.5 * TIME_S)
    glide = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch_hz) / RATE)
    assert measure_bandwidth(as_16_bit(glide + white(-70)), RATE) == RATE / 2


def test_the_low_pass_of_lossy_encoders_is_found() -> None:
    rain = synthesise("rain", seed=0, duration_s=5.0, sample_rate=RATE)
    assert 15_000 < measure_bandwidth(pass_through_codec(rain, RATE, "mp3", bit_rate=64_000), RATE) < 18_000
    soundfile.write(file := io.BytesIO(), rain, RATE, format="OGG", subtype="VORBIS")
    assert 15_000 < measure_bandwidth(decode(file.getvalue())[0], RATE) <= 20_000


def test_a_file_at_a_telephones_own_rate_has_its_full_band() -> None:
    assert measure_bandwidth(white(-20, 8000), 8000) == 4000
    assert measure_bandwidth(white(-20, 200), RATE) == RATE / 2, "too short to tell"
