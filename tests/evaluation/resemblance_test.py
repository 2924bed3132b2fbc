"""The same sound under two labels and on two sides, from hashes and fingerprints."""

import numpy as np
import pytest

from earmark.data.clips import build_clips
from earmark.evaluation.examination import Examination
from earmark.evaluation.resemblance import Conflict, find_resemblance
from earmark.sound.fingerprint import fingerprint

RATE = 16_000


def hear(seed, delay_s=0.0, gain=1.0):
    samples = np.random.default_rng(seed).normal(0, 0.1, 2 * RATE)
    delay = round(delay_s * RATE)
    samples = gain * np.concatenate([np.zeros(delay), samples[: len(samples) - delay]])
    return Examination(None, pcm_hash=f"{seed} {delay_s} {gain}", fingerprint=fingerprint(samples, RATE))


def compare(examinations, labels, **columns):
    rows = [{"path": f"/{place}.wav", "label": label} for place, label in enumerate(labels)]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    multi_label = any(";" in label for label in labels)
    return find_resemblance(build_clips(rows, multi_label=multi_label), [f"{i}.wav" for i in range(9)], examinations)


def test_copies_are_gathered_and_are_no_near_duplicates():
    found = compare([hear(0), hear(1), hear(0), hear(0)], "abaa")
    assert found.copies == [[0, 2, 3]]
    assert found.near_duplicates == []
    assert found.conflicts == []


def test_a_shifted_copy_is_a_near_duplicate():
    found = compare([hear(0), hear(1), hear(0, delay_s=0.25, gain=0.5)], "aba")
    (pair,) = found.near_duplicates
    assert (pair.first, pair.second) == (0, 2)
    assert pair.shift_s == pytest.approx(0.25, abs=1e-3)


def test_the_same_sound_under_two_labels_is_a_conflict():
    found = compare([hear(0), hear(0), hear(1), hear(1, delay_s=0.1), hear(0)], "abbaa")
    assert found.conflicts == [Conflict(0, 1, True), Conflict(2, 3, False)]


def test_the_order_of_several_labels_is_no_conflict():
    found = compare([hear(0), hear(0), hear(0)], ["a;b", "b;a", "a"])
    assert found.conflicts == [Conflict(0, 2, True)]


def test_groups_copies_and_near_duplicates_on_two_sides_are_leaks():
    sounds = [hear(0), hear(0), hear(1), hear(1, delay_s=0.1), hear(2), hear(3)]
    split = ["train", "test", "train", "test", "train", "test"]
    found = compare(sounds, "ababab", split=split, group=[None, None, None, None, "x", "x"])
    assert [leak.kind for leak in found.leaks] == ["group", "duplicate", "near duplicate"]
    assert [leak.rows for leak in found.leaks] == [(4, 5), (0, 1), (2, 3)]


def test_folds_are_sides_and_clips_that_take_no_part_are_not():
    sounds = [hear(0), hear(0), hear(1), hear(1)]
    found = compare(sounds, "abab", fold=[1, 2, 1, 1])
    assert [leak.parts for leak in found.leaks] == [("fold 1", "fold 2")]
    assert compare(sounds, "abab", split=["train", "unused", "test", "test"]).leaks == []


@pytest.mark.parametrize("columns", [{}, {"split": ["train"] * 2}, {"fold": [3, 3]}])
def test_without_two_sides_nothing_is_divided(columns):
    found = compare([hear(0), hear(0)], "ab", **columns)
    assert not found.divided
    assert found.leaks == []


def test_groups_and_sounds_hold_together_what_must_not_be_split():
    sounds = [hear(0), hear(0), hear(1), hear(1, delay_s=0.1), hear(2)]
    units = compare(sounds, "ababa", group=["x", None, "x", None, "y"]).units
    assert len(set(units[:4].tolist())) == 1
    assert units[4] != units[0]


def test_nothing_but_silence_is_compared_with_nothing():
    found = compare([Examination(None), Examination(None)], "ab")
    assert (found.copies, found.near_duplicates, found.conflicts) == ([], [], [])
