"""What a notebook shows of runs and predictions: whole, escaped, and free of the notebook's own names."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from earmark.evaluation.metrics import score_predictions
from earmark.evaluation.multi_label import score_multi_label
from earmark.evaluation.notebook import show_run
from earmark.inference.prediction import Prediction

LABELS = ["<b>rain</b>", "dog & cat", "公鸡打鸣"]


class Fragment(HTMLParser):
    """The words of a fragment, once it is seen to be whole and to lean on nothing around it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "style", "link", "html", "b")
        assert not {"class", "id"} & dict(attributes).keys()
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, words: str) -> None:
        self.words.append(words)


def make_report(**more: object) -> dict[str, object]:
    truth = np.arange(30) % 3
    probabilities = np.random.default_rng(0).random((30, 3)) + np.eye(3)[truth]
    return {"title": "cnn on <sounds>", "metrics": score_predictions(LABELS, truth, probabilities), **more}


def test_a_run_shows_its_scores_with_their_intervals_and_its_confusions() -> None:
    report = make_report(protocol="Split by recording.", notes=["Some clips <were> left out."])
    html = show_run(report)
    text = Fragment(html).text
    metrics = report["metrics"]
    for name, key in (("Accuracy", "accuracy"), ("Balanced accuracy", "balanced_accuracy"), ("Macro-F1", "macro_f1")):
        value, low, high = (f"{100 * metrics[key][part]:.1f}" for part in ("value", "low", "high"))
        assert f"{name} {value} % {low}–{high} %" in text
    for words in (
        "cnn on <sounds>",
        "30 test clips",
        "Majority guess 33.3 % always “<b>rain</b>”",
        "95 % bootstrap over 30 clips. Split by recording.",
        "Some clips <were> left out.",
    ):
        assert words in text
    assert "Confusion matrix of 3 classes" in html
    assert "<a " not in html


def test_the_picture_is_no_wider_than_it_was_drawn() -> None:
    html = show_run(make_report())
    assert re.search(r'max-width:([\d.]+)px"><svg', html).group(1) == re.search(r'viewBox="0 0 ([\d.]+)', html).group(1)


def test_a_run_links_to_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert 'href="runs/one%20%26%20two/report.html"' in show_run(make_report(), Path("runs/one & two/report.html"))
    below = show_run(make_report(), tmp_path / "runs" / "one" / "report.html")
    assert 'href="runs/one/report.html"' in below
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert f'href="{(tmp_path / "report.html").as_uri()}"' in show_run(make_report(), tmp_path / "report.html")


def test_a_run_of_several_labels_a_clip_shows_what_it_finds_and_misses() -> None:
    truth = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1]])
    metrics = score_multi_label(LABELS, truth, np.where(truth, 0.8, 0.3) - 0.4 * np.eye(4, 3))
    html = show_run({"title": "tags", "metrics": metrics})
    text = Fragment(html).text
    assert f"Mean average precision {100 * metrics['map']['value']:.1f} %" in text
    assert f"Class shares 50.0 % always answered; micro {100 * metrics['prior_micro_map']:.1f} %" in text
    assert "What is found and missed of 3 classes" in html
    assert "Majority guess" not in text


def test_a_prediction_shows_its_ten_most_probable_labels_as_bars() -> None:
    prediction = [{"label": label, "score": score} for label, score in zip(LABELS, (0.75, 0.2, 0.04), strict=True)]
    html = Prediction(prediction)._repr_html_()
    assert Fragment(html).text == "<b>rain</b> 75.0 % dog & cat 20.0 % 公鸡打鸣 4.0 %"
    assert re.findall(r"width:([\d.]+)%", html) == ["75.0", "20.0", "4.0"]
    many = [{"label": f"class {i}", "score": 1 / (2 + i)} for i in range(1_015)]
    text = Fragment(Prediction(many)._repr_html_()).text
    assert text.endswith("class 9 9.1 % and 1,005 less probable")
    assert Fragment(Prediction([])._repr_html_()).text == ""
