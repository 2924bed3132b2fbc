"""Claim: ``earmark train SOUNDS --budget TIME`` ends within 15 % of the time that it announced.

    python benchmarks/budget.py [--clips 100 1000] [--budgets 1m 3m] [--recipe R] [--large]

Each run is the command itself, in a process of its own and with an empty store, so that decoding counts; the time is
that of the whole process. Sounds are synthetic, five seconds each (``--large``: 5,000 clips too).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from earmark.sound.synthesis import SOUND_NAMES, write_sounds
from earmark.training.budget import parse_budget

DURATION_S = 5.0
RATE_HZ = 32_000
COMMAND = "from earmark.cli.main import run; run()"


def measure(sounds: Path, budget: str, recipe: str | None) -> str:
    """One run as a row of the table; what it says where it refuses."""
    with tempfile.TemporaryDirectory() as scratch:
        asked = ["train", str(sounds), "--budget", budget, "--out", f"{scratch}/run"]
        asked += ["--recipe", recipe] if recipe else []
        load = os.getloadavg()[0]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *asked],
            env={**os.environ, "EARMARK_CACHE": f"{scratch}/cache"},
            capture_output=True,
            text=True,
            check=False,
        )
        took_s = time.perf_counter() - began
        if done.returncode:
            return f"refused after {took_s:.0f} s: {done.stderr.strip().splitlines()[-1]} | | | | | {load:.1f} |"
        report = json.loads(Path(scratch, "run", "report.json").read_text(encoding="utf-8"))
    announced_s = report["budget"]["announced_s"]
    model, train = report["recipe"]["model"], report["recipe"]["train"]
    size = f", widths from {model['widths'][0]}" if model["name"] == "cnn" else ""
    chosen = f"`{report['recipe']['name']}`{size}, {train['epochs']} epochs"
    accuracy = report["metrics"]["accuracy"]["value"]
    times = f"{announced_s:.0f} | {took_s:.0f} | {took_s / announced_s:.2f}"
    return f"{chosen} | {times} | {accuracy:.1%} | {load:.1f} to {os.getloadavg()[0]:.1f} |"


def main() -> None:
    """One row a dataset and budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--budgets", nargs="+", default=["1m", "3m"])
    parser.add_argument("--recipe")
    parser.add_argument("--large", action="store_true", help="5,000 clips too")
    arguments = parser.parse_args()
    for budget in arguments.budgets:
        parse_budget(budget)
    print(f"{os.cpu_count()} cores; load: the machine's, before and after\n")
    print("| clips | budget | chosen | announced, s | took, s | ratio | accuracy | load |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for clips in [*arguments.clips, *([5000] if arguments.large else [])]:
            sounds = write_sounds(
                Path(place) / str(clips),
                clips_per_class=clips // len(SOUND_NAMES),
                duration_s=DURATION_S,
                sample_rate=RATE_HZ,
            )
            for budget in arguments.budgets:
                print(f"| {clips} | {budget} | {measure(sounds, budget, arguments.recipe)}", flush=True)


if __name__ == "__main__":
    main()
