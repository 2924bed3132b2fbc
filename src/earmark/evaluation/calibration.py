"""Whether a model is as sure as it is right: NLL, Brier score, ECE and a temperature. Arrays in, numbers out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.inference.decision import average_windows

BINS = 15  # as in Guo et al.
FEWEST_CLIPS = 20  # fewer say nothing about a temperature
RANGE = (0.05, 20.0)


def measure_calibration(
    truth: NDArray[Any], probabilities: NDArray[np.floating], *, multi_label: bool = False, n_bins: int = BINS
) -> dict[str, Any]:
    """How far probabilities can be taken at their word.

    NLL is the mean negative logarithm of the truth's probability, in nats. The Brier score is the mean squared
    distance between the probabilities and the truth, summed over the classes: 0 to 2. The expected calibration error
    (ECE) sorts clips into bins of equal width by the probability of their answer, and is the mean gap between that
    probability and the share of right answers, each bin counting by its clips. Where a clip may have several labels,
    each (clip, label) is a yes or no of its own: NLL and Brier score (0 to 1) are means over these, and ECE compares
    the probability of a yes with the share of yeses.

    Args:
        truth: (clips, classes), 1 or True where the clip has the label.
        probabilities: (clips, classes), in [0, 1].
        multi_label: Whether a clip may have several labels.
        n_bins: Bins of confidence, each open below and closed above.

    Returns:
        ``nll``, ``brier``, ``ece``, and ``bins``: those that hold something, each ``low``, ``high``, ``confidence``
        (the mean), ``accuracy`` and ``clips`` (where a clip may have several labels: how many (clip, label)).

    Example:
        >>> truth = np.eye(2)[[0, 0, 1, 1]]
        >>> scores = measure_calibration(truth, np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]]))
        >>> round(scores["ece"], 3), scores["bins"][0]["clips"], scores["bins"][0]["accuracy"]
        (0.15, 4, 0.75)

    Source:
        Guo, C., Pleiss, G., Sun, Y., & Weinberger, K. Q. (2017). On Calibration of Modern Neural Networks, eq. 3, with
        15 bins as there; NLL and Brier score checked against ``sklearn.metrics``.
    """
    held = np.asarray(truth, dtype=np.float64)
    given = np.asarray(probabilities, dtype=np.float64)
    if multi_label:
        confidence, right = given.ravel(), held.ravel()
        brier = float(((given - held) ** 2).mean())
    else:
        confidence, right = given.max(1), held[np.arange(len(held)), given.argmax(1)]
        brier = float(((given - held) ** 2).sum(1).mean())
    bins = _fill_bins(confidence, right, n_bins)
    gaps = sum(row["clips"] * abs(row["confidence"] - row["accuracy"]) for row in bins)
    return {
        "nll": _measure_nll(held, given, multi_label=multi_label),
        "brier": brier,
        "ece": float(gaps / len(confidence)),
        "bins": bins,
    }


def fit_temperature(
    truth: NDArray[Any],
    logits: NDArray[np.floating],
    *,
    owners: NDArray[np.integer] | None = None,
    lengths: NDArray[np.integer] | None = None,
    multi_label: bool = False,
) -> float:
    """The number by which to divide all logits so that the answers for these clips have the lowest NLL.

    A clip's answer is the mean of its windows' probabilities, as everywhere in Earmark, so that is what is fitted.
    Clips that are all right would ask for a temperature of zero, that is for certainty. So a temperature below one goes
    no further than a mean confidence of (right answers + 1) / (answers + 2), Laplace's rule of succession.

    Args:
        truth: (clips, classes), 1 or True where the clip has the label.
        logits: (windows, classes); the windows of a clip need not follow each other.
        owners: (windows,), the clip of each; one window a clip if not given.
        lengths: (windows,), samples of sound in each; equal if not given.
        multi_label: Sigmoids instead of a softmax, and the mean over (clip, label).

    Returns:
        The temperature, from 0.05 to 20; above one makes less sure.

    Example:
        >>> logits = np.log([[0.9, 0.1]] * 4)                             # 90 % sure, and right three times of four
        >>> temperature = fit_temperature(np.eye(2)[[0, 0, 0, 1]], logits)
        >>> round(temperature, 3), round(float(np.log(9) / np.log(3)), 3)   # as 75 % sure as it is right
        (2.0, 2.0)

    Source:
        Guo et al. (2017), section 4.2; the averaging before the fit and the bound are ours.
    """
    from scipy.optimize import brentq, minimize_scalar  # type: ignore[import-untyped]

    held = np.asarray(truth, dtype=np.float64)
    whose = np.arange(len(logits)) if owners is None else owners
    weights = np.ones(len(logits)) if lengths is None else lengths

    def answer(log_temperature: float) -> NDArray[np.floating]:
        scaled = logits / np.exp(log_temperature)
        return average_windows(scaled, whose, weights, n_sounds=len(held), multi_label=multi_label)

    def overrate(log_temperature: float) -> float:
        """How much surer the answers are than their number allows."""
        sure, right = _read_confidence(held, answer(log_temperature), multi_label=multi_label)
        return float(sure.mean() - (right.sum() + 1) / (len(right) + 2))

    low, high = np.log(RANGE)
    found = minimize_scalar(
        lambda at: _measure_nll(held, answer(at), multi_label=multi_label),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    ).x
    if found < 0 and overrate(found) > 0:
        found = brentq(overrate, found, 0.0) if overrate(0.0) < 0 else 0.0
    return float(np.exp(found))


def _measure_nll(truth: NDArray[np.floating], given: NDArray[np.floating], *, multi_label: bool) -> float:
    smallest = np.finfo(np.float64).eps  # as scikit-learn cuts them
    sure = np.clip(given, smallest, 1 - smallest)
    if multi_label:
        return float(-(truth * np.log(sure) + (1 - truth) * np.log(1 - sure)).mean())
    return float(-(truth * np.log(sure)).sum(1).mean())


def _read_confidence(
    truth: NDArray[np.floating], given: NDArray[np.floating], *, multi_label: bool
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """The probability of each answer, and whether it is right."""
    if multi_label:
        return np.maximum(given, 1 - given).ravel(), ((given >= 0.5) == (truth > 0)).ravel()
    return given.max(1), truth[np.arange(len(truth)), given.argmax(1)] > 0


def _fill_bins(
    confidence: NDArray[np.floating], right: NDArray[np.floating], n_bins: int
) -> list[dict[str, float | int]]:
    """Bins of equal width, open below and closed above; the lowest takes a confidence of nothing too."""
    edges = np.linspace(0, 1, n_bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, n_bins - 1)
    return [
        {
            "low": float(edges[at]),
            "high": float(edges[at + 1]),
            "confidence": float(confidence[place == at].mean()),
            "accuracy": float(right[place == at].mean()),
            "clips": int((place == at).sum()),
        }
        for at in np.unique(place).tolist()
    ]
