"""Events: where they begin and end, what keeps them going, and what they leave out."""

import csv
import io
import json

import numpy as np
import pytest

from earmark.errors import RunError
from earmark.inference.decision import Decision
from earmark.inference.event_files import to_audacity, to_csv, to_jsonl, to_raven
from earmark.inference.events import Event, EventFinder, ScoredWindow

LABELS = ("dog", "rain")
LOUD_DB, SILENT_DB = -20.0, -100.0


def make_windows(rows, *, hop_s=1.0, window_s=1.0, levels_db=None):
    """Windows one after another; a row that is one number is the first label's score, the other labels get 0."""
    windows = []
    for place, row in enumerate(rows):
        scores = np.array(row if np.ndim(row) else [row, *[0.0] * (len(LABELS) - 1)], dtype=float)
        level_db = LOUD_DB if levels_db is None else levels_db[place]
        windows.append(ScoredWindow(place * hop_s, place * hop_s + window_s, scores, level_db))
    return windows


def find(windows, *, decision=None, multi_label=False, **settings):
    finder = EventFinder(LABELS, decision or Decision(), multi_label=multi_label, **settings)
    return finder.push(windows) + finder.finish()


def spans(events):
    return [(event.label, event.start_s, event.end_s) for event in events]


def test_an_event_goes_on_below_the_threshold_until_seven_tenths_of_it():
    events = find(make_windows([0.0, 0.4, 0.8, 0.36, 0.36, 0.34, 0.4, 0.0]))
    assert events == [Event(2.0, 5.0, "dog", 0.8)]


def test_windows_that_overlap_meet_half_way_between_their_middles():
    windows = make_windows([0.0, 0.9, 0.9, 0.0, 0.0], hop_s=1.0, window_s=2.0)
    assert spans(find(windows)) == [("dog", 1.5, 3.5)]


def test_the_first_and_the_last_window_reach_to_the_ends_of_the_sound():
    windows = make_windows([0.9, 0.9], hop_s=1.0, window_s=2.0)
    windows.append(ScoredWindow(2.0, 3.2, np.array([0.9, 0.0]), LOUD_DB))
    assert spans(find(windows)) == [("dog", 0.0, 3.2)]


def test_labels_that_exclude_each_other_never_overlap():
    windows = make_windows([[0.9, 0.1], [0.45, 0.55], [0.1, 0.9], [0.55, 0.45]], hop_s=1.0, window_s=2.0)
    assert spans(find(windows)) == [("dog", 0.0, 1.5), ("rain", 1.5, 3.5), ("dog", 3.5, 5.0)]


def test_a_label_holds_against_one_that_does_not_reach_its_own_threshold():
    decision = Decision({"dog": 0.6, "rain": 0.9})
    assert spans(find(make_windows([[0.7, 0.3], [0.45, 0.55]]), decision=decision)) == [("dog", 0.0, 2.0)]


def test_labels_that_stand_on_their_own_have_their_own_events():
    rows = [[0.9, 0.0], [0.9, 0.8], [0.9, 0.8], [0.0, 0.8]]
    assert spans(find(make_windows(rows), multi_label=True)) == [("dog", 0.0, 3.0), ("rain", 1.0, 4.0)]


def test_each_label_has_the_model_s_own_threshold_a_half_or_the_one_given():
    windows = make_windows([[0.6, 0.6], [0.0, 0.0]])
    decision = Decision({"dog": 0.7})
    assert spans(find(windows, decision=decision, multi_label=True)) == [("rain", 0.0, 1.0)]
    assert find(windows, decision=decision, multi_label=True, threshold=0.65) == []
    assert len(find(windows, decision=decision, multi_label=True, threshold=0.3)) == 2


def test_silence_is_part_of_no_event_whatever_the_model_says_of_it():
    decision = Decision(silence_db=-60.0)
    levels_db = [LOUD_DB, SILENT_DB, LOUD_DB, SILENT_DB]
    windows = make_windows([0.9, 1.0, 0.9, 1.0], levels_db=levels_db)
    assert spans(find(windows, decision=decision)) == [("dog", 0.0, 1.0), ("dog", 2.0, 3.0)]
    # Nor does it lend its score to its neighbours.
    windows = make_windows([0.0, 0.4, 1.0, 0.4, 0.0], levels_db=[LOUD_DB, LOUD_DB, SILENT_DB, LOUD_DB, LOUD_DB])
    assert find(windows, decision=decision, smooth=3) == []


@pytest.mark.parametrize("smooth", [1, 3, 5, 9, 21])
def test_smoothing_is_the_mean_of_the_windows_around(smooth):
    rng = np.random.default_rng(smooth)
    scores = rng.random((12, 2))
    half = smooth // 2
    means = [scores[max(0, place - half) : place + half + 1].mean(0) for place in range(len(scores))]
    expected = find(make_windows(means), multi_label=True)
    assert expected
    smoothed = find(make_windows(scores), multi_label=True, smooth=smooth)
    assert spans(smoothed) == spans(expected)
    assert [event.score for event in smoothed] == pytest.approx([event.score for event in expected])


def test_what_is_too_short_is_left_out_and_gaps_that_short_are_closed():
    rows = [0.9, 0.0, 0.9, 0.9, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0]
    assert len(find(make_windows(rows))) == 3
    events = find(make_windows(rows), min_duration_s=2.0)
    assert spans(events) == [("dog", 0.0, 4.0)], "the gap of 1 s is closed, that of 2 s stays, the last event lasts 1 s"


def test_an_event_as_long_as_asked_is_kept_whatever_the_rounding():
    windows = make_windows([0.9, 0.9, 0.9, 0.0], hop_s=0.1, window_s=0.1)
    assert len(find(windows, min_duration_s=0.3)) == 1


def test_a_short_interruption_by_another_label_is_taken_back():
    windows = make_windows([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]])
    assert spans(find(windows, min_duration_s=1.5)) == [("dog", 0.0, 4.0)]


@pytest.mark.parametrize("multi_label", [True, False])
def test_events_are_the_same_however_the_windows_come(multi_label):
    rng = np.random.default_rng(3)
    windows = make_windows(rng.random((200, 2)), levels_db=rng.choice([LOUD_DB, SILENT_DB], 200, p=[0.9, 0.1]))
    settings = {"smooth": 3, "min_duration_s": 2.0, "threshold": 0.6, "multi_label": multi_label}
    whole = find(windows, **settings)
    assert len(whole) > 5
    finder = EventFinder(LABELS, Decision(), **settings)
    begin, events = 0, []
    while begin < len(windows):
        end = begin + int(rng.integers(0, 8))
        events += finder.push(windows[begin:end])
        begin = end
    assert sorted(spans(events + finder.finish())) == sorted(spans(whole))


def test_what_is_running_can_be_seen_and_is_given_once_it_is_over():
    finder = EventFinder(LABELS, Decision(), multi_label=False)
    first, second, third = make_windows([0.8, 0.9, 0.0])
    assert finder.open == []
    assert finder.push([first, second]) == []
    assert finder.open == [Event(0.0, 2.0, "dog", 0.9)]
    assert finder.push([third]) == [Event(0.0, 2.0, "dog", 0.9)]
    assert finder.open == []
    assert finder.finish() == []


def test_nothing_heard_is_no_event():
    assert find([]) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threshold": 0.0}, "threshold is 0"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"smooth": 0}, "give an odd number"),
        ({"smooth": 4}, "give an odd number"),
        ({"smooth": 10**9 + 1}, "at most|to 999"),
        ({"min_duration_s": -1.0}, "cannot last -1 s"),
        ({"min_duration_s": float("nan")}, "cannot last nan s"),
        ({"min_duration_s": float("inf")}, "cannot last inf s"),
    ],
)
def test_values_out_of_range_are_named(settings, said):
    with pytest.raises(RunError, match=said):
        EventFinder(LABELS, Decision(), multi_label=False, **settings)


EVENTS = [Event(0.0, 2.5, 'dog "big", loud', 0.91), Event(3661.25, 3662.0, "雨\tand\nwind", 1.0)]


def test_csv_and_json_lines_read_back_as_they_were():
    rows = list(csv.DictReader(io.StringIO(to_csv(EVENTS))))
    assert [row["label"] for row in rows] == [event.label for event in EVENTS]
    assert [float(row["start_s"]) for row in rows] == [0.0, 3661.25]
    records = [json.loads(line) for line in to_jsonl(EVENTS).splitlines()]
    assert records[1] == {"start_s": 3661.25, "end_s": 3662.0, "label": "雨\tand\nwind", "score": 1.0}
    assert "雨" in to_jsonl(EVENTS)


def test_audacity_gets_three_columns_a_line_without_a_header():
    lines = [line.split("\t") for line in to_audacity(EVENTS).splitlines()]
    assert lines == [["0.000000", "2.500000", 'dog "big", loud'], ["3661.250000", "3662.000000", "雨 and wind"]]


def test_raven_gets_numbered_selections_of_all_the_model_hears():
    header, first, second = (line.split("\t") for line in to_raven(EVENTS, sample_rate=32_000).splitlines())
    assert header[:7] == [
        "Selection",
        "View",
        "Channel",
        "Begin Time (s)",
        "End Time (s)",
        "Low Freq (Hz)",
        "High Freq (Hz)",
    ]
    row = dict(zip(header, second, strict=True))
    assert (row["Selection"], row["Begin Time (s)"], row["End Time (s)"]) == ("2", "3661.250", "3662.000")
    assert (row["Low Freq (Hz)"], row["High Freq (Hz)"], row["Annotation"]) == ("0.0", "16000.0", "雨 and wind")
    assert len(first) == len(header)


def test_no_events_are_a_header_or_nothing():
    assert to_csv([]) == "start_s,end_s,label,score\n"
    assert to_raven([], sample_rate=8_000).count("\n") == 1
    assert to_jsonl([]) == to_audacity([]) == ""
