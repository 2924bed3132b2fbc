"""What each ingredient of a recipe is worth, on inner validation folds: no tested fold is ever asked about.

For every outer fold the next one validates and the other three are learnt from; the last epoch counts. A variant is the
recipe with one thing changed. Its row gives accuracy and NLL over all validating folds, how far both are from those of
the recipe as it is, with 95 % intervals paired by clip, and the minutes of training.

Usage: python benchmarks/ablation.py SOUNDS [--recipe cnn] [--set train.epochs=40] [--folds 1 2 3] [--seeds 0]
       [--variant "no mixing: augment.mix=0"] … [--log ablation.jsonl]

Without ``--variant`` those of VARIANTS are taken. Trainings that the log holds, with the same settings on a folder of
the same name, are not repeated.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import set_seed

from earmark.data.layouts import read_clips
from earmark.data.splits import split_clips
from earmark.data.waveforms import load_waveforms
from earmark.evaluation.evaluate import ask_model
from earmark.inference.classifier import Classifier
from earmark.inference.torch_network import TorchNetwork
from earmark.training.build import fit_window, settle_rate
from earmark.training.fit import fit_model
from earmark.training.learners import build_learner
from earmark.training.recipe import load_recipe, to_tables

AS_IT_IS = "as it is"
VARIANTS = [
    "no masks: augment.mask_time_s=0 augment.mask_mels=0",
    "no filter: augment.spectrogram_filter=0",
    "no gain: augment.gain_db=0",
    "no roll: augment.roll=false",
    "none mixed: augment.mix=0",
    "all mixed: augment.mix=1",
    "masks of twice the size: augment.mask_time_s=0.4 augment.mask_mels=12",
    "filter 0.6: augment.spectrogram_filter=0.6",
    "speed 0.25: augment.speed=0.25",
    "label smoothing 0.1: train.label_smoothing=0.1",
    "averaged weights, 0.99: train.average=0.99",
    "weight decay 0.1: train.weight_decay=0.1",
    "dropout 0.5: model.dropout=0.5",
    "half the rate, 1.5e-3: train.learning_rate=1.5e-3",
    "half the widths: model.widths=[8,16,32,64,128]",
    "128 mels: front_end.n_mels=128",
    "hop of 10 ms: front_end.hop_length=320",
]


def validate(sounds: str, recipe_name: str, overrides: list[str], fold: int, seed: int) -> dict[str, Any]:
    """One training: what the model says about the validating fold."""
    clips = read_clips(sounds)
    recipe = settle_rate(load_recipe(recipe_name, overrides), clips)
    assert isinstance(recipe.audio.sample_rate, int)
    waveforms = load_waveforms(clips, sample_rate=recipe.audio.sample_rate)
    recipe = fit_window(replace(recipe, train=replace(recipe.train, select="last")), waveforms)
    split = split_clips(waveforms.clips, validation=True, test_fold=fold, seed=seed)
    set_seed(seed)  # the weights to begin with, too
    learner = build_learner(recipe, waveforms.clips.labels, multi_label=False)
    began = time.perf_counter()
    fit_model(
        learner,
        waveforms,
        recipe,
        train_rows=split.rows("train"),
        validation_rows=np.array([], dtype=int),
        seed=seed,
        title=f"fold {fold}, seed {seed}",
    )
    seconds = time.perf_counter() - began
    rows = split.rows("validation")
    classifier = Classifier(TorchNetwork(learner.model.float(), learner.extractor))
    probabilities = ask_model(classifier, waveforms, rows).probabilities()
    truth = waveforms.targets()[rows].argmax(1)
    given = probabilities[np.arange(len(rows)), truth]
    return {
        "clips": waveforms.clips.table["path"].iloc[rows].map(lambda path: Path(path).name).tolist(),
        "right": (probabilities.argmax(1) == truth).astype(int).tolist(),
        "nll": (-np.log(np.maximum(given, 1e-7))).round(4).tolist(),
        "minutes": round(seconds / 60, 2),
    }


def collect(arguments: argparse.Namespace, log: Path, name: str, overrides: list[str]) -> dict[str, np.ndarray]:
    """A variant over all folds, from the log where it stands there; of a clip the mean over the seeds."""
    settings = to_tables(load_recipe(arguments.recipe, overrides))
    of = {"sounds": Path(arguments.sounds).name, "settings": {**settings, "name": "", "description": ""}}
    kept = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    found = []
    for seed in arguments.seeds:
        for fold in arguments.folds:
            key = {**of, "fold": fold, "seed": seed}
            told = next((one for one in kept if all(one.get(part) == value for part, value in key.items())), None)
            if told is None:
                told = {**key, "name": name, **validate(arguments.sounds, arguments.recipe, overrides, fold, seed)}
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(told, ensure_ascii=False) + "\n")
            found.append(told)
    clips = {part: np.concatenate([one[part] for one in found]) for part in ("right", "nll")}
    means = {part: values.reshape(len(arguments.seeds), -1).mean(0) for part, values in clips.items()}
    return {**means, "minutes": np.array([one["minutes"] for one in found])}


def describe_difference(these: np.ndarray, those: np.ndarray, *, decimals: int) -> str:
    """The difference with its 95 % interval, paired by clip."""
    differences = these - those
    half = 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
    return f"{differences.mean():+.{decimals}f} ± {half:.{decimals}f}"


def main() -> None:
    """One row a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds")
    parser.add_argument("--recipe", default="cnn")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variant", action="append", default=[])
    parser.add_argument("--log", type=Path, default=Path("ablation.jsonl"))
    arguments = parser.parse_args()
    asked = f"{arguments.recipe} {' '.join(arguments.overrides)}"
    print(f"| {asked} | accuracy | difference, points | NLL | difference | minutes |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    base = collect(arguments, arguments.log, AS_IT_IS, arguments.overrides)
    print(_write_row(AS_IT_IS, base, None), flush=True)
    for variant in arguments.variant or VARIANTS:
        name, changes = variant.split(": ")
        found = collect(arguments, arguments.log, name, [*arguments.overrides, *changes.split()])
        print(_write_row(name, found, base), flush=True)


def _write_row(name: str, found: dict[str, np.ndarray], base: dict[str, np.ndarray] | None) -> str:
    points = describe_difference(100 * found["right"], 100 * base["right"], decimals=1) if base else "–"
    nll = describe_difference(found["nll"], base["nll"], decimals=3) if base else "–"
    figures = [
        f"{found['right'].mean():.1%}",
        points,
        f"{found['nll'].mean():.3f}",
        nll,
        f"{found['minutes'].sum():.0f}",
    ]
    return f"| {' | '.join([name, *figures])} |"


if __name__ == "__main__":
    main()
