"""The page of a comparison opens from disk, says what the figures say, and lets one hear where runs disagree."""

import re

import numpy as np
import pandas as pd
import pytest

from earmark.errors import SoundError
from earmark.evaluation.compare import compare_answers
from earmark.evaluation.compare_page import CLIPS_SHOWN, find_disagreements, render_comparison, write_comparison
from earmark.evaluation.evaluate import Answers

LABELS = ("<b>rain</b>", "dog & cat", "公鸡")


def make_answers(guess, truth, score=0.8):
    names = [f"clip {i}.wav" for i in range(len(truth))]
    table = pd.DataFrame({"path": names, "label": truth, "predicted": guess, "score": score})
    table = table.assign(clip=range(len(truth)), **{f"p:{label}": 0.3 for label in LABELS})
    return Answers(table, LABELS)


def make_runs(n_clips=60, shares=(0.6, 0.8)):
    random = np.random.default_rng(0)
    truth = np.array(LABELS)[np.arange(n_clips) % 3]
    other = np.array(LABELS)[(np.arange(n_clips) + 1) % 3]
    return [
        make_answers(np.where(random.random(n_clips) < share, truth, other), truth, random.random(n_clips))
        for share in shares
    ]


def make_multi_label(seed, n_clips=40):
    random = np.random.default_rng(seed)
    truth = np.arange(n_clips)[:, None] % 3 == np.arange(3)
    scores = np.clip(0.4 * truth + 0.6 * random.random(truth.shape), 0, 1)
    table = pd.DataFrame({"path": [f"{i}.wav" for i in range(n_clips)], "score": scores.max(axis=1)})
    for name, chosen in (("label", truth), ("predicted", scores >= 0.5)):
        table[name] = [";".join(np.array(LABELS)[row]) for row in chosen]
    table = table.assign(clip=range(n_clips), **{f"p:{label}": scores[:, i] for i, label in enumerate(LABELS)})
    return Answers(table, LABELS, True)


def complete(names, answers, **more):
    """A comparison as `earmark.compare` makes it, of runs without a model."""
    comparison = compare_answers(names, answers, n_resamples=100)
    costs = {"train_s": 12.0, "device": "cpu", "parameters": 1000, "window_s": 5.0, "model_bytes": None}
    costs |= {"latency_ms": None, "latency_on": None, "latency_missing": "the run holds no model"}
    known = {"folder": "runs/x", "title": "x", "kind": "train", "protocol": "One split.", "seed": 0}
    comparison["runs"] = [{**run, **costs, **known} for run in comparison["runs"]]
    created = {"created": "2026-01-02T03:04:05+00:00", "earmark": "1.0", "cautions": [], "remarks": []}
    return comparison | created | more


def beep(row):
    return np.sin(np.arange(4000) / 5).astype(np.float32), 8000


def read_text(page):
    return re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))


def test_the_page_says_what_the_figures_say_and_asks_nothing_of_a_network(tmp_path):
    answers = make_runs()
    cautions = ["A <b>leak</b>."]
    comparison = complete(["plain", "bet<ter>"], answers, cautions=cautions, remarks=["Two folders."])
    steps = []

    page = write_comparison(tmp_path / "c.html", comparison, answers, beep, lambda *step: steps.append(step))

    html = page.read_text(encoding="utf-8")
    text = read_text(html)
    difference = comparison["differences"][0]
    assert difference["sentence"].replace("<ter>", "&lt;ter&gt;") in text
    assert f"{100 * comparison['runs'][0]['accuracy']['value']:.1f} %" in text
    assert "A &lt;b&gt;leak&lt;/b&gt;." in html
    assert "Two folders." in text
    assert "the run holds no model" in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    assert "<b>rain</b>" not in html
    assert html.count("<audio") == CLIPS_SHOWN == steps[-1][0] == steps[-1][1]
    ids = re.findall(r' id="([^"]*)"', html)
    assert len(ids) == len(set(ids))


def test_a_page_of_several_runs_has_a_column_of_bars_for_each_and_the_corrected_p_values():
    answers = make_runs(shares=(0.6, 0.8, 0.5))
    html = render_comparison(complete(["A", "B", "C"], answers), answers, beep)
    assert len(re.findall('aria-label="Points of F1 that [BC] has more than A', html)) == 2
    assert "p after Holm" in html
    assert "Another run is right, A wrong" in html


def test_several_labels_are_told_without_mcnemar():
    answers = [make_multi_label(1), make_multi_label(2)]
    text = read_text(render_comparison(complete(["A", "B"], answers), answers, beep))
    assert "McNemar’s test does not apply where a clip has several labels" in text
    assert "Mean average precision" in text
    assert "B is nearer to the truth than A" in text


def test_runs_that_say_the_same_leave_nothing_to_hear():
    answers = make_runs(shares=(0.6,)) * 2
    html = render_comparison(complete(["A", "B"], answers), answers, beep)
    assert "There is no clip that one run got right and another wrong." in html
    assert "<audio" not in html
    assert "Class by class" not in html


def test_a_sound_that_is_gone_says_so_in_its_place():
    def fail(row):
        raise SoundError(f"{row['path']} is gone; put it back.")

    answers = make_runs()
    html = render_comparison(complete(["A", "B"], answers), answers, fail)
    assert html.count("This sound could not be shown.") == CLIPS_SHOWN
    assert ".wav is gone; put it back." in html


def test_the_surest_disagreements_come_first_and_both_kinds_are_shown():
    truth = [LABELS[0]] * 30
    right, wrong = LABELS[0], LABELS[1]
    first = make_answers([right] * 3 + [wrong] * 25 + [right, wrong], truth)
    this = make_answers([wrong] * 3 + [right] * 25 + [right, wrong], truth, np.arange(30) / 30)

    found = find_disagreements(["A", "B"], [first, this])

    assert (found.n_gained, found.n_lost) == (25, 3)
    assert [row["clip"] for row in found.lost] == [2, 1, 0]
    assert [row["clip"] for row in found.gained] == list(range(27, 18, -1))
    assert [(says["name"], says["right"]) for says in found.gained[0]["says"]] == [("A", False), ("B", True)]


def test_two_wrong_answers_are_no_disagreement_worth_hearing():
    truth = [LABELS[0]] * 2
    found = find_disagreements(["A", "B"], [make_answers([LABELS[1]] * 2, truth), make_answers([LABELS[2]] * 2, truth)])
    assert (found.gained, found.lost) == ([], [])


@pytest.mark.parametrize("n_clips", [1, 2])
def test_a_handful_of_clips_has_a_page(n_clips):
    truth = list(LABELS[:n_clips])
    answers = [make_answers([LABELS[2]] * n_clips, truth), make_answers(truth, truth)]
    html = render_comparison(complete(["A", "B"], answers), answers, beep)
    assert html.count("<audio") == n_clips
