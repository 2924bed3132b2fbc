"""The line one sees while listening."""

import types

import numpy as np
import pytest

from earmark.cli import live_view
from earmark.cli.live_view import draw_line, open_view
from earmark.inference.classifier import Classifier
from earmark.inference.decision import Decision
from earmark.inference.events import Event, ScoredWindow
from earmark.inference.live import Hearing


@pytest.fixture
def classifier():
    network = types.SimpleNamespace(
        sample_rate=1_000, labels=("dog", "雨"), window=1_000, multi_label=False, decision=Decision(silence_db=-60.0)
    )
    return Classifier(network)


def make_hearing(*, level_db=-30.0, scores=(0.9, 0.1), window_db=-30.0, running=()):
    window = None if scores is None else ScoredWindow(0.0, 1.0, np.array(scores), window_db)
    return Hearing(75.25, level_db, window, [], list(running))


def test_the_line_tells_time_level_label_and_the_last_events_newest_first(classifier):
    last = [Event(1.0, 2.0, "dog", 0.9), Event(65.0, 70.0, "雨", 0.8)]
    line = draw_line(classifier, make_hearing(), last)
    assert line.plain == " 1:15.2 ━━━━━━━━────────  -30 dB  dog 90 %  · 1:05.0 雨  · 0:01.0 dog"
    assert "\n" not in line.plain


@pytest.mark.parametrize(
    ("level_db", "filled"), [(0.0, 16), (3.0, 16), (-60.0, 0), (-100.0, 0), (None, 0), (-15.0, 12)]
)
def test_the_meter_reaches_from_minus_60_db_to_full_scale(classifier, level_db, filled):
    assert draw_line(classifier, make_hearing(level_db=level_db), []).plain.count("━") == filled


def test_silence_and_the_time_before_the_first_window_have_no_label(classifier):
    assert draw_line(classifier, make_hearing(window_db=-70.0), []).plain.endswith("silence")
    assert draw_line(classifier, make_hearing(scores=None), []).plain.endswith("…")


def test_a_running_event_is_bold(classifier):
    def style_of(running):
        line = draw_line(classifier, make_hearing(running=running), [])
        return next(str(span.style) for span in line.spans if "dog" in line.plain[span.start : span.end])

    assert (style_of([Event(0.0, 1.0, "dog", 0.9)]), style_of([])) == ("bold", "dim")


def test_nobody_watching_is_shown_nothing(classifier, capsys, monkeypatch):
    monkeypatch.setattr(live_view, "is_live", lambda: False)
    with open_view(classifier) as show:
        show(make_hearing())
    assert capsys.readouterr() == ("", "")
