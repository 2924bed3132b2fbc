"""Cross-validation: every clip is asked about once, by a model that never heard it."""

import json
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
from earmark.training import crossval as crossval_module
from earmark.training.crossval import crossval
from earmark.training.recipe import Recipe
from earmark.training.run import Run

Parts = list[tuple[np.ndarray, np.ndarray]]


@contextmanager
def noting() -> Iterator[Parts]:
    """(training rows, validation rows) of each fold, as the training was given them."""
    parts: Parts = []
    fit = crossval_module.fit_model

    def note(*args: Any, **settings: Any) -> Any:
        parts.append((settings["train_rows"], settings["validation_rows"]))
        return fit(*args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossval_module, "fit_model", note)
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
