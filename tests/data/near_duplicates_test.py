"""Near duplicates: copies are found with their shift, other sounds of a class are not, silence is like nothing."""

from collections.abc import Callable

import numpy as np
import pytest

from earmark.data.near_duplicates import Pair, find_near_duplicates
from earmark.sound.codecs import pass_through_codec
from earmark.sound.fingerprint import fingerprint
from earmark.sound.resample import resample
from earmark.sound.synthesis import SOUND_NAMES, synthesise

RATE = 22_050
SHIFT_S = 0.6


def move(waveform: np.ndarray, shift_s: float) -> np.ndarray:
    samples = round(shift_s * RATE)
    zeros = np.zeros(abs(samples), np.float32)
    return np.r_[zeros, waveform[:-samples]] if samples > 0 else np.r_[waveform[-samples:], zeros]


def add_noise(waveform: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(waveform))
    return waveform + 0.1 * np.sqrt(np.mean(waveform**2)) * noise


def to_mp3(waveform: np.ndarray) -> np.ndarray:
    return pass_through_codec(waveform, RATE, "mp3", bit_rate=64_000)


COPIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float, float]] = {
    "the same": (lambda sound: sound, 0.0, 0.99),
    "later": (lambda sound: move(sound, SHIFT_S), SHIFT_S, 0.7),
    "a second earlier": (lambda sound: move(sound, -1.0), -1.0, 0.7),
    "quieter": (lambda sound: 0.05 * sound, 0.0, 0.99),
    "upside down": (lambda sound: -sound, 0.0, 0.99),
    "mp3": (to_mp3, 0.0, 0.9),
    "noise at 20 dB": (add_noise, 0.0, 0.75),
    "all at once": (lambda sound: to_mp3(0.2 * add_noise(move(sound, SHIFT_S))), SHIFT_S, 0.5),
}


@pytest.fixture(scope="module")
def others() -> list[np.ndarray]:
    """Fingerprints of three other takes of each of the ten synthetic sounds."""
    takes = [synthesise(name, seed=seed, duration_s=3.0, sample_rate=RATE) for name in SOUND_NAMES for seed in range(3)]
    return [fingerprint(take, RATE) for take in takes]


@pytest.fixture(scope="module")
def sounds() -> list[np.ndarray]:
    return [synthesise(name, seed=9, duration_s=3.0, sample_rate=RATE) for name in SOUND_NAMES]


def test_takes_of_one_class_are_not_duplicates(others: list[np.ndarray]) -> None:
    assert find_near_duplicates(others) == []


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_with_their_shift_and_nothing_else(
    kind: str, sounds: list[np.ndarray], others: list[np.ndarray]
) -> None:
    change, shift_s, least = COPIES[kind]
    copies = [fingerprint(change(sound), RATE) for sound in sounds]
    pairs = find_near_duplicates([*[fingerprint(sound, RATE) for sound in sounds], *copies, *others])
    assert {(pair.first, pair.second) for pair in pairs} == {(row, row + len(sounds)) for row in range(len(sounds))}
    assert all(abs(pair.shift_s - shift_s) < 0.001 for pair in pairs)
    assert all(least <= pair.similarity <= 1 for pair in pairs)
    assert [pair.similarity for pair in pairs] == sorted((pair.similarity for pair in pairs), reverse=True)


def test_stationary_noises_are_told_apart() -> None:
    random = np.random.default_rng(0)
    noises = [random.normal(0, 0.1, 3 * RATE).astype(np.float32) for _ in range(30)]
    noises.append(move(noises[3], 0.25))
    pair, *more = find_near_duplicates([fingerprint(noise, RATE) for noise in noises])
    assert (pair.first, pair.second, more) == (3, 30, [])
    assert pair.shift_s == pytest.approx(0.25, abs=1e-3)


def test_silence_is_like_nothing() -> None:
    silence = np.zeros(RATE, np.float32)
    dither = np.random.default_rng(0).integers(-1, 2, (2, RATE)) / 2**15
    kept = [fingerprint(sound, RATE) for sound in (silence, silence, *dither, silence[:10], silence[:10])]
    assert find_near_duplicates(kept) == []
    assert find_near_duplicates([]) == []


def test_tones_and_hums_of_other_frequencies_differ_whatever_surrounds_them() -> None:
    seconds = np.arange(2 * RATE) / RATE
    ends = np.zeros(RATE, np.float32)
    tones = [np.r_[ends, 0.3 * np.sin(2 * np.pi * hertz * seconds), ends] for hertz in (100, 103, 440, 443, 1000)]
    assert find_near_duplicates([fingerprint(tone, RATE) for tone in tones]) == []


def test_a_copy_at_another_rate_and_a_shortened_copy_are_found(sounds: list[np.ndarray]) -> None:
    rain = sounds[SOUND_NAMES.index("rain")]
    kept = [fingerprint(rain, RATE), fingerprint(resample(rain, RATE, 8_000), 8_000), fingerprint(rain[RATE:], RATE)]
    found = {(pair.first, pair.second): pair for pair in find_near_duplicates(kept)}
    assert found.keys() == {(0, 1), (0, 2), (1, 2)}
    assert found[0, 1].shift_s == pytest.approx(0, abs=1e-3)
    assert found[0, 2].shift_s == pytest.approx(-1, abs=1e-3)


def test_the_order_of_the_clips_does_not_matter(sounds: list[np.ndarray]) -> None:
    longer = np.r_[sounds[0], np.zeros(RATE, np.float32)]
    kept = [fingerprint(longer, RATE), *[fingerprint(sound, RATE) for sound in sounds]]
    (forward,) = find_near_duplicates(kept)
    (backward,) = find_near_duplicates(kept[::-1])
    assert forward == Pair(0, 1, forward.similarity, 0.0)
    assert backward == Pair(len(kept) - 2, len(kept) - 1, forward.similarity, 0.0)


def test_progress_comes_to_its_end() -> None:
    told: list[tuple[int, int]] = []
    noises = np.random.default_rng(0).normal(0, 0.1, (300, 4_000))
    kept = [fingerprint(noise, 16_000) for noise in noises]
    assert find_near_duplicates(kept, on_progress=lambda done, total: told.append((done, total))) == []
    assert told == [(256, 300), (300, 300)]
