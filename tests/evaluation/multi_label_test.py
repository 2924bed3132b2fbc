"""Scores of several labels a clip equal scikit-learn's, and so do their intervals, resample by resample."""

import json
import warnings

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from earmark.errors import EarmarkError, ModelError
from earmark.evaluation.intervals import estimate_interval
from earmark.evaluation.multi_label import score_multi_label

INTERVALS = ("map", "micro_map", "macro_f1", "micro_f1")


def make_answers(n_clips, n_classes, *, seed, share=0.15, decimals=None):
    random = np.random.default_rng(seed)
    truth = random.random((n_clips, n_classes)) < share
    probabilities = np.clip(0.65 * random.random((n_clips, n_classes)) + 0.3 * truth, 0, 1)
    if decimals is not None:
        probabilities = probabilities.round(decimals)
    return [f"class {i}" for i in range(n_classes)], truth, probabilities


def score_with_scikit_learn(truth, probabilities):
    """The four scores over the classes that have a positive."""
    there = truth.any(axis=0)
    named = probabilities >= 0.5
    return {
        "map": sklearn_metrics.average_precision_score(truth[:, there], probabilities[:, there], average="macro"),
        "micro_map": sklearn_metrics.average_precision_score(truth, probabilities, average="micro"),
        "macro_f1": sklearn_metrics.f1_score(truth[:, there], named[:, there], average="macro", zero_division=0),
        "micro_f1": sklearn_metrics.f1_score(truth, named, average="micro", zero_division=0),
    }


# One decimal makes most scores equal to others: equal scores share one precision.
@pytest.mark.parametrize(
    ("n_clips", "n_classes", "share", "decimals"), [(200, 5, 0.3, None), (300, 40, 0.02, None), (250, 12, 0.1, 1)]
)
def test_every_figure_equals_scikit_learns(n_clips, n_classes, share, decimals):
    labels, truth, probabilities = make_answers(n_clips, n_classes, seed=n_clips, share=share, decimals=decimals)
    truth[:, -1] = False

    scores = score_multi_label(labels, truth.astype(int), probabilities, n_resamples=5)

    assert (scores["primary"], scores["clips"]) == ("map", n_clips)
    for name, expected in score_with_scikit_learn(truth, probabilities).items():
        assert scores[name]["value"] == pytest.approx(expected, abs=1e-12), name
    named = probabilities >= 0.5
    columns = sklearn_metrics.precision_recall_fscore_support(truth, named, zero_division=0)
    for name, expected in zip(("precision", "recall", "f1", "support"), columns, strict=True):
        assert [row[name] for row in scores["per_class"]] == pytest.approx(list(expected), abs=1e-12), name
    *known, absent = scores["per_class"]
    precisions = sklearn_metrics.average_precision_score(truth[:, :-1], probabilities[:, :-1], average=None)
    assert [row["average_precision"] for row in known] == pytest.approx(list(precisions), abs=1e-12)
    assert absent["average_precision"] is None
    assert scores["without_positives"] == [labels[-1]]
    found, false = (truth & named).sum(axis=0), (named & ~truth).sum(axis=0)
    assert [(row["found"], row["false"]) for row in scores["per_class"]] == list(zip(found, false, strict=True))


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_are_made_of_scikit_learns_scores_on_what_was_drawn(grouped):
    labels, truth, probabilities = make_answers(40, 6, seed=1, share=0.08, decimals=1)
    groups = np.arange(40) // 3 if grouped else None

    scores = score_multi_label(labels, truth, probabilities, groups=groups, n_resamples=60, seed=9)

    random = np.random.default_rng(9)
    units = [np.flatnonzero(groups == group) for group in np.unique(groups)] if grouped else np.arange(40)[:, None]
    drawn = [np.concatenate([units[i] for i in random.integers(0, len(units), len(units))]) for _ in range(60)]
    resampled = [score_with_scikit_learn(truth[clips], probabilities[clips]) for clips in drawn]
    equal_units = 40**2 / (13 * 3**2 + 1) if grouped else 40  # 13 groups of three clips and one of a single clip
    for name in INTERVALS:
        values = np.array([scores[name] for scores in resampled])
        expected = estimate_interval(scores[name]["value"], values, units=equal_units)
        assert [scores[name]["low"], scores[name]["high"]] == pytest.approx(list(expected), abs=1e-12), name
    assert scores["interval"] == f"95 % bootstrap over {'14 groups' if grouped else '40 clips'}"


def test_a_resample_without_any_positive_has_no_say():
    truth = np.array([[1, 0]] + [[0, 0]] * 9)  # a third of the resamples have no positive at all
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score_multi_label(["dog", "rain"], truth, np.where(truth, 0.9, 0.1))
    for name in ("map", "micro_map", "macro_f1"):
        assert scores[name] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_groups_that_fall_together_widen_the_interval_and_a_single_one_is_told_of():
    groups = np.repeat(np.arange(20), 10)
    truth = np.tile([[1, 0], [0, 1]], (100, 1))
    named = np.where((groups < 5)[:, None], 1 - truth, truth)  # a quarter of the recordings wrong from end to end

    by_clip = score_multi_label(["a", "b"], truth, 0.9 * named)["micro_f1"]
    by_group = score_multi_label(["a", "b"], truth, 0.9 * named, groups=groups)["micro_f1"]

    assert by_clip["value"] == by_group["value"] == 0.75
    ratio = (by_group["high"] - by_group["low"]) / (by_clip["high"] - by_clip["low"])
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)
    alone = score_multi_label(["a", "b"], truth, 0.9 * named, groups=np.full(200, "one speaker"))
    assert alone["interval"] == "95 % bootstrap over 200 clips, too narrow: all are of one group"
    assert alone["micro_f1"] == by_clip


def test_the_baseline_answers_the_class_shares():
    labels, truth, probabilities = make_answers(300, 8, seed=3)
    truth[:, 0], truth[:, -1] = np.arange(300) % 2 == 0, False
    scores = score_multi_label(labels, truth, probabilities, n_resamples=1)
    shares = truth.mean(axis=0)
    assert scores["prior_baseline"] == pytest.approx(shares[:-1].mean(), abs=1e-12)
    constant = np.tile(shares, (300, 1))
    micro = sklearn_metrics.average_precision_score(truth, constant, average="micro")
    assert scores["prior_micro_map"] == pytest.approx(micro, abs=1e-12)
    assert scores["prior_baseline"] < scores["prior_micro_map"]
    # Shares of a training set that ranks the classes the other way round.
    prior = 1 - shares
    told = score_multi_label(labels, truth, probabilities, prior=prior, n_resamples=1)
    expected = sklearn_metrics.average_precision_score(truth, np.tile(prior, (300, 1)), average="micro")
    assert told["prior_micro_map"] == pytest.approx(expected, abs=1e-12)
    assert told["prior_baseline"] == scores["prior_baseline"]


def test_confusions_are_labels_missed_where_another_was_named_wrongly():
    truth = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]])
    named = np.array([[0, 1, 1], [0, 0, 1], [0, 1, 0], [0, 0, 0]])
    scores = score_multi_label(["dog", "rain", "wind"], truth, named.astype(float), n_resamples=1)
    assert scores["top_confusions"] == [
        {"truth": "dog", "guess": "wind", "count": 2, "share": pytest.approx(2 / 3)},
        {"truth": "dog", "guess": "rain", "count": 1, "share": pytest.approx(1 / 3)},
    ]


def test_a_label_is_named_from_a_half_on_and_a_clip_may_have_none():
    truth = np.array([[1, 0], [0, 1], [0, 0]])
    half = np.array([[0.5, 0.0], [0.0, 0.5], [0.49, 0.49]])
    scores = score_multi_label(["a", "b"], truth, half, n_resamples=1)
    assert scores["micro_f1"]["value"] == scores["macro_f1"]["value"] == 1.0


def test_the_result_is_json_and_the_same_for_the_same_seed():
    answers = make_answers(60, 4, seed=5)
    scores = score_multi_label(*answers, groups=np.arange(60) % 7, n_resamples=20)
    assert json.loads(json.dumps(scores)) == scores
    assert scores == score_multi_label(*answers, groups=np.arange(60) % 7, n_resamples=20)
    other = score_multi_label(*answers, groups=np.arange(60) % 7, n_resamples=20, seed=1)
    assert other["map"]["value"] == scores["map"]["value"]
    assert other["map"] != scores["map"]


def test_what_cannot_be_scored_is_refused_in_words():
    truth = np.array([[1, 0], [0, 1]])
    with pytest.raises(EarmarkError, match="test split is empty"):
        score_multi_label(["a", "b"], np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(EarmarkError, match="None of the 2 test clips has a label"):
        score_multi_label(["a", "b"], 0 * truth, np.zeros((2, 2)))
    with pytest.raises(ModelError, match=r"NaN\) for 1 of 2 clips.*lower learning rate"):
        score_multi_label(["a", "b"], truth, np.array([[0.1, 0.9], [np.nan, 0.0]]))
    with pytest.raises(ValueError, match="probabilities must have shape"):
        score_multi_label(["a", "b"], truth, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="truth must have shape"):
        score_multi_label(["a", "b"], np.array([0, 1]), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="truth must hold 1"):
        score_multi_label(["a", "b"], 2 * truth, np.zeros((2, 2)))
