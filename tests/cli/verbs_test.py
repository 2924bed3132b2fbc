"""The verbs on a small folder of sounds: trained in a process of its own, then asked, measured and checked."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from earmark.cli import demo
from earmark.cli.main import app
from earmark.errors import EarmarkError
from earmark.inference.classifier import Classifier

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
RATE = 8000
TINY = [
    f"--set=audio.sample_rate={RATE}",
    "--set=front_end.n_fft=256",
    "--set=front_end.n_mels=16",
    "--set=model.hidden=[8]",
    "--set=train.epochs=2",
]


class Call(NamedTuple):
    code: int
    out: str
    err: str


def run_alone(*arguments: str) -> Call:
    """``earmark ARGUMENTS`` in a process of its own, its output in pipes, on a terminal that would take colours."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm-256color"}
    command = [sys.executable, "-c", "from earmark.cli.main import run; run()", *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    return Call(done.returncode, done.stdout, done.stderr)


def run_here(*arguments: str) -> Call:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Call(result.exit_code, result.stdout, result.stderr)


def refuse_here(*arguments: str) -> str:
    """The one line with which a verb refuses, before it has said anything else."""
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, EarmarkError), result.exception
    assert result.stdout == ""
    assert len(str(result.exception).splitlines()) == 1
    return str(result.exception)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of half a second, one with a name that needs care."""
    folder = tmp_path_factory.mktemp("sounds") / "my sounds"
    for number, label in enumerate(("hiss 嘶", "hum")):
        (folder / label).mkdir(parents=True)
        for take in range(10):
            random = np.random.default_rng((number, take))
            tone = np.sin(2 * np.pi * random.uniform(200, 400) * np.arange(4000) / RATE) * number
            samples = np.clip(0.2 * tone + 0.1 * random.normal(0, 1, 4000), -1, 1)
            with wave.open(str(folder / label / f"{take}.wav"), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return folder


class Trained(NamedTuple):
    folder: Path
    call: Call


@pytest.fixture(scope="module")
def trained(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return Trained(folder, run_alone("train", str(sounds), "--recipe", "quick", "--out", str(folder), *TINY))


def test_train_ends_with_figures_and_what_to_do_next(trained: Trained) -> None:
    call = trained.call
    assert call.code == 0, call.err
    report = json.loads((trained.folder / "report.json").read_text(encoding="utf-8"))
    accuracy = report["metrics"]["accuracy"]
    shown = f"{accuracy['value']:6.1%}   ({accuracy['low']:.1%} to {accuracy['high']:.1%})"
    assert f"{'Accuracy':<18} {shown}" in call.out
    assert report["protocol"] in call.out
    assert "Note: Nothing says which clips share a recording" in call.out
    lines = call.out.splitlines()
    assert lines[-2] == f"Report: {trained.folder / 'report.html'}"
    assert lines[-1] == f"Label a file: earmark predict {trained.folder / 'model'} FILE"


def test_a_pipe_gets_plain_lines_and_nothing_of_the_libraries(trained: Trained) -> None:
    assert not CONTROL.search(trained.call.out)
    assert not CONTROL.search(trained.call.err)
    assert [line.split(":")[0] for line in trained.call.err.splitlines()] == ["Training quick"] * 2
    assert "epoch 2/2" in trained.call.err


def test_one_bad_file_is_reported_and_stops_nothing(trained: Trained, sounds: Path, tmp_path: Path) -> None:
    bad = tmp_path / "words.mp3"
    bad.write_text("this is no sound", encoding="utf-8")
    good = str(sounds / "hum" / "3.wav")
    call = run_here("predict", str(trained.folder), good, str(bad), good, "--format", "jsonl")
    assert call.code == 1
    records = [json.loads(line) for line in call.out.splitlines()]
    assert [record["path"] for record in records] == [good, str(bad), good]
    assert records[0]["prediction"] == records[2]["prediction"]
    assert "words.mp3" in records[1]["error"]
    assert call.err == f"earmark: {records[1]['error']}\n"
    # In a table and a CSV as well.
    table = run_here("predict", str(trained.folder), good, str(bad))
    assert table.code == 1
    assert re.search(r"words\.mp3 +cannot be read", table.out)
    rows = list(csv.DictReader(io.StringIO(run_here("predict", str(trained.folder), str(bad), "-f", "csv").out)))
    assert [(row["path"], row["label"], row["error"]) for row in rows] == [(str(bad), "", records[1]["error"])]


def test_an_error_in_a_process_of_its_own(tmp_path: Path) -> None:
    call = run_alone("data", "show", str(tmp_path / "none"))
    assert call == (2, "", f"earmark: {tmp_path / 'none'} does not exist: check its name.\n")


def test_predict_answers_in_three_forms(trained: Trained, sounds: Path) -> None:
    path = str(sounds / "hiss 嘶" / "0.wav")
    expected = Classifier.from_pretrained(trained.folder).classify(path)
    (record,) = map(json.loads, run_here("predict", str(trained.folder), path, "-f", "jsonl").out.splitlines())
    assert record == {"path": path, "prediction": expected}
    rows = list(csv.DictReader(io.StringIO(run_here("predict", str(trained.folder), path, "-f", "csv").out)))
    assert [(row["path"], row["rank"], row["label"]) for row in rows] == [
        (path, str(rank), entry["label"]) for rank, entry in enumerate(expected, start=1)
    ]
    assert [float(row["score"]) for row in rows] == pytest.approx([entry["score"] for entry in expected], rel=1e-5)
    header, line = run_here("predict", str(trained.folder), path).out.splitlines()
    assert header.split()[:2] == ["file", "label"]
    assert line.startswith(path)
    for entry in expected:
        assert f"{entry['label']}" in line
        assert f"{100 * entry['score']:.1f}" in line


def test_predict_takes_folders_and_writes_files(trained: Trained, sounds: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sounds, tmp_path / "in")
    (folder / "notes.txt").write_text("not a sound", encoding="utf-8")
    (folder / ".hidden.wav").write_text("nor this", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    call = run_here("predict", str(trained.folder), str(folder), "-k", "1", "-f", "jsonl", "-o", str(out))
    assert (call.code, call.out) == (0, f"20 answers: {out}\n")
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [record["path"] for record in records] == sorted(str(path) for path in folder.glob("*/*.wav"))
    assert all(len(record["prediction"]) == 1 for record in records)


def test_verify_replays_the_golden_waveforms(trained: Trained, tmp_path: Path) -> None:
    call = run_here("verify", str(trained.folder))
    assert call.code == 0
    assert call.out.splitlines()[-1] == f"The model {trained.folder} gives the answers it gave when it was saved."
    copy = shutil.copytree(trained.folder / "model", tmp_path / "model")
    from safetensors.numpy import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["standardise.mean"] = weights["standardise.mean"] + 1.0
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    call = run_here("verify", str(copy))
    assert call.code == 1
    assert "This is not the model it was" in call.err


def test_evaluate_measures_the_test_part_as_the_run_did(trained: Trained, tmp_path: Path) -> None:
    clips = str(trained.folder / "clips.csv")
    call = run_here("evaluate", str(trained.folder), clips, "--split", "test", "--out", str(tmp_path / "run"))
    assert call.code == 0
    first, second = (
        json.loads((folder / "report.json").read_text(encoding="utf-8"))["metrics"]["accuracy"]["value"]
        for folder in (trained.folder, tmp_path / "run")
    )
    assert first == second
    assert call.out.splitlines()[-1] == f"Report: {tmp_path / 'run' / 'report.html'}"


def test_crossval_of_several_seeds_shows_each_and_leaves_a_model_to_ship(sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--folds", "2", "--seeds", "2", "--refit", "--out", str(out))
    call = run_here("crossval", str(sounds), "-r", "quick", *options, *TINY)
    assert call.code == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    lines = [line.split() for line in call.out.splitlines()]
    assert ["fold", "clips", "seed", "0", "seed", "1", "mean"] in lines
    by_fold = [[row["accuracy"] for row in report["folds"] if row["fold"] == fold] for fold in (1, 2)]
    for fold, figures in enumerate(by_fold, start=1):
        assert [str(fold), "10", *(f"{value:.1%}" for value in (*figures, sum(figures) / 2))] in lines
    mean = report["fold_mean"]
    spread = f"standard deviation over folds {mean['deviation']:.1%}, over seeds {mean['seed_deviation']:.1%}"
    assert f"Mean of the folds: {mean['accuracy']:.1%}, {spread}" in call.out
    assert call.out.splitlines()[-1] == f"Label a file: earmark predict {out / 'model'} FILE"
    answer = run_here("predict", str(out), str(next(sounds.rglob("*.wav"))))
    assert answer.code == 0
    assert any(label in answer.out for label in report["data"]["labels"])


def test_crossval_takes_sounds_or_a_run_to_continue(sounds: Path, tmp_path: Path) -> None:
    for arguments in ((), (str(sounds), "--resume", str(tmp_path))):
        assert run_here("crossval", *arguments).code == 2


def test_clips_that_the_model_learned_from_stop_it_in_one_sentence(
    trained: Trained, sounds: Path, tmp_path: Path
) -> None:
    ask = ["evaluate", str(trained.folder), str(sounds), "--out", str(tmp_path / "run")]
    refusal = refuse_here(*ask)
    assert refusal.startswith("The model learned from 16 of these 20 clips: hiss 嘶/")
    assert "or go on with --allow-leak" in refusal
    assert not (tmp_path / "run").exists()
    call = run_here(*ask, "--allow-leak")
    assert call.code == 0
    first, second, *_ = call.out.splitlines()
    assert first.startswith("LEAK: The model learned from part of what it is asked about, so the figures are too good")
    assert second.startswith("  the model learned from 16 of these 20 clips: hiss 嘶/")
    assert "These test clips were read for the first time." in call.out.splitlines()


@pytest.mark.parametrize("verb", ["train", pytest.param("crossval", marks=pytest.mark.slow)])
def test_a_split_that_leaks_is_refused_and_allowed(verb: str, sounds: Path, tmp_path: Path) -> None:
    rows = [f"{path},{path.parent.name},{1 + i % 3},g{i % 4}" for i, path in enumerate(sorted(sounds.glob("*/*.wav")))]
    (tmp_path / "clips.csv").write_text("path,label,fold,group\n" + "\n".join(rows) + "\n", encoding="utf-8")
    given = [verb, str(tmp_path / "clips.csv"), "-r", "quick", "--out", str(tmp_path / "run"), *TINY]
    assert refuse_here(*given).startswith("4 groups stand on two ")
    call = run_here(*given, "--allow-leak")
    assert call.code == 0
    assert any(line.startswith("LEAK: ") for line in call.out.splitlines())


def test_crossval_shows_every_fold(sounds: Path, tmp_path: Path) -> None:
    call = run_here("crossval", str(sounds), "-r", "quick", "--folds", "2", "--out", str(tmp_path / "run"), *TINY)
    assert call.code == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    lines = [line.split() for line in call.out.splitlines()]
    for figure in report["folds"]:
        assert [str(figure["fold"]), "10", f"{figure['accuracy']:.1%}", f"{figure['macro_f1']:.1%}"] in lines
    assert f"Mean of the folds: {report['fold_mean']['accuracy']:.1%}" in call.out
    assert call.out.splitlines()[-1] == f"Report: {tmp_path / 'run' / 'report.html'}"


def test_a_finished_run_is_not_resumed(trained: Trained) -> None:
    from earmark.errors import RunError

    with pytest.raises(RunError, match="is finished; its report is"):
        run_here("train", "--resume", str(trained.folder))


def test_data_show_counts_and_writes_a_manifest(sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips.csv"
    call = run_here("data", "show", str(sounds), "--csv", str(out))
    assert call.code == 0
    lines = [" ".join(line.split()) for line in call.out.splitlines()]
    assert "hiss 嘶 10 5.0 s 0.5 s 0.5 s" in lines
    assert "2 classes 20 10 s" in lines
    assert "Sample rates: 8000 Hz (20)" in lines
    assert lines[-2:] == [f"Manifest: {out}", f"Next: earmark train {out}"]
    again = run_here("data", "show", str(out))
    assert [line for line in again.out.splitlines() if "hum" in line] == [
        line for line in call.out.splitlines() if line.startswith("hum")
    ]
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8-sig"))))
    assert sorted(row["path"] for row in rows) == sorted(str(path) for path in sounds.glob("*/*.wav"))


def test_demo_does_the_whole_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CLIPS_PER_CLASS", 3)
    call = run_here("demo", "--out", str(tmp_path / "demo"))
    assert call.code == 0
    assert (tmp_path / "demo" / "run" / "report.html").is_file()
    assert f"earmark predict {tmp_path / 'demo' / 'run' / 'model'}" in call.out
    assert str((tmp_path / "demo" / "run" / "report.html").resolve()) in call.out
