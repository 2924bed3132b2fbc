"""Every recipe at full size: one optimisation step, how long it takes and the most memory the process ever held.

    python benchmarks/recipe_steps.py [RECIPE…]

Each recipe gets a process of its own and thirty-second sounds, as many as one step needs. Weights that come from the
Hub are random ones of the same form, so that nothing is downloaded: what a step costs does not depend on them.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

CLIP_S = 30.0
RATE_HZ = 22_050


def write_sounds(folder: Path, clips: int) -> None:
    """Two classes of synthetic sound, ``clips`` in all and two more to be tested on."""
    from earmark.sound.synthesis import synthesise

    for number in range(clips + 2):
        name = ("rain", "bell")[number % 2]
        path = folder / name / f"{number:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, synthesise(name, seed=number, duration_s=CLIP_S, sample_rate=RATE_HZ), RATE_HZ)


def write_distilhubert(folder: Path) -> None:
    """An encoder of distilhubert's form with random weights, and its feature extractor."""
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    HubertModel(HubertConfig(num_hidden_layers=2)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=False, do_normalize=True).save_pretrained(folder)


def measure_step(name: str) -> None:
    """Train one step of the recipe and print what it took; for a process of its own."""
    import numpy as np

    from earmark.data.layouts import read_clips
    from earmark.data.waveforms import load_waveforms
    from earmark.training.build import fit_window, settle_rate
    from earmark.training.fit import encode_clips, fit_model
    from earmark.training.learners import build_learner
    from earmark.training.recipe import load_recipe

    with tempfile.TemporaryDirectory() as scratch:
        overrides = ["train.max_steps=1", "train.select=last"]
        if load_recipe(name).brings_features:
            write_distilhubert(Path(scratch) / "distilhubert")
            overrides.append(f'model.name="{scratch}/distilhubert"')
        recipe = load_recipe(name, overrides)
        needed = recipe.train.batch_size * recipe.train.accumulate
        write_sounds(Path(scratch) / "sounds", needed)
        clips = read_clips(Path(scratch) / "sounds")
        recipe = settle_rate(recipe, clips)
        assert isinstance(recipe.audio.sample_rate, int)
        waveforms = load_waveforms(clips, sample_rate=recipe.audio.sample_rate)
        recipe = fit_window(recipe, waveforms)
        learner = build_learner(recipe, clips.labels, multi_label=False)
        encoded = encode_clips(learner, waveforms) if learner.encodes_once else None
        began = time.perf_counter()
        nobody = np.array([], dtype=int)
        fit_model(
            learner, waveforms, recipe, train_rows=np.arange(needed), validation_rows=nobody, seed=0, encoded=encoded
        )
        step_s = time.perf_counter() - began
    parameters = sum(parameter.numel() for parameter in learner.model.parameters()) / 1e6
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    window_s = learner.window / learner.extractor.sampling_rate
    print(f"| `{name}` | {parameters:.2f} | {needed} x {window_s:g} s | {step_s:.1f} | {peak_gb:.1f} |", flush=True)


def main() -> None:
    """One row a recipe."""
    from earmark.training.recipe import list_recipes

    if sys.argv[1:2] == ["--one"]:
        measure_step(sys.argv[2])
        return
    print(
        "| recipe | parameters, millions | clips a step | step, s | peak memory, GiB |\n| --- | --- | --- | --- | --- |"
    )
    for name in sys.argv[1:] or list_recipes():
        with tempfile.TemporaryDirectory() as cache:
            done = subprocess.run(
                [sys.executable, __file__, "--one", name],
                env={**os.environ, "EARMARK_CACHE": cache, "HF_HUB_OFFLINE": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
        print(done.stdout.strip() or f"| `{name}` | did not end: exit {done.returncode} |", flush=True)


if __name__ == "__main__":
    main()
