"""Mean average precision and F1 of clips with several labels each, with intervals: arrays in, numbers out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.errors import EarmarkError
from earmark.evaluation.intervals import count_equal_units, estimate_interval
from earmark.evaluation.metrics import RESAMPLES_AT_ONCE, TOP_CONFUSIONS, assign_units, check_probabilities

THRESHOLD = 0.5
"""The probability from which on a label counts as named."""


class Ranking(NamedTuple):
    """Clips from the highest score down, cut behind each score that a positive has; equal scores share a cut."""

    seen: Any  # sparse (cuts, clips): the clips between one cut and the next
    found: Any  # sparse (cuts, clips): the positives among them


def score_multi_label(
    labels: Sequence[str],
    truth: NDArray[Any],
    probabilities: NDArray[np.floating],
    *,
    groups: NDArray[Any] | None = None,
    prior: NDArray[np.floating] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """How good the answers for clips with several labels each are, and how sure that is.

    Average precision is the mean, over a class's clips, of the precision among all clips with at least their score;
    ``map`` is its mean over the classes, ``micro_map`` takes all (clip, class) pairs for one ranking. F1, precision and
    recall count a label as named from a probability of 0.5 on. All of it is as scikit-learn has it; a class without a
    positive in the truth has no average precision and is left out of the macro means, and named.

    The 95 % interval is that of a bootstrap over whole groups, or over clips where there are no groups, as in
    `earmark.evaluation.metrics.score_predictions`. A class without a positive in a resample is left out of its means.

    Args:
        labels: Class names; class ``i`` is ``labels[i]``.
        truth: (clips, classes), 1 or True where the clip has the label.
        probabilities: (clips, classes), float in [0, 1].
        groups: (clips,), what must not be split: recording, speaker, track.
        prior: (classes,), the share of the training clips that have each label, for the baseline; ``None`` takes the
            shares of ``truth``.
        n_resamples: Bootstrap resamples.
        seed: Of the bootstrap.

    Returns:
        A dict ready for JSON with ``primary`` (``"map"``), ``clips``, ``map``, ``micro_map``, ``macro_f1`` and
        ``micro_f1`` (each ``value``, ``low``, ``high`` in [0, 1]), ``prior_baseline`` and ``prior_micro_map`` (the
        ``map`` and ``micro_map`` of answering the class shares whatever the sound), ``per_class`` (``label``,
        ``average_precision`` or ``None``, ``precision``, ``recall``, ``f1``, ``support``, ``found`` and ``false``: how
        often it was named rightly and wrongly), ``without_positives`` (the labels left out of the macro means),
        ``top_confusions`` (``truth``: a label missed, ``guess``: one named wrongly on the same clip, ``count``,
        ``share`` of the clips that have the first; at most 8) and ``interval`` (how it was made, in words).

    Raises:
        EarmarkError: there is no clip to score, or none with a label.
        ModelError: a probability is not a number.
        ValueError: the arrays' shapes or values do not fit together.

    Example:
        >>> truth = np.array([[1, 0], [1, 1], [0, 1]])
        >>> scores = score_multi_label(["dog", "rain"], truth, np.array([[0.9, 0.2], [0.7, 0.1], [0.1, 0.8]]))
        >>> round(scores["map"]["value"], 3), round(scores["macro_f1"]["value"], 3)
        (0.917, 0.833)

    Source:
        Efron, B., & Tibshirani, R. (1993). An Introduction to the Bootstrap; checked against
        ``sklearn.metrics.average_precision_score`` and ``f1_score``.
    """
    positive = _check_truth(labels, truth, probabilities)
    n_clips = len(positive)
    named = probabilities >= THRESHOLD
    unit, interval = assign_units(n_clips, groups)
    weigh = prepare_scores(positive, probabilities, named)
    headline, precisions = weigh(np.ones((n_clips, 1)))
    draws = draw_weights(np.arange(n_clips) if unit is None else unit, n_resamples=n_resamples, seed=seed)
    parts = [weigh(weights)[0] for weights in draws]
    scores: dict[str, Any] = {"primary": "map", "clips": n_clips}
    for name, value in headline.items():
        drawn = np.concatenate([part[name] for part in parts])
        low, high = estimate_interval(float(value[0]), drawn, units=count_equal_units(unit, n_clips))
        scores[name] = {"value": float(value[0]), "low": low, "high": high}
    scores |= _score_prior(positive, prior)
    scores["per_class"] = _score_classes(labels, positive, named, precisions[0])
    scores["without_positives"] = [row["label"] for row in scores["per_class"] if not row["support"]]
    scores["top_confusions"] = _rank_confusions(labels, positive, named)
    scores["interval"] = interval
    return scores


def prepare_scores(
    positive: NDArray[np.bool_], probabilities: NDArray[np.floating], named: NDArray[np.bool_]
) -> Callable[[NDArray[np.floating]], tuple[dict[str, NDArray[np.floating]], NDArray[np.floating]]]:
    """Rank the clips once, so that many resamples of them are scored fast.

    Args:
        positive: (clips, classes), where the clip has the label.
        probabilities: (clips, classes).
        named: (clips, classes), where the answer names the label.

    Returns:
        A function of how often each clip is drawn, (clips, resamples), that gives the four scores by name, each
        (resamples,), and the average precision of each class, (resamples, classes); NaN without a positive.
    """
    rankings = [_rank(probabilities[:, i], positive[:, i]) for i in range(positive.shape[1])]
    micro_ranking = _rank(probabilities, positive)
    outcomes = _sparse_outcomes(positive, named)

    def weigh(weights: NDArray[np.floating]) -> tuple[dict[str, NDArray[np.floating]], NDArray[np.floating]]:
        precisions = [_average_precision(ranking, weights) for ranking in rankings]
        scores = {
            "map": _mean_known(precisions),
            "micro_map": _average_precision(micro_ranking, weights),
            **_f1_scores(outcomes @ weights),
        }
        return scores, np.stack(precisions, axis=1)

    return weigh


def _check_truth(labels: Sequence[str], truth: NDArray[Any], probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
    """``truth`` as booleans."""
    check_probabilities(len(truth), labels, probabilities)
    if truth.shape != probabilities.shape:
        raise ValueError(f"truth must have shape (clips, classes) = {probabilities.shape}, not {truth.shape}.")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("truth must hold 1 where a clip has a label and 0 where it has not.")
    if not truth.any():
        raise EarmarkError(f"None of the {len(truth)} test clips has a label; give clips of these classes.")
    return truth.astype(bool)


def _rank(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> Ranking:
    """The ranking of scores (clips,), or of all scores (clips, classes) together."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    n_clips = len(scores)
    order = np.argsort(-scores, axis=None, kind="stable")
    descending, hit = scores.ravel()[order], positive.ravel()[order]
    clip = order // (scores.size // n_clips)
    ends = np.flatnonzero(np.append(np.diff(descending) != 0, True)) + 1
    hits = np.cumsum(hit)[ends - 1]
    # Precision counts only where there is a positive: what lies between two of them is summed up at once.
    with_hit = np.diff(hits, prepend=0) > 0
    cuts, hit_cuts = np.append(0, ends[with_hit]), np.append(0, hits[with_hit])
    shape = (len(cuts) - 1, n_clips)
    seen = csr_array((np.ones(cuts[-1]), clip[: cuts[-1]], cuts), shape=shape)
    return Ranking(seen, csr_array((np.ones(hit_cuts[-1]), clip[hit], hit_cuts), shape=shape))


def _average_precision(ranking: Ranking, weights: NDArray[np.floating]) -> NDArray[np.floating]:
    """(resamples,), NaN without a positive, of how often each clip was drawn: (clips, resamples)."""
    if not ranking.found.shape[0]:
        return np.full(weights.shape[1], np.nan)
    found = ranking.found @ weights
    found_up_to, seen_up_to = found.cumsum(axis=0), (ranking.seen @ weights).cumsum(axis=0)
    precision = np.divide(found_up_to, seen_up_to, out=np.zeros_like(found), where=seen_up_to > 0)
    return _divide((found * precision).sum(axis=0), found_up_to[-1], empty=np.nan)


def _mean_known(columns: list[NDArray[np.floating]]) -> NDArray[np.floating]:
    """The mean of those that are numbers."""
    table = np.stack(columns)
    known = ~np.isnan(table)
    return _divide(np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0), empty=np.nan)


def _sparse_outcomes(positive: NDArray[np.bool_], named: NDArray[np.bool_]) -> Any:
    """(3 * classes, clips): named rightly, then having the label, then named."""
    from scipy.sparse import csr_array

    return csr_array(np.concatenate([positive & named, positive, named], axis=1).T.astype(np.float64))


def _f1_scores(counts: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
    """(resamples,) each, of counts (3 * classes, resamples)."""
    hits, by_truth, by_name = np.split(counts, 3)
    f1 = _divide(2 * hits, by_truth + by_name, empty=0.0)
    in_truth = by_truth > 0
    return {
        "macro_f1": _divide((f1 * in_truth).sum(axis=0), in_truth.sum(axis=0), empty=np.nan),
        "micro_f1": _divide(2 * hits.sum(axis=0), (by_truth + by_name).sum(axis=0), empty=0.0),
    }


def _divide(above: NDArray[Any], below: NDArray[Any], *, empty: float) -> NDArray[np.floating]:
    return np.divide(above, below, out=np.full(np.shape(above), empty), where=below > 0)


def draw_weights(unit: NDArray[np.integer], *, n_resamples: int, seed: int) -> Iterator[NDArray[np.floating]]:
    """How often each clip is drawn, (clips, resamples), some resamples at a time."""
    random = np.random.default_rng(seed)
    n_units = int(unit.max()) + 1
    for start in range(0, n_resamples, RESAMPLES_AT_ONCE):
        at_once = min(RESAMPLES_AT_ONCE, n_resamples - start)
        drawn = [np.bincount(random.integers(0, n_units, n_units), minlength=n_units) for _ in range(at_once)]
        yield np.stack(drawn, axis=1)[unit].astype(np.float64)


def _score_prior(positive: NDArray[np.bool_], prior: NDArray[np.floating] | None) -> dict[str, float]:
    shares = positive.mean(axis=0)
    # Where all clips have the same score, a class's average precision is its share.
    answer = np.broadcast_to(shares if prior is None else np.asarray(prior, dtype=np.float64), positive.shape)
    micro = _average_precision(_rank(answer, positive), np.ones((len(positive), 1)))
    return {"prior_baseline": float(shares[shares > 0].mean()), "prior_micro_map": float(micro[0])}


def _score_classes(
    labels: Sequence[str], positive: NDArray[np.bool_], named: NDArray[np.bool_], precisions: NDArray[np.floating]
) -> list[dict[str, Any]]:
    rows = []
    for i, label in enumerate(labels):
        support, found, count = int(positive[:, i].sum()), int((positive & named)[:, i].sum()), int(named[:, i].sum())
        rows.append(
            {
                "label": label,
                "average_precision": float(precisions[i]) if support else None,
                "precision": found / max(count, 1),
                "recall": found / max(support, 1),
                "f1": 2 * found / max(support + count, 1),
                "support": support,
                "found": found,
                "false": count - found,
            }
        )
    return rows


def _rank_confusions(
    labels: Sequence[str], positive: NDArray[np.bool_], named: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    missed, false = (positive & ~named).astype(np.float32), (named & ~positive).astype(np.float32)
    together = missed.T @ false
    ranked = np.argsort(-together, axis=None, kind="stable")[:TOP_CONFUSIONS]
    pairs = [(int(cell) // len(labels), int(cell) % len(labels)) for cell in ranked]
    return [
        {
            "truth": labels[row],
            "guess": labels[column],
            "count": int(together[row, column]),
            "share": float(together[row, column] / positive[:, row].sum()),
        }
        for row, column in pairs
        if together[row, column] > 0
    ]
