"""The overview: counts and lengths as a user would check them by hand, and every unreadable file named."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.data.clips import build_clips
from earmark.data.layouts import read_clips
from earmark.data.overview import describe_clips


def write(path: Path, duration_s: float, sample_rate: int = 8000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros((round(duration_s * sample_rate), channels)), sample_rate)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "cat" / "1.wav", 1.0)
    write(tmp_path / "cat" / "2.wav", 0.25, channels=2)
    write(tmp_path / "狗 dog" / "3.flac", 2.0, sample_rate=16_000)
    write(tmp_path / "狗 dog" / "4.wav", 0.5)
    return tmp_path


def test_classes_and_totals(folder):
    (folder / "notes.txt").touch()
    overview = describe_clips(read_clips(folder))
    assert overview.classes.to_dict("records") == [
        {"label": "cat", "clips": 2, "duration_s": 1.25, "shortest_s": 0.25, "longest_s": 1.0},
        {"label": "狗 dog", "clips": 2, "duration_s": 2.5, "shortest_s": 0.5, "longest_s": 2.0},
    ]
    assert (overview.clips, overview.duration_s) == (4, 3.75)
    assert overview.sample_rates == {8000: 3, 16_000: 1}
    assert overview.channels == {1: 3, 2: 1}
    assert list(overview.formats.values()) == [3, 1]
    assert [name.split("/")[0] for name in overview.formats] == ["wav", "flac"]
    assert overview.unreadable == []
    assert overview.passed_over == {"not audio": 1}


def test_unreadable_files_are_named_with_their_reason(folder):
    (folder / "cat" / "0.mp3").write_bytes(b"<html>not found</html>" * 20)
    (folder / "cat" / "9.wav").touch()
    overview = describe_clips(read_clips(folder))
    assert [path for path, _ in overview.unreadable] == [str(folder / "cat" / name) for name in ("0.mp3", "9.wav")]
    assert all(reason for _, reason in overview.unreadable)
    assert overview.clips == 6
    assert overview.classes["clips"].tolist() == [4, 2]
    assert overview.duration_s == 3.75


def test_a_class_without_a_readable_clip(folder):
    (folder / "empty").mkdir()
    (folder / "empty" / "0.wav").touch()
    row = describe_clips(read_clips(folder)).classes.iloc[1]
    assert (row["label"], row["clips"], row["duration_s"]) == ("empty", 1, 0.0)
    assert math.isnan(row["shortest_s"])
    assert math.isnan(row["longest_s"])


def test_segments_count_by_their_own_length_and_their_file_once(folder):
    long = str(folder / "狗 dog" / "3.flac")
    rows = [
        {"path": long, "label": "a", "start_s": 0.5, "end_s": 1.0},
        {"path": long, "label": "a", "start_s": 1.5, "end_s": None},
        {"path": long, "label": "b", "start_s": None, "end_s": 0.25},
        {"path": long, "label": "b", "start_s": 1.0, "end_s": 9.0},
        {"path": long, "label": "b", "start_s": 3.0, "end_s": 4.0},
    ]
    overview = describe_clips(build_clips(rows))
    assert overview.classes["duration_s"].tolist() == [1.0, 1.25]
    assert overview.duration_s == 2.25
    assert overview.sample_rates == {16_000: 1}
    assert overview.unreadable == [(long, "start_s is 3 but the file ends at 2 s")]


def test_a_clip_with_two_labels_counts_in_both_classes_and_once_in_all(folder):
    rows = [
        {"path": str(folder / "cat" / "1.wav"), "label": "x;y"},
        {"path": str(folder / "cat" / "2.wav"), "label": "y"},
    ]
    overview = describe_clips(build_clips(rows, multi_label=True))
    assert overview.classes["clips"].tolist() == [1, 2]
    assert overview.classes["duration_s"].tolist() == [1.0, 1.25]
    assert (overview.clips, overview.duration_s) == (2, 1.25)


def test_progress_counts_files_to_the_last(folder):
    steps = []
    describe_clips(read_clips(folder), on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_ctrl_c_is_passed_on(folder):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe_clips(read_clips(folder), on_progress=interrupt)
