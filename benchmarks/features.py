"""Claim: a first pass (decode, resample, store, features) costs little more than its floor.

In one run, on one core, over the same files, several rounds in turn:

- floor: libsndfile reads, soxr resamples, one FFT pass over the frames; nothing is kept.
- earmark: a fresh store is filled and the recipe's front end run over every clip.
- librosa: ``librosa.load`` and ``librosa.feature.mfcc``, as the tutorials do.

Usage: python benchmarks/features.py [SOUNDS] [--rounds 3]     (a folder or manifest; synthetic sounds if none is given)
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

# One core: read by OpenMP and MKL when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

import librosa
import numpy as np
import soundfile
import soxr
import torch

from earmark.data.layouts import read_clips
from earmark.data.store import Store
from earmark.data.waveforms import load_waveforms
from earmark.sound.synthesis import write_sounds
from earmark.training.build import build_model, fit_window
from earmark.training.fit import encode_clips
from earmark.training.recipe import Recipe, load_recipe


def read_floor(paths: list[str], recipe: Recipe) -> None:
    """What nobody can do without: read, resample, one FFT pass."""
    window = torch.hann_window(recipe.front_end.n_fft)
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32")
        if samples.ndim > 1:
            samples = samples.mean(1)
        if rate != recipe.audio.sample_rate:
            samples = soxr.resample(samples, rate, recipe.audio.sample_rate, quality="HQ")
        torch.stft(
            torch.from_numpy(samples),
            recipe.front_end.n_fft,
            recipe.front_end.hop_length,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )


def run_earmark(clips, recipe: Recipe) -> None:
    """A first pass with an empty store."""
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as cache:
        os.environ["EARMARK_CACHE"] = cache
        Store(recipe.audio.sample_rate).prepare(clips.table["path"].tolist(), workers=1)
        waveforms = load_waveforms(clips, sample_rate=recipe.audio.sample_rate)
        assert waveforms.decoded == 0, "the second look decodes nothing"
        settled = fit_window(recipe, waveforms)
        encode_clips(build_model(settled, clips.labels, multi_label=False), waveforms)


def run_librosa(paths: list[str]) -> None:
    """The way of the tutorials."""
    for path in paths:
        samples, rate = librosa.load(path)
        librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=40).mean(1)


def convert_to_wav(paths: list[str], folder: Path) -> None:
    """The same sounds as 16-bit WAV, in the same class folders."""
    for path in map(Path, paths):
        target = folder / path.parent.name / f"{path.stem}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(path, dtype="float32")
        soundfile.write(target, samples, rate)


def time_in_turn(steps: dict, rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, round by round in turn, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def compare(title: str, clips, rounds: int) -> None:
    """One table row a recipe: ratios to the floor and to librosa, median and spread over the rounds."""
    paths = clips.table["path"].tolist()
    for name in ("quick", "mfcc-mlp"):
        recipe = load_recipe(name)
        steps = {
            "floor": lambda recipe=recipe: read_floor(paths, recipe),
            "earmark": lambda recipe=recipe: run_earmark(clips, recipe),
            "librosa": lambda: run_librosa(paths),
        }
        seconds = time_in_turn(steps, rounds)
        to_floor = np.array(seconds["earmark"]) / np.array(seconds["floor"])
        to_librosa = np.array(seconds["librosa"]) / np.array(seconds["earmark"])
        each_ms = {key: 1000 * float(np.median(values)) / len(paths) for key, values in seconds.items()}
        print(
            f"{title:<5} {name:<9} earmark/floor {np.median(to_floor):.2f} ({to_floor.min():.2f} to "
            f"{to_floor.max():.2f})   librosa/earmark {np.median(to_librosa):.2f} ({to_librosa.min():.2f} to "
            f"{to_librosa.max():.2f})   ms a clip: " + ", ".join(f"{key} {value:.2f}" for key, value in each_ms.items())
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sounds = options.sounds or str(write_sounds(Path(folder) / "synthetic"))
        clips = read_clips(sounds)
        kind = Path(clips.table["path"].iloc[0]).suffix.lstrip(".")
        print(f"{len(clips)} clips from {Path(sounds).name}, one core, {options.rounds} rounds", file=sys.stderr)
        compare(kind, clips, options.rounds)
        if kind != "wav":
            convert_to_wav(clips.table["path"].tolist(), Path(folder) / "wav")
            compare("wav", read_clips(Path(folder) / "wav"), options.rounds)


if __name__ == "__main__":
    main()
