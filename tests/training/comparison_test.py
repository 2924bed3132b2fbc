"""Trained runs side by side: what they cost is told, what makes them too good is told, others are refused."""

import json
import shutil
from pathlib import Path

import pytest

from earmark.data.clips import Clips
from earmark.errors import RunError
from earmark.training.comparison import compare
from earmark.training.recipe import Recipe
from earmark.training.run import Run, train


@pytest.fixture(scope="module")
def other_run(clips: Clips, tiny_quick: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained on the same split as `quick_run`, by another network."""
    from dataclasses import replace

    recipe = replace(tiny_quick, model=replace(tiny_quick.model, hidden=[64, 32]))
    return train(clips, recipe, out=tmp_path_factory.mktemp("runs") / "larger", seed=5)


def test_trained_runs_are_compared_with_what_they_cost(quick_run: Run, other_run: Run, tmp_path: Path) -> None:
    comparison = compare([quick_run, str(other_run.folder)], out=tmp_path / "page.html")

    figures = comparison.figures
    small, large = figures["runs"]
    assert [run["name"] for run in figures["runs"]] == ["quick", "larger"]
    for run, made in zip((small, large), (quick_run, other_run), strict=True):
        assert run["accuracy"]["value"] == pytest.approx(made.accuracy)
        assert run["train_s"] == made.report["timing"]["train_s"]
        assert run["parameters"] == made.report["model"]["parameters"]
        assert run["latency_ms"] > 0
        assert (run["latency_missing"], run["kind"], run["seed"]) == (None, "train", 5)
        assert run["model_bytes"] == (made.model_folder / "model.safetensors").stat().st_size
    assert large["model_bytes"] > small["model_bytes"]
    difference = figures["differences"][0]
    assert difference["accuracy"]["value"] == pytest.approx(other_run.accuracy - quick_run.accuracy)
    assert comparison.page == tmp_path / "page.html"
    assert difference["sentence"] in comparison.page.read_text(encoding="utf-8")
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def copy_run(run: Run, folder: Path, **changes: object) -> Path:
    """A copy without its model, whose report says something else."""
    folder.mkdir()
    shutil.copy(run.folder / "predictions.csv", folder)
    (folder / "report.json").write_text(json.dumps({**run.report, **changes}), encoding="utf-8")
    return folder


def test_what_makes_a_figure_too_good_is_told(quick_run: Run, tmp_path: Path) -> None:
    found = [{"kind": "group", "sentence": "2 groups stand on two sides of the split", "examples": [], "clips": 5}]
    leaky = copy_run(quick_run, tmp_path / "leaky", leaks={"found": found, "allowed": True})
    worn = copy_run(quick_run, tmp_path / "worn", ledger={"reads": 12})
    clean = {"leaks": {"found": found, "allowed": False, "published": True}, "ledger": {"reads": 2}}

    figures = compare([copy_run(quick_run, tmp_path / "clean", **clean), leaky, worn]).figures

    assert figures["cautions"] == [
        "leaky was let pass with a leak (2 groups stand on two sides of the split): its figures are too good.",
        "The test clips of worn had been read 12 times when it was measured: what was chosen after looking fits these "
        "clips, and its figures may be too good.",
    ]
    assert [run["latency_missing"] for run in figures["runs"]] == ["the run holds no model"] * 3
    assert [run["model_bytes"] for run in figures["runs"]] == [None] * 3
    assert [difference["verdict"] for difference in figures["differences"]] == ["same", "same"]


def test_a_model_that_does_not_load_costs_its_latency_and_nothing_else(quick_run: Run, tmp_path: Path) -> None:
    broken = copy_run(quick_run, tmp_path / "broken")
    shutil.copytree(quick_run.model_folder, broken / "model")
    (broken / "model" / "config.json").write_text("{")
    run = compare([quick_run, broken]).figures["runs"][1]
    assert run["latency_ms"] is None
    assert "cannot be loaded" in run["latency_missing"]


def test_runs_on_other_clips_are_refused(quick_run: Run, tmp_path: Path) -> None:
    import pandas as pd

    other = copy_run(quick_run, tmp_path / "other")
    table = pd.read_csv(other / "predictions.csv")
    table[1:].to_csv(other / "predictions.csv", index=False)
    with pytest.raises(RunError, match=rf"\(1 of {len(table)} clips are only in quick\)"):
        compare([quick_run, other])


def test_a_single_run_is_no_comparison(quick_run: Run) -> None:
    with pytest.raises(RunError, match="two runs or more"):
        compare([quick_run])
