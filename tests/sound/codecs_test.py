"""Codecs: real ones, whose delay is taken out and whose length is kept."""

import numpy as np
import pytest

from earmark.sound.codecs import pass_through_codec
from earmark.sound.synthesis import synthesise


def find_lag(first: np.ndarray, second: np.ndarray) -> int:
    """By how many samples the second comes later."""
    size = 2 * len(first)
    products = np.fft.irfft(np.fft.rfft(second, size) * np.conj(np.fft.rfft(first, size)), size)
    lag = int(products.argmax())
    return lag if lag < len(first) else lag - size


@pytest.mark.parametrize("codec", ["mp3", "opus"])
@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("bit_rate", [16_000, 32_000])
def test_a_sound_comes_back_in_time_and_as_long(codec: str, sample_rate: int, bit_rate: int) -> None:
    voice = synthesise("voice", seed=3, duration_s=1.3, sample_rate=sample_rate)
    passed = pass_through_codec(voice, sample_rate, codec, bit_rate=bit_rate)  # type: ignore[arg-type]
    assert passed.shape == voice.shape
    assert passed.dtype == np.float32
    # Half a sample at the codec's own rate may be lost where rates do not fit.
    assert abs(find_lag(voice, passed)) <= (0 if sample_rate in (8_000, 16_000) else 2)
    assert np.corrcoef(voice, passed)[0, 1] > 0.85


def test_fewer_bits_leave_less_of_the_sound() -> None:
    rain = synthesise("rain", seed=0, duration_s=1.0, sample_rate=32_000)
    errors = [
        float(np.mean((pass_through_codec(rain, 32_000, "mp3", bit_rate=bits) - rain) ** 2))
        for bits in (64_000, 32_000, 16_000)
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0


def test_below_32_kbit_s_mp3_has_nothing_above_8_khz() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.1, 44_100).astype(np.float32)
    passed = pass_through_codec(noise, 44_100, "mp3", bit_rate=16_000)
    power = np.abs(np.fft.rfft(passed)) ** 2
    frequency_hz = np.fft.rfftfreq(len(passed), 1 / 44_100)
    assert power[frequency_hz > 8_500].sum() < 1e-3 * power.sum()


@pytest.mark.parametrize("samples", [1, 7, 300])
def test_the_shortest_sounds_pass(samples: int) -> None:
    for codec in ("mp3", "opus"):
        passed = pass_through_codec(np.full(samples, 0.5, np.float32), 44_100, codec, bit_rate=16_000)  # type: ignore[arg-type]
        assert passed.shape == (samples,)
        assert np.isfinite(passed).all()


def test_what_goes_beyond_full_scale_is_cut_off_as_an_encoder_does() -> None:
    loud = 3 * np.sin(np.arange(16_000) * 0.1)
    passed = pass_through_codec(loud, 16_000, "opus", bit_rate=32_000)
    assert np.abs(passed).max() < 1.5
