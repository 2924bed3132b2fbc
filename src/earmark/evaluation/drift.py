"""Will it work on these recordings? An unlabelled folder against what a model learned from, in figures and words."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.data.layouts import read_clips
from earmark.data.tree import scan_tree
from earmark.errors import ClipsError, ModelError
from earmark.evaluation.drift_words import Difference, describe_spectrum, describe_traits, word_verdict
from earmark.evaluation.intervals import LEVEL, count_equal_units, estimate_interval
from earmark.evaluation.shortcuts import deal_folds
from earmark.evaluation.sound_sample import SoundSample, sample_clips, sample_files, unpack_sample
from earmark.progress import show_progress

MEMORY_FILE = "training_data.json"
FEWEST = 5
TREES = 100
REPEATS = 3  # ways to deal the folds
N_RESAMPLES = 500
LEAST_AUC = 0.6
"""A trait that tells two sets of recordings apart less well than this is not worth a word."""


@dataclass(frozen=True, eq=False)
class Drift:
    """How recordings differ from those that a model learned from.

    Attributes:
        recordings: How many of the folder were heard.
        reference: How many training clips they were held against.
        auc: How well a classifier tells the two apart: 0.5 not at all, 1 always; where there is nothing to tell, often
            less than 0.5, since what is held out is missing from the side that it is of.
        low: Lower end of its 95 % interval.
        high: Upper end.
        verdict: That in words.
        differences: Trait by trait, those that differ and those that do not.
        spectrum: Where the spectra differ most, in words; blank where they do not.
        unreadable: Path and reason of each recording that cannot be used.
    """

    recordings: int
    reference: int
    auc: float
    low: float
    high: float
    verdict: str
    differences: list[Difference]
    spectrum: str
    unreadable: list[tuple[str, str]]

    @property
    def sentences(self) -> list[str]:
        """In what the recordings differ, in words."""
        spectrum = [self.spectrum] if self.spectrum else []
        return [difference.sentence for difference in self.differences if difference.differs] + spectrum

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "recordings": self.recordings,
            "reference": self.reference,
            "auc": {"value": self.auc, "low": self.low, "high": self.high},
            "verdict": self.verdict,
            "differences": [difference._asdict() for difference in self.differences],
            "spectrum": self.spectrum,
            "unreadable": [{"path": path, "reason": reason} for path, reason in self.unreadable],
        }


def drift(reference: str | os.PathLike[str], folder: str | os.PathLike[str], *, seed: int = 0) -> Drift:
    """Hold a folder of recordings against the training data, without a single label.

    A classifier (random trees, cross-validated, one source on one side) is asked to tell the two apart by level, noise
    floor, bandwidth, duration, rate and the like, and by the shape of the spectrum whatever the level. What it tells
    apart may still be the same to the model, and other classes than in training differ rightly: this is a reason to
    check with a few labelled recordings, not a measure of accuracy.

    Args:
        reference: A model directory, a run or a Hub id of a model trained by Earmark: what it remembers of its
            training clips; or the clips themselves, in any layout that `read_clips` knows (a Hub dataset as
            ``hf://owner/name``).
        folder: Recordings as they are, at any depth. Of many, 512 are drawn; of long ones, the first minute is heard.
        seed: Of draw, folds, trees and bootstrap.

    Returns:
        The figures and the words.

    Raises:
        ModelError: a model that remembers nothing of its clips' sound; give the clips themselves.
        ClipsError: no such folder, or fewer than five recordings in it that can be read.

    Example:
        >>> found = drift("runs/latest", "my recordings")   # doctest: +SKIP
        >>> found.sentences                                 # doctest: +SKIP
        ['Your recordings are 14 dB quieter (median -38 against -24 dBFS).']

    Source:
        The classifier two-sample test: Lopez-Paz & Oquab (2017), Revisiting classifier two-sample tests.
    """
    paths = _find_recordings(Path(folder))
    known = _read_reference(os.fspath(reference), seed)
    with show_progress("Listening to the folder") as advance:
        found = sample_files(paths, seed=seed, on_progress=advance)
    for sample, place in ((found, folder), (known, reference)):
        if len(sample) < FEWEST:
            why = f"; the first fault: {sample.unreadable[0][1]}" if sample.unreadable else "."
            raise ClipsError(f"{place} has {len(sample)} recordings that can be read, and {FEWEST} are needed{why}")
    return compare_samples(found, known, seed=seed)


def compare_samples(found: SoundSample, known: SoundSample, *, seed: int = 0) -> Drift:
    """Hold one sample of recordings against another.

    Args:
        found: The recordings in question.
        known: The training clips.
        seed: Of folds, trees and bootstrap.
    """
    truth = np.repeat([1, 0], [len(found), len(known)])
    units = np.concatenate([found.units, known.units + found.units.max() + 1])
    with show_progress("Comparing", "rounds") as advance:
        scores = _tell_apart(_join(found, known), truth, units, seed, advance)
    auc, low, high = measure_auc(scores, truth, units, level=LEVEL, seed=seed)

    def score_trait(values: NDArray[np.floating], level: float) -> tuple[float, float, float]:
        return measure_auc(values, truth, units, level=level, seed=seed)

    return Drift(
        len(found),
        len(known),
        auc,
        low,
        high,
        word_verdict(auc, low, high),
        describe_traits(found.traits, known.traits, score_trait, least_auc=LEAST_AUC),
        describe_spectrum(found.spectra, known.spectra) if low > LEAST_AUC else "",
        found.unreadable,
    )


def measure_auc(
    scores: NDArray[np.floating],
    truth: NDArray[np.integer],
    units: NDArray[np.integer],
    *,
    level: float,
    seed: int,
) -> tuple[float, float, float]:
    """Area under the ROC curve, with its interval by a bootstrap over the units of either side.

    Args:
        scores: (recordings,), float.
        truth: (recordings,), 0 or 1.
        units: (recordings,), int; no unit lies on both sides.
        level: The confidence of the interval.
        seed: Of the bootstrap.

    Example:
        >>> measure_auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0, 0, 1, 1]), np.arange(4), level=0.95, seed=0)[0]
        0.875
    """
    random = np.random.default_rng(seed)
    weights = np.zeros((N_RESAMPLES + 1, len(truth)))
    weights[0] = 1.0
    for side in (0, 1):
        members = np.flatnonzero(truth == side)
        _, unit = np.unique(units[members], return_inverse=True)
        n_units = int(unit.max()) + 1
        drawn = random.multinomial(n_units, np.full(n_units, 1 / n_units), size=N_RESAMPLES)
        weights[1:, members] = drawn[:, unit]
    areas = _weigh_areas(scores, truth, weights)
    value = float(areas[0])
    size = min(count_equal_units(units[truth == side], int(np.sum(truth == side))) for side in (0, 1))
    if value in (0.0, 1.0):
        # No resample has a mistake either; so few units without one leave room for this share of them.
        bound = ((1 - level) / 2) ** (1 / size)
        return (value, bound, 1.0) if value else (value, 0.0, 1 - bound)
    return value, *estimate_interval(value, areas[1:], units=size, level=level)


def _weigh_areas(
    scores: NDArray[np.floating], truth: NDArray[np.integer], weights: NDArray[np.floating]
) -> NDArray[np.floating]:
    """The area under the curve for each row of weights; equal scores count half."""
    values, place = np.unique(scores, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(values)))
    of_ones, of_zeros = (np.add.reduceat((weights * (truth == side))[:, order], starts, axis=1) for side in (1, 0))
    below = np.cumsum(of_zeros, axis=1) - of_zeros / 2
    return (of_ones * below).sum(axis=1) / (of_ones.sum(axis=1) * of_zeros.sum(axis=1))


def _join(found: SoundSample, known: SoundSample) -> NDArray[np.floating]:
    """(recordings, features): the traits, and the spectra."""
    columns = [np.concatenate([found.traits[name], known.traits[name]]).round(2) for name in known.traits]
    return np.column_stack([*columns, np.concatenate([found.spectra, known.spectra])])


def _tell_apart(
    features: NDArray[np.floating],
    truth: NDArray[np.integer],
    units: NDArray[np.integer],
    seed: int,
    advance: Any,
) -> NDArray[np.floating]:
    """How much each recording looks like one of the folder's, to trees that have not seen its unit."""
    from sklearn.ensemble import ExtraTreesClassifier

    scores = np.zeros(len(truth))
    for repeat in range(REPEATS):
        folds = deal_folds(truth, units, seed + repeat)
        for fold in np.unique(folds):
            held_out = folds == fold
            trees = ExtraTreesClassifier(TREES, min_samples_leaf=2, class_weight="balanced", random_state=seed)
            trees.fit(features[~held_out], truth[~held_out])
            scores[held_out] += trees.predict_proba(features[held_out])[:, -1] / REPEATS
        advance(repeat + 1, REPEATS)
    return scores


def _find_recordings(folder: Path) -> Sequence[str]:
    if not folder.is_dir():
        raise ClipsError(f"{folder} is not a folder; give one with recordings like those that the model is to hear.")
    paths = [str(folder.joinpath(*parts)) for parts in scan_tree(folder).sounds]
    if not paths:
        raise ClipsError(f"The folder {folder} holds no sound files; give another.")
    return paths


def _read_reference(name: str, seed: int) -> SoundSample:
    """What a model remembers, or a sample of clips."""
    path = Path(name)
    is_model = any((place / "config.json").is_file() for place in (path, path / "model"))
    if is_model or not (path.exists() or name.startswith("hf://")):
        return _recall(name)
    with show_progress("Listening to the clips") as advance:
        return sample_clips(read_clips(name), seed=seed, on_progress=advance)


def _recall(name: str) -> SoundSample:
    from earmark.inference.classifier import find_model

    memory_file = Path(find_model(name)) / MEMORY_FILE
    try:
        memory = json.loads(memory_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        memory = {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{memory_file} cannot be read; give the training clips instead of the model.") from error
    if not isinstance(memory, dict) or not memory.get("sound"):
        raise ModelError(
            f"{name} does not remember how its training clips sounded, so only the clips themselves can be compared: "
            "give their folder or CSV in its place."
        )
    return unpack_sample(memory["sound"], name)
