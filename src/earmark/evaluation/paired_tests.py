"""What the difference of two runs on the same clips is worth: its interval, its p value, and the words for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.intervals import LEVEL
from earmark.evaluation.metrics import SCORE_NAMES

ALPHA = 0.05  # below this a p value counts


def estimate_difference(value: float, drawn: NDArray[np.floating], *, units: float) -> tuple[float, float, float]:
    """Where a difference of two paired scores lies with 95 % confidence, and the p value of its being 0.

    The standard error is the deviation of the bootstrap's differences; it is laid around the difference with as many
    deviations as Student's t asks for so few units, as `earmark.evaluation.intervals.estimate_interval` does for one
    score.

    Args:
        value: The difference, -1 to 1.
        drawn: (resamples,), the difference in each resample; NaN where there is none.
        units: How many units were drawn; see `earmark.evaluation.intervals.count_equal_units`.

    Returns:
        Low and high, within -1 to 1, and the two-sided p value. A difference that no resample changes has an interval
        without a width.

    Example:
        >>> low, high, p_value = estimate_difference(0.1, np.array([0.06, 0.08, 0.1, 0.12, 0.14]), units=50)
        >>> round(low, 3), round(high, 3), round(p_value, 4)
        (0.036, 0.164, 0.0029)
    """
    from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped]

    known = drawn[np.isfinite(drawn)]
    deviation = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    if deviation == 0.0:
        return value, value, 0.0 if value else 1.0
    units = max(units, 2.0)  # the fewest that can differ
    error = deviation * np.sqrt(units / (units - 1))
    reach = float(stdtrit(units - 1, (1 + LEVEL) / 2) * error)
    return max(value - reach, -1.0), min(value + reach, 1.0), float(2 * stdtr(units - 1, -abs(value) / error))


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """p values of several comparisons after Holm: the chance of even one false alarm stays what it was for one.

    Example:
        >>> correct_holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    left = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(left * np.asarray(p_values, dtype=float)[order]))
    return corrected.tolist()


def count_mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> tuple[dict[str, int], float]:
    """How many clips both, one of them or neither got right, and the exact p value of McNemar's test.

    Args:
        first_right: (clips,), where the first was right.
        second_right: (clips,), where the other was.

    Example:
        >>> count_mcnemar(np.array([True, False, False]), np.array([True, True, False]))
        ({'both': 1, 'only_first': 0, 'only_this': 1, 'neither': 1}, 1.0)
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    counts = {
        "both": int((first_right & second_right).sum()),
        "only_first": int((first_right & ~second_right).sum()),
        "only_this": int((~first_right & second_right).sum()),
        "neither": int((~first_right & ~second_right).sum()),
    }
    split = counts["only_first"] + counts["only_this"]
    return counts, float(binomtest(counts["only_this"], split, 0.5).pvalue) if split else 1.0


def word_p_value(p_value: float) -> str:
    """A p value as a person writes it.

    Example:
        >>> word_p_value(0.0449), word_p_value(2e-14)
        ('0.045', '< 0.001')
    """
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def decide(same: bool, figure: dict[str, float], p_value: float) -> str:
    """``"same"``, ``"better"``, ``"worse"`` or ``"undecided"``: the interval and the p value must agree.

    Args:
        same: The two gave the same answers.
        figure: The difference of the primary score, with ``low`` and ``high``.
        p_value: Corrected for the number of comparisons.

    Example:
        >>> decide(False, {"low": 0.01, "high": 0.05}, 0.003), decide(False, {"low": 0.01, "high": 0.05}, 0.06)
        ('better', 'undecided')
    """
    if same:
        return "same"
    if p_value < ALPHA and (figure["low"] > 0 or figure["high"] < 0):
        return "better" if figure["low"] > 0 else "worse"
    return "undecided"


def word_difference(difference: dict[str, Any], primary: str, *, corrected: bool) -> str:
    """A difference as a sentence.

    Args:
        difference: As `earmark.evaluation.compare.compare_answers` makes it.
        primary: The score that counts: ``"accuracy"`` or ``"map"``.
        corrected: There were several comparisons.

    Example:
        >>> figure = {"value": 0.032, "low": 0.01, "high": 0.055}
        >>> difference = {"name": "B", "first": "A", "verdict": "better", "accuracy": figure}
        >>> word_difference(difference, "accuracy", corrected=False)
        'B is better than A by 3.2 points of accuracy (1.0 to 5.5).'
    """
    this, first, figure = difference["name"], difference["first"], difference[primary]
    measure = SCORE_NAMES[primary][primary].lower()
    low, high, value = (100 * figure[key] for key in ("low", "high", "value"))
    if difference["verdict"] == "same":
        return f"{this} and {first} say the same of every clip."
    if difference["verdict"] == "better":
        return f"{this} is better than {first} by {value:.1f} points of {measure} ({low:.1f} to {high:.1f})."
    if difference["verdict"] == "worse":
        return f"{this} is worse than {first} by {-value:.1f} points of {measure} ({-high:.1f} to {-low:.1f})."
    if not value:
        return f"{this} cannot be told apart from {first}: the same {measure} ({low:+.1f} to {high:+.1f})."
    sentence = (
        f"{this} cannot be told apart from {first}: {abs(value):.1f} points of {measure} "
        f"{'less' if value < 0 else 'more'} ({low:+.1f} to {high:+.1f})"
    )
    if low > 0 or high < 0:
        how = ", corrected for the number of comparisons," if corrected else ""
        return f"{sentence}; the interval leaves out 0, but the p value{how} is {word_p_value(difference['p_holm'])}."
    return f"{sentence}."
