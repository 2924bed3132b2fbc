"""Noise has the level and the colour it was asked for."""

import numpy as np
import pytest

from earmark.sound.level import make_noise


@pytest.mark.parametrize("colour", ["white", "pink"])
def test_noise_has_the_level_asked_for(colour):
    noise = make_noise(colour, 48_000, level_db=-23.0, seed=1)
    assert noise.dtype == np.float32
    assert 20 * np.log10(np.sqrt((noise.astype(np.float64) ** 2).mean())) == pytest.approx(-23.0, abs=1e-3)


@pytest.mark.parametrize(("colour", "db_per_octave"), [("white", 0.0), ("pink", -3.01)])
def test_noise_has_the_colour_asked_for(colour, db_per_octave):
    power = np.abs(np.fft.rfft(make_noise(colour, 1 << 18, level_db=-20.0, seed=0))) ** 2
    octaves = [10 * np.log10(power[1 << n : 2 << n].mean()) for n in range(9, 17)]
    slope = np.polyfit(np.arange(len(octaves)), octaves, 1)[0]
    assert slope == pytest.approx(db_per_octave, abs=0.1)


def test_a_seed_is_a_sound():
    first, second = (make_noise("pink", 100, level_db=-20.0, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(first, make_noise("pink", 100, level_db=-20.0, seed=0))
    assert not np.array_equal(first, second)
