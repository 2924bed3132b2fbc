"""Clips with several labels each, under every kind of model: a sigmoid's loss, mean average precision, whole verbs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from tests.training.conftest import TINY_CNN, TINY_QUICK, make_sound, write_sound

from earmark.data.clips import Clips
from earmark.data.layouts import read_clips
from earmark.errors import ModelError
from earmark.evaluation.evaluate import PROBABILITY_PREFIX
from earmark.training.assess import evaluate
from earmark.training.crossval import crossval
from earmark.training.run import Run, train


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Every mixture of a beep, a hiss and a hum."""
    folder = tmp_path_factory.mktemp("several")
    lines = ["path,labels"]
    for take in range(8):
        for labels in (["beep"], ["hum"], ["hiss"], ["beep", "hum"], ["hiss", "hum"], ["beep", "hiss", "hum"]):
            sound = np.sum([make_sound(label, take) for label in labels], axis=0)
            name = f"{'-'.join(labels)}-{take}.wav"
            write_sound(folder / name, sound / 2)
            lines.append(f"{name},{';'.join(labels)}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_clips(folder / "clips.csv")


def check_figures(run: Run) -> None:
    answers = pd.read_csv(run.folder / "predictions.csv")
    labels = run.report["data"]["labels"]
    truth = np.array([[label in cell.split(";") for label in labels] for cell in answers["label"]])
    scores = answers[[f"{PROBABILITY_PREFIX}{label}" for label in labels]].to_numpy()
    expected = np.mean([average_precision_score(truth[:, i], scores[:, i]) for i in range(len(labels))])
    assert run.report["metrics"]["primary"] == "map"
    assert run.accuracy == pytest.approx(expected, abs=1e-4)
    assert "mean average precision on" in (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("recipe", "overrides"), [("quick", TINY_QUICK), ("cnn", [*TINY_CNN, "train.average=0.9"])])
def test_our_own_models_name_several_labels(several: Clips, recipe: str, overrides: list[str], tmp_path: Path) -> None:
    run = train(several, recipe, out=tmp_path / "run", overrides=[*overrides, "train.select=validation"])
    assert all("validation_map" in record for record in run.report["history"])
    check_figures(run)
    scores = [entry["score"] for entry in run.load_classifier().classify(several.table["path"].iloc[0])]
    assert sum(scores) != pytest.approx(1.0)  # each label stands on its own
    again = evaluate(run.folder, several, out=tmp_path / "again", allow_leak=True)
    assert again.report["metrics"]["clips"] == len(several)


@pytest.mark.parametrize(("family", "tuning"), [("hubert", "full"), ("hubert", "probe"), ("ast", "lora")])
def test_models_whose_own_head_knows_only_one_label(
    write_native, several: Clips, family: str, tuning: str, tmp_path: Path
) -> None:
    write_native(tmp_path / "base", family)
    settings = [f'model.name="{tmp_path / "base"}"', f"model.tuning={tuning}", "augment.gain_db=0", "train.epochs=1"]
    run = train(several, "distilhubert", out=tmp_path / "run", overrides=settings)
    check_figures(run)
    assert run.load_classifier().multi_label


def test_every_clip_is_tested_once(several: Clips, tmp_path: Path) -> None:
    run = crossval(several, "quick", out=tmp_path / "run", overrides=TINY_QUICK, folds=4)
    check_figures(run)
    assert [fold["fold"] for fold in run.report["folds"]] == [1, 2, 3, 4]
    assert run.report["metrics"]["clips"] == len(several)
    assert 0 < run.report["fold_mean"]["map"] <= 1


def test_a_model_of_the_other_kind_is_refused(several: Clips, quick_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="several labels"):
        evaluate(quick_run.folder, several, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
