"""Scores equal scikit-learn's, intervals mean what they say, and what cannot be scored is refused in words."""

import json

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from earmark.errors import EarmarkError, ModelError
from earmark.evaluation.metrics import score_predictions


def make_predictions(n_clips, n_classes, *, seed, classes_in_truth=None, hint=0.4):
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes_in_truth or n_classes, n_clips)
    probabilities = random.random((n_clips, n_classes))
    probabilities[np.arange(n_clips), truth] += hint
    return [f"class {i}" for i in range(n_classes)], truth, probabilities / probabilities.sum(axis=1, keepdims=True)


# The last case has classes that the truth lacks: some of them guessed, some of them perhaps not at all.
@pytest.mark.parametrize(
    ("n_clips", "n_classes", "in_truth"), [(200, 2, 2), (400, 10, 10), (500, 50, 50), (60, 30, 20)]
)
def test_every_figure_equals_scikit_learns(n_clips, n_classes, in_truth):
    labels, truth, probabilities = make_predictions(n_clips, n_classes, seed=n_clips, classes_in_truth=in_truth)
    guess = probabilities.argmax(axis=1)

    scores = score_predictions(labels, truth, probabilities, n_resamples=20)

    assert (scores["primary"], scores["clips"]) == ("accuracy", n_clips)
    assert scores["accuracy"]["value"] == pytest.approx(sklearn_metrics.accuracy_score(truth, guess), abs=1e-12)
    # scikit-learn warns where a guess is not in the truth, and then does what is wanted.
    recall = sklearn_metrics.recall_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)
    assert scores["balanced_accuracy"]["value"] == pytest.approx(recall, abs=1e-12)
    macro_f1 = sklearn_metrics.f1_score(truth, guess, average="macro", zero_division=0)
    assert scores["macro_f1"]["value"] == pytest.approx(macro_f1, abs=1e-12)
    confusion = sklearn_metrics.confusion_matrix(truth, guess, labels=range(n_classes))
    assert scores["confusion"] == confusion.tolist()
    columns = sklearn_metrics.precision_recall_fscore_support(truth, guess, labels=range(n_classes), zero_division=0)
    for name, expected in zip(("precision", "recall", "f1", "support"), columns, strict=True):
        assert [row[name] for row in scores["per_class"]] == pytest.approx(list(expected), abs=1e-12), name


def test_the_result_is_json():
    labels, truth, probabilities = make_predictions(50, 4, seed=1)
    scores = score_predictions(labels, truth, probabilities, groups=truth % 2, n_resamples=10)
    assert json.loads(json.dumps(scores)) == scores


def test_the_interval_of_clips_is_that_of_the_binomial():
    labels, truth, _ = make_predictions(400, 5, seed=2)
    guess = truth.copy()
    guess[:100] = (guess[:100] + 1) % 5

    accuracy = score_predictions(labels, truth, np.eye(5)[guess], n_resamples=4000)["accuracy"]

    half_width = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert accuracy["value"] == 0.75
    assert accuracy["low"] == pytest.approx(0.75 - half_width, abs=0.005)
    assert accuracy["high"] == pytest.approx(0.75 + half_width, abs=0.005)


def test_resampled_scores_equal_scikit_learn_on_clips_drawn_one_by_one():
    labels, truth, probabilities = make_predictions(120, 6, seed=3)
    guess = probabilities.argmax(axis=1)
    scores = score_predictions(labels, truth, probabilities, n_resamples=4000)
    random = np.random.default_rng(5)
    drawn = [random.integers(0, 120, 120) for _ in range(300)]
    f1 = [sklearn_metrics.f1_score(truth[d], guess[d], average="macro", zero_division=0) for d in drawn]
    assert [scores["macro_f1"]["low"], scores["macro_f1"]["high"]] == pytest.approx(
        np.percentile(f1, [2.5, 97.5]), abs=0.02
    )


def test_groups_that_fall_together_widen_the_interval():
    groups = np.repeat(np.arange(20), 10)
    truth = np.tile([0, 1], 100)
    guess = np.where(groups < 5, 1 - truth, truth)  # a quarter of the recordings wrong from end to end

    by_clip = score_predictions(["a", "b"], truth, np.eye(2)[guess])
    by_group = score_predictions(["a", "b"], truth, np.eye(2)[guess], groups=groups)

    assert by_clip["accuracy"]["value"] == by_group["accuracy"]["value"] == 0.75
    width_of_clips = by_clip["accuracy"]["high"] - by_clip["accuracy"]["low"]
    width_of_groups = by_group["accuracy"]["high"] - by_group["accuracy"]["low"]
    assert width_of_groups == pytest.approx(width_of_clips * np.sqrt(10), rel=0.15)
    assert by_clip["interval"] == "95 % bootstrap over 200 clips"
    assert by_group["interval"] == "95 % bootstrap over 20 groups"


def test_groups_of_one_clip_or_without_a_name_are_clips():
    labels, truth, probabilities = make_predictions(200, 3, seed=6)
    nameless = np.array([None] * 100 + [float("nan")] * 100, dtype=object)
    scores = score_predictions(labels, truth, probabilities, groups=nameless, n_resamples=2000)
    plain = score_predictions(labels, truth, probabilities, n_resamples=2000)
    assert scores["interval"] == "95 % bootstrap over 200 groups"
    assert scores["accuracy"]["low"] == pytest.approx(plain["accuracy"]["low"], abs=0.011)


def test_a_single_group_does_not_pretend_to_be_certain():
    labels, truth, probabilities = make_predictions(200, 3, seed=6)
    scores = score_predictions(labels, truth, probabilities, groups=np.full(200, "one speaker"))
    assert scores["accuracy"]["high"] - scores["accuracy"]["low"] > 0.1
    assert scores["interval"] == "95 % bootstrap over 200 clips, too narrow: all are of one group"


def test_the_same_seed_gives_the_same_interval():
    labels, truth, probabilities = make_predictions(100, 3, seed=7)
    assert score_predictions(labels, truth, probabilities) == score_predictions(labels, truth, probabilities)
    other = score_predictions(labels, truth, probabilities, seed=1)
    assert other["macro_f1"] != score_predictions(labels, truth, probabilities)["macro_f1"]


def test_the_majority_baseline_is_of_the_test_truth_unless_told():
    truth = np.array([0, 1, 1, 2])
    scores = score_predictions(["a", "b", "c"], truth, np.eye(3)[truth])
    assert scores["majority_baseline"] == {"label": "b", "accuracy": 0.5}
    told = score_predictions(["a", "b", "c"], truth, np.eye(3)[truth], majority_label="c")
    assert told["majority_baseline"] == {"label": "c", "accuracy": 0.25}


def test_top_confusions_are_ranked_and_leave_out_what_never_happened():
    truth = np.array([0] * 10 + [1] * 4)
    guess = np.array([0] * 7 + [1] * 3 + [1] * 3 + [0])
    scores = score_predictions(["dog", "rain", "never"], truth, np.eye(3)[guess])
    assert scores["top_confusions"] == [
        {"truth": "dog", "guess": "rain", "count": 3, "share": 0.3},
        {"truth": "rain", "guess": "dog", "count": 1, "share": 0.25},
    ]
    random = score_predictions(*make_predictions(2000, 30, seed=8))
    counts = [row["count"] for row in random["top_confusions"]]
    assert len(counts) == 8
    assert counts == sorted(counts, reverse=True)


def test_a_perfect_and_a_hopeless_model():
    truth = np.array([0, 1, 2] * 5)
    perfect = score_predictions(["a", "b", "c"], truth, np.eye(3)[truth])
    assert perfect["accuracy"] == perfect["macro_f1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert perfect["top_confusions"] == []
    hopeless = score_predictions(["a", "b", "c"], truth, np.eye(3)[(truth + 1) % 3])
    assert hopeless["balanced_accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_what_cannot_be_scored_is_refused_in_words():
    with pytest.raises(EarmarkError, match="test split is empty"):
        score_predictions(["a", "b"], np.array([], dtype=int), np.zeros((0, 2)))
    with pytest.raises(ModelError, match=r"NaN\) for 1 of 2 clips.*lower learning rate"):
        score_predictions(["a", "b"], np.array([0, 1]), np.array([[0.1, 0.9], [np.nan, 0.0]]))
    with pytest.raises(ValueError, match="shape"):
        score_predictions(["a", "b"], np.array([0, 1]), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="from 0 to 1"):
        score_predictions(["a", "b"], np.array([0, 2]), np.zeros((2, 2)))
