"""The interval of a score: Student's t on the logit scale, and as wide as few groups deserve."""

import numpy as np
import pytest
from scipy import stats

from earmark.evaluation.intervals import count_equal_units, estimate_interval
from earmark.evaluation.metrics import score_predictions


def test_it_is_students_interval_of_the_logit():
    drawn = np.random.default_rng(0).normal(0.9, 0.02, 4000)
    low, high = estimate_interval(0.9, drawn, units=50)
    error = drawn.std(ddof=1) * np.sqrt(50 / 49) / (0.9 * 0.1)
    expected = stats.t.interval(0.95, 49, loc=np.log(9), scale=error)
    assert (low, high) == pytest.approx(tuple(1 / (1 + np.exp(-end)) for end in np.array(expected)))


def test_a_good_score_has_more_room_below_than_above_and_never_leaves_its_range():
    low, high = estimate_interval(0.98, np.random.default_rng(0).normal(0.98, 0.015, 1000), units=30)
    assert 0.98 - low > high - 0.98 > 0
    assert 0 < low < high < 1


def test_fewer_units_make_it_wider():
    drawn = np.random.default_rng(0).normal(0.8, 0.03, 1000)
    widths = [high - low for low, high in (estimate_interval(0.8, drawn, units=units) for units in (1, 2, 5, 50, 1e6))]
    assert widths[0] == widths[1], "two are the fewest that can differ"
    assert widths[1:] == sorted(widths[1:], reverse=True)
    assert widths[-1] == pytest.approx(2 * 1.96 * drawn.std(ddof=1), rel=0.02)


@pytest.mark.parametrize(
    ("value", "drawn"), [(1.0, [1.0, 1.0]), (0.0, [0.0, 0.0]), (0.7, [0.7] * 9), (0.5, [0.4]), (0.5, [np.nan, 0.4])]
)
def test_what_never_varies_has_no_width(value, drawn):
    assert estimate_interval(value, np.array(drawn), units=20) == (value, value)


def test_a_resample_without_a_figure_has_no_say():
    drawn = np.array([0.4, 0.5, 0.6, 0.7])
    assert estimate_interval(0.5, np.append(drawn, np.nan), units=9) == estimate_interval(0.5, drawn, units=9)


def test_one_large_group_counts_for_more_than_its_number():
    assert count_equal_units(None, 7) == 7
    assert count_equal_units(np.repeat(np.arange(5), 4), 20) == pytest.approx(5)
    assert count_equal_units(np.array([0] * 90 + list(range(1, 11))), 100) == pytest.approx(100**2 / (90**2 + 10))


def test_the_interval_covers_where_that_of_clips_does_not():
    """Sixty groups, of which some are hard: the truth is known, and 19 of 20 intervals should hold it."""
    random = np.random.default_rng(3)
    covered = {"groups": 0, "clips": 0}
    for _ in range(200):
        sizes = random.integers(3, 13, 60)
        groups = np.repeat(np.arange(60), sizes)
        right = random.random(len(groups)) < np.repeat(random.beta(0.9 * 3, 0.1 * 3, 60), sizes)
        probabilities = np.eye(2)[np.where(right, 0, 1)]
        truth = np.zeros(len(groups), dtype=int)
        for name, given in (("groups", groups), ("clips", None)):
            figure = score_predictions(["a", "b"], truth, probabilities, groups=given, n_resamples=200)["accuracy"]
            covered[name] += figure["low"] <= 0.9 <= figure["high"]
    assert 0.90 <= covered["groups"] / 200 <= 0.985
    assert covered["clips"] / 200 < 0.85
