"""Claim: a training epoch after the first takes little more than the bare loop on tensors already in memory.

    python benchmarks/epoch.py [SOUNDS] [--rounds 5] [--epochs 3] [--clips 320] [--cores 2] [--recipes …] [--record]

Ours is `fit_model` as ``earmark train`` calls it, with its augmentation, records and checkpoints; the first epoch is
left out. The bare loop is the same network in the same precision and memory layout with the same optimiser class at
the same batch size: forward, loss, backward, step. It has two floors for networks over spectrograms: waveforms in
memory through the whole model, front end included, and features in memory through the network alone. The clips of
recipes without augmentation are encoded before training begins; there the two are one.

Rounds alternate, so that whatever else the machine does meets all. Validation is off in both: no recipe's loop differs
in it. Without SOUNDS, synthetic ones of five seconds are written to a temporary folder.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bound import use_cores
from results import Result, add_record_option, publish

TARGETS = {"cnn": 1.15, "resnet18": 1.15, "mfcc-mlp": 2.0, "quick": 2.0}
ENCODED_FACTOR = 10  # epochs of a few milliseconds are measured by the dozen


@dataclass
class Setting:
    """A recipe settled for some clips."""

    recipe: Any
    waveforms: Any
    rows: np.ndarray

    def build(self) -> Any:
        """A learner with fresh weights."""
        from transformers import set_seed

        from earmark.training.learners import build_learner

        set_seed(0)
        return build_learner(self.recipe, self.waveforms.clips.labels, multi_label=False)


def settle(name: str, sounds: str, clips: int) -> Setting:
    """The recipe with its rate and window, and ``clips`` decoded clips to learn from, every class alike."""
    from earmark.data.layouts import read_clips
    from earmark.data.waveforms import load_waveforms
    from earmark.training.build import fit_window, settle_rate
    from earmark.training.recipe import load_recipe

    given = ["train.select=last"] + (["model.pretrained=false"] if name == "resnet18" else [])
    found = read_clips(sounds)
    recipe = settle_rate(load_recipe(name, given), found)
    assert isinstance(recipe.audio.sample_rate, int)
    waveforms = load_waveforms(found, sample_rate=recipe.audio.sample_rate)
    rows = np.sort(np.random.default_rng(0).permutation(len(waveforms))[:clips])
    return Setting(fit_window(recipe, waveforms), waveforms, rows)


def train_ours(setting: Setting, encoded: Any, epochs: int) -> list[float]:
    """Seconds of each epoch after the first."""
    from dataclasses import replace

    from earmark.training.fit import fit_model

    recipe = replace(setting.recipe, train=replace(setting.recipe.train, epochs=epochs + 1))
    ends: list[float] = []
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder, redirect_stderr(io.StringIO()):
        fit_model(
            setting.build(),
            setting.waveforms,
            recipe,
            train_rows=setting.rows,
            validation_rows=np.array([], dtype=int),
            seed=0,
            encoded=encoded,
            folder=Path(folder),
            on_record=lambda _: ends.append(time.perf_counter()),
        )
    return np.diff(ends).tolist()


def deal(tensors: tuple[Any, ...], size: int) -> list[tuple[Any, ...]]:
    """Batches, ready in memory."""
    return list(zip(*(tensor.split(size) for tensor in tensors), strict=True))


def train_bare(setting: Setting, learner: Any, epochs: int, forward: Callable[..., Any], batches: list) -> list[float]:
    """Seconds of each epoch after the first of the plainest loop there is."""
    import torch

    from earmark.inference.device import choose_device
    from earmark.training.choices import choose_precision

    train = setting.recipe.train
    bf16 = choose_precision(setting.recipe, choose_device()) == "bf16"
    weights = learner.model.train().parameters()
    optimizer = torch.optim.AdamW(weights, lr=train.learning_rate, weight_decay=train.weight_decay, fused=True)
    seconds = []
    for _ in range(epochs + 1):
        began = time.perf_counter()
        for *inputs, targets in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = forward(*inputs)
            loss = torch.nn.functional.cross_entropy(logits.float(), targets, label_smoothing=train.label_smoothing)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def train_on_waveforms(setting: Setting, epochs: int) -> list[float]:
    """The bare loop over waveforms in memory, whole windows, through the whole model."""
    import torch

    learner = setting.build()
    model = learner.trained()
    model.disturb = torch.nn.Identity()
    heard = [setting.waveforms.read(int(row), 0, learner.window) for row in setting.rows]
    batch = learner.collate([{"waveform": sound, "target": np.zeros(1)} for sound in heard])
    targets = torch.from_numpy(setting.waveforms.targets()[setting.rows])
    batches = deal((batch["input_values"], targets), setting.recipe.train.batch_size)
    return train_bare(setting, learner, epochs, lambda waveforms: model(waveforms).logits, batches)


def train_on_features(setting: Setting, encoded: Any, epochs: int) -> list[float]:
    """The bare loop over features in memory, through the network alone."""
    import torch

    from earmark.models.front_ends import Encoded
    from earmark.training.fit import encode_clips

    learner = setting.build()
    learner.trained()
    learner.model.disturb = torch.nn.Identity()
    kept = encoded or encode_clips(learner, setting.waveforms)
    learner.begin(setting.waveforms, setting.rows, kept, 0)
    first = kept.first[setting.rows]
    features, frames = kept.encoded.features[first], kept.encoded.frames[first]
    targets = torch.from_numpy(setting.waveforms.targets()[setting.rows])
    batches = deal((features, frames, targets), setting.recipe.train.batch_size)
    return train_bare(setting, learner, epochs, lambda *inputs: learner.head(Encoded(*inputs)), batches)


def compare(name: str, sounds: str, *, rounds: int, epochs: int, clips: int) -> list[Result]:
    """For each floor, how many times as long ours takes; the first is what the target is about."""
    import torch

    from earmark.training.fit import encode_clips

    setting = settle(name, sounds, clips)
    learner = setting.build()
    encoded = encode_clips(learner, setting.waveforms) if learner.encodes_once else None
    sides: dict[str, Callable[[], list[float]]] = {"ours": lambda: train_ours(setting, encoded, epochs)}
    if encoded is not None:
        epochs *= ENCODED_FACTOR
    else:
        sides["waveforms in memory, whole model"] = lambda: train_on_waveforms(setting, epochs)
    sides["features in memory, network alone"] = lambda: train_on_features(setting, encoded, epochs)
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            threads = torch.get_num_threads()
            if encoded is not None:
                torch.set_num_threads(1)  # as `fit_model` does: two gain nothing on steps so short
            taken[side].append(float(np.median(run())))
            torch.set_num_threads(threads)
    ours, *floors = sides
    return [
        Result(
            f"a training epoch of `{name}` after the first, to the bare loop",
            [mine / bare for mine, bare in zip(taken[ours], taken[floor], strict=True)],
            f"the bare loop, {floor}",
            at_most=TARGETS[name] if floor == floors[0] else None,
            figures=f"{1e3 * np.median(taken[ours]):.0f} and {1e3 * np.median(taken[floor]):.0f} ms, "
            f"{len(setting.rows)} clips in batches of {setting.recipe.train.batch_size}",
        )
        for floor in floors
    ]


def find_sounds(given: str | None, scratch: str) -> str:
    """What was given, or synthetic sounds."""
    from earmark.sound.synthesis import write_sounds

    if given is not None:
        return given
    return str(write_sounds(Path(scratch) / "sounds", clips_per_class=32, duration_s=5.0, sample_rate=32_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="?", help="A folder of class folders, or a CSV.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--clips", type=int, default=320)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--recipes", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    add_record_option(parser)
    given = parser.parse_args()
    use_cores(given.cores)
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as scratch:
        os.environ.setdefault("EARMARK_CACHE", scratch)
        sounds = find_sounds(given.sounds, scratch)
        sizes = {"rounds": given.rounds, "epochs": given.epochs, "clips": given.clips}
        found = [result for name in given.recipes for result in compare(name, sounds, **sizes)]
    publish("epoch", found, record=given.record)


if __name__ == "__main__":
    main()
