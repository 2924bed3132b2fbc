"""The model card: a header the Hub reads, the figures with their protocol, and what to know of the data."""

import copy

from earmark.training.card import write_card
from earmark.training.recipe import Recipe
from earmark.training.run import Run


def test_the_card_of_a_run_tells_its_figures(quick_run: Run, tiny_quick: Recipe) -> None:
    card = (quick_run.model_folder / "README.md").read_text(encoding="utf-8")
    assert card == write_card(tiny_quick, quick_run.report)
    header, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert "library_name: transformers" in header.splitlines()
    assert "pipeline_tag: audio-classification" in header.splitlines()
    metrics = quick_run.report["metrics"]
    assert "Tells 3 classes of sound apart: beep, hiss, hum." in body
    assert f"accuracy {metrics['accuracy']['value']:.1%}" in body
    assert f"always saying {metrics['majority_baseline']['label']!r}" in body
    assert quick_run.report["protocol"] in body
    split = quick_run.report["data"]["split"]
    assert f"36 clips ({split['train']} train, {split['test']} test)." in body
    assert all(note in body for note in quick_run.report["notes"])
    assert "float32, mono, 8000 Hz" in body
    assert f"`quick`: {tiny_quick.description}" in body


def test_a_card_without_figures_promises_none(quick_run: Run, tiny_quick: Recipe) -> None:
    report = copy.deepcopy(quick_run.report)
    del report["metrics"]
    card = write_card(tiny_quick, report)
    assert "accuracy" not in card
    assert report["protocol"] in card
