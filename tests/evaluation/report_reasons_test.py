"""Mistakes in the report come with what spoke for them, where the model is at hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.evaluation import report_reasons
from earmark.evaluation.metrics import score_predictions
from earmark.evaluation.report import write_report
from earmark.evaluation.report_reasons import explain_mistakes
from earmark.inference.explanation import Explanation, Fidelity
from earmark.sound.heat import HeatMap

LABELS = ["dog", "<rain>"]


class Model:
    """What is asked of a classifier before `explain` is."""

    sample_rate = 4_000


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """(samples, label) of each call of `explain`, which always gives the same answer."""
    calls: list[tuple[int, str]] = []

    def explain(classifier: Any, waveform: np.ndarray, label: str) -> Explanation:
        calls.append((len(waveform), label))
        heat = HeatMap(np.array([[0.0, 1.0]]), np.array([0.0, 0.5, 1.0]), np.array([0.0, 2_000.0]))
        fidelity = Fidelity(0.1, 0.8, True, "It was tried.")
        return Explanation(label, 0.9, heat, "occlusion", fidelity)

    monkeypatch.setattr("earmark.inference.explanation.explain", explain)
    return calls


def make_sound(row: dict[str, Any]) -> tuple[np.ndarray, int]:
    return np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32), 8_000


def make_report(tmp_path: Any, explain_mistake: Any) -> str:
    truth = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]])
    rows = pd.DataFrame(
        {
            "path": [f"{i}.wav" for i in range(4)],
            "label": [LABELS[i] for i in truth],
            "predicted": [LABELS[i] for i in probabilities.argmax(1)],
            "score": probabilities.max(1),
        }
    )
    report = {"title": "Two", "metrics": score_predictions(LABELS, truth, probabilities)}
    page = write_report(tmp_path, report, rows, make_sound, explain_mistake=explain_mistake)
    return page.read_text(encoding="utf-8")


def test_each_mistake_is_explained_by_its_wrong_label_and_nothing_else_is(asked: Any, tmp_path: Any) -> None:
    html = make_report(tmp_path, explain_mistakes(Model()))  # type: ignore[arg-type]
    # Half a sound at 8 kHz is as many samples at the model's rate.
    assert asked == [(4_000, "<rain>"), (4_000, "dog")]
    assert html.count("It was tried.") == 2
    assert "In colour: what “&lt;rain&gt;” hangs on, part by part. It was tried." in html
    assert html.count("in colour where the heat is high") == 2


def test_no_more_mistakes_are_explained_than_are_asked_for(asked: Any, tmp_path: Any) -> None:
    html = make_report(tmp_path, explain_mistakes(Model(), most=1))  # type: ignore[arg-type]
    assert asked == [(4_000, "<rain>")]
    assert html.count("It was tried.") == 1
    assert html.count("<audio") == 4


def test_without_a_model_mistakes_are_shown_as_before(tmp_path: Any) -> None:
    html = make_report(tmp_path, None)
    assert "in colour where the heat is high" not in html
    assert html.count("<audio") == 4


def test_of_several_labels_the_worst_wrong_one_is_explained_and_a_missed_one_is_not(asked: Any) -> None:
    explain_mistake = explain_mistakes(Model())  # type: ignore[arg-type]
    waveform, rate = make_sound({})
    assert explain_mistake({"added": {"dog": 0.9, "<rain>": 0.6}}, waveform, rate) is not None
    assert explain_mistake({"added": {}}, waveform, rate) is None
    assert asked == [(4_000, "dog")]


def test_a_fault_of_the_machine_costs_the_picture_and_not_the_report(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out_of_memory(*_: Any) -> Explanation:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("earmark.inference.explanation.explain", run_out_of_memory)
    html = make_report(tmp_path, report_reasons.explain_mistakes(Model()))  # type: ignore[arg-type]
    assert html.count("<audio") == 4
