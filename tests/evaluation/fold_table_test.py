"""The table of a cross-validation: scores in columns, or seeds where there are several."""

import statistics

import pytest

from earmark.evaluation.fold_table import tabulate_folds
from earmark.evaluation.repeats import summarise_folds


def test_one_seed_has_a_column_a_score():
    folds = [{"seed": 0, "fold": i, "clips": 20, "accuracy": a, "macro_f1": a / 2} for i, a in ((1, 0.8), (5, 0.9))]
    table = tabulate_folds(folds, "accuracy", [])
    assert table["columns"] == ["accuracy", "macro-F1"]
    assert table["rows"][1] == {"fold": 5, "clips": 20, "values": [0.9, 0.45]}
    assert table["mean"] == pytest.approx([0.85, 0.425])
    assert table["deviation"] == pytest.approx([0.1 / 2**0.5, 0.05 / 2**0.5])
    assert table["pooled"] == []


def test_several_seeds_have_a_column_each_and_their_mean():
    figures = {3: (0.7, 0.9, 0.8), 4: (0.6, 0.6, 0.9)}
    folds = [
        {"seed": seed, "fold": fold, "clips": 9, "accuracy": value, "macro_f1": 0.0}
        for seed, values in figures.items()
        for fold, value in enumerate(values, start=1)
    ]
    table = tabulate_folds(folds, "accuracy", [{"seed": 3, "accuracy": 0.81}, {"seed": 4, "accuracy": 0.69}])
    assert table["columns"] == ["seed 3", "seed 4", "mean"]
    assert [row["values"] for row in table["rows"]] == [
        pytest.approx(row) for row in ([0.7, 0.6, 0.65], [0.9, 0.6, 0.75], [0.8, 0.9, 0.85])
    ]
    assert table["mean"] == pytest.approx([0.8, 0.7, 0.75])
    assert table["deviation"] == [pytest.approx(statistics.stdev(values)) for values in figures.values()] + [None]
    assert table["pooled"] == pytest.approx([0.81, 0.69, 0.75])


def test_a_single_fold_does_not_spread():
    assert summarise_folds([{"seed": 0, "map": 0.5}], "map") == {"map": 0.5, "deviation": 0.0}
