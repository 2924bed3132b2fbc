"""`evaluate(robustness=True)` and the explained mistakes, end to end on a finished run."""

import json
from pathlib import Path

from earmark.sound.conditions import list_conditions
from earmark.training.assess import evaluate
from earmark.training.run import Run


def test_robustness_stands_in_the_report_and_on_its_page(quick_run: Run, tmp_path: Path) -> None:
    classifier = quick_run.load_classifier()
    run = evaluate(classifier, quick_run.folder / "clips.csv", split="test", out=tmp_path / "run", robustness=True)
    rows = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))["robustness"]
    expected = [(each.name, each.strength) for each in list_conditions(classifier.sample_rate)]
    assert [(row["condition"], row["strength"]) for row in rows] == expected
    assert all(0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1 for row in rows)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert 'id="robustness"' in page
    assert page.count("accuracy") > len({row["condition"] for row in rows})
    assert 'href="#robustness"' in page


def test_nothing_is_asked_twice_unless_it_was_wanted(quick_run: Run, tmp_path: Path) -> None:
    run = evaluate(quick_run.folder, quick_run.folder / "clips.csv", split="test", out=tmp_path / "run")
    assert "robustness" not in run.report
    assert 'id="robustness"' not in (run.folder / "report.html").read_text(encoding="utf-8")


def test_a_training_explains_the_mistakes_it_shows(quick_run: Run) -> None:
    metrics = quick_run.report["metrics"]
    mistakes = metrics["clips"] - sum(metrics["confusion"][i][i] for i in range(3))
    assert mistakes > 0, "a run without mistakes shows nothing here"
    page = (quick_run.folder / "report.html").read_text(encoding="utf-8")
    # What a model this small gets wrong may hang on no part alone; then the picture says that.
    assert page.count("hangs on, part by part") + page.count("No part alone spoke for") == min(mistakes, 12)
