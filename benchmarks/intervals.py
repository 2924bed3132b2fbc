"""Claim: the 95 % interval of `score_predictions` holds the truth in 92 to 98 of 100 cases where clips come in groups.

Simulated: every group (a recording, a speaker) has an accuracy of its own, drawn from a beta distribution, so that its
clips stand and fall together; the accuracy over all groups is known. The interval is made

- groups: by Earmark, told of the groups;
- clips: by Earmark, not told of them, as most toolkits do;
- percentile: from the percentiles of the same bootstrap over groups, the textbook's first interval.

Also told is the macro-F1, whose true value is the same, since classes are alike. The last rows are beyond the claim:
few groups, so unlike each other, that hardly one of them is wrong at all.

Usage: python benchmarks/intervals.py [--repetitions 500]
"""

import argparse
from typing import NamedTuple

import numpy as np

from earmark.evaluation.metrics import score_predictions

CLASSES = 5
LABELS = [f"class {i}" for i in range(CLASSES)]
BAND = (0.92, 0.98)


class Setting(NamedTuple):
    """How the groups are: how many, how good on average, how alike their clips, how large."""

    groups: int
    accuracy: float
    correlation: float
    sizes: str

    def draw_sizes(self, random: np.random.Generator) -> np.ndarray:
        if self.sizes == "small":
            return random.integers(1, 6, self.groups)
        if self.sizes == "equal":
            return np.full(self.groups, 8)
        return np.clip(random.lognormal(np.log(15), 0.7, self.groups).round(), 2, 80).astype(int)


SHAPES = (("small", 0.3), ("equal", 0.2), ("uneven", 0.1))
CLAIMED = [
    Setting(groups, accuracy, correlation, sizes)
    for groups in (50, 100, 300)
    for accuracy in (0.7, 0.85, 0.95)
    for sizes, correlation in SHAPES
]
BEYOND = [Setting(groups, 0.95, 0.3, "uneven") for groups in (50, 100, 300)]


def draw(setting: Setting, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, guess and group of each clip; each class is as frequent as the others and as hard."""
    sizes = setting.draw_sizes(random)
    spread = (1 - setting.correlation) / setting.correlation
    right_share = random.beta(setting.accuracy * spread, (1 - setting.accuracy) * spread, setting.groups)
    group = np.repeat(np.arange(setting.groups), sizes)
    truth = random.integers(0, CLASSES, len(group))
    right = random.random(len(group)) < right_share[group]
    guess = np.where(right, truth, (truth + random.integers(1, CLASSES, len(group))) % CLASSES)
    return truth, guess, group


def take_percentiles(right: np.ndarray, group: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    """The percentile interval of the accuracy, from 1,000 resamples of the groups."""
    sizes, hits = np.bincount(group), np.bincount(group, weights=right)
    drawn = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), 1000)
    low, high = np.percentile(drawn @ hits / (drawn @ sizes), [2.5, 97.5])
    return float(low), float(high)


def measure(setting: Setting, repetitions: int) -> dict[str, float]:
    """How often each interval holds the truth, and how wide the one of groups is."""
    random = np.random.default_rng(0)
    held = dict.fromkeys(("groups", "clips", "percentile", "macro_f1"), 0)
    width = 0.0
    for repetition in range(repetitions):
        truth, guess, group = draw(setting, random)
        certain = np.eye(CLASSES)[guess]
        by_group = score_predictions(LABELS, truth, certain, groups=group, seed=repetition)
        by_clip = score_predictions(LABELS, truth, certain, seed=repetition)["accuracy"]
        low, high = take_percentiles(truth == guess, group, random)
        held["percentile"] += low <= setting.accuracy <= high
        held["clips"] += by_clip["low"] <= setting.accuracy <= by_clip["high"]
        held["groups"] += by_group["accuracy"]["low"] <= setting.accuracy <= by_group["accuracy"]["high"]
        # Classes are alike, and mistakes fall on all others alike: the F1 of many clips is the accuracy.
        held["macro_f1"] += by_group["macro_f1"]["low"] <= setting.accuracy <= by_group["macro_f1"]["high"]
        width += by_group["accuracy"]["high"] - by_group["accuracy"]["low"]
    return {name: count / repetitions for name, count in held.items()} | {"width": width / repetitions}


def main() -> None:
    """Print a row a setting, and whether the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=500)
    repetitions = parser.parse_args().repetitions
    print("| groups | accuracy | sizes | correlation | Earmark | macro-F1 | percentile | clips | mean width |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    outside = 0
    for setting in [*CLAIMED, *BEYOND]:
        row = measure(setting, repetitions)
        shares = [f"{row[name]:.1%}" for name in ("groups", "macro_f1", "percentile", "clips", "width")]
        head = [str(setting.groups), f"{setting.accuracy:.0%}", setting.sizes, f"{setting.correlation:g}"]
        print(f"| {' | '.join(head + shares)} |", flush=True)
        outside += setting in CLAIMED and not BAND[0] <= row["groups"] <= BAND[1]
    print(f"{len(CLAIMED) - outside} of {len(CLAIMED)} claimed settings between {BAND[0]:.0%} and {BAND[1]:.0%}.")


if __name__ == "__main__":
    main()
