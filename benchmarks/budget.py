"""Claim: ``earmark train SOUNDS --budget TIME`` ends within 15 % of the time that it announced.

    python benchmarks/budget.py [--clips 100 1000] [--budgets 1m 3m] [--recipe R] [--large 5m] [--record]

Each run is the command itself, in a process of its own and with an empty store, so that decoding counts; the time is
that of the whole process, start and end included. Sounds are synthetic, five seconds each (``--large TIME``: 5,000
clips too, with that budget alone).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from earmark.cores import count_cores
from earmark.sound.synthesis import SOUND_NAMES, write_sounds
from earmark.training.budget import parse_budget
from results import Result, add_record_option, publish

DURATION_S = 5.0
RATE_HZ = 32_000
LARGE = 5_000
PEER = "what the run announced before it trained"
COMMAND = "from earmark.cli.main import run; run()"


def measure(sounds: Path, clips: int, budget: str, recipe: str | None) -> Result:
    """One run: what it took to what it announced; without a ratio where it refuses."""
    claim = f"{clips:,} clips, `--budget {budget}`: time taken to time announced"
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
            refusal = f"refused after {took_s:.0f} s: {done.stderr.strip().splitlines()[-1]}"
            return Result(claim, [], PEER, figures=refusal)
        report = json.loads(Path(scratch, "run", "report.json").read_text(encoding="utf-8"))
    announced_s = report["budget"]["announced_s"]
    figures = (
        f"{took_s:.0f} and {announced_s:.0f} s; {tell_choice(report)}; load {load:.1f} to {os.getloadavg()[0]:.1f}"
    )
    return Result(claim, [took_s / announced_s], PEER, at_most=1.15, at_least=0.85, figures=figures)


def tell_choice(report: dict[str, Any]) -> str:
    """What was trained, and how well it did."""
    model, train = report["recipe"]["model"], report["recipe"]["train"]
    size = f" from width {model['widths'][0]}" if model["name"] == "cnn" else ""
    accuracy = report["metrics"]["accuracy"]["value"]
    return f"`{report['recipe']['name']}`{size}, {train['epochs']} epochs, accuracy {accuracy:.1%}"


def main() -> None:
    """One row a dataset and budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--budgets", nargs="+", default=["1m", "3m"])
    parser.add_argument("--recipe")
    parser.add_argument("--large", metavar="TIME", help="5,000 clips too, with this budget")
    add_record_option(parser)
    arguments = parser.parse_args()
    runs = [(clips, arguments.budgets) for clips in arguments.clips]
    runs += [(LARGE, [arguments.large])] if arguments.large else []
    for _, budgets in runs:
        for budget in budgets:
            parse_budget(budget)
    print(f"{count_cores()} of {os.cpu_count()} cores; load: the machine's, before and after each run", flush=True)
    found = []
    with tempfile.TemporaryDirectory() as place:
        for clips, budgets in runs:
            sounds = write_sounds(
                Path(place) / str(clips),
                clips_per_class=clips // len(SOUND_NAMES),
                duration_s=DURATION_S,
                sample_rate=RATE_HZ,
            )
            found += [measure(sounds, clips, budget, arguments.recipe) for budget in budgets]
            shutil.rmtree(sounds)
    publish("budget", found, record=arguments.record)


if __name__ == "__main__":
    main()
