"""Cross-validation: every clip is asked about once, by a model that never heard it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from earmark.data.clips import Clips, build_clips, read_csv
from earmark.errors import ClipsError, RunError
from earmark.training import folds as folds_module
from earmark.training import run as run_module
from earmark.training.crossval import crossval, resume_crossval
from earmark.training.recipe import Recipe
from earmark.training.run import Run, resume

Parts = list[tuple[np.ndarray, np.ndarray]]


@contextmanager
def noting() -> Iterator[Parts]:
    """(training rows, validation rows) of each fold, as the training was given them."""
    parts: Parts = []
    fit = folds_module.fit_model

    def note(*args: Any, **settings: Any) -> Any:
        parts.append((settings["train_rows"], settings["validation_rows"]))
        return fit(*args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds_module, "fit_model", note)
        yield parts


def shorten(recipe: Recipe, **settings: Any) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **{"epochs": 2, **settings}))


def read_answers(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The clips in the order of the table, and the answers."""
    answers = pd.read_csv(run.folder / "predictions.csv", encoding="utf-8")
    return read_csv(run.folder / "clips.csv").table, answers


@pytest.fixture(scope="module")
def crossed(clips: Clips, tiny_quick: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Parts]:
    with noting() as parts:
        return crossval(clips, shorten(tiny_quick), out=tmp_path_factory.mktemp("runs") / "run", folds=3, seed=2), parts


def test_every_clip_is_tested_once_by_a_model_that_did_not_hear_it(crossed: tuple[Run, Parts], clips: Clips) -> None:
    run, learned = crossed
    table, answers = read_answers(run)
    assert sorted(answers["path"]) == sorted(table["path"]) == sorted(clips.table["path"])
    fold_of = dict(zip(table["path"], table["fold"], strict=True))
    assert answers["fold"].tolist() == [fold_of[path] for path in answers["path"]]
    assert len(learned) == 3
    for fold, (train_rows, validation_rows) in enumerate(learned, start=1):
        heard = set(table["path"].iloc[train_rows])
        tested = set(answers[answers["fold"] == fold]["path"])
        assert len(tested) == 12
        assert heard == set(table["path"]) - tested
        assert len(validation_rows) == 0


def test_the_pooled_figures_are_scikit_learns(crossed: tuple[Run, Parts]) -> None:
    run, _ = crossed
    _, answers = read_answers(run)
    metrics = run.report["metrics"]
    assert metrics["clips"] == 36
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy_score(answers["label"], answers["predicted"]))
    assert metrics["macro_f1"]["value"] == pytest.approx(
        f1_score(answers["label"], answers["predicted"], average="macro")
    )
    by_fold = [accuracy_score(part["label"], part["predicted"]) for _, part in answers.groupby("fold")]
    assert [figure["accuracy"] for figure in run.report["folds"]] == pytest.approx(by_fold)
    assert [figure["clips"] for figure in run.report["folds"]] == [12, 12, 12]
    assert run.report["fold_mean"]["accuracy"] == pytest.approx(np.mean(by_fold))
    assert run.report["fold_mean"]["deviation"] == pytest.approx(np.std(by_fold, ddof=1))
    assert json.loads((run.folder / "report.json").read_text(encoding="utf-8"))["folds"] == run.report["folds"]
    assert not (run.folder / "model").exists()


def test_the_same_seed_gives_the_same_answers(
    crossed: tuple[Run, Parts], clips: Clips, tiny_quick: Recipe, tmp_path: Path
) -> None:
    again = crossval(clips, shorten(tiny_quick), out=tmp_path / "again", folds=3, seed=2)
    assert (again.folder / "predictions.csv").read_bytes() == (crossed[0].folder / "predictions.csv").read_bytes()


@pytest.mark.usefixtures("without_page")
def test_published_folds_and_groups_are_used_and_the_next_fold_chooses(
    clips: Clips, tiny_quick: Recipe, tmp_path: Path
) -> None:
    rows = [
        {**row, "fold": (1, 2, 5)[i % 3], "group": f"take {i}"} for i, row in enumerate(clips.table.to_dict("records"))
    ]
    with noting() as learned:
        run = crossval(build_clips(rows), shorten(tiny_quick, select="validation"), out=tmp_path / "run", folds=9)
    assert run.report["protocol"].startswith("The 3 published folds: ")
    assert [figure["fold"] for figure in run.report["folds"]] == [1, 2, 5]
    fold_of = np.array([row["fold"] for row in rows])
    for (train_rows, validation_rows), (chooser, rest) in zip(learned, ((2, 5), (5, 1), (1, 2)), strict=True):
        assert set(fold_of[validation_rows]) == {chooser}
        assert set(fold_of[train_rows]) == {rest}
        assert len(train_rows) == len(validation_rows) == 12


@pytest.mark.usefixtures("without_page")
def test_labels_that_mean_nothing_are_not_learned(clips: Clips, tiny_quick: Recipe, tmp_path: Path) -> None:
    """With the labels dealt at random an honest protocol stays near a third; a leak would be far above."""
    labels = np.random.default_rng(0).permutation(clips.table["label"])
    rows = [{"path": path, "label": label} for path, label in zip(clips.table["path"], labels, strict=True)]
    recipe = shorten(tiny_quick, epochs=40, learning_rate=0.02)
    recipe = replace(recipe, model=replace(recipe.model, hidden=(64,), dropout=0.0))
    run = crossval(build_clips(rows), recipe, out=tmp_path / "run", folds=3)
    assert run.accuracy < 0.6


def test_a_network_over_time_is_cross_validated_too(clips: Clips, tiny_cnn: Recipe, tmp_path: Path) -> None:
    run = crossval(clips, shorten(tiny_cnn, epochs=1), out=tmp_path / "run", folds=2)
    assert run.report["metrics"]["clips"] == 36
    assert run.report["model"]["window_s"] == 0.5


def test_faults_show_before_anything_is_written(clips: Clips, tiny_quick: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ClipsError, match="has 12 clips, fewer than the 13 folds"):
        crossval(clips, tiny_quick, out=out, folds=13)
    with pytest.raises(ClipsError, match="so 2 folds leave none to learn from; use three or more"):
        crossval(clips, shorten(tiny_quick, select="validation"), out=out, folds=2)
    assert not out.exists()
    out.mkdir()
    (out / "something").touch()
    with pytest.raises(RunError, match="holds something already"):
        crossval(clips, tiny_quick, out=out)


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave report.html out, whose pictures take longer than the trainings here."""

    def write_figures(folder: Path, report: dict[str, Any], *_: Any, **__: Any) -> None:
        (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")

    monkeypatch.setattr(run_module, "write_report", write_figures)


TOLD = ("metrics", "folds", "fold_mean", "fold_histories", "protocol", "notes", "seed", "model", "calibration")


def same_results(first: Run, second: Run, *names: str) -> bool:
    """The same answers to the last digit, and the same figures; and the same files, if any are named."""
    files = [(run.folder / name).read_bytes() for name in ("predictions.csv", *names) for run in (first, second)]
    hashes = first.report["data"]["hash"], second.report["data"]["hash"]
    told = all(first.report[key] == second.report[key] for key in TOLD)
    return files[::2] == files[1::2] and hashes[0] == hashes[1] and told


def break_off(at: int) -> pytest.MonkeyPatch:
    """Break down when the training with this number begins."""
    patch, fit, begun = pytest.MonkeyPatch(), folds_module.fit_model, []

    def fit_or_fail(*args: Any, **settings: Any) -> Any:
        begun.append(1)
        if len(begun) == at:
            raise OSError("disk full")
        return fit(*args, **settings)

    patch.setattr(folds_module, "fit_model", fit_or_fail)
    return patch


KILLED = """
    import os, signal, sys
    from earmark.training import callbacks
    from earmark.training import folds
    from earmark.training.crossval import crossval
    from earmark.training.recipe import load_recipe

    begin = callbacks.EpochTeller.on_epoch_begin

    def begin_or_die(self, args, state, control, **settings):
        begin(self, args, state, control, **settings)
        whole = list((folds.Path(sys.argv[2]) / "folds").glob("*/piece.json"))
        if whole and round(state.epoch or 0) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.EpochTeller.on_epoch_begin = begin_or_die
    crossval(sys.argv[1], load_recipe(sys.argv[3]), out=sys.argv[2], folds=3)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_cross_validation_killed_outright_is_continued_to_the_same_end(
    clips: Clips, tiny_cnn: Recipe, sounds: Path, tmp_path: Path
) -> None:
    """In the second fold; a network over time goes on there after its last whole epoch."""
    recipe = shorten(tiny_cnn, epochs=4, select="validation", patience=9)
    whole = crossval(clips, recipe, out=tmp_path / "whole", folds=3)
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(sounds), str(tmp_path / "run")]
    done = subprocess.run([*script, str(whole.folder / "recipe.toml")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "run" / "folds").glob("*/piece.json")] == ["piece.json"]
    with pytest.raises(RunError, match=r"Continue that run with --resume .*run, or choose"):
        crossval(clips, recipe, out=tmp_path / "run", folds=3)
    with noting_epochs() as lived:
        run = resume_crossval(tmp_path / "run")
    assert lived == [2, 4]
    assert same_results(whole, run)
    assert not (run.folder / "folds").exists()
    with pytest.raises(RunError, match=r"is finished; its report is .*report\.html"):
        resume_crossval(run.folder)


@contextmanager
def noting_epochs() -> Iterator[list[int]]:
    """How many epochs each training went through."""
    lived: list[int] = []
    from earmark.training import callbacks

    begin, start = callbacks.EpochTeller.on_epoch_begin, folds_module.fit_model

    def count(self: Any, args: Any, state: Any, control: Any, **settings: Any) -> None:
        lived[-1] += 1
        begin(self, args, state, control, **settings)

    def fit(*args: Any, **settings: Any) -> Any:
        lived.append(0)
        return start(*args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.EpochTeller, "on_epoch_begin", count)
        patch.setattr(folds_module, "fit_model", fit)
        yield lived


@pytest.mark.usefixtures("without_page")
def test_a_breakdown_in_the_second_seed_or_in_the_last_training_is_mended_by_resuming(
    clips: Clips, tiny_quick: Recipe, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"folds": 2, "seeds": 2, "refit": True, "seed": 3}
    recipe = shorten(tiny_quick, epochs=3)
    whole = crossval(clips, recipe, out=tmp_path / "whole", **settings)
    for at in (3, 5):
        patch = break_off(at)
        with pytest.raises(OSError, match="disk full"):
            crossval(clips, recipe, out=tmp_path / f"broken-{at}", **settings)
        patch.undo()
        with noting() as trained:
            run = resume_crossval(tmp_path / f"broken-{at}")
        assert len(trained) == 6 - at
        assert same_results(whole, run, "model/model.safetensors", "model/config.json")
        assert run.report["refit"] == whole.report["refit"]
        assert run.report["seeds"] == whole.report["seeds"]


@pytest.mark.usefixtures("without_page")
def test_half_a_piece_is_none(clips: Clips, tiny_quick: Recipe, tmp_path: Path) -> None:
    patch = break_off(3)
    with pytest.raises(OSError, match="disk full"):
        crossval(clips, shorten(tiny_quick), out=tmp_path / "run", folds=3)
    patch.undo()
    (tmp_path / "run" / "folds" / "0-2" / "piece.json").unlink()
    with noting() as trained:
        run = resume_crossval(tmp_path / "run")
    assert len(trained) == 2
    assert same_results(crossval(clips, shorten(tiny_quick), out=tmp_path / "whole", folds=3), run)


@pytest.mark.usefixtures("without_page")
@pytest.mark.skipif(os.name == "nt", reason="a signal cannot be sent to oneself on Windows")
def test_ctrl_c_keeps_the_finished_folds_and_says_how_to_go_on(
    clips: Clips, tiny_quick: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit, begun = folds_module.fit_model, []

    def fit_and_press(*args: Any, **settings: Any) -> Any:
        begun.append(1)
        if len(begun) == 2:
            settings["on_record"] = press_once
        return fit(*args, **settings)

    def press_once(record: dict[str, Any]) -> None:
        if record["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds_module, "fit_model", fit_and_press)
        with pytest.raises(KeyboardInterrupt):
            crossval(clips, shorten(tiny_quick), out=tmp_path / "run", folds=3)
    assert f"`earmark crossval --resume {tmp_path / 'run'}` goes on after them." in capsys.readouterr().err
    with noting() as trained:
        run = resume_crossval(tmp_path / "run")
    assert len(trained) == 2
    assert same_results(crossval(clips, shorten(tiny_quick), out=tmp_path / "whole", folds=3), run)


@pytest.mark.usefixtures("without_page")
def test_what_is_no_cross_validation_is_not_continued(
    quick_run: Run, clips: Clips, tiny_quick: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"holds no run to continue \(no run\.json\); start one with `earmark crossval`"):
        resume_crossval(tmp_path)
    shutil.copytree(quick_run.folder, tmp_path / "run")
    (tmp_path / "run" / "report.json").unlink()
    with pytest.raises(RunError, match="is a training; continue it with `earmark train --resume"):
        resume_crossval(tmp_path / "run")
    patch = break_off(1)
    with pytest.raises(OSError, match="disk full"):
        crossval(clips, tiny_quick, out=tmp_path / "folds", folds=2)
    patch.undo()
    with pytest.raises(RunError, match="is a cross-validation; continue it with `earmark crossval --resume"):
        resume(tmp_path / "folds")


@pytest.fixture(scope="module")
def three_seeds(clips: Clips, tiny_quick: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return crossval(clips, shorten(tiny_quick), out=out, folds=3, seed=2, seeds=3)


def test_several_seeds_answer_each_clip_and_no_answers_are_averaged(
    three_seeds: Run, crossed: tuple[Run, Parts], clips: Clips
) -> None:
    table, answers = read_answers(three_seeds)
    assert answers.groupby("seed").size().to_dict() == {2: 36, 3: 36, 4: 36}
    _, alone = read_answers(crossed[0])
    first = answers[answers["seed"] == 2].drop(columns="seed")
    pd.testing.assert_frame_equal(first, alone)
    assert read_csv(crossed[0].folder / "clips.csv").table["fold"].tolist() == table["fold"].tolist()
    assert {tuple(part["fold"]) for _, part in answers.groupby("seed")} == {tuple(alone["fold"])}
    assert (
        "with seeds 2, 3, 4: every clip has 3 answers, each of one model, and none are averaged"
        in (three_seeds.report["protocol"])
    )


def test_the_figures_of_several_seeds_are_their_mean_with_both_spreads(three_seeds: Run) -> None:
    _, answers = read_answers(three_seeds)
    report = three_seeds.report
    right = answers["label"] == answers["predicted"]
    by_seed = right.groupby(answers["seed"]).mean()
    assert [row["accuracy"] for row in report["seeds"]] == pytest.approx(by_seed.tolist())
    assert by_seed.std() > 0, "else this test shows nothing"
    assert three_seeds.accuracy == pytest.approx(by_seed.mean())
    metrics = report["metrics"]
    assert (metrics["clips"], metrics["answers"]) == (36, 108)
    assert metrics["interval"] == "95 % bootstrap over 36 clips, each with its 3 answers"
    cells = right.groupby([answers["seed"], answers["fold"]]).mean().unstack()
    assert [row["accuracy"] for row in report["folds"]] == pytest.approx(cells.to_numpy().ravel().tolist())
    assert [(row["seed"], row["fold"]) for row in report["folds"]] == [(s, f) for s in (2, 3, 4) for f in (1, 2, 3)]
    spread = report["fold_mean"]
    assert spread["accuracy"] == pytest.approx(cells.to_numpy().mean())
    assert spread["deviation"] == pytest.approx(np.sqrt(cells.var(axis=1, ddof=1).mean()))
    assert spread["seed_deviation"] == pytest.approx(cells.mean(axis=1).std(ddof=1))


def test_the_report_has_a_column_a_seed_and_a_line_a_training(three_seeds: Run, crossed: tuple[Run, Parts]) -> None:
    page = (three_seeds.folder / "report.html").read_text(encoding="utf-8")
    for words in (
        "seed 2 %",
        "seed 4 %",
        "answers pooled",
        "over the seeds’ means of the folds",
        "Counts are of answers",
    ):
        assert words in page
    assert "Loss of 9 trainings over up to 2 epochs" in page
    single = (crossed[0].folder / "report.html").read_text(encoding="utf-8")
    assert "Loss of 3 trainings over up to 2 epochs" in single
    assert "seed 2 %" not in single
    histories = crossed[0].report["fold_histories"]
    assert [(entry["seed"], entry["fold"], len(entry["history"])) for entry in histories] == [
        (2, i, 2) for i in (1, 2, 3)
    ]


@pytest.mark.usefixtures("without_page")
def test_the_model_to_ship_learns_from_all_clips_and_says_whose_figures_it_carries(
    clips: Clips, tiny_quick: Recipe, tmp_path: Path
) -> None:
    recipe = shorten(tiny_quick, epochs=6, select="validation", patience=2)
    with noting() as trained:
        run = crossval(clips, recipe, out=tmp_path / "run", folds=3, refit=True)
    train_rows, validation_rows = trained[-1]
    assert (len(train_rows), len(validation_rows)) == (36, 0)
    chosen = sorted(entry["chosen_epoch"] for entry in run.report["fold_histories"])
    assert run.report["refit"]["epochs"] == chosen[1]
    sentence = f"trained on all 36 clips, {chosen[1]} epoch"
    assert sentence in run.report["protocol"]
    card = (run.model_folder / "README.md").read_text(encoding="utf-8")
    accuracy = run.report["metrics"]["accuracy"]
    assert f"| Accuracy | {accuracy['value']:.1%} | {accuracy['low']:.1%} to {accuracy['high']:.1%} |" in card
    assert "On 36 clips, cross-validated." in card
    assert "the figures are those of the folds' models, which learned from fewer clips" in card
    assert sentence in card
    assert "36 clips, all learned from." in card
    memory = json.loads((run.model_folder / "training_data.json").read_text(encoding="utf-8"))
    assert len(memory["clips"]) == 36
    best = run.load_classifier().classify(clips.table["path"][0])[0]
    assert best["label"] in clips.labels
    assert {path.name for path in run.folder.iterdir()} >= {"model", "report.json", "predictions.csv", "run.json"}
    assert not (run.folder / "folds").exists()


@pytest.mark.usefixtures("without_page")
def test_without_choosing_the_model_to_ship_is_trained_as_the_folds_were(
    clips: Clips, tiny_quick: Recipe, tmp_path: Path
) -> None:
    run = crossval(clips, shorten(tiny_quick, epochs=3), out=tmp_path / "run", folds=2, refit=True)
    assert [record["epoch"] for record in run.report["refit"]["history"]] == [1, 2, 3]
    assert "trained on all 36 clips, as long as the folds' models were; nothing was held out" in run.report["protocol"]
