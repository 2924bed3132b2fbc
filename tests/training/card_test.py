"""The model card: a header the Hub reads, the figures with their protocol, and what to know of the data."""

import copy
import json
import tomllib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from earmark.evaluation.metrics import score_predictions
from earmark.evaluation.multi_label import score_multi_label
from earmark.training.card import hide_folders, hide_places, write_card
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.run import Run

LABELS = ('dog: "big"', "雨 | rain", "# it's_a - _test_")
SOURCE = "/home/wang/my sounds"


def make_report(labels: tuple[str, ...] = LABELS, **data: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    truth = np.arange(40) % len(labels)
    scores = random.random((40, len(labels)))
    scores[np.arange(40), truth] += 0.6
    return {
        "title": "quick on my sounds: 'ünï' — 声音",
        "kind": "train",
        "earmark": "0.1.0",
        "protocol": "Tested on a fifth of the clips.",
        "notes": ["1 clip(s) were left out; they are named below.", f"Decoded only in part: {SOURCE}/dog/7.wav: cut"],
        "data": {
            "source": SOURCE,
            "layout": "folder of classes",
            "clips": 200,
            "labels": list(labels),
            "multi_label": False,
            "class_counts": dict.fromkeys(labels, 66),
            "hash": "ab" * 32,
            "split": {"train": 160, "test": 40},
            "left_out": [{"path": f"{SOURCE}/b.wav", "reason": f"{SOURCE}/b.wav is empty; record it again."}],
        }
        | data,
        "recipe": {"model": {"name": "mlp"}},
        "seed": 3,
        "timing": {"train_s": 93.0},
        "history": [{}] * 12,
        "chosen_epoch": 7,
        "versions": {"python": "3.11.1", "torch": "2.15.0"},
        "model": {"parameters": 12345, "sample_rate": 32000, "window_s": 5.0, "device": "cpu", "precision": "fp32"},
        "metrics": score_predictions(labels, truth, scores),
    }


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("quick", ["train.epochs=12"])


def test_the_header_is_what_the_hub_reads_whatever_the_names_hold(recipe: Recipe) -> None:
    report = make_report()
    card = ModelCard(write_card(recipe, report))
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "audio-classification"
    assert {"audio-classification", "earmark"} == set(card.data.tags)
    assert card.data.model_name == report["title"]
    assert card.data.license is None, "that is for its owner to say"
    accuracy, f1 = card.data.eval_results
    assert (accuracy.task_type, accuracy.dataset_name, accuracy.dataset_split) == (
        "audio-classification",
        "my sounds",
        "test",
    )
    assert (accuracy.metric_type, accuracy.metric_value) == (
        "accuracy",
        round(report["metrics"]["accuracy"]["value"], 4),
    )
    assert (f1.metric_type, f1.metric_name) == ("f1", "Macro-F1")
    assert f1.metric_value == round(report["metrics"]["macro_f1"]["value"], 4)
    assert r'dog: "big", 雨 \| rain, \# it' in card.text


def test_the_body_tells_the_figures_with_what_surrounds_them(recipe: Recipe) -> None:
    report = make_report()
    card = write_card(recipe, report)
    accuracy = report["metrics"]["accuracy"]
    spread = f"{accuracy['low']:.1%} to {accuracy['high']:.1%}"
    assert f"| Accuracy | {accuracy['value']:.1%} | {spread} |" in card
    assert f"| Accuracy of always saying '{LABELS[0]}' | 35.0% |  |" in card
    assert "On 40 test clips, read once by this run. Tested on a fifth of the clips." in card
    assert "95 % bootstrap over 40 clips" in card
    assert all(f"{row['f1']:.1%} | {row['support']} |" in card for row in report["metrics"]["per_class"])
    assert "my sounds: 200 clips (160 train, 40 test)." in card
    assert "ab" * 32 in card
    assert "12 epochs, of which epoch 7 was kept; 1.6 minutes" in card
    assert "torch 2.15.0" in card
    assert "It names one of its classes whatever it hears" in card


def test_a_table_keeps_its_columns_whatever_the_labels_hold(recipe: Recipe) -> None:
    lines = write_card(recipe, make_report()).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| class, weakest first"))
    cells = [line.replace(r"\|", "").count("|") for line in lines[start : start + 2 + len(LABELS)]]
    assert cells == [6] * 5


def test_of_many_classes_the_weakest_are_shown(recipe: Recipe) -> None:
    labels = tuple(f"class {i:02d}" for i in range(40))
    report = make_report(labels)
    card = write_card(recipe, report)
    ranked = sorted(report["metrics"]["per_class"], key=lambda row: row["f1"])
    assert f"| {ranked[0]['label']} |" in card
    assert f"| {ranked[-1]['label']} |" not in card
    assert "And 20 more that do better." in card


def test_the_settings_are_those_that_differ_from_the_defaults(recipe: Recipe) -> None:
    card = write_card(recipe, make_report())
    changes = tomllib.loads(card.split("```toml\n")[1].split("```")[0])
    assert changes["train"]["epochs"] == 12
    assert changes["front_end"]["kind"] == "mel_statistics"
    assert "batch_size" not in changes["train"]
    assert "audio" not in changes
    assert "Every setting is the default." in write_card(Recipe("mine"), make_report())


def test_several_labels_at_once_are_measured_by_average_precision(recipe: Recipe) -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, (30, 3))
    metrics = score_multi_label(LABELS, truth, np.clip(0.6 * truth + 0.5 * random.random((30, 3)), 0, 1))
    report = make_report(multi_label=True) | {"metrics": metrics}
    text = write_card(recipe, report)
    card = ModelCard(text)
    assert [result.metric_type for result in card.data.eval_results] == ["mean_average_precision", "f1", "f1"]
    assert card.data.eval_results[0].metric_value == round(metrics["map"]["value"], 4)
    assert "Says which of 3 kinds of sound are there, several at once" in text
    assert f"always answering the class shares | {metrics['prior_baseline']:.1%} |" in text
    assert "average precision | precision | recall" in text
    assert "whatever it hears" not in text


def test_a_model_of_transformers_needs_no_earmark_and_names_what_it_came_from(recipe: Recipe) -> None:
    tuned = replace(recipe, model=replace(recipe.model, name="ntu-spml/distilhubert"))
    report = make_report()
    report["model"] |= {"sample_rate": 16000, "window_s": 30.0}
    text = write_card(tuned, report)
    assert ModelCard(text).data.base_model == "ntu-spml/distilhubert"
    assert "import earmark" not in text
    assert '"sampling_rate": 16000' in text
    assert "at most 30.0 s at once" in text
    assert "the model it started from, ntu-spml/distilhubert" in text
    own = write_card(recipe, report)
    assert "import earmark.models" in own
    assert ModelCard(own).data.base_model is None


def test_a_known_dataset_is_named_linked_and_cited(recipe: Recipe) -> None:
    text = write_card(recipe, make_report(source="/data/gtzan/genres_original", layout="GTZAN"))
    card = ModelCard(text)
    assert card.data.datasets == ["marsyas/gtzan"]
    assert card.data.eval_results[0].dataset_type == "marsyas/gtzan"
    assert card.data.eval_results[0].dataset_name == "GTZAN"
    assert "GTZAN: 200 clips" in text
    assert "Musical genre classification of audio signals" in text
    esc = write_card(recipe, make_report(layout="ESC-50"))
    assert "that of the recordings it learned from: CC BY-NC" in esc
    assert ModelCard(esc).data.datasets is None
    hub = write_card(recipe, make_report(source="owner/sounds", layout="Hugging Face dataset"))
    assert ModelCard(hub).data.datasets == ["owner/sounds"]


def test_no_folder_of_this_machine_is_named(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.mktemp("wang") / "my-hubert"
    base.mkdir()
    (base / "config.json").write_text("{}")
    tuned = replace(recipe, model=replace(recipe.model, name=str(base)))
    text = write_card(tuned, make_report())
    assert "wang" not in text
    assert "Decoded only in part: dog/7.wav: cut" in text
    assert "Left out: b.wav is empty; record it again." in text
    assert 'name = "my-hubert"' in text
    assert ModelCard(text).data.base_model is None


def test_a_report_is_shown_without_folders_and_else_as_it_is() -> None:
    report = make_report(("/m/09x0r", "/m/0bt9lr", "rain"))
    before = copy.deepcopy(report)
    shown = hide_places(report)
    assert report == before
    assert "wang" not in json.dumps(shown)
    assert shown["data"]["source"] == "my sounds"
    assert shown["data"]["left_out"] == [{"path": "b.wav", "reason": "b.wav is empty; record it again."}]
    assert shown["metrics"] == report["metrics"]
    assert shown["data"]["labels"] == ["/m/09x0r", "/m/0bt9lr", "rain"], "AudioSet's labels are no folders"


@pytest.mark.parametrize(
    ("text", "source", "shown"),
    [
        ("/data/a b/c.csv lacks /data/a b/d/1.wav", "/data/a b/c.csv", "c.csv lacks d/1.wav"),
        ("see https://huggingface.co/owner/name for 443/197/290", "/data", "see https://huggingface.co/owner/name for"),
        (r"C:\Users\Wang Li\sounds\dog\1.wav is empty", r"C:\Users\Wang Li\sounds", r"dog\1.wav is empty"),
        ("sounds/dog/1.wav", "sounds", "sounds/dog/1.wav"),
        ("/1.wav", "/", "/1.wav"),
    ],
)
def test_folders_are_hidden_and_nothing_else(text: str, source: str, shown: str) -> None:
    assert hide_folders(text, source).startswith(shown)


def test_a_card_without_figures_promises_none(recipe: Recipe) -> None:
    report = make_report()
    del report["metrics"]
    text = write_card(recipe, report)
    assert "ccuracy" not in text
    assert "## Figures" not in text
    assert ModelCard(text).data.eval_results is None


def test_the_card_of_a_run_is_that_of_its_report(quick_run: Run, tiny_quick: Recipe) -> None:
    text = (quick_run.model_folder / "README.md").read_text(encoding="utf-8")
    metrics, split = quick_run.report["metrics"], quick_run.report["data"]["split"]
    assert "Tells 3 classes of sound apart: beep, hiss, hum." in text
    assert f"| Accuracy | {metrics['accuracy']['value']:.1%} |" in text
    assert quick_run.report["protocol"] in text
    assert f"36 clips ({split['train']} train, {split['test']} test)." in text
    assert "Clips of each class: beep 12, hiss 12, hum 12." in text
    assert all(note in text for note in quick_run.report["notes"])
    assert "float32, mono, 8000 Hz" in text
    assert f"`quick`: {tiny_quick.description}" in text
    assert quick_run.report["data"]["source"] not in text
