"""Claim: a timeline of two hours of sound takes less than 300 MB above what the loaded model takes.

In one run, each recording in a process of its own: the model is loaded and hears one window, then the recording is
listened to. What counts is how far the process's highest memory (VmHWM of Linux) lies above what it held before.

Usage: python benchmarks/timeline.py MODEL [SOUNDS] [--minutes 5 120] [--suffixes flac ogg]
       MODEL: a run, a model directory, a Hub id or an .onnx file; SOUNDS: a folder to tile, synthetic sounds if none
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 44_100
LIMIT_MB = 300
TILE_S = 60


def read_memory_mb(name: str) -> float:
    """A line of Linux's account of this process, such as VmRSS or VmHWM."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def make_tile(sounds: Path | None) -> np.ndarray:
    """A minute of sound at 44.1 kHz."""
    if sounds is None:
        from earmark.sound.synthesis import synthesise

        names = ("bell", "rain", "voice", "engine", "siren")
        parts = [synthesise(names[seed % 5], seed=seed, duration_s=5.0, sample_rate=RATE) for seed in range(12)]
    else:
        from earmark.sound.decode import AUDIO_SUFFIXES, decode

        files = sorted(path for path in sounds.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        parts = [decode(path, sample_rate=RATE)[0] for path in files[:: max(1, len(files) // 12)][:12]]
    return np.resize(np.concatenate(parts), TILE_S * RATE)


def write_recording(path: Path, tile: np.ndarray, minutes: int) -> None:
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for second in [*np.split(tile, TILE_S)] * minutes:  # libsndfile's Vorbis breaks on long pieces
            file.write(second)


def measure(model: str, path: str) -> dict[str, float]:
    """What one recording takes; runs in a process of its own."""
    from earmark.inference.classifier import Classifier
    from earmark.inference.timeline import find_events

    classifier = Classifier.from_pretrained(model)
    classifier.score([np.zeros(classifier.window, np.float32)])  # whatever is loaded late belongs to the model
    loaded_mb = read_memory_mb("VmRSS")
    began = time.perf_counter()
    timeline = find_events(classifier, path)
    took_s = time.perf_counter() - began
    return {
        "loaded_mb": loaded_mb,
        "above_mb": read_memory_mb("VmHWM") - loaded_mb,
        "took_s": took_s,
        "heard_s": timeline.duration_s,
        "events": len(timeline.events),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sounds", nargs="?", type=Path)
    parser.add_argument("--minutes", nargs="+", type=int, default=[5, 120])
    parser.add_argument("--suffixes", nargs="+", default=["flac", "ogg"])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.model, asked.measure)))
        return
    tile = make_tile(asked.sounds)
    highest = 0.0
    for suffix in asked.suffixes:
        for minutes in asked.minutes:
            with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
                path = Path(folder) / f"recording.{suffix}"
                write_recording(path, tile, minutes)
                command = [sys.executable, __file__, asked.model, "--measure", str(path)]
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
            found = json.loads(done.stdout.splitlines()[-1])
            highest = max(highest, found["above_mb"])
            speed = found["heard_s"] / found["took_s"]
            print(
                f"{suffix:>5} {minutes:4d} min: {found['above_mb']:4.0f} MB above the {found['loaded_mb']:.0f} of the "
                f"loaded model, {speed:.0f} times as fast as real time, {found['events']} events"
            )
    print(f"{'holds' if highest < LIMIT_MB else 'FAILS'}: at most {highest:.0f} MB, the limit is {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
