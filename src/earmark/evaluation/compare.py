"""Several models' answers about the same clips, side by side: paired differences, their intervals and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.data.clips import split_labels
from earmark.evaluation.intervals import count_equal_units, estimate_interval
from earmark.evaluation.metrics import (
    RESAMPLES_AT_ONCE,
    SCORE_NAMES,
    assign_units,
    count_by_unit,
    score_f1,
    summarise_counts,
)
from earmark.evaluation.multi_label import draw_weights, prepare_scores
from earmark.evaluation.paired_tests import (
    correct_holm,
    count_mcnemar,
    decide,
    estimate_difference,
    word_difference,
)

if TYPE_CHECKING:
    from pandas import DataFrame

    from earmark.evaluation.evaluate import Answers

CLIP = "clip"
"""The column that says which clip a row is about, from 0, where a clip was asked about several times (seeds)."""
MCNEMAR, BOOTSTRAP = "exact McNemar", "bootstrap"


class Figures(NamedTuple):
    """What one run scores on some resamples."""

    scores: dict[str, NDArray[np.floating]]  # name -> (resamples,)
    classes: NDArray[np.floating]  # (resamples, classes): F1, or average precision


class Classes(NamedTuple):
    """The classes, how many clips have each, and from how many units of equal size these are."""

    labels: list[str]
    supports: list[int]
    units_of_class: list[float]
    units: float  # of all clips


class Scored(NamedTuple):
    """A run on all clips, and on the resamples that all runs share."""

    whole: Figures
    drawn: Figures
    classes: Classes


Weigh = Callable[[NDArray[Any]], Figures]


def compare_answers(
    names: Sequence[str],
    answers: Sequence[Answers],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """How much better or worse each run is than the first, and how sure that is.

    All runs are scored on the same resamples: whole groups are drawn with replacement where any run knows them, single
    clips otherwise. What two runs share, such as clips that are hard for both, cancels out in the difference, so that
    its interval is narrower than those of the two figures let think.

    Where a clip has one label, the p value is that of the exact McNemar test: of the clips that only one of the two got
    right, is the split as even as a coin's? It takes clips for independent, which those of one group are not. Where
    clips have several labels, or were asked about several times (seeds), there is no such split, and the p value is
    that of the interval. With more than one comparison the p values are corrected after Holm. A run is called better
    or worse only if the interval leaves out 0 and the corrected p value is below 0.05.

    Args:
        names: What the runs are called, no two alike.
        answers: What each says about the same clips, in the same order; see
            `earmark.evaluation.shared_clips.align_answers`. The column ``clip`` numbers them from 0 where a clip has
            several rows, the same number in all.
        n_resamples: Bootstrap resamples.
        seed: Of the bootstrap.
        on_progress: Called with (resamples scored, resamples in all).

    Returns:
        A dict ready for JSON with ``primary`` (``"accuracy"`` or ``"map"``), ``clips``, ``multi_label``, ``first`` (its
        name), ``interval`` (how it was made, in words), ``runs`` (``name``, each score with ``value``, ``low`` and
        ``high`` in [0, 1], and ``per_class``: ``label``, ``support``, ``value``, which is F1 or average precision) and
        ``differences``, one for each run but the first: ``name``, ``first``, for each score what it has more than the
        first (``value``, ``low``, ``high``), ``test``, ``p_value``, ``p_holm``, ``mcnemar`` (``both``, ``only_first``,
        ``only_this``, ``neither``: the clips that they got right; ``None`` where it does not apply), ``verdict``
        (``"better"``, ``"worse"``, ``"undecided"``, ``"same"``), ``sentence``, and ``per_class`` (``label``,
        ``support``, ``value``, ``low``, ``high``; ``None`` for a class without a clip).

    Raises:
        ValueError: fewer than two runs, names that are alike, or answers that are not about the same clips.

    Example:
        >>> import pandas as pd
        >>> from earmark.evaluation.evaluate import Answers
        >>> clips = {"path": [f"{i}.wav" for i in range(8)], "label": ["dog", "rain"] * 4}
        >>> good = pd.DataFrame(clips | {"predicted": clips["label"]})
        >>> bad = pd.DataFrame(clips | {"predicted": "dog"})
        >>> both = [Answers(table, ("dog", "rain")) for table in (bad, good)]
        >>> figures = compare_answers(["bad", "good"], both)["differences"][0]
        >>> figures["accuracy"]["value"], figures["mcnemar"]["only_this"], figures["p_value"]
        (0.5, 4, 0.125)

    Source:
        McNemar, Q. (1947). Psychometrika 12, 153-157, exact by the binomial distribution; Holm, S. (1979). Scandinavian
        Journal of Statistics 6, 65-70; Efron, B., & Tibshirani, R. (1993). An Introduction to the Bootstrap.
    """
    clip = _check(names, answers)
    scored, interval = _score_on_same_resamples(answers, clip, n_resamples, seed, on_progress)
    primary = "map" if answers[0].multi_label else "accuracy"
    differences = [
        {
            "name": name,
            "first": names[0],
            **_subtract(scored[0], figures),
            **_test(answers[0], one),
        }
        for name, one, figures in zip(names[1:], answers[1:], scored[1:], strict=True)
    ]
    _judge(differences, primary)
    return {
        "primary": primary,
        "clips": int(clip[0].max()) + 1,
        "multi_label": answers[0].multi_label,
        "first": names[0],
        "interval": interval,
        "runs": [{"name": name, **_describe(figures)} for name, figures in zip(names, scored, strict=True)],
        "differences": differences,
    }


def _check(names: Sequence[str], answers: Sequence[Answers]) -> list[NDArray[np.integer]]:
    """Which clip each row is about, for each run."""
    if len(names) != len(answers) or len(set(names)) != len(names) or len(names) < 2:
        raise ValueError("compare_answers takes two runs or more, each with a name of its own.")
    clip = [
        one.table[CLIP].to_numpy(dtype=np.int64) if CLIP in one.table else np.arange(len(one.table)) for one in answers
    ]
    first = _first_rows(answers[0], clip[0])["label"].tolist()
    for one, rows in zip(answers, clip, strict=True):
        same = one.multi_label == answers[0].multi_label and _first_rows(one, rows)["label"].tolist() == first
        if not same or len(np.unique(np.bincount(rows))) != 1:
            raise ValueError("The answers are not about the same clips in the same order; align them first.")
    return clip


def _first_rows(answers: Answers, clip: NDArray[np.integer]) -> DataFrame:
    """One row a clip, the clips in order."""
    return answers.table.take(np.unique(clip, return_index=True)[1])


def _score_on_same_resamples(
    answers: Sequence[Answers],
    clip: Sequence[NDArray[np.integer]],
    n_resamples: int,
    seed: int,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[Scored], str]:
    """Every run's figures, and how the resamples were drawn, in words."""
    multi_label, n_clips = answers[0].multi_label, int(clip[0].max()) + 1
    unit, interval = _choose_units(answers, clip, n_clips)
    labels = list(dict.fromkeys(label for one in answers for label in _list_labels(one)))
    classes = _count_classes(_first_rows(answers[0], clip[0])["label"], labels, unit, multi_label=multi_label)
    if multi_label:
        weighs = [_prepare_multi_label(one, labels, unit, rows) for one, rows in zip(answers, clip, strict=True)]
        draws, once = draw_weights(unit, n_resamples=n_resamples, seed=seed), np.ones((n_clips, 1))
    else:
        weighs = [_prepare(one, labels, unit, rows) for one, rows in zip(answers, clip, strict=True)]
        draws, once = _draw_units(unit, n_resamples=n_resamples, seed=seed), np.ones((1, int(unit.max()) + 1))
    drawn = _resample(weighs, draws, n_resamples, on_progress)
    return [Scored(weigh(once), figures, classes) for weigh, figures in zip(weighs, drawn, strict=True)], interval


def _choose_units(
    answers: Sequence[Answers], clip: Sequence[NDArray[np.integer]], n_clips: int
) -> tuple[NDArray[np.integer], str]:
    """What the bootstrap draws; of runs that know groups of different sizes the one with the largest decides."""
    known = [
        assign_units(n_clips, _first_rows(one, rows)["group"].to_numpy())
        for one, rows in zip(answers, clip, strict=True)
        if "group" in one.table
    ]
    grouped = [(unit, words) for unit, words in known if unit is not None]
    if grouped:
        return min(grouped, key=lambda choice: int(choice[0].max()))
    return np.arange(n_clips), known[0][1] if known else assign_units(n_clips, None)[1]


def _list_labels(answers: Answers) -> list[str]:
    if answers.multi_label:
        return list(answers.labels)
    return [*answers.labels, *sorted(set(answers.table["label"]) | set(answers.table["predicted"]))]


def _count_classes(cells: Iterable[str], labels: list[str], unit: NDArray[np.integer], *, multi_label: bool) -> Classes:
    rows: dict[str, list[int]] = {label: [] for label in labels}
    for row, cell in enumerate(cells):
        for label in split_labels(cell, multi_label=multi_label):
            rows[label].append(row)
    of_class = [
        count_equal_units(np.unique(unit[mine], return_inverse=True)[1], len(mine)) if mine else 0.0
        for mine in rows.values()
    ]
    supports = [len(mine) for mine in rows.values()]
    return Classes(labels, supports, of_class, count_equal_units(unit, len(unit)))


def _prepare(answers: Answers, labels: list[str], unit: NDArray[np.integer], clip: NDArray[np.integer]) -> Weigh:
    position = {label: i for i, label in enumerate(labels)}
    truth, guess = (
        np.array([position[label] for label in answers.table[name]], dtype=np.int64) for name in ("label", "predicted")
    )
    takes = len(clip) // len(unit)
    counts = count_by_unit(unit[clip], truth, guess, len(labels)) / takes

    def weigh(times_drawn: NDArray[Any]) -> Figures:
        class_counts = times_drawn @ counts
        return Figures(summarise_counts(class_counts), score_f1(class_counts))

    return weigh


def _prepare_multi_label(
    answers: Answers, labels: list[str], unit: NDArray[np.integer], clip: NDArray[np.integer]
) -> Weigh:
    from earmark.evaluation.evaluate import PROBABILITY_PREFIX

    table = answers.table
    # A class that one of the models does not know is one that it never names.
    columns = [f"{PROBABILITY_PREFIX}{label}" for label in labels]
    probabilities = np.stack([table[name] if name in table else np.zeros(len(table)) for name in columns], axis=1)
    truth, named = (
        np.array([[label in split_labels(cell, multi_label=True) for label in labels] for cell in table[name]])
        for name in ("label", "predicted")
    )
    score = prepare_scores(truth, probabilities, named)
    takes = len(clip) // len(unit)

    def weigh(weights: NDArray[Any]) -> Figures:
        return Figures(*score(weights[clip] / takes))

    return weigh


def _draw_units(unit: NDArray[np.integer], *, n_resamples: int, seed: int) -> Iterator[NDArray[Any]]:
    """How often each unit is drawn, (resamples, units), some resamples at a time: as `score_predictions` draws."""
    random = np.random.default_rng(seed)
    n_units = int(unit.max()) + 1
    for start in range(0, n_resamples, RESAMPLES_AT_ONCE):
        at_once = min(RESAMPLES_AT_ONCE, n_resamples - start)
        yield random.multinomial(n_units, np.full(n_units, 1 / n_units), size=at_once)


def _resample(
    weighs: Sequence[Weigh],
    draws: Iterator[NDArray[Any]],
    n_resamples: int,
    on_progress: Callable[[int, int], None] | None,
) -> list[Figures]:
    """Every run on the same resamples."""
    parts: list[list[Figures]] = [[] for _ in weighs]
    for drawn in draws:
        for part, weigh in zip(parts, weighs, strict=True):
            part.append(weigh(drawn))
        if on_progress is not None:
            on_progress(sum(len(figures.classes) for figures in parts[0]), n_resamples)
    return [
        Figures(
            {name: np.concatenate([figures.scores[name] for figures in part]) for name in part[0].scores},
            np.concatenate([figures.classes for figures in part]),
        )
        for part in parts
    ]


def _describe(run: Scored) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for name, value in run.whole.scores.items():
        low, high = estimate_interval(float(value[0]), run.drawn.scores[name], units=run.classes.units)
        scores[name] = {"value": float(value[0]), "low": low, "high": high}
    per_class = [
        {"label": label, "support": support, "value": float(value) if support else None}
        for label, support, value in zip(run.classes.labels, run.classes.supports, run.whole.classes[0], strict=True)
    ]
    return {**scores, "per_class": per_class}


def _subtract(first: Scored, this: Scored) -> dict[str, Any]:
    difference: dict[str, Any] = {}
    for name in first.whole.scores:
        value = float(this.whole.scores[name][0] - first.whole.scores[name][0])
        drawn = this.drawn.scores[name] - first.drawn.scores[name]
        low, high, p_value = estimate_difference(value, drawn, units=this.classes.units)
        difference[name] = {"value": value, "low": low, "high": high, "p_value": p_value}
    change, changes = this.whole.classes[0] - first.whole.classes[0], this.drawn.classes - first.drawn.classes
    rows = []
    for i, (label, support, units) in enumerate(zip(*this.classes[:3], strict=True)):
        row: dict[str, Any] = {"label": label, "support": support, "value": None, "low": None, "high": None}
        if support:
            low, high, _ = estimate_difference(float(change[i]), changes[:, i], units=units)
            row |= {"value": float(change[i]), "low": low, "high": high}
        rows.append(row)
    return {**difference, "per_class": rows}


def _test(first: Answers, this: Answers) -> dict[str, Any]:
    """McNemar's test where it applies; whether the two say the same."""
    several_takes = any(CLIP in one.table and one.table[CLIP].duplicated().any() for one in (first, this))
    says = [one.table["predicted"].tolist() for one in (first, this)]
    if first.multi_label:
        same = first.labels == this.labels and bool(np.array_equal(first.probabilities(), this.probabilities()))
    else:
        same = says[0] == says[1]
    if first.multi_label or several_takes:
        return {"same": same, "test": BOOTSTRAP, "p_value": None, "mcnemar": None}
    truth = first.table["label"].to_numpy()
    right = [np.array(guesses, dtype=object) == truth for guesses in says]
    counts, p_value = count_mcnemar(right[0], right[1])
    return {"same": same, "test": MCNEMAR, "p_value": p_value, "mcnemar": counts}


def _judge(differences: list[dict[str, Any]], primary: str) -> None:
    """Correct the p values, and say what they mean."""
    for difference in differences:
        # The bootstrap's own p value serves where McNemar's does not apply, and is dropped where it does.
        of_scores = {name: difference[name].pop("p_value") for name in SCORE_NAMES[primary]}
        if difference["p_value"] is None:
            difference["p_value"] = of_scores[primary]
    corrected = correct_holm([difference["p_value"] for difference in differences])
    for difference, p_holm in zip(differences, corrected, strict=True):
        difference["p_holm"] = p_holm
        difference["verdict"] = decide(difference.pop("same"), difference[primary], p_holm)
        difference["sentence"] = word_difference(difference, primary, corrected=len(differences) > 1)
