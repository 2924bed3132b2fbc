"""Claims: an exported file answers a 5 s clip no later than torch does, and `earmark predict` has its first answer in
less than half of the time.

Models are built from the recipes ``cnn`` and ``resnet18``, untrained, at 32 kHz; weights make no difference to speed.
Latency is that of `Classifier.score` on one clip, both runtimes with as many threads, in turns, so that a busy machine
slows both. The first answer is that of a fresh process, file decoded and answer printed, with compiled modules at hand.

Usage: python benchmarks/onnx_runtime.py [--rounds 40] [--starts 7] [--record]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from models import SAMPLE_RATE, WINDOW_S, write_model
from results import Result, add_record_option, publish

RECIPES = ("cnn", "resnet18")
REST_S = 0.3  # threads of one runtime wait for work in a loop, and would take the other's cores
COMMAND = [sys.executable, "-c", "from earmark.cli.main import run; run()", "predict"]


def write_models(name: str, folder: Path) -> dict[str, Path]:
    """An untrained model of a recipe, and its exports."""
    from earmark.publishing.export import export

    model = write_model(name, folder)
    return {
        "torch": model,
        "onnx": export(model, folder / f"{name}.onnx").path,
        "int8": export(model, folder / f"{name}-int8.onnx", int8=True).path,
    }


def measure_latency(places: dict[str, Path], rounds: int, threads: int) -> dict[str, np.ndarray]:
    """Milliseconds of each round."""
    import torch

    from earmark.inference.classifier import Classifier

    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    classifiers = {kind: Classifier.from_pretrained(place, device="cpu") for kind, place in places.items()}
    clip = np.random.default_rng(0).normal(0, 0.1, round(WINDOW_S * SAMPLE_RATE)).astype(np.float32)
    times: dict[str, list[float]] = {kind: [] for kind in places}
    for _ in range(rounds):
        for kind, classifier in classifiers.items():
            time.sleep(REST_S)
            for _ in range(2):  # the first one wakes its threads
                classifier.score([clip])
            began = time.perf_counter()
            classifier.score([clip])
            times[kind].append(1e3 * (time.perf_counter() - began))
    return {kind: np.array(values) for kind, values in times.items()}


def measure_starts(places: dict[str, Path], sound: Path, starts: int) -> dict[str, np.ndarray]:
    """Seconds from start to answer."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times: dict[str, list[float]] = {kind: [] for kind in places}
    for number in range(starts + 1):
        for kind, place in places.items():
            began = time.perf_counter()
            subprocess.run([*COMMAND, str(place), str(sound)], check=True, stdout=subprocess.DEVNULL, env=environment)
            if number:  # the first one compiles modules and fills the file cache
                times[kind].append(time.perf_counter() - began)
    return {kind: np.array(values) for kind, values in times.items()}


def tell(what: str, times: dict[str, np.ndarray], unit: str, targets: dict[str, float]) -> list[Result]:
    """A row for each export: its times to those of torch."""
    return [
        Result(
            f"{what}, {'8 bits' if kind == 'int8' else 'ONNX'}",
            list(times[kind] / times["torch"]),
            "torch",
            at_most=targets.get(kind),
            figures=f"{np.median(times[kind]):.2f} and {np.median(times['torch']):.2f} {unit}",
        )
        for kind in times
        if kind != "torch"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--starts", type=int, default=7)
    add_record_option(parser)
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "clip.wav"
        noise = np.random.default_rng(1).normal(0, 0.1, round(WINDOW_S * SAMPLE_RATE))
        soundfile.write(sound, noise, SAMPLE_RATE)
        for name in RECIPES:
            places = write_models(name, Path(folder))
            for threads in (1, 2):
                times = measure_latency(places, arguments.rounds, threads)
                results += tell(
                    f"`{name}`, one clip of 5 s, threads: {threads}", times, "ms", {"onnx": 1.0, "int8": 1.0}
                )
            places.pop("int8")
            times = measure_starts(places, sound, arguments.starts)
            results += tell(f"`{name}`, start to first answer", times, "s", {"onnx": 0.5})
    publish("onnx_runtime", results, record=arguments.record)


if __name__ == "__main__":
    main()
