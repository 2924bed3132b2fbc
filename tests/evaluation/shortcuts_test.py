"""Guesses that hear nothing: they fire where a trait tells the class, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from earmark.evaluation.shortcuts import SHORTCUT_NAMES, Shortcut, probe_shortcuts
from earmark.sound.synthesis import SOUND_NAMES, synthesise
from earmark.sound.traits import SoundTraits, measure_traits

RATE = 16_000
LABELS = ["dog", "rain", "siren"] * 25


def take(seed: int, *, level_db: float, sample_rate: int = RATE) -> SoundTraits:
    """A take of any sound at a level, as a 16-bit file holds it."""
    name = SOUND_NAMES[seed % len(SOUND_NAMES)]
    waveform = synthesise(name, seed=seed, duration_s=0.5, sample_rate=sample_rate)
    waveform *= 10 ** (level_db / 20) / np.sqrt(np.mean(waveform**2))
    return measure_traits(np.round(waveform * 32_768) / 32_768, sample_rate, codec="pcm_16")


@pytest.fixture(scope="module")
def clean() -> list[SoundTraits]:
    """Sounds and levels that have nothing to do with the labels."""
    random = np.random.default_rng(0)
    return [take(int(random.integers(10_000)), level_db=random.normal(-35, 5)) for _ in LABELS]


def fired(found: list[Shortcut]) -> list[str]:
    return [shortcut.name for shortcut in found if shortcut.fires]


def test_nothing_fires_on_a_clean_set(clean: list[SoundTraits]) -> None:
    found = probe_shortcuts(clean, LABELS)
    assert [shortcut.name for shortcut in found] == list(SHORTCUT_NAMES)
    assert fired(found) == []
    assert all(shortcut.chance == pytest.approx(1 / 3) for shortcut in found)


def test_the_majority_scores_what_it_scores(clean: list[SoundTraits]) -> None:
    majority = probe_shortcuts(clean, ["dog"] * 60 + ["rain"] * 15)[0]
    assert (majority.name, majority.accuracy, majority.chance, majority.fires) == ("majority", 0.8, 0.8, False)


def test_a_class_in_the_loudness_is_found(clean: list[SoundTraits]) -> None:
    shift_db = {"dog": -10, "rain": 0, "siren": 10}
    louder = [replace(one, level_db=one.level_db + shift_db[label]) for one, label in zip(clean, LABELS, strict=True)]
    found = probe_shortcuts(louder, LABELS)
    assert fired(found) == ["loudness"]
    loudness = next(shortcut for shortcut in found if shortcut.name == "loudness")
    assert loudness.chance < loudness.low < loudness.accuracy < loudness.high
    assert f"{loudness.accuracy:.0%}" in loudness.sentence
    assert "gains" in loudness.sentence, "the remedy"


def test_a_class_in_the_sample_rate_is_found_there_and_in_the_bandwidth() -> None:
    rate_of = {"dog": 8000, "rain": 16_000, "siren": 22_050}
    traits = [take(seed, level_db=-35, sample_rate=rate_of[label]) for seed, label in enumerate(LABELS)]
    assert fired(probe_shortcuts(traits, LABELS)) == ["sample rate", "bandwidth"]


@pytest.mark.parametrize(
    ("trait", "values", "name"),
    [
        ("duration_s", (1.0, 2.0, 4.0), "duration"),
        ("silence_share", (0.0, 0.2, 0.5), "silence ratio"),
        ("codec", ("vorbis", "mp3", "aac"), "codec"),
        ("channels", (1, 2, 1), "channels"),
    ],
)
def test_other_traits_are_found(clean: list[SoundTraits], trait: str, values: tuple, name: str) -> None:
    told = [replace(one, **{trait: values[row % 3]}) for row, one in enumerate(clean)]
    assert fired(probe_shortcuts(told, LABELS)) == [name]


def test_a_trait_of_the_recording_is_not_taken_for_one_of_the_class() -> None:
    """Every recording has a length of its own: seen by clips that tells the class, by recordings it does not."""
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(24), 5)
    labels = [f"class {group % 3}" for group in groups]
    length_s = random.uniform(1, 9, 24)[groups] + random.normal(0, 0.02, len(groups))
    one = measure_traits(random.standard_normal(800) / 10, 8000)
    traits = [replace(one, duration_s=float(duration_s)) for duration_s in length_s]
    assert fired(probe_shortcuts(traits, labels)) == ["duration"]
    assert fired(probe_shortcuts(traits, labels, [f"take {group}" for group in groups])) == []


def test_what_is_perfect_on_few_recordings_is_not_certain() -> None:
    one = measure_traits(np.random.default_rng(0).standard_normal(800) / 10, 8000)

    def probe(clips_a_group: int) -> Shortcut:
        rates = [8000, 16_000] * 30
        groups = [f"{row % 2} {row // 2 // clips_a_group}" for row in range(60)]
        return probe_shortcuts([replace(one, sample_rate=rate) for rate in rates], list(map(str, rates)), groups)[2]

    few, many = probe(15), probe(3)
    assert few.accuracy == many.accuracy == 1.0
    assert many.fires
    assert not few.fires, "four recordings"


def test_clips_that_cannot_be_decoded_and_sets_of_one_class_are_passed_over(clean: list[SoundTraits]) -> None:
    assert probe_shortcuts([None, *clean], ["fox", *LABELS]) == probe_shortcuts(clean, LABELS)
    assert probe_shortcuts(clean, ["dog"] * len(clean)) == []


def test_the_same_seed_gives_the_same_figures(clean: list[SoundTraits]) -> None:
    assert probe_shortcuts(clean, LABELS, seed=3) == probe_shortcuts(clean, LABELS, seed=3)
