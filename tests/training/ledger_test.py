"""The ledger: each reading of test clips is one line beside the runs, and is counted."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np

from earmark.data.clips import build_clips
from earmark.data.waveforms import ClipWaveforms
from earmark.training.ledger import mark_clips, read_ledger, record_reading, tell_readings

FIRST, OTHER = np.arange(6), np.arange(3, 9)


def test_readings_of_the_same_clips_are_counted(waveforms: ClipWaveforms, tmp_path: Path) -> None:
    counts = [
        record_reading(tmp_path / run, verb, waveforms, rows)["reads"]
        for run, verb, rows in (("a", "train", FIRST), ("b", "train", OTHER), ("c", "evaluate", FIRST[::-1]))
    ]
    assert counts == [1, 1, 2]
    told = record_reading(tmp_path / "a", "train", waveforms, FIRST)  # made again in the same place: read again
    assert told["sentence"] == (
        "These test clips have now been read 3 times (train in a, evaluate in c, train in a); each choice made after "
        "looking makes the figures more optimistic."
    )
    assert (told["reads"], told["clips"], told["file"]) == (3, 6, str(tmp_path / "ledger.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["run"] for line in lines] == ["a", "b", "c", "a"]
    assert {"time", "run", "verb", "fingerprint", "clips"} == set(lines[0])


def test_a_run_that_is_continued_reads_once(waveforms: ClipWaveforms, tmp_path: Path) -> None:
    rows, kept = np.arange(6), tmp_path / "a" / "checkpoints" / "reading.json"
    (tmp_path / "a").mkdir()
    told = [record_reading(tmp_path / "a", "train", waveforms, rows, kept=kept) for _ in range(2)]
    assert told[0] == told[1]
    assert told[0]["reads"] == len(read_ledger(tmp_path / "ledger.jsonl")) == 1


def test_the_first_reading_is_the_first(waveforms: ClipWaveforms, tmp_path: Path) -> None:
    told = record_reading(tmp_path / "a", "train", waveforms, FIRST)
    assert told["sentence"] == "These test clips were read for the first time."


def test_many_readings_name_the_last_few() -> None:
    readings = [{"verb": "train", "run": str(number)} for number in range(7)]
    assert "read 7 times (3 earlier, train in 3, train in 4, train in 5, train in 6);" in tell_readings(readings)


def test_clips_are_known_by_content_and_times_not_by_name_or_label(waveforms: ClipWaveforms) -> None:
    rows = waveforms.clips.table.to_dict("records")
    renamed = replace(
        waveforms, clips=build_clips([row | {"label": "x", "path": f"/b/{i}"} for i, row in enumerate(rows)])
    )
    cut = replace(waveforms, clips=build_clips([row | {"start_s": 0.1} for row in rows]))
    assert mark_clips(waveforms, FIRST) == mark_clips(waveforms, FIRST[::-1]) == mark_clips(renamed, FIRST)
    assert len({mark_clips(waveforms, FIRST), mark_clips(cut, FIRST), mark_clips(waveforms, OTHER)}) == 3


def test_a_line_that_was_broken_off_spoils_no_other(waveforms: ClipWaveforms, tmp_path: Path) -> None:
    record_reading(tmp_path / "a", "train", waveforms, FIRST)
    ledger = tmp_path / "ledger.jsonl"
    with ledger.open("a", encoding="utf-8") as file:
        file.write('{"time": "2026-01-01", "run"')
    assert record_reading(tmp_path / "b", "train", waveforms, FIRST)["reads"] == 2
    assert [entry["run"] for entry in read_ledger(ledger)] == ["a", "b"]
    assert len(ledger.read_text(encoding="utf-8").splitlines()) == 3


def _record_often(folder: Path, waveforms: ClipWaveforms, times: int) -> None:
    for number in range(times):
        record_reading(folder / f"run {number}", "train", waveforms, FIRST)


def test_runs_at_the_same_time_lose_no_line(waveforms: ClipWaveforms, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    workers = [context.Process(target=_record_often, args=(tmp_path, waveforms, 20)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(read_ledger(tmp_path / "ledger.jsonl")) == 60
    assert record_reading(tmp_path / "last", "train", waveforms, FIRST)["reads"] == 61


def test_a_ledger_that_cannot_be_written_costs_no_run(waveforms: ClipWaveforms, tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").mkdir()
    told = record_reading(tmp_path / "a", "train", waveforms, FIRST)
    assert (told["reads"], told["file"]) == (1, None)
    assert "ledger.jsonl cannot be written" in told["sentence"]
