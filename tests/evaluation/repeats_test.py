"""Several answers to the same clips: pooled as they are, with an interval over clips and not over answers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from earmark.evaluation.evaluate import Answers
from earmark.evaluation.repeats import measure_each_seed, measure_repeats, pool_answers

LABELS = ("cat", "dog", "owl")


def make_answers(seed, *, n_clips=90, groups=None, multi_label=False, noise=0):
    random = np.random.default_rng(noise)
    truth = np.arange(n_clips) % 3
    scores = np.random.default_rng(seed).random((n_clips, 3)) + random.random((n_clips, 1)) * np.eye(3)[truth]
    probabilities = scores / scores.sum(1, keepdims=True)
    table = pd.DataFrame({"path": [f"{i}.wav" for i in range(n_clips)], "label": [LABELS[i] for i in truth]})
    if groups is not None:
        table["group"] = groups
    named = pd.DataFrame(probabilities, columns=[f"p:{label}" for label in LABELS])
    table["predicted"] = [LABELS[i] for i in probabilities.argmax(1)]
    return Answers(pd.concat([table.assign(seed=seed), named], axis=1), LABELS, multi_label)


def test_accuracies_are_the_means_of_the_seeds():
    parts = [make_answers(seed) for seed in (1, 2, 3)]
    pooled = pool_answers(parts)
    metrics, each = measure_repeats(pooled), measure_each_seed(pooled)
    assert [row["seed"] for row in each] == [1, 2, 3]
    for name, score in (("accuracy", accuracy_score), ("balanced_accuracy", balanced_accuracy_score)):
        by_seed = [score(part.table["label"], part.table["predicted"]) for part in parts]
        assert metrics[name]["value"] == pytest.approx(np.mean(by_seed))
    assert [row["accuracy"] for row in each] == pytest.approx(
        [accuracy_score(part.table["label"], part.table["predicted"]) for part in parts]
    )
    assert (metrics["clips"], metrics["answers"]) == (90, 270)


def test_the_same_answers_thrice_have_the_interval_of_once():
    once = make_answers(7)
    thrice = pool_answers([Answers(once.table.assign(seed=seed), LABELS) for seed in (1, 2, 3)])
    figure, single = measure_repeats(thrice)["accuracy"], once.measure()["accuracy"]
    assert figure["value"] == single["value"]
    assert (figure["low"], figure["high"]) == pytest.approx((single["low"], single["high"]), abs=0.012)


def test_groups_are_drawn_with_all_their_answers_and_clips_without_one_alone():
    groups = np.array([f"take {i // 5}" for i in range(88)] + [None, None], dtype=object)
    parts = [make_answers(seed, groups=groups) for seed in (1, 2)]
    metrics = measure_repeats(pool_answers(parts))
    assert metrics["interval"] == "95 % bootstrap over 20 groups, each with its 2 answers"


def test_several_labels_a_clip_too():
    metrics = measure_repeats(pool_answers([make_answers(seed, multi_label=True) for seed in (1, 2)]))
    assert metrics["primary"] == "map"
    assert (metrics["clips"], metrics["answers"]) == (90, 180)
    assert metrics["map"]["low"] < metrics["map"]["value"] < metrics["map"]["high"]


def test_what_was_kept_beside_the_answers_is_joined():
    first, second = make_answers(1, n_clips=3), make_answers(2, n_clips=3)
    plain = pool_answers([first, second])
    assert plain.uncalibrated is None
    assert plain.levels_db is None
    warm = Answers(first.table, LABELS, False, np.full((3, 3), 1 / 3), np.zeros(3))
    loud = Answers(second.table, LABELS, False, None, np.ones(3))
    joined = pool_answers([warm, loud])
    np.testing.assert_array_equal(joined.uncalibrated, np.concatenate([np.full((3, 3), 1 / 3), second.probabilities()]))
    np.testing.assert_array_equal(joined.levels_db, [0, 0, 0, 1, 1, 1])
