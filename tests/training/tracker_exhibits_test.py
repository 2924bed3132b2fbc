"""What a tracker is told: names people expect, figures with intervals, the worst mistakes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.training.conftest import Told

from earmark.data.clips import Clips
from earmark.evaluation.multi_label import score_multi_label
from earmark.training.recipe import Recipe, to_tables
from earmark.training.tracker_exhibits import (
    Exhibits,
    collect_exhibits,
    flatten_recipe,
    name_epoch_figures,
)

pytestmark = pytest.mark.usefixtures("all_pictures")

TABLES = {"name": "quick", "train": {"epochs": 3, "learning_rate": 1e-3}, "model": {"hidden": [16, 8]}}
SETTINGS = {"name": "quick", "train.epochs": 3, "train.learning_rate": 1e-3, "model.hidden": "[16, 8]"}


def test_figures_have_the_names_people_expect() -> None:
    record = {"epoch": 3, "loss": 0.5, "accuracy": 0.25, "learning_rate": 1e-3}
    assert name_epoch_figures({**record, "validation_loss": 2.0, "validation_accuracy": 0.125}) == {
        "train/loss": 0.5,
        "train/accuracy": 0.25,
        "train/learning_rate": 1e-3,
        "validation/loss": 2.0,
        "validation/accuracy": 0.125,
    }
    assert name_epoch_figures({"epoch": 1, "validation_map": 0.5, "learning_rate": None}) == {"validation/map": 0.5}
    assert name_epoch_figures({"epoch": 1, "fold": 3, "loss": 2}) == {"fold_3/train/loss": 2.0}


def test_the_configuration_is_what_set_takes(tiny_quick: Recipe) -> None:
    assert flatten_recipe(TABLES) == SETTINGS
    flat = flatten_recipe(to_tables(tiny_quick))
    assert flat["train.epochs"] == 4
    assert flat["model.hidden"] == "[16]"
    assert {type(value) for value in flat.values()} <= {str, int, float, bool}


def test_test_figures_come_with_their_interval(told: Told, exhibits: Exhibits) -> None:
    metrics = told[0]["metrics"]
    figures = exhibits.figures
    assert figures["test/clips"] == metrics["clips"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert figures[f"test/{name}"] == metrics[name]["value"]
        assert figures[f"test/{name}_low"] == metrics[name]["low"]
        assert figures[f"test/{name}_high"] == metrics[name]["high"]


def test_examples_are_the_worst_mistakes_first(told: Told) -> None:
    report, answers = told
    answers = answers.copy()
    answers["predicted"] = answers["label"]
    labels = report["data"]["labels"]
    for row, score in ((1, 0.7), (4, 0.9)):
        answers.loc[row, "score"] = score
        answers.loc[row, "predicted"] = next(label for label in labels if label != answers["label"][row])
    examples = collect_exhibits(report, answers).examples
    expected = [
        f"{answers['label'][row]}, taken for {answers['predicted'][row]} ({score}): {Path(answers['path'][row]).name}"
        for row, score in ((4, "90%"), (1, "70%"))
    ]
    assert [example.caption for example in examples[:2]] == expected
    assert len(examples) == 2 + len(labels)
    assert all(", rightly (" in example.caption for example in examples[2:])
    assert all((len(example.waveform), example.sample_rate) == (4000, 8000) for example in examples)
    assert all(np.abs(example.waveform).max() <= 1 for example in examples)


def test_a_sound_that_is_gone_is_no_example(told: Told) -> None:
    report, answers = told
    assert collect_exhibits(report, answers.assign(path="gone.wav")).examples == []


def test_class_names_of_any_script_stand_in_the_caption(told: Told) -> None:
    """Whatever fonts this computer has."""
    report = json.loads(json.dumps(told[0]))
    names = dict(zip(report["data"]["labels"], ("狗", "кот", "𒀀"), strict=True))
    for row in report["metrics"]["per_class"]:
        row["label"] = names[row["label"]]
    answers = told[1].replace({"label": names, "predicted": names})
    exhibits = collect_exhibits(report, answers)
    assert "The classes in order: 狗, кот, 𒀀." in exhibits.matrix_caption
    assert exhibits.matrix.startswith(b"\x89PNG")


def test_clips_with_several_labels_show_what_was_found(clips: Clips) -> None:
    paths = clips.table["path"][:3].tolist()
    probabilities = np.array([[0.9, 0.8], [0.2, 0.6], [0.7, 0.1]])
    metrics = score_multi_label(["hum", "wind"], np.array([[1, 1], [1, 1], [1, 0]]), probabilities, n_resamples=20)
    answers = pd.DataFrame(
        {
            "path": paths,
            "label": ["hum;wind", "hum;wind", "hum"],
            "predicted": ["hum;wind", "wind", "hum"],
            "score": probabilities.max(1),
            "p:hum": probabilities[:, 0],
            "p:wind": probabilities[:, 1],
        }
    )
    exhibits = collect_exhibits({"metrics": metrics, "protocol": "Three clips."}, answers)
    assert exhibits.matrix_name == "test/found_and_missed"
    assert exhibits.guesses is None
    assert exhibits.figures["test/map"] == metrics["map"]["value"]
    captions = [example.caption for example in exhibits.examples]
    assert captions[0] == f"hum;wind, taken for wind (60%): {Path(paths[1]).name}"
    assert captions[1] == f"hum;wind, rightly (90%): {Path(paths[0]).name}"
