"""The verb compare: one table, sentences that say what it means, figures as JSON, and refusals with exit code 2."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from earmark.cli.main import app, run

LABELS = ["cat", "dog"]


def write_run(folder, share_right, *, n_clips=80, seed=0):
    """What an evaluation leaves behind, as far as a comparison reads it."""
    random = np.random.default_rng(seed)
    truth = np.array(LABELS)[np.arange(n_clips) % 2]
    other = np.array(LABELS)[(np.arange(n_clips) + 1) % 2]
    right = random.random(n_clips) < share_right
    table = pd.DataFrame({"path": [f"/sounds/{i}.wav" for i in range(n_clips)], "label": truth})
    table = table.assign(predicted=np.where(right, truth, other), score=0.9)
    for label in LABELS:
        table[f"p:{label}"] = np.where(table["predicted"] == label, 0.9, 0.1)
    folder.mkdir()
    table.to_csv(folder / "predictions.csv", index=False)
    report = {"kind": "evaluate", "title": "x", "metrics": {"primary": "accuracy"}, "model": {"parameters": 12345}}
    (folder / "report.json").write_text(json.dumps({**report, "timing": {"train_s": 65.0}}))
    return folder


def call(*arguments):
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_table_and_the_sentences(tmp_path):
    runs = [write_run(tmp_path / name, share, seed=i) for i, (name, share) in enumerate([("plain", 0.5), ("good", 1)])]

    written = call(*runs, "--json", tmp_path / "figures.json")

    figures = json.loads((tmp_path / "figures.json").read_text())
    plain, difference = figures["runs"][0]["accuracy"], figures["differences"][0]
    lines = written.splitlines()
    row = next(line for line in lines if line.startswith("plain "))
    assert row.split()[1:5] == [
        *(f"{100 * plain[key]:.1f}" for key in ("value", "low")),
        "to",
        f"{100 * plain['high']:.1f}",
    ]
    assert "1 min 5 s" in row
    assert "12,345" in row
    row = next(line for line in lines if line.startswith("good "))
    assert f"{100 * difference['accuracy']['value']:+.1f}" in row
    assert "< 0.001" in row
    assert difference["sentence"] in lines
    assert difference["sentence"].startswith("good is better than plain by ")
    assert "No latency of plain: the run holds no model." in lines
    assert f"Figures: {tmp_path / 'figures.json'}" in lines
    assert lines[-1] == "Look and listen: give -o compare.html too."


def test_three_runs_are_corrected_and_the_page_is_written(tmp_path):
    runs = [write_run(tmp_path / f"run{i}", 0.6 + 0.1 * i, seed=i) for i in range(3)]
    written = call(*runs, "-o", tmp_path / "page.html")
    assert "p (exact McNemar, Holm)" in written
    assert written.splitlines()[-1] == f"Look and listen: {tmp_path / 'page.html'}"
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_other_test_clips_are_refused_in_one_sentence(tmp_path, monkeypatch, capsys):
    runs = [write_run(tmp_path / "a", 0.6), write_run(tmp_path / "b", 0.6, n_clips=50)]
    monkeypatch.setattr(sys, "argv", ["earmark", "compare", *map(str, runs)])
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "earmark: a and b were not tested on the same clips (30 of 80 clips are only in a): measure each model on the "
        "same clips with `earmark evaluate`, and compare those runs.\n"
    )
