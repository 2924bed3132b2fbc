"""Claim: the shortcut probe fires where the class stands in the sample rate or the loudness, and nowhere else.

Synthetic sets of two classes and of ten, whose sounds say nothing of the class: every clip is a take of a sound drawn
at random. In one kind of set the class decides the sample rate (of half of the clips, so that it is a hint and no
proof), in one the level (6 dB between neighbouring classes, with a deviation of 3 dB within each; "faint": 3 dB), in
the clean one nothing. A second clean kind keeps the sounds of their classes, ten families as `earmark demo` has them,
at levels drawn at random: there, only content differs.

Usage: python benchmarks/shortcuts.py [--seeds 5] [--clips 30]     (clips a class)
"""

import argparse
from collections import Counter
from collections.abc import Callable

import numpy as np

from earmark.evaluation.shortcuts import SHORTCUT_NAMES, probe_shortcuts
from earmark.sound.synthesis import SOUND_NAMES, synthesise
from earmark.sound.traits import SoundTraits, measure_traits

RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
USUAL_RATE = 22_050
LEVEL_DB, SPREAD_DB, STEP_DB = -45.0, 3.0, 6.0

Kind = Callable[[int, int, np.random.Generator], tuple[str | None, int, float]]


def encode_nothing(one: int, n_classes: int, rng: np.random.Generator) -> tuple[str | None, int, float]:
    """Sound (``None``: any), rate in Hz and level in dBFS of a clip of class ``one``."""
    return None, USUAL_RATE, rng.normal(LEVEL_DB, SPREAD_DB)


def encode_rate(one: int, n_classes: int, rng: np.random.Generator) -> tuple[str | None, int, float]:
    told = rng.random() < 0.5
    rate = RATES[one] if told else int(rng.choice(RATES[:n_classes]))
    return None, rate, rng.normal(LEVEL_DB, SPREAD_DB)


def encode_loudness(one: int, n_classes: int, rng: np.random.Generator) -> tuple[str | None, int, float]:
    return None, USUAL_RATE, rng.normal(LEVEL_DB + STEP_DB * (one - n_classes / 2), SPREAD_DB)


def encode_loudness_faintly(one: int, n_classes: int, rng: np.random.Generator) -> tuple[str | None, int, float]:
    return None, USUAL_RATE, rng.normal(LEVEL_DB + STEP_DB / 2 * (one - n_classes / 2), SPREAD_DB)


def encode_content(one: int, n_classes: int, rng: np.random.Generator) -> tuple[str | None, int, float]:
    return SOUND_NAMES[one], USUAL_RATE, rng.normal(LEVEL_DB, SPREAD_DB)


KINDS: dict[str, Kind] = {
    "sample rate": encode_rate,
    "loudness": encode_loudness,
    "loudness, faint": encode_loudness_faintly,
    "clean": encode_nothing,
    "clean, real classes": encode_content,
}


def make_set(kind: Kind, n_classes: int, clips: int, seed: int) -> tuple[list[SoundTraits], list[str]]:
    """Traits and labels of a synthetic set."""
    rng = np.random.default_rng(seed)
    traits, labels = [], []
    for one in range(n_classes):
        for take in range(clips):
            name, rate, level_db = kind(one, n_classes, rng)
            name = name or str(rng.choice(SOUND_NAMES))
            take_seed = (seed * n_classes + one) * clips + take
            waveform = synthesise(name, seed=take_seed, duration_s=1.0, sample_rate=rate)
            waveform *= 10 ** (level_db / 20) / np.sqrt(np.mean(waveform**2))
            # As 16-bit files hold it.
            traits.append(measure_traits(np.round(waveform * 32_768) / 32_768, rate, codec="pcm_16"))
            labels.append(f"class {one}")
    return traits, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=30)
    options = parser.parse_args()
    print(f"How many of {options.seeds} sets each guess fires on, and its mean accuracy; {options.clips} clips a class")
    print(f"{'class stands in':<20} {'classes':>7}  " + "".join(f"{name:>16}" for name in SHORTCUT_NAMES[1:]))
    for title, kind in KINDS.items():
        for n_classes in (2, 10):
            fired: Counter[str] = Counter()
            scores: Counter[str] = Counter()
            for seed in range(options.seeds):
                for found in probe_shortcuts(*make_set(kind, n_classes, options.clips, seed), seed=seed):
                    fired[found.name] += found.fires
                    scores[found.name] += found.accuracy / options.seeds
            cells = (f"{fired[name]} ({scores[name]:.0%})" for name in SHORTCUT_NAMES[1:])
            print(f"{title:<20} {n_classes:>7}  " + "".join(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
