"""The figures of the README on real recordings, where they are at hand: set EARMARK_ESC10 to ESC-10's folder."""

import os

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("EARMARK_ESC10" not in os.environ, reason="EARMARK_ESC10 names no folder of recordings"),
]


@pytest.mark.parametrize(("recipe", "least"), [("quick", 0.84), ("mfcc-mlp", 0.66)])
def test_mean_of_three_seeds_on_the_published_folds(recipe, least, tmp_path):
    import earmark

    runs = [
        earmark.crossval(os.environ["EARMARK_ESC10"], recipe, seed=seed, out=tmp_path / f"{recipe}-{seed}")
        for seed in range(3)
    ]
    assert [run.report["metrics"]["clips"] for run in runs] == [400] * 3
    assert sum(run.accuracy for run in runs) / 3 >= least
