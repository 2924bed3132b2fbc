"""The reliability diagram says in words what it shows."""

from xml.etree import ElementTree

import numpy as np

from earmark.evaluation.calibration import measure_calibration
from earmark.evaluation.reliability_figure import draw_reliability


def test_the_picture_and_its_words():
    truth = np.eye(2)[[0, 1, 1, 0]]
    figures = measure_calibration(truth, np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.8, 0.2]]))
    svg = draw_reliability({**figures, "multi_label": False})
    assert ElementTree.fromstring(svg).get("role") == "img"
    assert "expected calibration error 30.0 %: 80 % sure, 100 % right (2), 90 % sure, 50 % right (2)." in svg


def test_what_was_before_the_temperature_is_drawn_too():
    figures = measure_calibration(np.eye(2)[[0, 1]], np.array([[0.9, 0.1], [0.3, 0.7]]))
    alone = draw_reliability({**figures, "multi_label": True})
    both = draw_reliability({**figures, "multi_label": True, "before": figures})
    assert both.count("<path") > alone.count("<path")
    assert "% a yes" in alone
