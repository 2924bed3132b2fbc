"""Accuracy, balanced accuracy and macro-F1 with intervals, per-class figures, confusions: arrays in, numbers out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.errors import EarmarkError, ModelError
from earmark.evaluation.intervals import count_equal_units, estimate_interval

SCORE_NAMES = {
    "accuracy": {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro-F1"},
    "map": {
        "map": "Mean average precision",
        "micro_map": "Micro average precision",
        "macro_f1": "Macro-F1",
        "micro_f1": "Micro-F1",
    },
}
"""The primary score of an evaluation -> all its scores by key, with the names that people read."""

TOP_CONFUSIONS = 8
# Resamples are drawn and scored this many at a time, so that memory does not grow with their number.
RESAMPLES_AT_ONCE = 100


class Units(NamedTuple):
    """What the bootstrap draws with replacement: clips, or whole groups."""

    class_counts: Any  # sparse (units, 3 * classes), see _class_counts
    rates: NDArray[np.floating]  # (units,), adding up to 1
    draws: int


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

    The 95 % interval is that of a bootstrap: whole groups are drawn with replacement where groups are given (clips of
    one recording or speaker stand and fall together), single clips otherwise; `earmark.evaluation.intervals` makes the
    interval of it. A clip whose group is missing is a group of its own. A bootstrap knows only the mistakes it has met:
    without any, its interval has no width.

    Args:
        labels: Class names; class ``i`` is ``labels[i]``.
        truth: (clips,), int, the right class of each clip.
        probabilities: (clips, classes), float; any score whose highest value is the guess will do.
        groups: (clips,), what must not be split: recording, speaker, track.
        majority_label: The class that a majority guess names; ``None`` takes the most frequent one of ``truth``.
        n_resamples: Bootstrap resamples.
        seed: Of the bootstrap.

    Returns:
        A dict ready for JSON with ``primary`` (``"accuracy"``), ``clips``, ``accuracy``, ``balanced_accuracy`` and
        ``macro_f1`` (each ``value``, ``low``, ``high`` in [0, 1]), ``majority_baseline`` (``label``, ``accuracy``),
        ``per_class`` (``label``, ``precision``, ``recall``, ``f1``, ``support``), ``confusion`` (rows: truth, columns:
        guess), ``top_confusions`` (``truth``, ``guess``, ``count``, ``share`` of the truth's clips; at most 8) and
        ``interval`` (how it was made, in words).

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
        Efron, B., & Tibshirani, R. (1993). An Introduction to the Bootstrap; checked against ``sklearn.metrics``.
    """
    guess = _guess(labels, truth, probabilities)
    confusion = _count_confusion(truth, guess, len(labels))
    n_classes = len(labels)
    unit, interval = assign_units(len(truth), groups)
    units = (
        _units_of_clips(truth, guess, n_classes) if unit is None else _units_of_groups(unit, truth, guess, n_classes)
    )
    headline = summarise_counts(_class_counts(confusion)[None, :])
    resampled = _bootstrap(units, n_resamples=n_resamples, seed=seed)

    scores: dict[str, Any] = {"primary": "accuracy", "clips": len(truth)}
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        value = float(headline[name][0])
        low, high = estimate_interval(value, resampled[name], units=count_equal_units(unit, len(truth)))
        scores[name] = {"value": value, "low": low, "high": high}
    scores["majority_baseline"] = _majority_baseline(labels, truth, majority_label)
    scores["per_class"] = _score_classes(labels, confusion)
    scores["confusion"] = confusion.tolist()
    scores["top_confusions"] = _rank_confusions(labels, confusion)
    scores["interval"] = interval
    return scores


def check_probabilities(n_clips: int, labels: Sequence[str], probabilities: NDArray[np.floating]) -> None:
    """Refuse what cannot be scored.

    Raises:
        EarmarkError: there is no clip to score.
        ModelError: a probability is not a number.
        ValueError: ``probabilities`` is not of shape (clips, classes).
    """
    if probabilities.shape != (n_clips, len(labels)):
        raise ValueError(
            f"probabilities must have shape (clips, classes) = {(n_clips, len(labels))}, not {probabilities.shape}."
        )
    if n_clips == 0:
        raise EarmarkError("There is no clip to score: the test split is empty. Give more clips, or another split.")
    broken = int(np.isnan(probabilities).any(axis=1).sum())
    if broken:
        raise ModelError(
            f"The model's answer is not a number (NaN) for {broken} of {n_clips} clips; "
            "its training has diverged: train it again with a lower learning rate."
        )


def assign_units(n_clips: int, groups: NDArray[Any] | None) -> tuple[NDArray[np.integer] | None, str]:
    """What the bootstrap draws: the group of each clip, or ``None`` where single clips are drawn; and that in words.

    Args:
        n_clips: How many clips there are.
        groups: (clips,), what must not be split; a clip whose group is missing is a group of its own.

    Example:
        >>> assign_units(3, np.array(["a", None, "a"], dtype=object))
        (array([0, 1, 0]), '95 % bootstrap over 2 groups')
    """
    by_clip = f"95 % bootstrap over {n_clips:,} clips"
    if groups is None:
        return None, by_clip
    import pandas as pd

    unit, names = pd.factorize(np.asarray(groups, dtype=object), use_na_sentinel=True)
    alone = unit < 0
    unit[alone] = len(names) + np.arange(alone.sum())
    n_groups = len(names) + int(alone.sum())
    if n_groups == 1:
        # One group drawn again and again never varies: a width of nothing would pretend to be certain.
        return None, f"{by_clip}, too narrow: all are of one group"
    return unit, f"95 % bootstrap over {n_groups:,} groups"


def list_weakest_first(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The ``per_class`` rows of either kind of evaluation, the lowest figure first, classes without a clip last.

    The figure is F1, and average precision where a clip may have several labels.

    Example:
        >>> rows = [{"label": "dog", "f1": 0.0, "support": 0}, {"label": "rain", "f1": 0.5, "support": 2}]
        >>> [row["label"] for row in list_weakest_first({"primary": "accuracy", "per_class": rows})]
        ['dog', 'rain']
    """
    if metrics["primary"] == "map":
        return sorted(metrics["per_class"], key=lambda row: (not row["support"], row["average_precision"] or 0.0))
    return sorted(metrics["per_class"], key=lambda row: row["f1"])


def _guess(
    labels: Sequence[str], truth: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> NDArray[np.integer]:
    check_probabilities(len(truth), labels, probabilities)
    if truth.min() < 0 or truth.max() >= len(labels):
        raise ValueError(f"truth must hold class indices from 0 to {len(labels) - 1}.")
    return probabilities.argmax(axis=1)


def _count_confusion(truth: NDArray[np.integer], guess: NDArray[np.integer], n_classes: int) -> NDArray[np.integer]:
    return np.bincount(truth.astype(np.int64) * n_classes + guess, minlength=n_classes**2).reshape(n_classes, n_classes)


def _class_counts(confusion: NDArray[np.integer]) -> NDArray[np.floating]:
    """(3 * classes,): hits, then clips by truth, then clips by guess; what the three scores need, and it adds up."""
    return np.concatenate([confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)]).astype(np.float64)


def summarise_counts(class_counts: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
    """The three scores, (resamples,) each, of class counts of shape (resamples, 3 * classes)."""
    hits, by_truth, by_guess = np.split(class_counts, 3, axis=1)
    in_truth, in_either = by_truth > 0, by_truth + by_guess > 0
    recall = np.divide(hits, by_truth, out=np.zeros_like(hits), where=in_truth)
    return {
        "accuracy": hits.sum(axis=1) / by_truth.sum(axis=1),
        "balanced_accuracy": recall.sum(axis=1) / in_truth.sum(axis=1),
        "macro_f1": score_f1(class_counts).sum(axis=1) / in_either.sum(axis=1),
    }


def score_f1(class_counts: NDArray[np.floating]) -> NDArray[np.floating]:
    """F1 of each class, (resamples, classes), of class counts of shape (resamples, 3 * classes)."""
    hits, by_truth, by_guess = np.split(class_counts, 3, axis=1)
    either = by_truth + by_guess
    return np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)


def _units_of_clips(truth: NDArray[np.integer], guess: NDArray[np.integer], n_classes: int) -> Units:
    # Clips with the same truth and guess are interchangeable: drawing clips is drawing cells of the confusion matrix,
    # 2,500 at most for 50 classes, however many clips there are.
    cells, sizes = np.unique(truth.astype(np.int64) * n_classes + guess, return_counts=True)
    counts = count_by_unit(np.arange(len(cells)), cells // n_classes, cells % n_classes, n_classes)
    return Units(counts, sizes / len(truth), len(truth))


def _units_of_groups(
    unit: NDArray[np.integer], truth: NDArray[np.integer], guess: NDArray[np.integer], n_classes: int
) -> Units:
    n_groups = int(unit.max()) + 1
    return Units(count_by_unit(unit, truth, guess, n_classes), np.full(n_groups, 1 / n_groups), n_groups)


def count_by_unit(
    unit: NDArray[np.integer], truth: NDArray[np.integer], guess: NDArray[np.integer], n_classes: int
) -> Any:
    """Class counts of each unit of the bootstrap, sparse (units, 3 * classes): hits, clips by truth, clips by guess."""
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
        parts.append(summarise_counts(times_drawn @ units.class_counts))
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
