"""Labels that are likely wrong: clips that a quick model, trained without them, takes for another class.

Confident learning: the model's answers, class by class, tell how many labels are likely wrong; the clips to whose label
it gives the least come first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
FEWEST_UNITS = 3  # of a class: groups, or clips that are of none
# Logistic regression; stronger or weaker shrinkage finds fewer flipped labels, and so do SVMs: benchmarks/label_faults.
SHRINKAGE_C = 0.01
BLATANT = 3.0  # another class is that many times as likely as the label


class Suspect(NamedTuple):
    """A clip whose label is likely wrong."""

    row: int
    label: str
    suggested: str
    confidence: float
    """What the model gives to the label, 0 to 1; the suspects stand in this order."""
    suggested_confidence: float


@dataclass(frozen=True)
class LabelFaults:
    """The suspects, the likeliest first.

    Attributes:
        suspects: As many as confident learning takes for wrong, and clips that are blatantly of another class.
        checked: How many clips were looked at.
        accuracy: How many of them the quick model takes for what their label says, 0 to 1; NaN if none was looked at.
        sentence: What was done, and what could not be looked at and why.
    """

    suspects: list[Suspect]
    checked: int
    accuracy: float
    sentence: str


def find_label_faults(
    features: Sequence[NDArray[np.floating] | None],
    labels: Sequence[str],
    *,
    groups: Sequence[Hashable | None] | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> LabelFaults:
    """Find labels that are likely wrong.

    Args:
        features: One vector a clip, such as `earmark.evaluation.examination.measure_features` gives; ``None`` for a
            clip that cannot be heard.
        labels: (clips,), one label each.
        groups: (clips,), what must not be split: a clip is judged by a model that heard nothing of its group, or its
            copies would confirm its label. ``None`` for a clip that is a group of its own.
        seed: Of the dealing into five folds.
        on_progress: Called with (folds done, folds).

    Returns:
        The suspects and a sentence. Where nothing can be looked at (too few clips, no cleanlab installed), no suspect
        and the reason.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> labels = ["cat"] * 30 + ["dog"] * 30
        >>> features = [generator.normal(3.0 * (label == "dog"), 1.0, 8) for label in labels]
        >>> labels[7] = "dog"
        >>> [(suspect.row, suspect.suggested) for suspect in find_label_faults(features, labels).suspects]
        [(7, 'cat')]

    Source:
        Northcutt, C., Jiang, L., & Chuang, I. (2021). Confident learning: estimating uncertainty in dataset labels.
        Journal of Artificial Intelligence Research 70; cleanlab's count of issues, ranked by self-confidence.
    """
    if find_spec("cleanlab") is None:
        why = 'Wrong labels were not looked for: that needs cleanlab. Install it: pip install "earmark[audit]".'
        return LabelFaults([], 0, np.nan, why)
    names, truth = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    units = _number_units(groups, len(truth))
    rows, left_out = _choose_rows(features, truth, units, names)
    if len(set(truth[rows].tolist())) < 2:
        why = (
            f"Wrong labels were not looked for: that needs two classes with {FEWEST_UNITS} clips each that are not "
            "of one group."
        )
        return LabelFaults([], 0, np.nan, why)
    vectors = np.stack([features[row] for row in rows]).astype(np.float64)
    classes, known = np.unique(truth[rows], return_inverse=True)
    probabilities = _predict_unheard(vectors, known, units[rows], seed, on_progress)
    judged = np.isfinite(probabilities).all(axis=1)
    rows, known, probabilities = rows[judged], known[judged], probabilities[judged]
    suspects = [
        Suspect(
            row=int(rows[place]),
            label=str(names[classes[known[place]]]),
            suggested=str(names[classes[probabilities[place].argmax()]]),
            confidence=float(probabilities[place, known[place]]),
            suggested_confidence=float(probabilities[place].max()),
        )
        for place in _rank_issues(known, probabilities)
    ]
    accuracy = float(np.mean(probabilities.argmax(axis=1) == known))
    return LabelFaults(suspects, len(rows), accuracy, _tell(len(rows), accuracy, groups is not None, left_out))


def _number_units(groups: Sequence[Hashable | None] | None, clips: int) -> NDArray[np.integer]:
    """The group of each clip as a number; one without a group is a group of its own."""
    if groups is None:
        return np.arange(clips)
    numbers: dict[Hashable, int] = {}
    return np.array(
        [numbers.setdefault((row,) if group is None else group, len(numbers)) for row, group in _told(groups)]
    )


def _told(groups: Sequence[Hashable | None]) -> list[tuple[int, Hashable | None]]:
    """Rows with their groups; a blank cell of a table, NaN, is none."""
    return [(row, None if group != group else group) for row, group in enumerate(groups)]


def _choose_rows(
    features: Sequence[NDArray | None], truth: NDArray[np.integer], units: NDArray[np.integer], names: NDArray
) -> tuple[NDArray[np.integer], list[str]]:
    """The clips that can be judged, and the classes that are too small."""
    heard = np.array([feature is not None for feature in features])
    small = [
        position
        for position in range(len(names))
        if len(set(units[heard & (truth == position)].tolist())) < FEWEST_UNITS
    ]
    return np.flatnonzero(heard & ~np.isin(truth, small)), [str(names[position]) for position in small]


def _predict_unheard(
    vectors: NDArray[np.floating],
    truth: NDArray[np.integer],
    units: NDArray[np.integer],
    seed: int,
    on_progress: Callable[[int, int], None] | None,
) -> NDArray[np.floating]:
    """(clips, classes), what a model that heard nothing of a clip's group gives; NaN where it never heard its class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    folds = min(FOLDS, len(set(units.tolist())), int(np.bincount(truth).max()))
    probabilities = np.zeros((len(truth), truth.max() + 1))
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer clips than folds
        dealt = list(dealer.split(vectors, truth, units))
    for done, (heard, unheard) in enumerate(dealt, start=1):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=SHRINKAGE_C, max_iter=300))
        taught = np.unique(truth[heard])
        if len(taught) > 1:
            with threadpool_limits(1):  # threads wait for each other longer than such matrices take
                model.fit(vectors[heard], truth[heard])
                probabilities[np.ix_(unheard, taught)] = model.predict_proba(vectors[unheard])
        probabilities[unheard[~np.isin(truth[unheard], taught) | (len(taught) < 2)]] = np.nan
        if on_progress is not None:
            on_progress(done, folds)
    return probabilities


def _rank_issues(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> NDArray[np.integer]:
    """Positions of the clips to listen to, those to whose label the model gives the least first.

    Confident learning counts a clip where another class is given more than its own clips are on average. Where classes
    are easily told apart hardly any clip is, so what is blatant counts as well.
    """
    from cleanlab.filter import find_label_issues

    if not len(truth):
        return np.zeros(0, dtype=int)
    confidence = probabilities[np.arange(len(truth)), truth]
    counted = find_label_issues(truth, probabilities, filter_by="low_self_confidence", n_jobs=1)
    found = np.flatnonzero(counted | (probabilities.max(axis=1) >= BLATANT * confidence))
    return found[np.argsort(confidence[found], kind="stable")]


def _tell(clips: int, accuracy: float, grouped: bool, left_out: Sequence[str]) -> str:
    apart = ", groups and copies kept apart" if grouped else ""
    told = (
        f"Each of {clips:,} clips was judged by a quick model that had not heard it{apart}; "
        f"it agrees with {accuracy:.0%} of the labels."
    )
    if left_out:
        shown = ", ".join(left_out[:5]) + (f" and {len(left_out) - 5} more" if len(left_out) > 5 else "")
        told += f" Classes with fewer than {FEWEST_UNITS} clips or groups were left out: {shown}."
    return told
