"""The run: its directory agrees with itself, with scikit-learn, and with a run that was killed on the way."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from earmark.data.clips import Clips, build_clips, read_csv
from earmark.data.store import hash_file
from earmark.errors import ClipsError, RecipeError, RunError
from earmark.inference.golden import verify_model
from earmark.training import callbacks
from earmark.training import run as run_module
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.run import Run, resume, train

MODEL_FILES = {
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "README.md",
    "golden.safetensors",
    "training_data.json",
}


def read_predictions(run: Run) -> pd.DataFrame:
    return pd.read_csv(run.folder / "predictions.csv", encoding="utf-8")


def same_results(first: Run, second: Run) -> bool:
    """The same weights, and the same answers to the last digit."""
    names = ("model/model.safetensors", "model/config.json", "predictions.csv", "metrics.jsonl")
    return all((first.folder / name).read_bytes() == (second.folder / name).read_bytes() for name in names)


def test_the_run_directory_holds_what_is_promised_and_nothing_else(quick_run: Run) -> None:
    found = {path.name for path in quick_run.folder.iterdir()}
    assert found == {
        "model",
        "recipe.toml",
        "clips.csv",
        "metrics.jsonl",
        "predictions.csv",
        "report.html",
        "report.json",
        "run.json",
    }
    assert {path.name for path in quick_run.model_folder.iterdir()} == MODEL_FILES


def test_the_report_is_strict_json_and_what_the_call_returned(quick_run: Run) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (quick_run.folder / "report.json").read_text(encoding="utf-8")
    report = json.loads(text, parse_constant=refuse)
    assert report == json.loads(json.dumps(quick_run.report))
    assert report["seed"] == 5
    assert {"torch", "transformers", "numpy", "python"} <= report["versions"].keys()
    assert re.fullmatch("[0-9a-f]{64}", report["data"]["hash"])
    assert quick_run.accuracy == report["metrics"]["accuracy"]["value"]


def test_the_figures_are_scikit_learns_on_the_predictions(quick_run: Run) -> None:
    answers = read_predictions(quick_run)
    metrics = quick_run.report["metrics"]
    labels = quick_run.report["data"]["labels"]
    truth, guess = answers["label"], answers["predicted"]
    assert metrics["clips"] == len(answers)
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy_score(truth, guess))
    assert metrics["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(truth, guess))
    assert metrics["macro_f1"]["value"] == pytest.approx(f1_score(truth, guess, average="macro", labels=labels))
    assert metrics["confusion"] == confusion_matrix(truth, guess, labels=labels).tolist()
    probabilities = answers[[f"p:{label}" for label in labels]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-4)
    assert [labels[i] for i in probabilities.to_numpy().argmax(1)] == guess.tolist()
    np.testing.assert_allclose(answers["score"], probabilities.max(axis=1))


def test_clips_csv_says_who_learned_and_who_was_asked(quick_run: Run, sounds: Path) -> None:
    table = read_csv(quick_run.folder / "clips.csv").table
    assert len(table) == 36
    assert table["split"].value_counts().to_dict() == quick_run.report["data"]["split"]
    assert table[table["split"] == "test"]["path"].tolist() == read_predictions(quick_run)["path"].tolist()
    assert {Path(path).parent.parent for path in table["path"]} == {sounds}


def test_the_model_remembers_its_training_clips_and_no_others(quick_run: Run) -> None:
    table = read_csv(quick_run.folder / "clips.csv").table
    memory = json.loads((quick_run.model_folder / "training_data.json").read_text(encoding="utf-8"))
    learned = table[table["split"] == "train"]["path"]
    assert [clip["hash"] for clip in memory["clips"]] == [hash_file(path) for path in learned]
    assert memory["duration_s"] == [0.5] * 5
    assert memory["peak_level_db"] == sorted(memory["peak_level_db"])
    text = json.dumps(memory)
    assert not any(Path(path).name in text for path in table["path"])


def test_the_saved_model_answers_as_the_predictions_say(quick_run: Run) -> None:
    classifier = quick_run.load_classifier()
    for answer in read_predictions(quick_run).to_dict("records"):
        said = {entry["label"]: entry["score"] for entry in classifier.classify(answer["path"])}
        for label, score in said.items():
            assert answer[f"p:{label}"] == pytest.approx(score, abs=1e-5)
    assert verify_model(classifier, quick_run.model_folder).holds


def test_the_recipe_is_kept_with_its_window_settled(quick_run: Run, tiny_quick: Recipe) -> None:
    kept = load_recipe(str(quick_run.folder / "recipe.toml"))
    settled = replace(tiny_quick.audio, window_s=1.0)
    assert kept == replace(tiny_quick, audio=settled, train=replace(tiny_quick.train, seed=5))
    assert quick_run.report["recipe"]["audio"]["window_s"] == 1.0


def test_the_history_is_in_metrics_and_report(quick_run: Run) -> None:
    lines = (quick_run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == quick_run.report["history"]
    assert [record["epoch"] for record in quick_run.report["history"]] == [1, 2, 3, 4]
    assert "Nothing was chosen" in quick_run.report["protocol"]


def test_the_same_seed_repeats_the_run(quick_run: Run, clips: Clips, tiny_quick: Recipe, tmp_path: Path) -> None:
    assert same_results(quick_run, train(clips, tiny_quick, out=tmp_path / "again", seed=5))
    assert not same_results(quick_run, train(clips, tiny_quick, out=tmp_path / "other", seed=6))


def test_a_training_tells_its_epochs_and_nothing_else(clips: Clips, tiny_cnn: Recipe, tmp_path: Path, capfd) -> None:
    """Transformers would draw a bar of its own for each checkpoint."""
    train(clips, tiny_cnn, out=tmp_path / "run")
    lines = capfd.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith(f"Training {tiny_cnn.name}: epoch ") for line in lines)


KILLED = """
    import os, signal, sys
    from earmark.training import callbacks
    from earmark.training.recipe import load_recipe
    from earmark.training.run import train

    begin = callbacks.EpochTeller.on_epoch_begin

    def begin_or_die(self, args, state, control, **settings):
        begin(self, args, state, control, **settings)
        if round(state.epoch or 0) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.EpochTeller.on_epoch_begin = begin_or_die
    train(sys.argv[1], load_recipe("quick", sys.argv[3:]), out=sys.argv[2], seed=5)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_run_killed_outright_is_continued_to_the_same_end(quick_run: Run, sounds: Path, tmp_path: Path) -> None:
    recipe = quick_run.folder / "recipe.toml"
    script = textwrap.dedent(KILLED).replace('"quick"', repr(str(recipe)))
    done = subprocess.run([sys.executable, "-c", script, str(sounds), str(tmp_path / "run")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "model").exists()
    with pytest.raises(RunError, match=r"holds something already\. Continue that run with --resume .*run, or choose"):
        train(str(sounds), "quick", out=tmp_path / "run")
    run = resume(tmp_path / "run")
    assert same_results(quick_run, run)
    for key in ("metrics", "protocol", "history", "notes", "seed", "data"):
        assert run.report[key] == quick_run.report[key]
    assert not (run.folder / "checkpoints").exists()
    with pytest.raises(RunError, match=r"is finished; its report is .*report\.html"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("name", ["tiny_quick", "tiny_cnn"])
def test_a_run_killed_after_its_training_is_continued_too(
    name: str, clips: Clips, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the epoch chosen, only the best checkpoint is left by then."""
    recipe = request.getfixturevalue(name)
    recipe = replace(recipe, train=replace(recipe.train, select="validation"))
    whole = train(clips, recipe, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "save_model", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            train(clips, recipe, out=tmp_path / "killed")
    run = resume(tmp_path / "killed")
    assert same_results(whole, run)
    assert run.report["chosen_epoch"] == whole.report["chosen_epoch"]
    assert f"that of epoch {run.report['chosen_epoch']}, the best on the validation set" in run.report["protocol"]


@pytest.mark.skipif(os.name == "nt", reason="a signal cannot be sent to oneself on Windows")
def test_ctrl_c_leaves_a_model_and_a_note(
    clips: Clips, tiny_quick: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = callbacks.EpochTeller.on_epoch_begin

    def begin_and_press(self: Any, args: Any, state: Any, control: Any, **settings: Any) -> None:
        begin(self, args, state, control, **settings)
        if round(state.epoch or 0) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(callbacks.EpochTeller, "on_epoch_begin", begin_and_press)
    run = train(clips, tiny_quick, out=tmp_path / "run")
    assert run.report["notes"][0] == "The training was broken off by hand after 2 epoch(s)."
    assert {path.name for path in run.model_folder.iterdir()} == MODEL_FILES
    assert 0 <= run.accuracy <= 1


def test_a_directory_in_use_is_left_alone(quick_run: Run, clips: Clips, tiny_quick: Recipe, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in quick_run.folder.rglob("*")}
    with pytest.raises(RunError, match=r"holds something already\. Choose another --out"):
        train(clips, tiny_quick, out=quick_run.folder)
    assert {path: path.stat().st_mtime_ns for path in quick_run.folder.rglob("*")} == before
    occupied = tmp_path / "file"
    occupied.touch()
    for out in (occupied, occupied / "below"):
        with pytest.raises(RunError):
            train(clips, tiny_quick, out=out)


def test_there_must_be_a_run_to_continue(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match=r"holds no run to continue \(no run\.json\)"):
            resume(folder)


def test_faults_show_before_anything_is_written(clips: Clips, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ClipsError, match="--test-fold needs clips with folds"):
        train(clips, "quick", out=out, test_fold=3)
    with pytest.raises(RecipeError, match="There is no recipe"):
        train(clips, "quikc", out=out)
    with pytest.raises(RecipeError, match="does not fit this front end"):
        train(clips, "quick", out=out, overrides=["model.name=cnn"])
    with pytest.raises(RecipeError, match="mask_mels"):
        train(clips, "quick", out=out, overrides=["augment.mask_mels=4"])
    with pytest.raises(RunError, match="There is no tracker 'tensorbord'"):
        train(clips, "quick", out=out, track=["tensorbord"])
    broken = tmp_path / "broken.wav"
    broken.touch()
    rows = [*clips.table.to_dict("records"), {"path": str(broken), "label": "hum"}]
    with pytest.raises(ClipsError, match="--strict allows none"):
        train(build_clips(rows), "quick", out=out, strict=True)
    assert not out.exists()


def test_what_cannot_be_heard_is_left_out_and_said(clips: Clips, tiny_quick: Recipe, tmp_path: Path) -> None:
    """With folds, groups and a broken file, in the working directory's runs/ since no place is named."""
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound", encoding="utf-8")
    rows = [
        {**row, "fold": 1 + i % 4, "group": f"recording {i % 4}"}
        for i, row in enumerate(clips.table.to_dict("records"))
    ]
    table = build_clips([*rows, {"path": str(broken), "label": "hum", "fold": 1, "group": "x"}], source="mine.csv")
    recipe = replace(tiny_quick, train=replace(tiny_quick.train, epochs=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        run = train(table, recipe, test_fold=3)
        assert re.fullmatch(r"runs/\d{8}-\d{6}-quick", run.folder.as_posix())
        answers = read_predictions(run)
        assert [entry["path"] for entry in run.report["data"]["left_out"]] == [str(broken)]
        assert "broken.wav" in (run.folder / "report.html").read_text(encoding="utf-8")
    assert run.report["notes"][0].startswith("1 clip(s) could not be heard and were left out")
    assert not any("which clips share a recording" in note for note in run.report["notes"])
    assert set(answers["fold"]) == {3}
    assert len(answers) == 9
    assert run.report["protocol"].startswith("Published folds: fold 3 is the test set")


def test_without_groups_the_report_warns_of_it(quick_run: Run) -> None:
    assert any("`group` column" in note for note in quick_run.report["notes"])


def test_the_majority_guess_is_made_on_the_training_clips(clips: Clips, tiny_quick: Recipe, tmp_path: Path) -> None:
    """Hums are the most to learn from, beeps the most to be asked about: always saying hum is what one would guess."""
    parts = {"beep": ["test"] * 8 + ["train"] * 4, "hiss": ["test"] * 4 + ["train"] * 8, "hum": ["train"] * 11}
    seen = dict.fromkeys(parts, 0)
    rows = []
    for row in clips.table.to_dict("records"):
        position = seen[row["label"]]
        seen[row["label"]] += 1
        part = parts[row["label"]][position] if position < len(parts[row["label"]]) else "test"
        rows.append({**row, "split": part})
    recipe = replace(tiny_quick, train=replace(tiny_quick.train, epochs=1))
    run = train(build_clips(rows), recipe, out=tmp_path / "run")
    assert run.report["metrics"]["majority_baseline"] == {"label": "hum", "accuracy": pytest.approx(1 / 13)}
    assert run.report["protocol"].startswith("Published split")
