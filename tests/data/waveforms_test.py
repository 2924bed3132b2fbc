"""Clips with their sound: slices of files stored once, targets by sorted label, nothing made up for what is missing."""

import wave
from pathlib import Path

import numpy as np
import pytest

from earmark.data.clips import build_clips
from earmark.data.waveforms import load_waveforms
from earmark.errors import ClipsError
from earmark.sound.decode import decode

RATE = 8000


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "cache"))


def write_noise(path: Path, seed: int, length: int = 4000) -> str:
    samples = np.random.default_rng(seed).integers(-20_000, 20_000, length).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return str(path)


def test_each_clip_has_its_samples_and_its_target(tmp_path: Path) -> None:
    paths = [write_noise(tmp_path / f"{i}.wav", i, 1000 + i) for i in range(3)]
    clips = build_clips([{"path": path, "label": label} for path, label in zip(paths, "bac", strict=True)])
    waveforms = load_waveforms(clips, sample_rate=RATE)
    assert waveforms.targets().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert waveforms.lengths.tolist() == [1000, 1001, 1002]
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(waveforms.read(row), decode(path, sample_rate=RATE)[0])
    np.testing.assert_array_equal(waveforms.read(1, 5, 9), decode(paths[1], sample_rate=RATE)[0][5:9])
    assert waveforms.decoded == 3
    assert load_waveforms(clips, sample_rate=RATE).decoded == 0


def test_several_labels_are_several_ones(tmp_path: Path) -> None:
    paths = [write_noise(tmp_path / f"{i}.wav", i) for i in range(2)]
    rows = [{"path": paths[0], "label": "dog;rain"}, {"path": paths[1], "label": "bell"}]
    waveforms = load_waveforms(build_clips(rows, multi_label=True), sample_rate=RATE)
    assert waveforms.targets().tolist() == [[0, 1, 1], [1, 0, 0]]


def test_start_and_end_are_slices_of_a_file_stored_once(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "recording.wav", 0, length=RATE)
    rows = [
        {"path": path, "label": "cat", "start_s": 0.0, "end_s": 0.25},
        {"path": path, "label": "dog", "start_s": 0.25, "end_s": 0.5},
        {"path": path, "label": "cat", "start_s": 0.75},
        {"path": path, "label": "dog", "end_s": 0.125},
        {"path": path, "label": "cat", "start_s": 0.9, "end_s": 7.0},
    ]
    waveforms = load_waveforms(build_clips(rows), sample_rate=RATE)
    whole = decode(path, sample_rate=RATE)[0]
    spans = [(0, 2000), (2000, 4000), (6000, 8000), (0, 1000), (7200, 8000)]
    for row, (start, stop) in enumerate(spans):
        np.testing.assert_array_equal(waveforms.read(row), whole[start:stop])
    np.testing.assert_array_equal(waveforms.read(1, 10, 99_999), whole[2010:4000])
    assert waveforms.decoded == 1
    assert sum(shard.stat().st_size for shard in waveforms.store.folder.glob("*.f32")) == 4 * RATE
    assert len(set(waveforms.content_keys)) == 1


def test_a_start_beyond_the_end_is_left_out_with_its_reason(tmp_path: Path) -> None:
    paths = [write_noise(tmp_path / f"{i}.wav", i) for i in range(2)]
    rows = [
        {"path": paths[0], "label": "cat"},
        {"path": paths[0], "label": "cat", "start_s": 3.0, "end_s": 4.0},
        {"path": paths[1], "label": "dog"},
    ]
    waveforms = load_waveforms(build_clips(rows), sample_rate=RATE)
    assert len(waveforms) == 2
    assert waveforms.clips.table["label"].tolist() == ["cat", "dog"]
    (entry,) = waveforms.left_out
    assert entry["path"] == paths[0]
    assert "starts at 3 s, but the file ends at 0.5 s" in entry["reason"]


def test_what_cannot_be_heard_is_left_out_by_name_or_refused(tmp_path: Path) -> None:
    paths = [write_noise(tmp_path / f"{i}.wav", i) for i in range(2)]
    broken = str(tmp_path / "broken.wav")
    Path(broken).write_text("no sound", encoding="utf-8")
    rows = [{"path": path, "label": label} for path, label in zip([broken, *paths], "xab", strict=True)]
    clips = build_clips(rows)
    waveforms = load_waveforms(clips, sample_rate=RATE)
    assert waveforms.clips.labels == ("a", "b")  # a class that nobody can hear is no class
    assert waveforms.targets().shape == (2, 2)
    np.testing.assert_array_equal(waveforms.read(0), decode(paths[0], sample_rate=RATE)[0])
    assert [entry["path"] for entry in waveforms.left_out] == [broken]
    with pytest.raises(ClipsError, match=r"1 clip\(s\) cannot be heard, and --strict allows none:\n.*broken\.wav"):
        load_waveforms(clips, sample_rate=RATE, strict=True)


def test_too_little_left_is_one_sentence(tmp_path: Path) -> None:
    good = write_noise(tmp_path / "good.wav", 0)
    broken = [str(tmp_path / f"broken {i}.wav") for i in range(2)]
    for path in broken:
        Path(path).touch()
    rows = [{"path": broken[0], "label": "a"}, {"path": broken[1], "label": "b"}]
    with pytest.raises(ClipsError, match=r"None of the 2 clips can be heard; the first: .*broken 0\.wav"):
        load_waveforms(build_clips(rows), sample_rate=RATE)
    with pytest.raises(ClipsError, match=r"Only one class is left .*: 'a'"):
        load_waveforms(build_clips([{"path": good, "label": "a"}, rows[1]]), sample_rate=RATE)


def test_a_cut_file_is_remarked_on(tmp_path: Path) -> None:
    paths = [write_noise(tmp_path / f"{i}.wav", i) for i in range(2)]
    Path(paths[0]).write_bytes(Path(paths[0]).read_bytes()[:3000])
    clips = build_clips([{"path": paths[0], "label": "a"}, {"path": paths[1], "label": "b"}])
    waveforms = load_waveforms(clips, sample_rate=RATE)
    (remark,) = waveforms.remarks
    assert paths[0] in remark
    assert waveforms.left_out == []
    assert waveforms.lengths.tolist() == [(3000 - 44) // 2, 4000]
