"""What a run writes down about itself."""

import platform
import subprocess
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import earmark
from earmark.data.clips import build_clips
from earmark.data.fingerprint import hash_clips
from earmark.data.splits import Split
from earmark.data.waveforms import ClipWaveforms
from earmark.training.recipe import Recipe, to_tables
from earmark.training.record import describe_clips_honestly, describe_run, describe_software, find_commit


def test_a_report_begins_with_what_was_asked(waveforms: ClipWaveforms, tiny_quick: Recipe) -> None:
    parts = np.array(["train"] * 30 + ["test"] * 6, dtype=object)
    report = describe_run("train", tiny_quick, waveforms, Split(parts, "as said"), "as said", seed=9)
    assert report["title"] == f"quick on {Path(waveforms.clips.source).name}"
    assert (report["kind"], report["protocol"], report["seed"]) == ("train", "as said", 9)
    assert report["data"]["split"] == {"train": 30, "test": 6}
    assert report["data"]["labels"] == ["beep", "hiss", "hum"]
    assert report["data"]["hash"] == hash_clips(waveforms.clips)
    assert report["recipe"] == to_tables(tiny_quick)
    assert report["earmark"] == earmark.__version__
    assert describe_run("crossval", tiny_quick, waveforms, None, "x", seed=0)["data"]["split"] == {}


def test_the_title_names_a_csv_without_its_suffix(waveforms: ClipWaveforms, tiny_quick: Recipe) -> None:
    for source in ("/data/birds.csv", "/data/birds/", "birds"):
        renamed = replace(waveforms, clips=replace(waveforms.clips, source=source))
        assert describe_run("train", tiny_quick, renamed, None, "x", seed=0)["title"] == "quick on birds"


def test_notes_say_what_spoils_a_figure(waveforms: ClipWaveforms) -> None:
    (note,) = describe_clips_honestly(waveforms)
    assert "share a recording" in note
    rows = [{**row, "group": "a"} for row in waveforms.clips.table.to_dict("records")]
    grouped = replace(waveforms, clips=build_clips(rows))
    assert describe_clips_honestly(grouped) == []
    spoiled = replace(grouped, left_out=[{"path": "x", "reason": "y"}] * 2, remarks=["a.wav: cut", "b.wav: cut"])
    assert describe_clips_honestly(spoiled) == [
        "2 clip(s) could not be heard and were left out; they are named below.",
        "Decoded only in part: a.wav: cut (and 1 more)",
    ]


def test_gtzans_published_split_keeps_artists_apart_and_a_random_one_does_not(
    waveforms: ClipWaveforms, tiny_quick: Recipe
) -> None:
    gtzan = replace(waveforms, clips=replace(waveforms.clips, layout="GTZAN"))
    split = Split(np.array(["train"] * 36, dtype=object), "x")
    random = replace(tiny_quick, train=replace(tiny_quick.train, split="random"))
    assert describe_run("train", tiny_quick, gtzan, split, "x", seed=0)["notes"] == []
    assert len(describe_run("train", random, gtzan, split, "x", seed=0)["notes"]) == 1
    assert len(describe_run("crossval", tiny_quick, gtzan, None, "x", seed=0)["notes"]) == 1


def test_versions_are_those_installed() -> None:
    versions = describe_software()["versions"]
    assert versions["python"] == platform.python_version()
    assert versions["torch"] == metadata.version("torch")


def test_the_commit_is_the_working_directorys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert find_commit() is None
    try:
        subprocess.run(["git", "init", "--quiet"], check=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    said = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert find_commit() == said
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_commit() is None
