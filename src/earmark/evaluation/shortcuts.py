"""Guesses at the class from what a recording is like, without hearing what it is of.

Where one of them beats always guessing the commonest class, a network may learn it in place of the sound, and be lost
on recordings made in another way.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.intervals import count_equal_units, estimate_interval
from earmark.evaluation.metrics import assign_units
from earmark.sound.traits import SoundTraits

FOLDS = 5
CONFIDENCE = 0.95
REPEATS = 5  # ways to deal the folds: on chance alone, one of them can score well
RESAMPLES_A_REPEAT = 200
_FEWEST_IN_LEAF = 3

_READ: dict[str, Callable[[SoundTraits], Any]] = {
    "duration": lambda traits: np.log(traits.duration_s),
    "sample rate": lambda traits: float(traits.sample_rate),
    "loudness": lambda traits: traits.level_db,
    "silence ratio": lambda traits: traits.silence_share,
    "bandwidth": lambda traits: traits.bandwidth_hz,
    "codec": lambda traits: (traits.codec, traits.bit_depth or 0),
    "channels": lambda traits: float(traits.channels),
}
SHORTCUT_NAMES = ("majority", *_READ)
"""All that is guessed from, in this order."""

_REMEDIES = {
    "duration": "cut or choose clips of all classes to the same lengths",
    "sample rate": "record all classes at one rate, or resample all to the lowest before training",
    "loudness": "bring all clips to one level, or train with random gains",
    "silence ratio": "trim the silence off all clips, or pad all classes alike",
    "bandwidth": "cut all clips to the narrowest band before training",
    "codec": "record all classes in one format",
    "channels": "record all classes with the same number of channels",
}


@dataclass(frozen=True)
class Shortcut:
    """What guessing from one trait scores.

    Attributes:
        name: One of ``SHORTCUT_NAMES``.
        accuracy: Share of the clips whose class is guessed, in [0, 1], cross-validated.
        low: Lower end of its interval.
        high: Upper end. The intervals of all traits hold together with 95 %: each alone is wider than that.
        chance: Share of the commonest class.
        fires: The whole interval lies above chance.
        sentence: That in words, with the remedy where it fires.
    """

    name: str
    accuracy: float
    low: float
    high: float
    chance: float
    fires: bool
    sentence: str


def probe_shortcuts(
    traits: Sequence[SoundTraits | None],
    labels: Sequence[str],
    groups: Sequence[Any] | None = None,
    seed: int = 0,
) -> list[Shortcut]:
    """Guess every clip's class from one trait at a time, by a small decision tree trained on the other folds.

    Five folds, with the same share of every class, and whole groups on one side where they are known; dealt in five
    ways. The interval is a bootstrap over groups, or over clips; several traits are tested at once, so it is widened
    until all of them hold together with 95 % (Bonferroni). Classes may differ in a trait by nature: rain does last,
    thunder is loud. The figure says that the trait tells, not that it is wrong to.

    Args:
        traits: One a clip; clips without (``None``: not decodable) are left out.
        labels: The class of each clip.
        groups: The recording, speaker or track of each clip; one that is missing is a group of its own.
        seed: Of folds, trees and bootstrap.

    Returns:
        One a name in ``SHORTCUT_NAMES``, in that order; none at all with fewer than two classes,
        two clips of a class, or two groups.

    Example:
        >>> from earmark.sound.traits import measure_traits
        >>> noise = np.random.default_rng(0).standard_normal((60, 4000)) / 10
        >>> traits = [measure_traits(wave * (1 if row % 2 else 0.1), 8_000) for row, wave in enumerate(noise)]
        >>> found = probe_shortcuts(traits, ["dog", "rain"] * 30)
        >>> [shortcut.name for shortcut in found if shortcut.fires]
        ['loudness']

    Source:
        Geirhos et al. (2020), Shortcut learning in deep neural networks.
    """
    import pandas as pd

    heard = [row for row, one in enumerate(traits) if one is not None]
    truth, names = pd.factorize(np.array([labels[row] for row in heard], dtype=object))
    if len(names) < 2 or np.bincount(truth).max() < 2:
        return []
    kept_groups = None if groups is None else np.array([groups[row] for row in heard], dtype=object)
    units, _ = assign_units(len(heard), kept_groups)
    if units is not None and len(set(units.tolist())) < 2:
        return []
    known = [one for one in traits if one is not None]
    columns = {name: _encode([read(one) for one in known]) for name, read in _READ.items()}
    support = np.bincount(truth)
    varying = [name for name, column in columns.items() if np.ptp(column) > 0]
    always = truth == support.argmax()
    hits = np.repeat(always[None, :, None], 1 + len(varying), axis=2).repeat(REPEATS, axis=0)
    for repeat in range(REPEATS):
        folds = deal_folds(truth, units, seed + repeat)
        for place, name in enumerate(varying, start=1):
            hits[repeat, :, place] = _guess(columns[name], truth, folds, seed) == truth
    level = 1 - (1 - CONFIDENCE) / max(1, len(varying))
    scores = dict(zip(("majority", *varying), _bootstrap(hits, units, level=level, seed=seed), strict=True))
    chance = float(support.max() / len(truth))
    return [
        _describe(name, *scores.get(name, scores["majority"]), chance, varies=name in scores) for name in SHORTCUT_NAMES
    ]


def deal_folds(truth: NDArray[np.integer], units: NDArray[np.integer] | None, seed: int) -> NDArray[np.integer]:
    """The fold of each clip: classes spread evenly, clips of one unit together.

    Example:
        >>> np.bincount(deal_folds(np.array([0, 1] * 10), None, seed=0)).tolist()
        [4, 4, 4, 4, 4]
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    sizes = [len(np.unique(units[truth == one])) if units is not None else np.sum(truth == one) for one in set(truth)]
    n_splits = int(np.clip(max(sizes), 2, FOLDS))
    splitter = (StratifiedKFold if units is None else StratifiedGroupKFold)(n_splits, shuffle=True, random_state=seed)
    folds = np.zeros(len(truth), dtype=np.int64)
    with warnings.catch_warnings():
        # A class with fewer clips than folds is missing from some of them; its guesses are wrong there, rightly.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(truth, truth, units)):
            folds[held_out] = fold
    return folds


def _encode(values: list[Any]) -> NDArray[np.floating]:
    """Numbers as they are; names as numbers, in their order."""
    if isinstance(values[0], float):
        return np.array(values)
    places = {value: place for place, value in enumerate(sorted(set(values)))}
    return np.array([float(places[value]) for value in values])


def _guess(
    column: NDArray[np.floating], truth: NDArray[np.integer], folds: NDArray[np.integer], seed: int
) -> NDArray[np.integer]:
    """The class that a tree grown on the other folds gives each clip."""
    from sklearn.tree import DecisionTreeClassifier

    guess = np.empty_like(truth)
    leaves = 2 * (int(truth.max()) + 1)
    for fold in np.unique(folds):
        held_out = folds == fold
        tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=_FEWEST_IN_LEAF, random_state=seed)
        tree.fit(column[~held_out, None], truth[~held_out])
        guess[held_out] = tree.predict(column[held_out, None])
    return guess


def _bootstrap(
    hits: NDArray[np.bool_], units: NDArray[np.integer] | None, *, level: float, seed: int
) -> list[tuple[float, float, float]]:
    """Accuracy of each of the (repeats, clips, guesses), with its interval: whole units are drawn with replacement.

    Each resample sees one way to deal the folds, so that the interval knows how much of the score is that.
    """
    size = count_equal_units(units, hits.shape[1])
    units = np.arange(hits.shape[1]) if units is None else units
    n_units = int(units.max()) + 1
    random = np.random.default_rng(seed)
    drawn = []
    for repeat in hits:
        sums = np.zeros((n_units, hits.shape[2] + 1))
        np.add.at(sums, units, np.column_stack([repeat, np.ones(len(repeat))]))
        times_drawn = random.multinomial(n_units, np.full(n_units, 1 / n_units), size=RESAMPLES_A_REPEAT)
        totals = times_drawn @ sums
        drawn.append(totals[:, :-1] / totals[:, -1:])
    means, drawn_means = hits.mean(axis=(0, 1)), np.concatenate(drawn)
    return [(float(mean), *_bound(float(mean), drawn_means[:, place], size, level)) for place, mean in enumerate(means)]


def _bound(value: float, drawn: NDArray[np.floating], size: float, level: float) -> tuple[float, float]:
    if value == 1.0:
        # No resample has a mistake in it either; that many units without one leave room for this share of them.
        return ((1 - level) / 2) ** (1 / size), 1.0
    return estimate_interval(value, drawn, units=size, level=level)


def _describe(name: str, accuracy: float, low: float, high: float, chance: float, *, varies: bool) -> Shortcut:
    fires = name != "majority" and low > chance
    if name == "majority":
        sentence = f"Always guessing the commonest class scores {accuracy:.0%}."
    elif not varies:
        sentence = f"All clips have the same {name}."
    elif fires:
        sentence = (
            f"The {name} alone gives away the class of {accuracy:.0%} of the clips ({low:.0%} to {high:.0%}), where "
            f"chance is {chance:.0%}. Is that so by nature? If not, {_REMEDIES[name]}."
        )
    else:
        sentence = f"The {name} alone scores {accuracy:.0%} ({low:.0%} to {high:.0%}), where chance is {chance:.0%}."
    return Shortcut(name, accuracy, low, high, chance, fires, sentence)
