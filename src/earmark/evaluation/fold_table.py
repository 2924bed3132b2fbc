"""The table of a cross-validation: a row a fold, a column a score, or a seed where there are several."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

SCORE_COLUMNS = {"accuracy": "accuracy", "map": "mAP", "macro_f1": "macro-F1"}


def tabulate_folds(
    folds: Sequence[dict[str, Any]], primary: str, seeds: Sequence[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Folds and their mean and spread, ready to be shown.

    Args:
        folds: Rows of ``fold``, ``clips``, the score ``primary``, ``macro_f1``, and ``seed`` where there are several.
        primary: The score's name.
        seeds: Of several seeds a row each: ``seed`` and the score of its pooled answers.

    Returns:
        ``columns``: their names; ``rows``: ``fold``, ``clips`` and ``values``; ``mean`` and ``deviation`` over the
        folds of each column, ``pooled`` over all answers of each seed (empty for one seed). All values are shares;
        ``None`` leaves a cell empty.

    Example:
        >>> rows = [{"fold": i, "clips": 9, "map": figure, "macro_f1": 0.4} for i, figure in ((1, 0.5), (2, 0.7))]
        >>> table = tabulate_folds(rows, "map")
        >>> table["columns"], [round(mean, 3) for mean in table["mean"]]
        (['mAP', 'macro-F1'], [0.6, 0.4])
    """
    if seeds:
        return _tabulate_seeds(folds, primary, seeds)
    keys = (primary, "macro_f1")
    columns = [[fold[key] for fold in folds] for key in keys]
    return {
        "columns": [SCORE_COLUMNS[key] for key in keys],
        "rows": [{**_head(fold), "values": [fold[key] for key in keys]} for fold in folds],
        "mean": [fmean(values) for values in columns],
        "deviation": [_deviate(values) for values in columns],
        "pooled": [],
    }


def _tabulate_seeds(folds: Sequence[dict[str, Any]], primary: str, seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    by_seed = [[fold for fold in folds if fold["seed"] == row["seed"]] for row in seeds]
    columns = [[fold[primary] for fold in of_seed] for of_seed in by_seed]
    across = [fmean(values) for values in zip(*columns, strict=True)]
    pooled = [row[primary] for row in seeds]
    return {
        "columns": [*(f"seed {row['seed']}" for row in seeds), "mean"],
        "rows": [
            {**_head(fold), "values": [*(values[i] for values in columns), across[i]]}
            for i, fold in enumerate(by_seed[0])
        ],
        "mean": [*map(fmean, columns), fmean(across)],
        "deviation": [*map(_deviate, columns), None],
        "pooled": [*pooled, fmean(pooled)],
    }


def _head(fold: dict[str, Any]) -> dict[str, Any]:
    return {"fold": fold["fold"], "clips": fold["clips"]}


def _deviate(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
