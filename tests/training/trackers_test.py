"""Several trackers as one: only those there are, and none that can harm a training."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from earmark.data.clips import Clips
from earmark.errors import RunError
from earmark.training import trackers as trackers_module
from earmark.training.recipe import Recipe
from earmark.training.run import train
from earmark.training.trackers import Kind, Trackers, check_trackers, open_trackers

RECORDS = [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]
TITLE = "quick on 声音"
TABLES = {"name": "quick", "train": {"epochs": 3, "learning_rate": 1e-3}, "model": {"hidden": [16, 8]}}
REPORT = {}, pd.DataFrame()  # what is drawn of it is tested beside what draws it


def test_a_wrong_name_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"There is no tracker 'tensorbord'\. Did you mean tensorboard\? Earmark knows"):
        check_trackers(["swanlab", "tensorbord"])
    with pytest.raises(RunError, match=r"There is no tracker 'xyz'\. Earmark knows swanlab, tensorboard, wandb"):
        open_trackers(["xyz"], folder=tmp_path, title=TITLE, recipe_tables=TABLES)


@pytest.mark.parametrize("name", ["swanlab", "tensorboard", "wandb", "mlflow", "trackio"])
def test_a_missing_package_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trackers_module, "find_spec", lambda _: None)
    with pytest.raises(RunError, match=rf'is not installed; `pip install "earmark\[{name}\]"` brings it\.'):
        open_trackers([name], folder=tmp_path, title=TITLE, recipe_tables=TABLES)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tracker_shows_before_anything_is_trained(
    clips: Clips, tiny_quick: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trackers_module, "find_spec", lambda _: None)
    with pytest.raises(RunError, match=r"earmark\[wandb\]"):
        train(clips, tiny_quick, out=tmp_path / "run", track=["wandb"])
    assert not (tmp_path / "run").exists()


def test_no_tracker_is_no_work(tmp_path: Path) -> None:
    with open_trackers([], folder=tmp_path, title=TITLE, recipe_tables=TABLES) as trackers:
        trackers.log_epoch(RECORDS[0])
        trackers.log_report(*REPORT)
    assert trackers.hints() == []
    assert list(tmp_path.iterdir()) == []


class Notebook:
    """A tracker that writes down what it is told, and fails where it is asked to."""

    hint = "Notebook: read it."

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at = fails_at
        self.told: list[Any] = []

    def log_figures(self, figures: Mapping[str, float], epoch: int) -> None:
        self._write("figures", epoch)

    def show(self, exhibits: Any, epoch: int) -> None:
        self._write("show", epoch)

    def finish(self, outcome: str) -> None:
        self._write("finish", outcome)

    def _write(self, what: str, about: Any) -> None:
        sys.stdout.write("noise")
        sys.stderr.write("noise")
        self.told.append((what, about))
        if what == self.fails_at:
            raise ConnectionError("No route to host.\nand much more")


@pytest.fixture
def notebooks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Notebook]:
    kinds = {"swanlab": Notebook(), "tensorboard": Notebook()}
    for name, notebook in kinds.items():
        monkeypatch.setitem(trackers_module.KINDS, name, Kind(name.title(), lambda *_, it=notebook: it))
    monkeypatch.setattr(trackers_module, "collect_exhibits", lambda *_: None)
    monkeypatch.setattr(trackers_module, "find_spec", lambda name: name)
    return kinds


def open_notebooks(folder: Path) -> Trackers:
    return open_trackers(["swanlab", "tensorboard", "swanlab"], folder=folder, title=TITLE, recipe_tables=TABLES)


@pytest.mark.parametrize("fails_at", ["figures", "show", "finish"])
def test_a_tracker_that_fails_says_so_once_and_stops_nothing(
    fails_at: str,
    notebooks: dict[str, Notebook],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    notebooks["swanlab"].fails_at = fails_at
    with open_notebooks(tmp_path) as trackers:
        for record in RECORDS:
            trackers.log_epoch(record)
        trackers.log_report(*REPORT)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "Swanlab follows this training no more: No route to host. The training goes on.\n"
    whole = [("figures", 1), ("figures", 2), ("figures", 3), ("show", 3), ("finish", "finished")]
    assert notebooks["tensorboard"].told == whole
    assert notebooks["swanlab"].told[-1] == ("finish", "failed")
    assert sum(what == fails_at for what, _ in notebooks["swanlab"].told) == (2 if fails_at == "finish" else 1)
    assert trackers.hints() == ["Notebook: read it."]


def test_a_tracker_that_cannot_be_opened_is_left_out(
    notebooks: dict[str, Notebook], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> Any:
        raise TimeoutError

    monkeypatch.setitem(trackers_module.KINDS, "swanlab", Kind("SwanLab", refuse))
    with open_notebooks(tmp_path) as trackers:
        trackers.log_epoch(RECORDS[0])
    assert capsys.readouterr().err == "SwanLab does not follow this training: TimeoutError. The training goes on.\n"
    assert notebooks["tensorboard"].told == [("figures", 1), ("finish", "finished")]


def test_pictures_that_cannot_be_made_stop_nothing(
    notebooks: dict[str, Notebook], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError("disk full")

    monkeypatch.setattr(trackers_module, "collect_exhibits", refuse)
    with open_notebooks(tmp_path) as trackers:
        trackers.log_report(*REPORT)
    assert capsys.readouterr().err == "The pictures for the trackers could not be made: disk full.\n"
    assert notebooks["swanlab"].told == [("finish", "finished")]


@pytest.mark.parametrize(("error", "outcome"), [(KeyboardInterrupt, "aborted"), (MemoryError, "failed")])
def test_a_training_that_breaks_off_ends_its_trackers(
    error: type[BaseException], outcome: str, notebooks: dict[str, Notebook], tmp_path: Path
) -> None:
    with pytest.raises(error), open_notebooks(tmp_path):
        raise error
    assert notebooks["swanlab"].told == notebooks["tensorboard"].told == [("finish", outcome)]


def test_breaking_off_while_trackers_are_opened_ends_those_that_are(
    notebooks: dict[str, Notebook], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def press(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setitem(trackers_module.KINDS, "tensorboard", Kind("TensorBoard", press))
    with pytest.raises(KeyboardInterrupt):
        open_notebooks(tmp_path)
    assert notebooks["swanlab"].told == [("finish", "aborted")]
