"""Bad conditions are as bad as they say, to the decibel, the sample and the second, and repeat themselves."""

import numpy as np
import pytest

from earmark.sound.conditions import Condition, add_noise, list_conditions, make_room, overload
from earmark.sound.synthesis import synthesise

RATE = 32_000


def find_condition(name: str, strength: str, sample_rate: int = RATE) -> Condition:
    return next(each for each in list_conditions(sample_rate) if (each.name, each.strength) == (name, strength))


def make_noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def test_every_kind_runs_from_mild_to_harsh() -> None:
    kinds: dict[str, list[str]] = {}
    for condition in list_conditions(RATE):
        kinds.setdefault(condition.name, []).append(condition.strength)
    assert kinds == {
        "sample rate": ["16 kHz", "8 kHz"],
        "MP3": ["64 kbit/s", "32 kbit/s", "16 kbit/s"],
        "Opus": ["32 kbit/s", "16 kbit/s", "8 kbit/s"],
        "clipping": ["1 %", "10 %", "30 %"],
        "white noise": ["20 dB", "10 dB", "0 dB"],
        "pink noise": ["20 dB", "10 dB", "0 dB"],
        "reverberation": ["0.3 s", "0.6 s"],
    }
    assert "sample rate" not in {condition.name for condition in list_conditions(8_000)}


@pytest.mark.parametrize("sound", [make_noise(9_001), np.zeros(9_001, np.float32), make_noise(1), make_noise(50)])
def test_a_changed_sound_is_as_long_as_before_finite_and_the_same_again(sound: np.ndarray) -> None:
    for condition in list_conditions(RATE):
        first = condition.change(sound, RATE, np.random.default_rng(5))
        assert first.shape == sound.shape, condition
        assert first.dtype == np.float32
        assert np.isfinite(first).all(), condition
        np.testing.assert_array_equal(first, condition.change(sound, RATE, np.random.default_rng(5)))


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [20.0, 0.0])
def test_noise_lies_as_far_beneath_the_sound_as_it_says(colour: str, snr_db: float) -> None:
    sound = synthesise("siren", seed=0, duration_s=1.0, sample_rate=RATE)
    noisy = add_noise(sound, RATE, np.random.default_rng(0), colour=colour, snr_db=snr_db)  # type: ignore[arg-type]
    ratio = np.mean(sound.astype(np.float64) ** 2) / np.mean((noisy.astype(np.float64) - sound) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.01)


def test_pink_noise_has_the_same_power_in_every_octave_and_white_twice_as_much_as_in_the_one_below() -> None:
    for colour, step_db in (("pink", 0.0), ("white", 10 * np.log10(2))):
        constant = np.full(1 << 18, 1e-9, np.float32)
        noise = add_noise(constant, RATE, np.random.default_rng(0), colour=colour, snr_db=-120.0)  # type: ignore[arg-type]
        power = np.abs(np.fft.rfft(noise)) ** 2
        frequency_hz = np.fft.rfftfreq(len(noise), 1 / RATE)
        octaves_db = [
            10 * np.log10(power[(frequency_hz >= low) & (frequency_hz < 2 * low)].sum()) for low in (500, 1000, 2000)
        ]
        assert np.diff(octaves_db) == pytest.approx([step_db, step_db], abs=0.3)


def test_the_same_noise_grows_louder() -> None:
    sound = make_noise(5_000)
    added = [
        find_condition("pink noise", strength).change(sound, RATE, np.random.default_rng(3)) - sound
        for strength in ("20 dB", "0 dB")
    ]
    np.testing.assert_allclose(10 * added[0], added[1], atol=1e-5)


@pytest.mark.parametrize(("strength", "share"), [("1 %", 0.01), ("10 %", 0.1), ("30 %", 0.3)])
def test_as_many_samples_are_clipped_as_it_says(strength: str, share: float) -> None:
    sound = make_noise(10_000)
    clipped = find_condition("clipping", strength).change(sound, RATE, np.random.default_rng(0))
    # With those that just reach full scale there is one more.
    assert int((np.abs(clipped) >= 1.0).sum()) == round(share * 10_000) + 1
    quiet = np.abs(clipped) < 1.0
    gains = clipped[quiet] / sound[quiet]
    np.testing.assert_allclose(gains, gains[0], rtol=1e-5)


def test_a_sound_of_few_samples_beside_silence_is_not_blown_up() -> None:
    click = np.zeros(1_000, np.float32)
    click[500] = 0.2
    np.testing.assert_array_equal(overload(click, 0.1), click)


def test_telephone_rates_keep_what_lies_below_and_lose_what_lies_above() -> None:
    time_s = np.arange(RATE) / RATE
    low, high = np.sin(2 * np.pi * 1_000 * time_s), np.sin(2 * np.pi * 6_000 * time_s)
    condition = find_condition("sample rate", "8 kHz")
    changed = condition.change((low + high).astype(np.float32), RATE, np.random.default_rng(0))
    inside = slice(2_000, -2_000)
    np.testing.assert_allclose(changed[inside], low[inside], atol=1e-3)


@pytest.mark.parametrize("rt60_s", [0.3, 0.6])
def test_a_room_falls_by_60_db_in_the_time_it_says(rt60_s: float) -> None:
    room = make_room(RATE, rt60_s, np.random.default_rng(0))
    # Schroeder (1965): the energy still to come, here from -5 to -35 dB.
    left_db = 10 * np.log10(np.cumsum(room[1:][::-1] ** 2)[::-1])
    left_db -= left_db[0]
    first, last = (int(np.argmax(left_db < level)) for level in (-5.0, -35.0))
    assert 2 * (last - first) / RATE == pytest.approx(rt60_s, rel=0.05)
    # Direct sound beside reverberation, from Kuttruff's critical distance.
    tail_energy = float(room[1:] @ room[1:])
    expected_db = 20 * np.log10(0.057 * np.sqrt(60.0 / rt60_s) / 2.0)
    assert 10 * np.log10(room[0] ** 2 / tail_energy) == pytest.approx(expected_db, abs=1e-6)


def test_reverberation_is_as_loud_as_the_sound_was_and_rings_on() -> None:
    click = np.zeros(RATE, np.float32)
    click[1_000:1_100] = 0.5
    wet = find_condition("reverberation", "0.6 s").change(click, RATE, np.random.default_rng(0))
    assert np.mean(wet**2) == pytest.approx(np.mean(click**2), rel=1e-4)
    assert not wet[:990].round(5).any()
    assert np.abs(wet[4_000:8_000]).max() > 0.001
