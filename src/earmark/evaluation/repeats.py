"""Clips that were asked about several times, by models that differ in their seed alone: answers pooled, none averaged.

A mean of the models' probabilities would be the answer of an ensemble, which is better than any of them and is not what
one gets by training once.
"""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd

from earmark.evaluation.evaluate import Answers

SEED = "seed"
"""The column that says the seed of the model that answered."""


def pool_answers(parts: Sequence[Answers]) -> Answers:
    """Answers of several models as one table, in the order given."""
    first = parts[0]
    uncalibrated = [part.uncalibrated for part in parts]
    levels_db = [part.levels_db for part in parts]
    return Answers(
        pd.concat([part.table for part in parts], ignore_index=True),
        first.labels,
        first.multi_label,
        _join(uncalibrated, [part.probabilities() for part in parts]),
        np.concatenate(levels_db) if all(levels is not None for levels in levels_db) else None,  # type: ignore[arg-type]
    )


def _join(uncalibrated: list[np.ndarray | None], probabilities: list[np.ndarray]) -> np.ndarray | None:
    """Uncalibrated probabilities; a model without a temperature has no others."""
    if all(part is None for part in uncalibrated):
        return None
    return np.concatenate(
        [given if part is None else part for part, given in zip(uncalibrated, probabilities, strict=True)]
    )


def measure_repeats(answers: Answers, *, seed: int = 0) -> dict[str, Any]:
    """The figures of all answers to clips that several models answered, as the `SEED` column says.

    Accuracy and balanced accuracy over all answers are the means of those of the seeds. The bootstrap draws whole
    groups or clips, each with all its answers: more seeds do not make a test set larger.

    Args:
        answers: As many about each clip as there are seeds, those of a seed one after the other and in the same order.
        seed: Of the bootstrap.

    Returns:
        As `earmark.evaluation.metrics.score_predictions` or `earmark.evaluation.multi_label.score_multi_label`, with
        ``clips``, how many clips there are, and ``answers``, how many answers. All other counts are of answers.

    Example:
        >>> table = pd.DataFrame({"path": ["a", "b"] * 2, "label": ["cat", "dog"] * 2, "seed": [0, 0, 1, 1]})
        >>> answers = table.assign(**{"p:cat": [0.9, 0.2, 0.8, 0.7], "p:dog": [0.1, 0.8, 0.2, 0.3]})
        >>> figures = measure_repeats(Answers(answers, ("cat", "dog")))
        >>> figures["accuracy"]["value"], figures["clips"], figures["answers"], figures["interval"]
        (0.75, 2, 4, '95 % bootstrap over 2 clips, each with its 2 answers')
    """
    n_seeds = answers.table[SEED].nunique()
    n_clips = len(answers.table) // n_seeds
    table = answers.table
    clip = pd.Series([f"\0{row % n_clips}" for row in range(len(table))], index=table.index)
    grouped = "group" in table
    unit = table["group"].astype(object).where(table["group"].notna(), clip) if grouped else clip
    metrics = Answers(table.assign(group=unit), answers.labels, answers.multi_label).measure(seed=seed)
    drawn = metrics["interval"] if grouped else metrics["interval"].replace("groups", "clips")
    return metrics | {"clips": n_clips, "answers": len(table), "interval": f"{drawn}, each with its {n_seeds} answers"}


def measure_each_seed(answers: Answers) -> list[dict[str, Any]]:
    """A row a seed: ``seed``, the primary score and ``macro_f1`` of its answers alone."""
    rows = []
    for seed in answers.table[SEED].unique().tolist():
        table = answers.table[answers.table[SEED] == seed]
        metrics = Answers(table.reset_index(drop=True), answers.labels, answers.multi_label).measure()
        figures = {name: metrics[name]["value"] for name in (metrics["primary"], "macro_f1")}
        rows.append({"seed": seed, **figures})
    return rows


def summarise_folds(folds: Sequence[dict[str, Any]], primary: str) -> dict[str, float]:
    """Mean and spread of the folds of a cross-validation.

    Args:
        folds: Rows of ``seed``, ``fold`` and the score ``primary``.
        primary: Its name.

    Returns:
        ``primary``: the mean of all rows; ``deviation``: the standard deviation over the folds of a seed, the root of
        the seeds' mean variance; and of several seeds ``seed_deviation``: that over the seeds' means of folds.

    Example:
        >>> of_seeds = {0: (0.7, 0.9), 1: (0.8, 1.0)}
        >>> rows = [{"seed": seed, "accuracy": fold} for seed, folds in of_seeds.items() for fold in folds]
        >>> {name: round(value, 3) for name, value in summarise_folds(rows, "accuracy").items()}
        {'accuracy': 0.85, 'deviation': 0.141, 'seed_deviation': 0.071}
    """
    by_seed: dict[int, list[float]] = {}
    for row in folds:
        by_seed.setdefault(row["seed"], []).append(row[primary])
    variances = [stdev(values) ** 2 if len(values) > 1 else 0.0 for values in by_seed.values()]
    means = [fmean(values) for values in by_seed.values()]
    figures = {primary: fmean(means), "deviation": fmean(variances) ** 0.5}
    return figures | ({"seed_deviation": stdev(means)} if len(means) > 1 else {})
