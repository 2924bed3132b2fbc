"""Claims: on one core, a first pass over compressed files (decode, resample, store, features) takes at most 1.15 times
as long as its floor; on two cores it is 1.8 times as fast.

In one run, over the same sounds as Ogg Vorbis, MP3 and 16-bit WAV, several rounds in turn:

- floor: libsndfile reads, soxr resamples, one FFT pass over the frames; nothing is kept.
- earmark: a fresh store is filled and the recipe's front end run over every clip.
- librosa: ``librosa.load`` and ``librosa.feature.mfcc``, as the tutorials do.
- torchaudio: soundfile, ``torchaudio.transforms.Resample`` and ``MelSpectrogram`` with the recipe's settings. It is in
  no lock: its last release does not import beside torch 2.15, nor do Transformers' audio models where it is installed.
- transformers: ``librosa.load`` at 16 kHz and ``ASTFeatureExtractor``, over every tenth clip, since it takes long.

Usage: python benchmarks/features.py [SOUNDS] [--rounds 5] [--record]      (synthetic sounds if none are given)
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read when torch is imported. Nothing else is imported up here, as each decoding process imports this script again.
os.environ["OMP_NUM_THREADS"] = "1"

KINDS = ("ogg", "mp3", "wav")
COMPRESSED = ("ogg", "mp3")
RECIPES = {"quick": ["audio.sample_rate=32000"], "mfcc-mlp": []}
MOST_CORES = 2
SPARSE = 10
CLIP_S = 5.0


def read_floor(paths: list[str], recipe: Any) -> None:
    """What nobody can do without: read, resample, one FFT pass."""
    import soundfile
    import soxr
    import torch

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


def run_earmark(clips: Any, recipe: Any, cores: int = 1) -> None:
    """A first pass with an empty store."""
    from earmark.data.store import Store
    from earmark.data.waveforms import load_waveforms
    from earmark.training.build import fit_window
    from earmark.training.fit import encode_clips
    from earmark.training.learners import build_learner

    Store(recipe.audio.sample_rate).prepare(clips.table["path"].tolist(), workers=cores)
    waveforms = load_waveforms(clips, sample_rate=recipe.audio.sample_rate)
    assert waveforms.decoded == 0, "the second look decodes nothing"
    encode_clips(build_learner(fit_window(recipe, waveforms), clips.labels, multi_label=False), waveforms)


def run_librosa(paths: list[str], recipe: Any) -> None:
    """The way of the tutorials."""
    import librosa

    for path in paths:
        samples, rate = librosa.load(path)
        librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=40).mean(1)


def run_torchaudio(paths: list[str], recipe: Any) -> None:
    """Its resampler and mel spectrogram; it decodes nothing itself any more."""
    import soundfile
    import torch
    import torchaudio

    rate_hz, front_end = recipe.audio.sample_rate, recipe.front_end
    mel = torchaudio.transforms.MelSpectrogram(
        rate_hz, front_end.n_fft, hop_length=front_end.hop_length, n_mels=front_end.n_mels
    )
    resamplers: dict[int, Any] = {}
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate not in resamplers:
            resamplers[rate] = torchaudio.transforms.Resample(rate, rate_hz)
        mel(resamplers[rate](torch.from_numpy(samples.mean(1))))


def run_transformers(paths: list[str], recipe: Any) -> None:
    """What an AST is fed with."""
    import librosa
    from transformers import ASTFeatureExtractor

    extractor = ASTFeatureExtractor()
    for path in paths[::SPARSE]:
        samples, rate = librosa.load(path, sr=extractor.sampling_rate)
        extractor(samples, sampling_rate=rate, return_tensors="pt")


PEERS = {"librosa": run_librosa, "torchaudio": run_torchaudio, "transformers": run_transformers}


def convert(paths: list[str], folder: Path, kind: str) -> Path:
    """The same sounds as another kind of file, in the same class folders."""
    import soundfile

    for path in map(Path, paths):
        target = folder / path.parent.name / f"{path.stem}.{kind}"
        target.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(path, dtype="float32")
        soundfile.write(target, samples, rate)
    return folder


def time_in_turn(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, Any]:
    """Seconds of each step, round by round in turn, each with an empty store, after a round that is not counted."""
    import numpy as np

    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            with tempfile.TemporaryDirectory() as cache:
                os.environ["EARMARK_CACHE"] = cache
                began = time.perf_counter()
                step()
                took_s = time.perf_counter() - began
            if number:
                seconds[name].append(took_s)
    return {name: np.array(values) for name, values in seconds.items()}


def find_why_not(peer: Callable[[list[str], Any], None], paths: list[str], recipe: Any) -> str:
    """Why a peer cannot be had here; blank if it can."""
    try:
        peer(paths[:1], recipe)
    except Exception as fault:  # a broken installation fails in any way it likes
        return " ".join(str(fault).split("\n")[0].split()[:12])
    return ""


def compare(kind: str, clips: Any, recipe_name: str, rounds: int) -> list[Any]:
    """Rows: to the floor, and for the first recipe the peers to us."""
    import numpy as np

    from earmark.training.recipe import load_recipe
    from results import Result

    recipe = load_recipe(recipe_name, RECIPES[recipe_name])
    paths = clips.table["path"].tolist()
    peers = PEERS if recipe_name == next(iter(RECIPES)) else {}
    reasons = {name: find_why_not(peer, paths, recipe) for name, peer in peers.items()}
    steps: dict[str, Callable[[], None]] = {
        "floor": lambda: read_floor(paths, recipe),
        "earmark": lambda: run_earmark(clips, recipe),
    }
    steps |= {name: lambda peer=peer: peer(paths, recipe) for name, peer in peers.items() if not reasons[name]}
    each_ms = {name: 1000 * seconds / len(paths) for name, seconds in time_in_turn(steps, rounds).items()}
    if "transformers" in each_ms:
        each_ms["transformers"] *= len(paths) / len(paths[::SPARSE])
    claim, ours_ms = f"first pass over {kind}, `{recipe_name}`", each_ms.pop("earmark")
    floor_ms = each_ms.pop("floor")
    rows = [
        Result(
            f"{claim}, one core, to its floor",
            list(ours_ms / floor_ms),
            "libsndfile + soxr + one FFT pass",
            at_most=1.15 if kind in COMPRESSED else None,
            figures=f"{np.median(ours_ms):.2f} and {np.median(floor_ms):.2f} ms a clip",
        )
    ]
    for name, reason in reasons.items():
        ratios = [] if reason else list(each_ms[name] / ours_ms)
        figures = f"not here: {reason}" if reason else f"{np.median(ours_ms):.2f} and {np.median(each_ms[name]):.2f} ms"
        rows.append(Result(f"{claim}, one core, times as fast as {name}", ratios, name, figures=figures))
    return rows


def compare_cores(kind: str, clips: Any, recipe_name: str, rounds: int, cores: list[int]) -> Any:
    """A row: how many times as fast on two cores as on one."""
    import numpy as np
    import torch

    from earmark.training.recipe import load_recipe
    from results import Result

    recipe = load_recipe(recipe_name, RECIPES[recipe_name])
    claim = f"first pass over {kind}, `{recipe_name}`, {MOST_CORES} cores to one"
    if len(cores) < MOST_CORES:
        return Result(claim, [], "itself on one core", at_least=1.8, figures="not here: one core is free")

    def run_on(count: int) -> None:
        os.sched_setaffinity(0, cores[:count])
        torch.set_num_threads(count)
        run_earmark(clips, recipe, count)

    seconds = time_in_turn({"two": lambda: run_on(MOST_CORES), "one": lambda: run_on(1)}, rounds)
    figures = f"{np.median(seconds['two']):.2f} and {np.median(seconds['one']):.2f} s, {len(clips)} clips"
    return Result(claim, list(seconds["one"] / seconds["two"]), "itself on one core", at_least=1.8, figures=figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    from results import add_record_option, publish

    add_record_option(parser)
    given = parser.parse_args()
    import torch

    from earmark.data.layouts import read_clips
    from earmark.sound.synthesis import write_sounds

    cores = sorted(os.sched_getaffinity(0))[:MOST_CORES] if hasattr(os, "sched_getaffinity") else []
    torch.set_num_threads(1)
    results = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = folder / "synthetic"
        sounds = given.sounds or write_sounds(made, clips_per_class=40, duration_s=CLIP_S, sample_rate=44_100)
        clips = read_clips(sounds)
        paths = clips.table["path"].tolist()
        for kind in given.kinds:
            own = all(path.endswith(f".{kind}") for path in paths)
            these = clips if own else read_clips(convert(paths, folder / kind, kind))
            if cores:
                os.sched_setaffinity(0, cores[-1:])
            for name in RECIPES:
                results += compare(kind, these, name, given.rounds)
            results.append(compare_cores(kind, these, next(iter(RECIPES)), given.rounds, cores))
    publish("features", results, record=given.record)


if __name__ == "__main__":
    main()
