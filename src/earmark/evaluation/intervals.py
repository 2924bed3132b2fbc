"""The 95 % interval of a score, from what the bootstrap made of it."""

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


def estimate_interval(
    value: float, drawn: NDArray[np.floating], *, units: float, level: float = LEVEL
) -> tuple[float, float]:
    """Where a score between 0 and 1 lies with 95 % confidence, or another.

    The standard error is the deviation of the bootstrap's scores. It is laid around the score on the logit scale, where
    the interval neither leaves 0 to 1 nor ignores that a good score has more room below it than above, with as many
    deviations as Student's t asks for so few units. The percentiles of the bootstrap themselves cover too seldom where
    there are few groups and few mistakes: `benchmarks/intervals.py` compares.

    Args:
        value: The score, 0 to 1.
        drawn: (resamples,), the score of each resample; NaN where one has none.
        units: How many units were drawn: clips, or groups as `count_equal_units` counts them.
        level: The confidence, between 0 and 1.

    Returns:
        Low and high. A score of 0 or 1, and one that no resample changes, has an interval without a width.

    Example:
        >>> low, high = estimate_interval(0.9, np.array([0.86, 0.88, 0.9, 0.92, 0.94]), units=50)
        >>> round(low, 3), round(high, 3)
        (0.815, 0.948)

    Source:
        Korn, E. L., & Graubard, B. I. (1998). Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data. Survey Methodology 24, 193-201: the logit interval with t and the
        design's variance, ``svyciprop(method="logit")`` in R. Efron & Tibshirani (1993), chapter 12, for the standard
        error.
    """
    from scipy.special import expit, logit, stdtrit  # type: ignore[import-untyped]

    known = drawn[np.isfinite(drawn)]
    deviation = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    if deviation == 0.0 or not 0.0 < value < 1.0:
        return value, value
    # Two units are the fewest that can differ.
    units = max(units, 2.0)
    error = deviation * np.sqrt(units / (units - 1)) / (value * (1 - value))
    reach = stdtrit(units - 1, (1 + level) / 2) * error
    return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))


def count_equal_units(unit: NDArray[np.integer] | None, n_clips: int) -> float:
    """How many units of equal size would say as much: all of them where they are alike, fewer where few are large.

    Args:
        unit: (clips,), the unit of each clip as `earmark.evaluation.metrics.assign_units` numbers them; ``None`` where
            each clip is one.
        n_clips: How many clips there are.

    Example:
        >>> count_equal_units(np.array([0, 0, 1, 1]), 4), count_equal_units(np.array([0, 0, 0, 1]), 4)
        (2.0, 1.6)

    Source:
        Kish, L. (1965). Survey Sampling: the effective number of weighted units.
    """
    if unit is None:
        return float(n_clips)
    sizes = np.bincount(unit).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())
