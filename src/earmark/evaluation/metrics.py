"""Accuracy, balanced accuracy and macro-F1 with intervals, per-class figures, confusions: arrays in, numbers out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.errors import EarmarkError, ModelError

TOP_CONFUSIONS = 8
# Resamples are drawn and scored this many at a time, so that memory does not grow with their number.
RESAMPLES_AT_ONCE = 100


class Units(NamedTuple):
    """What the bootstrap draws with replacement: clips, or whole groups."""

    class_counts: Any  # sparse (units, 3 * classes), see _class_counts
    rates: NDArray[np.floating]  # (units,), adding up to 1
    draws: int
    interval: str


def score_predictions(
    labels: Sequence[str],
    truth: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    *,
    groups: NDArray[Any] | None = None,
    majority_label: str | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """How good single-label predictions are, and how sure that is.

    The guess is the class with the highest probability (the first of equals). Balanced accuracy is the mean recall of
    the classes that occur in the truth; macro-F1 is the mean F1 of the classes that occur in the truth or among the
    guesses: both as scikit-learn has them. A quotient with nothing below the line counts as 0.

    The 95 % interval is the percentile bootstrap: whole groups are drawn with replacement where groups are given (clips
    of one recording or speaker stand and fall together), single clips otherwise. A clip whose group is missing is a
    group of its own. A bootstrap knows only the mistakes it has met: without any, its interval has no width.

    Args:
        labels: Class names; class ``i`` is ``labels[i]``.
        truth: (clips,), int, the right class of each clip.
        probabilities: (clips, classes), float; any score whose highest value is the guess will do.
        groups: (clips,), what must not be split: recording, speaker, track.
        majority_label: The class that a majority guess names; ``None`` takes the most frequent one of ``truth``.
        n_resamples: Bootstrap resamples.
        seed: Of the bootstrap.

    Returns:
        A dict ready for JSON with ``clips``, ``accuracy``, ``balanced_accuracy`` and ``macro_f1`` (each ``value``,
        ``low``, ``high`` in [0, 1]), ``majority_baseline`` (``label``, ``accuracy``), ``per_class`` (``label``,
        ``precision``, ``recall``, ``f1``, ``support``), ``confusion`` (rows: truth, columns: guess),
        ``top_confusions`` (``truth``, ``guess``, ``count``, ``share`` of the truth's clips; at most 8) and ``interval``
        (how it was made, in words).

    Raises:
        EarmarkError: there is no clip to score.
        ModelError: a probability is not a number.
        ValueError: the arrays' shapes or class indices do not fit together.

    Example:
        >>> certain = np.eye(2)[[0, 1, 1, 1]]
        >>> scores = score_predictions(["dog", "rain"], np.array([0, 1, 1, 0]), certain)
        >>> scores["accuracy"]["value"], scores["majority_baseline"]
        (0.75, {'label': 'dog', 'accuracy': 0.5})

    Source:
        Efron, B., & Tibshirani, R. (1993). An Introduction to the Bootstrap, chapter 13; checked against
        ``sklearn.metrics``.
    """
    guess = _guess(labels, truth, probabilities)
    confusion = _count_confusion(truth, guess, len(labels))
    n_classes = len(labels)
    units = (
        _units_of_clips(truth, guess, n_classes)
        if groups is None
        else _units_of_groups(truth, guess, groups, n_classes)
    )
    headline = _summarise(_class_counts(confusion)[None, :])
    resampled = _bootstrap(units, n_resamples=n_resamples, seed=seed)

    scores: dict[str, Any] = {"clips": len(truth)}
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        low, high = np.percentile(resampled[name], [2.5, 97.5])
        scores[name] = {"value": float(headline[name][0]), "low": float(low), "high": float(high)}
    scores["majority_baseline"] = _majority_baseline(labels, truth, majority_label)
    scores["per_class"] = _score_classes(labels, confusion)
    scores["confusion"] = confusion.tolist()
    scores["top_confusions"] = _rank_confusions(labels, confusion)
    scores["interval"] = units.interval
    return scores


def _guess(
    labels: Sequence[str], truth: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> NDArray[np.integer]:
    if probabilities.shape != (len(truth), len(labels)):
        raise ValueError(
            f"probabilities must have shape (clips, classes) = {(len(truth), len(labels))}, not {probabilities.shape}."
        )
    if len(truth) == 0:
        raise EarmarkError("There is no clip to score: the test split is empty. Give more clips, or another split.")
    if truth.min() < 0 or truth.max() >= len(labels):
        raise ValueError(f"truth must hold class indices from 0 to {len(labels) - 1}.")
    broken = int(np.isnan(probabilities).any(axis=1).sum())
    if broken:
        raise ModelError(
            f"The model's answer is not a number (NaN) for {broken} of {len(truth)} clips; "
            "its training has diverged: train it again with a lower learning rate."
        )
    return probabilities.argmax(axis=1)


def _count_confusion(truth: NDArray[np.integer], guess: NDArray[np.integer], n_classes: int) -> NDArray[np.integer]:
    return np.bincount(truth.astype(np.int64) * n_classes + guess, minlength=n_classes**2).reshape(n_classes, n_classes)


def _class_counts(confusion: NDArray[np.integer]) -> NDArray[np.floating]:
    """(3 * classes,): hits, then clips by truth, then clips by guess; what the three scores need, and it adds up."""
    return np.concatenate([confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)]).astype(np.float64)


def _summarise(class_counts: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
    """The three scores, (resamples,) each, of class counts of shape (resamples, 3 * classes)."""
    hits, by_truth, by_guess = np.split(class_counts, 3, axis=1)
    in_truth, in_either = by_truth > 0, by_truth + by_guess > 0
    recall = np.divide(hits, by_truth, out=np.zeros_like(hits), where=in_truth)
    f1 = np.divide(2 * hits, by_truth + by_guess, out=np.zeros_like(hits), where=in_either)
    return {
        "accuracy": hits.sum(axis=1) / by_truth.sum(axis=1),
        "balanced_accuracy": recall.sum(axis=1) / in_truth.sum(axis=1),
        "macro_f1": f1.sum(axis=1) / in_either.sum(axis=1),
    }


def _units_of_clips(truth: NDArray[np.integer], guess: NDArray[np.integer], n_classes: int) -> Units:
    # Clips with the same truth and guess are interchangeable: drawing clips is drawing cells of the confusion matrix,
    # 2,500 at most for 50 classes, however many clips there are.
    cells, sizes = np.unique(truth.astype(np.int64) * n_classes + guess, return_counts=True)
    counts = _sparse_class_counts(np.arange(len(cells)), cells // n_classes, cells % n_classes, n_classes)
    return Units(counts, sizes / len(truth), len(truth), f"95 % bootstrap over {len(truth):,} clips")


def _units_of_groups(
    truth: NDArray[np.integer], guess: NDArray[np.integer], groups: NDArray[Any], n_classes: int
) -> Units:
    import pandas as pd

    unit, names = pd.factorize(np.asarray(groups, dtype=object), use_na_sentinel=True)
    alone = unit < 0
    unit[alone] = len(names) + np.arange(alone.sum())
    n_groups = len(names) + int(alone.sum())
    if n_groups == 1:
        # One group drawn again and again never varies: a width of nothing would pretend to be certain.
        units = _units_of_clips(truth, guess, n_classes)
        return units._replace(interval=f"{units.interval}, too narrow: all are of one group")
    counts = _sparse_class_counts(unit, truth, guess, n_classes)
    return Units(counts, np.full(n_groups, 1 / n_groups), n_groups, f"95 % bootstrap over {n_groups:,} groups")


def _sparse_class_counts(
    unit: NDArray[np.integer], truth: NDArray[np.integer], guess: NDArray[np.integer], n_classes: int
) -> Any:
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    hit = truth == guess
    rows = np.concatenate([unit[hit], unit, unit])
    columns = np.concatenate([truth[hit], n_classes + truth, 2 * n_classes + guess])
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(int(unit.max()) + 1, 3 * n_classes))


def _bootstrap(units: Units, *, n_resamples: int, seed: int) -> dict[str, NDArray[np.floating]]:
    random = np.random.default_rng(seed)
    parts = []
    for start in range(0, n_resamples, RESAMPLES_AT_ONCE):
        at_once = min(RESAMPLES_AT_ONCE, n_resamples - start)
        times_drawn = random.multinomial(units.draws, units.rates, size=at_once)
        parts.append(_summarise(times_drawn @ units.class_counts))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _majority_baseline(labels: Sequence[str], truth: NDArray[np.integer], majority_label: str | None) -> dict[str, Any]:
    support = np.bincount(truth, minlength=len(labels))
    index = int(support.argmax()) if majority_label is None else list(labels).index(majority_label)
    return {"label": labels[index], "accuracy": float(support[index] / len(truth))}


def _score_classes(labels: Sequence[str], confusion: NDArray[np.integer]) -> list[dict[str, Any]]:
    hits, by_truth, by_guess = np.split(_class_counts(confusion), 3)
    return [
        {
            "label": label,
            "precision": float(hits[i] / max(by_guess[i], 1)),
            "recall": float(hits[i] / max(by_truth[i], 1)),
            "f1": float(2 * hits[i] / max(by_truth[i] + by_guess[i], 1)),
            "support": int(by_truth[i]),
        }
        for i, label in enumerate(labels)
    ]


def _rank_confusions(labels: Sequence[str], confusion: NDArray[np.integer]) -> list[dict[str, Any]]:
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    ranked = np.argsort(-wrong, axis=None, kind="stable")[:TOP_CONFUSIONS]
    pairs = [(int(cell) // len(labels), int(cell) % len(labels)) for cell in ranked]
    return [
        {
            "truth": labels[row],
            "guess": labels[column],
            "count": int(wrong[row, column]),
            "share": float(wrong[row, column] / confusion[row].sum()),
        }
        for row, column in pairs
        if wrong[row, column] > 0
    ]
