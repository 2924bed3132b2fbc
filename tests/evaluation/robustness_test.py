"""Robustness: each condition asked about once, figures and intervals exact where a listener is known through."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from earmark.evaluation.evaluate import Answers
from earmark.evaluation.robustness import measure_robustness
from earmark.evaluation.robustness_figure import draw_robustness
from earmark.sound.conditions import list_conditions

RATE = 32_000
LABELS = ("high", "low")
PITCH_HZ = {"high": 9_000, "low": 1_000}


class Listener:
    """Says "high" where there is sound and half its power lies above 5 kHz; counts what it is asked."""

    sample_rate = RATE

    def __init__(self) -> None:
        self.asked = 0
        self.most_at_once = 0

    def score(self, waveforms: list[np.ndarray]) -> np.ndarray:
        self.asked += len(waveforms)
        self.most_at_once = max(self.most_at_once, len(waveforms))
        scores = []
        for waveform in waveforms:
            power = np.abs(np.fft.rfft(waveform)) ** 2
            share = power[np.fft.rfftfreq(len(waveform), 1 / RATE) > 5_000].sum() / power.sum()
            scores.append([0.9, 0.1] if share > 0.5 and np.std(waveform) > 0.01 else [0.1, 0.9])
        return np.array(scores)


class Sounds(list):
    """What of the clips' waveforms is asked for."""

    def read(self, row: int) -> np.ndarray:
        return self[row]


def make_case(count: int, multi_label: bool = False) -> tuple[Listener, Sounds, Answers]:
    time_s = np.arange(RATE // 4) / RATE
    truth = [LABELS[i % 2] for i in range(count)]
    sounds = Sounds((0.5 * np.sin(2 * np.pi * PITCH_HZ[label] * time_s)).astype(np.float32) for label in truth)
    listener = Listener()
    scores = listener.score(sounds)
    listener.asked = listener.most_at_once = 0
    table = pd.DataFrame({"path": [f"{i}.wav" for i in range(count)], "label": truth, "predicted": truth, "score": 0.9})
    table["group"] = [f"group {i // 2}" for i in range(count)]
    table[["p:high", "p:low"]] = scores
    return listener, sounds, Answers(table, LABELS, multi_label)


def test_every_condition_is_asked_about_once_and_counts_what_it_costs() -> None:
    listener, sounds, answers = make_case(40)
    before = answers.table.copy()
    done: list[tuple[int, int]] = []
    rows = measure_robustness(listener, sounds, answers, on_progress=lambda *count: done.append(count))  # type: ignore
    conditions = list_conditions(RATE)
    assert [(row["condition"], row["strength"]) for row in rows] == [(each.name, each.strength) for each in conditions]
    assert listener.asked == 40 * len(conditions)
    assert listener.most_at_once <= 32
    assert done[-1] == (40 * len(conditions), 40 * len(conditions))
    accuracy = {(row["condition"], row["strength"]): row["accuracy"] for row in rows}
    # A telephone has nothing above 4 kHz: every high tone is lost, every low one kept.
    assert accuracy["sample rate", "8 kHz"] == 0.5
    assert accuracy["sample rate", "16 kHz"] == 0.5
    assert accuracy["MP3", "16 kbit/s"] == 0.5
    assert accuracy["white noise", "20 dB"] == 1.0
    # At 0 dB white noise has two thirds of its power above 5 kHz, pink noise a fifth.
    assert accuracy["pink noise", "0 dB"] == 1.0
    assert accuracy["reverberation", "0.6 s"] == 1.0
    assert accuracy["clipping", "30 %"] == 1.0
    pd.testing.assert_frame_equal(answers.table, before)


def test_the_intervals_are_those_of_the_report_over_groups() -> None:
    listener, sounds, answers = make_case(12)
    rows = measure_robustness(listener, sounds, answers, seed=3)  # type: ignore[arg-type]
    row = next(each for each in rows if each["strength"] == "8 kHz")
    table = answers.table.assign(**{"p:high": 0.1, "p:low": 0.9})
    expected = Answers(table, LABELS).measure(seed=3)["accuracy"]
    assert {key: row[other] for key, other in (("value", "accuracy"), ("low", "low"), ("high", "high"))} == expected
    assert rows == measure_robustness(listener, sounds, answers, seed=3)  # type: ignore[arg-type]


def test_with_several_labels_a_clip_the_score_is_the_mean_average_precision() -> None:
    listener, sounds, answers = make_case(8, multi_label=True)
    rows = measure_robustness(listener, sounds, answers)  # type: ignore[arg-type]
    assert all("accuracy" not in row for row in rows)
    assert next(row["map"] for row in rows if row["strength"] == "8 kHz") == 0.5


def test_a_panel_for_each_kind_tells_its_figures_in_words() -> None:
    score = {"value": 0.9, "low": 0.8, "high": 0.95}
    rows = [
        {"condition": name, "strength": strength, "accuracy": value, "low": value - 0.1, "high": value + 0.1}
        for name, strength, value in (("Opus", "32 kbit/s", 0.8), ("Opus", "8 kbit/s", 0.45), ("clipping", "1 %", 0.7))
    ]
    panels = draw_robustness(rows, {"primary": "accuracy", "accuracy": score})
    assert len(panels) == 2
    assert "Opus: accuracy 90.0 % as it is, 80.0 % at 32 kbit/s, 45.0 % at 8 kbit/s." in panels[0]
    assert ">8 kbit/s<" in panels[0]
    assert ">32<" in panels[0]
    assert "clipping: accuracy 90.0 % as it is, 70.0 % at 1 %." in panels[1]
    assert ">Clipping<" in panels[1]
    assert draw_robustness([], {"primary": "accuracy", "accuracy": score}) == []


def test_a_room_and_a_noise_belong_to_the_clip_not_to_its_place_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[np.ndarray] = []
    listener, sounds, answers = make_case(6)
    keep = SimpleNamespace(score=lambda waves: heard.extend(waves) or listener.score(waves), sample_rate=RATE)
    measure_robustness(keep, sounds, answers, seed=1)  # type: ignore[arg-type]
    together, heard = heard, []
    monkeypatch.setattr("earmark.evaluation.robustness.CLIPS_AT_ONCE", 4)
    keep.score = lambda waves: heard.extend(waves) or listener.score(waves)
    measure_robustness(keep, sounds, answers, seed=1)  # type: ignore[arg-type]
    for first, second in zip(together, heard, strict=True):
        np.testing.assert_array_equal(first, second)
