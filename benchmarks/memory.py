"""Claim: the peak memory of a training stays as it is while the dataset grows tenfold.

A row a recipe: peak with 2,000 clips to that with 200, synthetic, five seconds each at 32 kHz, a few steps of training
(``train.max_steps``). Each is the command ``earmark train`` in a process of its own, with an empty store, so decoding,
evaluation and report count too. Memory is what belongs to the process and its decoding workers alone (``RssAnon`` in
``/proc/PID/status``, all of them together, twenty times a second): pages of the memory-mapped store are the system's to
take back, and grow with the dataset as they should. It needs Linux.

Usage: python benchmarks/memory.py [--clips 200 2000] [--steps 20] [--rounds 1] [--record]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from earmark.sound.synthesis import SOUND_NAMES, write_sounds
from results import Result, add_record_option, publish

DURATION_S, RATE_HZ = 5.0, 32_000
RECIPES = ("quick", "cnn")
COMMAND = "from earmark.cli.main import run; run()"
LOOK_EVERY_S = 0.05
AT_MOST = 1.05


def find_tree(process: int) -> list[int]:
    """A process and all that descend from it, but for children about to become another program: their memory is its."""
    tree = [process]
    for parent in tree:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            tree += [int(child) for child in _read(task).split() if _name_command(int(child)) != _name_command(parent)]
    return tree


def _name_command(process: int) -> str:
    return _read(Path(f"/proc/{process}/cmdline"))


def measure_own_bytes(process: int) -> int:
    """Bytes of a process and its children that no file stands behind."""
    lines = [line for member in find_tree(process) for line in _read(Path(f"/proc/{member}/status")).splitlines()]
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has just ended
        return ""


def measure_peak(sounds: Path, recipe: str, steps: int) -> tuple[int, float]:
    """Peak bytes of a training, and how long it took, seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        asked = [
            "train",
            str(sounds),
            "--recipe",
            recipe,
            "--set",
            f"train.max_steps={steps}",
            "--out",
            f"{scratch}/run",
        ]
        began = time.perf_counter()
        with open(f"{scratch}/said", "w+", encoding="utf-8") as said:
            training = subprocess.Popen(
                [sys.executable, "-c", COMMAND, *asked],
                env={**os.environ, "EARMARK_CACHE": f"{scratch}/cache"},
                stdout=said,
                stderr=said,
            )
            peak = 0
            while training.poll() is None:
                peak = max(peak, measure_own_bytes(training.pid))
                time.sleep(LOOK_EVERY_S)
            if training.returncode:
                said.seek(0)
                sys.exit(f"{recipe} failed:\n{said.read()}")
    return peak, time.perf_counter() - began


def compare(recipe: str, few: Path, many: Path, rounds: int, steps: int) -> Result:
    """One row."""
    peaks = np.array([[measure_peak(sounds, recipe, steps)[0] for sounds in (few, many)] for _ in range(rounds)])
    counts = [int(sounds.name) for sounds in (few, many)]
    few_mb, many_mb = np.median(peaks, axis=0) / 1e6
    a_clip_kb = 1e3 * (many_mb - few_mb) / (counts[1] - counts[0])
    return Result(
        f"peak memory of a training, `{recipe}`, {counts[1]:,} clips to {counts[0]:,}",
        list(peaks[:, 1] / peaks[:, 0]),
        "itself",
        at_most=AT_MOST,
        figures=f"{many_mb:.0f} and {few_mb:.0f} MB, {a_clip_kb:.0f} kB a clip more",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs=2, default=[200, 2000], metavar=("FEW", "MANY"))
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    add_record_option(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        few, many = (
            write_sounds(
                Path(place, str(clips)),
                clips_per_class=clips // len(SOUND_NAMES),
                duration_s=DURATION_S,
                sample_rate=RATE_HZ,
            )
            for clips in given.clips
        )
        results = [compare(recipe, few, many, given.rounds, given.steps) for recipe in given.recipes]
    publish("memory", results, record=given.record)


if __name__ == "__main__":
    main()
