"""Leaks: groups and sounds on two sides, named; copies to the sample and overlapping cuts, and no others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.data.clips import build_clips
from earmark.data.leaks import find_conflicts, find_copies, find_leaks, hash_sound, join_overlaps, name_clips
from earmark.data.waveforms import ClipWaveforms, load_waveforms

RATE = 8000


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ClipWaveforms]:
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "cache"))

    def load_rows(*rows: dict) -> ClipWaveforms:
        clips = build_clips(
            [{"label": "ab"[i % 2], **row, "path": str(tmp_path / row["path"])} for i, row in enumerate(rows)]
        )
        return load_waveforms(clips, sample_rate=RATE)

    return load_rows


def write(path: Path, seed: int, *, length: int = RATE) -> None:
    samples = np.random.default_rng(seed).integers(-20_000, 20_000, length).astype(np.int16)
    soundfile.write(path, samples, RATE, subtype="PCM_16")


def mark(keys: list[str | None]) -> list[int | None]:
    """Keys as small numbers, in the order in which they come."""
    known = list(dict.fromkeys(key for key in keys if key is not None))
    return [None if key is None else known.index(key) for key in keys]


def test_groups_and_sounds_on_two_sides_are_named() -> None:
    parts = ["train", "train", "test", "train", "unused", "test", "validation", None]
    names = [f"{i}.wav" for i in range(8)]
    groups = ["a", "a", "a", "b", "b", None, None, "a"]
    sounds = [None, 1, None, None, 1, 1, None, None]
    leaks = find_leaks(parts, names=names, groups=groups, sounds=sounds, near=[None] * 6 + [3, 3])
    assert [(leak.kind, leak.parts, leak.rows) for leak in leaks] == [
        ("group", ("train", "test"), (0, 1, 2)),
        ("duplicate", ("train", "test"), (1, 5)),
    ]
    assert [leak.sentence for leak in leaks] == ["'a' (2 clips in train, 1 in test)", "1.wav (train) = 5.wav (test)"]


def test_a_blank_group_is_nobodys() -> None:
    assert find_leaks(["train", "test"], names="ab", groups=[float("nan")] * 2) == []
    assert find_leaks(["train", "test"], names="ab", groups=[None] * 2) == []


def test_neighbours_on_two_sides_are_shown_with_their_labels_where_these_differ() -> None:
    parts = ["train", "train", "test", "test"]
    (leak,) = find_leaks(parts, names="abcd", sounds=[1] * 4, labels=["dog", "dog", "cat", "dog"])
    assert leak.sentence == "b (train, labelled dog) = c (test, labelled cat) and 2 more"
    (near,) = find_leaks(parts[1:3], names="bc", near=[1, 1])
    assert (near.kind, near.sentence) == ("near duplicate", "b (train) = c (test)")


def test_copies_are_known_whatever_file_they_are_in(load: Callable[..., ClipWaveforms], tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 1)
    write(tmp_path / "copy.wav", 1)
    write(tmp_path / "other.wav", 2)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    soundfile.write(tmp_path / "a.flac", samples, RATE)
    changed = samples.copy()
    changed[10] += 1
    soundfile.write(tmp_path / "changed.wav", changed, RATE)
    waveforms = load(*({"path": name} for name in ("a.wav", "other.wav", "copy.wav", "a.flac", "changed.wav")))
    assert mark(find_copies(waveforms)) == [0, None, 0, 0, None]


def test_silence_is_no_copy_of_silence(load: Callable[..., ClipWaveforms], tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(RATE), RATE)
    waveforms = load({"path": "a.wav"}, {"path": "b.wav"})
    assert find_copies(waveforms) == [None, None]
    assert join_overlaps(waveforms, [None, None]) == [None, None]
    assert hash_sound(np.full(5, 0.5, dtype=np.float32)) is None
    assert hash_sound(np.empty(0, dtype=np.float32)) is None


def test_a_silent_middle_does_not_make_a_copy(load: Callable[..., ClipWaveforms], tmp_path: Path) -> None:
    for name, seed in (("a.wav", 1), ("b.wav", 2)):
        samples = np.zeros(RATE, dtype=np.int16)
        samples[:1000] = np.random.default_rng(seed).integers(-20_000, 20_000, 1000)
        soundfile.write(tmp_path / name, samples, RATE)
    assert find_copies(load({"path": "a.wav"}, {"path": "b.wav"})) == [None, None]


def test_clips_of_one_file_that_overlap_are_the_same_sound(load: Callable[..., ClipWaveforms], tmp_path: Path) -> None:
    write(tmp_path / "long.wav", 1, length=4 * RATE)
    write(tmp_path / "copy.wav", 1, length=4 * RATE)
    write(tmp_path / "other.wav", 2, length=4 * RATE)
    cuts = [
        ("long.wav", 0.0, 1.0),
        ("long.wav", 1.0, 2.0),  # begins where the first ends
        ("long.wav", 1.5, 2.5),
        ("long.wav", 2.495, 3.0),  # a rounding of the times
        ("copy.wav", 0.5, 0.9),  # the same file under another name
        ("other.wav", 0.0, 1.0),
    ]
    waveforms = load(*({"path": name, "start_s": start, "end_s": end} for name, start, end in cuts))
    assert find_copies(waveforms) == [None] * 6
    assert mark(join_overlaps(waveforms, find_copies(waveforms))) == [0, 1, 1, None, 0, None]
    whole = load({"path": "long.wav"}, {"path": "long.wav", "start_s": 3.0}, {"path": "other.wav", "end_s": 1.0})
    assert mark(join_overlaps(whole, [None] * 3)) == [0, 0, None]


def test_a_copy_joins_what_overlaps_with_either(load: Callable[..., ClipWaveforms], tmp_path: Path) -> None:
    write(tmp_path / "long.wav", 1, length=4 * RATE)
    samples, _ = soundfile.read(tmp_path / "long.wav", dtype="int16")
    soundfile.write(tmp_path / "first second.wav", samples[:RATE], RATE)
    waveforms = load({"path": "long.wav", "start_s": 0.5, "end_s": 2.0}, {"path": "long.wav", "end_s": 1.0},
                     {"path": "first second.wav"})  # fmt: skip
    copies = find_copies(waveforms)
    assert mark(copies) == [None, 0, 0]
    assert mark(join_overlaps(waveforms, copies)) == [0, 0, 0]


def test_one_sound_under_two_labels_is_a_conflict() -> None:
    sounds, labels = ["x", "x", "y", "y", None], ["dog", "dog", "dog", "cat", "cat"]
    assert find_conflicts(sounds, labels, list("abcde")) == ["c (dog) = d (cat)"]


def test_clips_are_named_from_their_folder_with_their_times(load: Callable[..., ClipWaveforms], tmp_path: Path) -> None:
    rows = [{"path": f"/s/{name}", "label": "x"} for name in ("a/1.wav", "b/1.wav")]
    assert name_clips(build_clips(rows)) == ["a/1.wav", "b/1.wav"]
    timed = [rows[0] | {"start_s": 0.5, "end_s": 2.0}, rows[1] | {"end_s": 1.0}, rows[1] | {"start_s": 1.25}, rows[1]]
    assert name_clips(build_clips(timed)) == ["a/1.wav 0.5–2 s", "b/1.wav 0–1 s", "b/1.wav 1.25–end", "b/1.wav"]
