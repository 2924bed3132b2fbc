"""Two runs on the same clips: exact p values by hand, intervals as those of the paired t test, and the words."""

import numpy as np
import pytest
from scipy import stats

from earmark.evaluation.paired_tests import correct_holm, count_mcnemar, decide, estimate_difference, word_difference


def make_outcomes(both, only_first, only_this, neither):
    first = [True] * (both + only_first) + [False] * (only_this + neither)
    this = [True] * both + [False] * only_first + [True] * only_this + [False] * neither
    return np.array(first), np.array(this)


# 2 * (1 + 7) / 2**7; 2 * (1 + 12 + 66) / 2**12; an even split; no split at all.
@pytest.mark.parametrize(
    ("only_first", "only_this", "p_value"), [(1, 6, 0.125), (10, 2, 158 / 4096), (4, 4, 1.0), (0, 0, 1.0)]
)
def test_mcnemar_is_the_coin_toss_of_the_clips_that_only_one_got_right(only_first, only_this, p_value):
    counts, found = count_mcnemar(*make_outcomes(20, only_first, only_this, 5))

    assert counts == {"both": 20, "only_first": only_first, "only_this": only_this, "neither": 5}
    assert found == pytest.approx(p_value, rel=1e-12)


def test_holm_multiplies_step_by_step_and_never_lets_a_larger_p_become_smaller():
    assert correct_holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert correct_holm([0.7, 0.9]) == [1.0, 1.0]
    assert correct_holm([0.03]) == [0.03]


def test_the_interval_of_a_mean_difference_is_that_of_the_paired_t_test():
    random = np.random.default_rng(3)
    first, this = random.normal(0, 0.1, 25), random.normal(0.05, 0.15, 25)
    draws = random.integers(0, 25, (20_000, 25))
    drawn = (this - first)[draws].mean(axis=1)

    low, high, p_value = estimate_difference(float((this - first).mean()), drawn, units=25)

    expected = stats.ttest_rel(this, first)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=0.002)
    assert p_value == pytest.approx(expected.pvalue, rel=0.1)


def test_a_difference_that_nothing_changes_has_no_width():
    assert estimate_difference(0.0, np.zeros(10), units=4) == (0.0, 0.0, 1.0)


def test_two_units_say_next_to_nothing_and_no_more_than_there_is():
    low, high, p_value = estimate_difference(0.1, np.array([-0.2, 0.1, 0.4]), units=2)
    assert (low, high) == (-1.0, 1.0)
    assert p_value > 0.5


def test_resamples_without_a_figure_are_left_out():
    drawn = np.array([0.1, np.nan, 0.3, 0.2, np.nan])
    assert estimate_difference(0.2, drawn, units=9) == estimate_difference(0.2, drawn[[0, 2, 3]], units=9)


@pytest.mark.parametrize(
    ("low", "high", "p_value", "verdict"),
    [
        (0.01, 0.05, 0.01, "better"),
        (-0.05, -0.01, 0.01, "worse"),
        (-0.01, 0.05, 0.01, "undecided"),
        (0.01, 0.05, 0.05, "undecided"),
    ],
)
def test_a_verdict_needs_the_interval_and_the_p_value(low, high, p_value, verdict):
    assert decide(False, {"low": low, "high": high}, p_value) == verdict
    assert decide(True, {"low": low, "high": high}, p_value) == "same"


@pytest.mark.parametrize(
    ("verdict", "figure", "p_holm", "sentence"),
    [
        ("worse", (-0.032, -0.055, -0.01), 0.001, "B is worse than A by 3.2 points of accuracy (1.0 to 5.5)."),
        (
            "undecided",
            (-0.005, -0.023, 0.013),
            0.6,
            "B cannot be told apart from A: 0.5 points of accuracy less (-2.3 to +1.3).",
        ),
        ("undecided", (0.0, -0.02, 0.02), 1.0, "B cannot be told apart from A: the same accuracy (-2.0 to +2.0)."),
        (
            "undecided",
            (0.03, 0.001, 0.059),
            0.0613,
            "B cannot be told apart from A: 3.0 points of accuracy more (+0.1 to +5.9); the interval leaves out 0, but "
            "the p value, corrected for the number of comparisons, is 0.061.",
        ),
        ("same", (0.0, 0.0, 0.0), 1.0, "B and A say the same of every clip."),
    ],
)
def test_a_sentence_says_what_it_means(verdict, figure, p_holm, sentence):
    value, low, high = figure
    difference = {"name": "B", "first": "A", "verdict": verdict, "p_holm": p_holm}
    difference["accuracy"] = {"value": value, "low": low, "high": high}
    assert word_difference(difference, "accuracy", corrected=True) == sentence
