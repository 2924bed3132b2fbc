"""Runs on the same clips: figures as scikit-learn has them, intervals as the paired t test, nothing counted twice."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from earmark.evaluation.compare import compare_answers
from earmark.evaluation.evaluate import Answers
from earmark.evaluation.metrics import score_predictions
from earmark.evaluation.multi_label import score_multi_label

LABELS = ("cat", "dog", "rain")


def make_answers(truth, guess, **columns):
    """Answers that are quite sure of what they guess."""
    table = pd.DataFrame({"path": [f"{i}.wav" for i in range(len(truth))], "label": truth, "predicted": guess})
    for label in LABELS:
        table[f"p:{label}"] = np.where(table["predicted"] == label, 0.9, 0.05)
    return Answers(table.assign(score=0.9, **columns), LABELS)


def guess_at(truth, share_right, random):
    wrong = np.array([LABELS[(LABELS.index(label) + 1) % 3] for label in truth])
    return np.where(random.random(len(truth)) < share_right, truth, wrong)


def make_pair(n_clips=120, *, seed=0, **columns):
    random = np.random.default_rng(seed)
    truth = np.array(LABELS)[random.integers(0, 3, n_clips)]
    return [make_answers(truth, guess_at(truth, share, random), **columns) for share in (0.6, 0.8)]


def is_right(answers):
    return (answers.table["predicted"] == answers.table["label"]).to_numpy().astype(float)


def make_multi_label(n_clips=80, *, seed=0, noise=1.0, labels=LABELS):
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(99).random((n_clips, len(labels))) < 0.4
    truth[~truth.any(axis=1), 0] = True
    scores = np.clip(0.5 + 0.3 * (2 * truth - 1) + noise * random.normal(0, 0.4, truth.shape), 0, 1)
    table = pd.DataFrame({"path": [f"{i}.wav" for i in range(n_clips)], "score": scores.max(axis=1)})
    for name, chosen in (("label", truth), ("predicted", scores >= 0.5)):
        table[name] = [";".join(np.array(labels)[row]) for row in chosen]
    return Answers(table.assign(**{f"p:{label}": scores[:, i] for i, label in enumerate(labels)}), labels, True)


def test_the_difference_is_that_of_the_paired_t_test_over_clips():
    first, this = make_pair()

    compared = compare_answers(["A", "B"], [first, this], n_resamples=4000)

    assert (compared["primary"], compared["clips"], compared["first"]) == ("accuracy", 120, "A")
    assert compared["interval"] == "95 % bootstrap over 120 clips"
    difference = compared["differences"][0]
    expected = stats.ttest_rel(is_right(this), is_right(first))
    figure = difference["accuracy"]
    assert figure["value"] == pytest.approx(is_right(this).mean() - is_right(first).mean())
    assert (figure["low"], figure["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=0.005)
    split = [int(((is_right(first) > 0) & (is_right(this) == 0)).sum()), int((is_right(this) > is_right(first)).sum())]
    assert [difference["mcnemar"][key] for key in ("only_first", "only_this")] == split
    assert difference["p_value"] == pytest.approx(stats.binomtest(split[1], sum(split)).pvalue)
    assert difference["p_holm"] == difference["p_value"]
    assert json.loads(json.dumps(compared, allow_nan=False)) == compared


def test_groups_are_drawn_whole():
    # Ten recordings of twelve clips that are all better or all worse: what counts is ten, not 120.
    first, _ = make_pair()
    truth = first.table["label"].to_numpy()
    group = np.repeat(np.arange(10), 12)
    known = np.isin(group, range(6))
    wrong = np.array([LABELS[(LABELS.index(label) + 1) % 3] for label in truth])
    names = np.array([f"recording {number}" for number in group], dtype=object)
    one = make_answers(truth, np.where(known, wrong, truth))
    other = make_answers(truth, np.where(known, truth, wrong), group=names)

    compared = compare_answers(["A", "B"], [one, other], n_resamples=4000)

    assert compared["interval"] == "95 % bootstrap over 10 groups"
    figure = compared["differences"][0]["accuracy"]
    expected = stats.ttest_1samp([1.0] * 6 + [-1.0] * 4, 0)
    assert (figure["low"], figure["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=0.06)
    # McNemar, which takes clips for independent, sees 72 against 48; the interval has the last word.
    assert compared["differences"][0]["p_value"] < 0.05
    assert compared["differences"][0]["verdict"] == "undecided"


def test_the_figures_of_a_run_are_those_of_its_report():
    groups = np.array([f"g{i // 3}" for i in range(120)], dtype=object)
    first, this = make_pair(group=groups)

    compared = compare_answers(["A", "B"], [first, this], seed=4)

    for run, one in zip(compared["runs"], (first, this), strict=True):
        truth = one.truth().argmax(axis=1)
        report = score_predictions(LABELS, truth, one.probabilities(), groups=groups, seed=4)
        for name in ("accuracy", "balanced_accuracy", "macro_f1"):
            assert run[name] == pytest.approx(report[name])
        assert [row["value"] for row in run["per_class"]] == pytest.approx([row["f1"] for row in report["per_class"]])
        assert [row["support"] for row in run["per_class"]] == [row["support"] for row in report["per_class"]]


def test_classes_differ_by_their_f1():
    first, this = make_pair(seed=5)

    rows = compare_answers(["A", "B"], [first, this])["differences"][0]["per_class"]

    truth = first.table["label"]
    scores = [
        sklearn_metrics.f1_score(truth, one.table["predicted"], average=None, labels=LABELS) for one in (first, this)
    ]
    assert [row["label"] for row in rows] == list(LABELS)
    assert [row["value"] for row in rows] == pytest.approx(list(scores[1] - scores[0]))
    assert all(row["low"] < row["value"] < row["high"] for row in rows)


def test_what_both_share_cancels_out():
    first, _ = make_pair(n_clips=300)
    this = make_answers(first.table["label"], first.table["predicted"].where(first.table.index != 7, "rain"))

    compared = compare_answers(["A", "B"], [first, this])

    width = {
        name: figure["high"] - figure["low"]
        for name, figure in (
            ("run", compared["runs"][0]["accuracy"]),
            ("difference", compared["differences"][0]["accuracy"]),
        )
    }
    assert width["difference"] < width["run"] / 5


def test_a_run_that_says_the_same_is_called_so():
    first, _ = make_pair()
    difference = compare_answers(["A", "copy"], [first, first])["differences"][0]
    assert (difference["verdict"], difference["p_value"]) == ("same", 1.0)
    assert difference["sentence"] == "copy and A say the same of every clip."


def test_several_comparisons_are_corrected_after_holm():
    first, better = make_pair(seed=1)
    close = make_answers(first.table["label"], first.table["predicted"].where(first.table.index > 5, "dog"))

    compared = compare_answers(["A", "B", "C"], [first, better, close])

    p_values = [difference["p_value"] for difference in compared["differences"]]
    assert p_values[0] < p_values[1]
    assert [difference["p_holm"] for difference in compared["differences"]] == pytest.approx(
        [2 * p_values[0], max(2 * p_values[0], p_values[1])]
    )
    assert [difference["first"] for difference in compared["differences"]] == ["A", "A"]


def test_several_labels_are_compared_by_average_precision_and_without_mcnemar():
    first, this = make_multi_label(seed=1, noise=1.5), make_multi_label(seed=2, noise=0.7)

    compared = compare_answers(["A", "B"], [first, this])

    truth = first.truth()
    precisions = [
        sklearn_metrics.average_precision_score(truth, one.probabilities(), average=None) for one in (first, this)
    ]
    difference = compared["differences"][0]
    assert compared["primary"] == "map"
    assert difference["map"]["value"] == pytest.approx(precisions[1].mean() - precisions[0].mean())
    assert [row["value"] for row in difference["per_class"]] == pytest.approx(list(precisions[1] - precisions[0]))
    assert (difference["mcnemar"], difference["test"]) == (None, "bootstrap")
    excludes_zero = difference["map"]["low"] > 0 or difference["map"]["high"] < 0
    assert excludes_zero == (difference["p_value"] < 0.05)
    report = score_multi_label(LABELS, truth, first.probabilities())
    for name in ("map", "micro_map", "macro_f1", "micro_f1"):
        assert compared["runs"][0][name] == pytest.approx(report[name])


def test_a_class_that_one_model_does_not_know_is_one_that_it_never_names():
    first = make_multi_label(seed=1)
    extra = make_multi_label(seed=2)
    this = Answers(extra.table.assign(**{"p:siren": 0.2}), (*LABELS, "siren"), True)

    compared = compare_answers(["A", "B"], [first, this])

    siren = compared["differences"][0]["per_class"][-1]
    assert siren == {"label": "siren", "support": 0, "value": None, "low": None, "high": None}
    alone = compare_answers(["A", "B"], [first, extra])
    assert compared["differences"][0]["map"] == pytest.approx(alone["differences"][0]["map"])


@pytest.mark.parametrize("multi_label", [False, True])
def test_several_answers_a_clip_do_not_make_a_test_set_larger(multi_label):
    first, this = (make_multi_label(seed=s, noise=s) for s in (1, 2)) if multi_label else make_pair()
    once = compare_answers(["A", "B"], [first, this])
    clip = np.arange(len(this.table))
    three = pd.concat([this.table.assign(clip=clip)] * 3, ignore_index=True)

    thrice = compare_answers(["A", "B"], [first, Answers(three, LABELS, multi_label)])

    primary = once["primary"]
    assert thrice["clips"] == once["clips"]
    for run in (0, 1):
        assert thrice["runs"][run][primary] == pytest.approx(once["runs"][run][primary])
    assert thrice["differences"][0][primary] == pytest.approx(once["differences"][0][primary])
    assert (thrice["differences"][0]["mcnemar"], thrice["differences"][0]["test"]) == (None, "bootstrap")


def test_the_mean_of_several_seeds_is_what_counts():
    truth = ["cat", "dog"] * 10
    first = make_answers(truth, ["cat"] * 20)
    seeds = [make_answers(truth, truth).table, make_answers(truth, ["dog"] * 20).table]
    two = pd.concat([table.assign(clip=np.arange(20), seed=i) for i, table in enumerate(seeds)], ignore_index=True)

    compared = compare_answers(["A", "B"], [first, Answers(two, LABELS)])

    assert compared["runs"][1]["accuracy"]["value"] == 0.75
    assert compared["differences"][0]["accuracy"]["value"] == 0.25


def test_answers_that_do_not_belong_together_are_refused():
    first, this = make_pair()
    with pytest.raises(ValueError, match="two runs or more"):
        compare_answers(["A"], [first])
    with pytest.raises(ValueError, match="a name of its own"):
        compare_answers(["A", "A"], [first, this])
    with pytest.raises(ValueError, match="same clips in the same order"):
        compare_answers(["A", "B"], [first, Answers(this.table[::-1].reset_index(drop=True), LABELS)])


def test_progress_is_told_to_the_end():
    seen = []
    compare_answers(["A", "B"], make_pair(), n_resamples=250, on_progress=lambda *step: seen.append(step))
    assert seen == [(100, 250), (200, 250), (250, 250)]
