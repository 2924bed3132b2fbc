"""Claim: 1.5 times as many files a second as Transformers' own pipeline for ``cnn``, and 1.1 times for ``resnet18``.

    python benchmarks/predict.py [FOLDER] [--files 400] [--rounds 5] [--cores 2] [--record]

FOLDER holds sounds of five seconds; synthetic ones are made if it is not given. Both get the same files, the same model
with random weights, the same batch size and the same cores. The pipeline is the stock class, given arrays that
``librosa.load`` decoded and resampled; `Classifier.classify_files` decodes and resamples itself. The rounds alternate,
so that whatever else the machine does meets both.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bound import use_cores
from results import Result, add_record_option, publish

RATE_HZ = 32_000
WINDOW_S = 5.0
RECIPES = {"cnn": [], "resnet18": ["model.pretrained=false"]}
AT_LEAST = {"cnn": 1.5, "resnet18": 1.1}


def build(name: str) -> tuple[Any, Any]:
    """A recipe's model with random weights, and its feature extractor."""
    import torch

    from earmark.training.learners import build_learner
    from earmark.training.recipe import load_recipe

    torch.manual_seed(0)
    settings = [f"audio.sample_rate={RATE_HZ}", f"audio.window_s={WINDOW_S}", *RECIPES[name]]
    learner = build_learner(load_recipe(name, settings), tuple("abcdefghij"), multi_label=False)
    return learner.model.eval(), learner.extractor


def prepare_ours(name: str) -> Callable[[list[str]], np.ndarray]:
    """Files -> probabilities (files, classes), by `Classifier.classify_files`."""
    from earmark.inference.classifier import Classifier
    from earmark.inference.torch_network import TorchNetwork

    classifier = Classifier(TorchNetwork(*build(name), "cpu"))

    def answer(paths: list[str]) -> np.ndarray:
        return order_scores([answer.prediction for answer in classifier.classify_files(paths)])

    return answer


def prepare_stock(name: str) -> Callable[[list[str]], np.ndarray]:
    """The same by ``librosa.load`` and the pipeline class as Transformers ships it."""
    import librosa
    from transformers import AudioClassificationPipeline

    from earmark.inference.classifier import WINDOWS_AT_ONCE

    model, extractor = build(name)
    pipeline = AudioClassificationPipeline(model, feature_extractor=extractor, device="cpu")

    def answer(paths: list[str]) -> np.ndarray:
        sounds = (librosa.load(path, sr=RATE_HZ)[0] for path in paths)
        return order_scores(pipeline(sounds, batch_size=WINDOWS_AT_ONCE, top_k=None))

    return answer


def order_scores(predictions: Any) -> np.ndarray:
    """(files, classes), whatever order the labels came in."""
    return np.array([[e["score"] for e in sorted(row, key=lambda e: e["label"])] for row in predictions])


def compare(name: str, paths: list[str], rounds: int) -> Result:
    """One row: how many times as many files a second, and how far apart the answers are."""
    ours, stock = prepare_ours(name), prepare_stock(name)
    apart = np.abs(ours(paths[:64]) - stock(paths[:64])).max()  # also fills the caches
    ratios, rates = [], []
    for _ in range(rounds):
        seconds = []
        for answer in (ours, stock):
            began = time.perf_counter()
            answer(paths)
            seconds.append(time.perf_counter() - began)
        ratios.append(seconds[1] / seconds[0])
        rates.append([len(paths) / s for s in seconds])
    ours_rate, stock_rate = np.median(rates, axis=0)
    return Result(
        f"files a second, `{name}`",
        ratios,
        "librosa.load and transformers' pipeline",
        at_least=AT_LEAST[name],
        figures=f"{ours_rate:.0f} and {stock_rate:.0f} a second; answers at most {apart:.0e} apart",
    )


def find_sounds(folder: Path | None, scratch: str, files: int) -> list[str]:
    """The first files in a folder, or as many synthetic sounds."""
    from earmark.inference.listing import list_sounds
    from earmark.sound.synthesis import SOUND_NAMES, write_sounds

    if folder is None:
        clips = -(-files // len(SOUND_NAMES))
        folder = write_sounds(Path(scratch, "sounds"), clips_per_class=clips, duration_s=WINDOW_S, sample_rate=44_100)
    return list(list_sounds([str(folder)]))[:files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    add_record_option(parser)
    given = parser.parse_args()
    use_cores(given.cores)
    with tempfile.TemporaryDirectory() as scratch:
        paths = find_sounds(given.folder, scratch, given.files)
        results = [compare(name, paths, given.rounds) for name in RECIPES]
    publish("predict", results, record=given.record)


if __name__ == "__main__":
    main()
