"""The figures of the README on real recordings, where they are at hand: set EARMARK_ESC10 to ESC-10's folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("EARMARK_ESC10" not in os.environ, reason="EARMARK_ESC10 names no folder of recordings"),
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    path = tmp_path_factory.mktemp("esc10") / "esc10.csv"
    script = ROOT / "benchmarks" / "esc10_manifest.py"
    subprocess.run([sys.executable, script, os.environ["EARMARK_ESC10"], path], check=True)
    return path


@pytest.mark.parametrize(("recipe", "least"), [("quick", 0.84), ("mfcc-mlp", 0.66)])
def test_mean_of_three_seeds_on_the_published_folds(manifest, recipe, least, tmp_path):
    import earmark

    runs = [earmark.crossval(manifest, recipe, seed=seed, out=tmp_path / f"{recipe}-{seed}") for seed in range(3)]
    assert [run.report["metrics"]["clips"] for run in runs] == [400] * 3
    assert sum(run.accuracy for run in runs) / 3 >= least
