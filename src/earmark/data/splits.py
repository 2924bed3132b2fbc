"""Who learns, who chooses, who is asked at the end: train, validation and test, and the folds of a cross-validation.

A published split or fold stands as it is. Where there is none, clips are dealt out by class, and whole groups
(recordings, speakers, tracks) stay on one side.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from earmark.data.clips import Clips
from earmark.errors import ClipsError

TEST_FOLDS = 5  # one fifth is tested
VALIDATION_FOLDS = 6  # and a sixth of the rest chooses


@dataclass(frozen=True)
class Split:
    """The part each clip plays, and a sentence that says how it was dealt.

    Args:
        parts: One of ``"train"``, ``"validation"``, ``"test"`` a clip, in the order of the table.
        protocol: One sentence for the report.
    """

    parts: np.ndarray
    protocol: str

    def rows(self, part: str) -> np.ndarray:
        """Positions in the table of the clips that play ``part``."""
        return np.flatnonzero(self.parts == part)


def split_clips(clips: Clips, *, validation: bool, test_fold: int | None = None, seed: int = 0) -> Split:
    """Deal clips into train, test and, if asked for, validation.

    Args:
        clips: The labelled clips.
        validation: Whether a validation part is needed (a model is chosen on it).
        test_fold: The published fold to test on; the first one if the table has folds and none is named.
        seed: Decides the random part where nothing is published.

    Raises:
        ClipsError: a fold that does not exist, a class too small to be dealt out, groups that cannot be kept apart.

    Example:
        >>> table = pd.DataFrame({"path": [f"{i}.wav" for i in range(20)], "label": ["cat", "dog"] * 10})
        >>> clips = Clips(table=table, labels=("cat", "dog"), multi_label=False, source="", layout="", passed_over={})
        >>> pd.Series(split_clips(clips, validation=True).parts).value_counts().to_dict()
        {'train': 12, 'test': 4, 'validation': 4}
    """
    table = clips.table
    if _is_published(table, "fold"):
        return _split_by_fold(table, validation=validation, test_fold=test_fold)
    if test_fold is not None:
        raise ClipsError("--test-fold needs clips with folds; add a `fold` column to the CSV, or leave the option out.")
    if _is_published(table, "split") and (table["split"] != "train").any():
        return _split_as_published(table, validation=validation, seed=seed)
    parts = np.full(len(table), "train", dtype=object)
    parts[_hold_out(table, np.arange(len(table)), TEST_FOLDS, seed, "test")] = "test"
    protocol = f"No split is published for these clips: a random fifth of each class{_kept(table)} is the test set"
    if validation:
        _carve_validation(table, parts, seed)
        return Split(parts, f"{protocol}, a sixth of the rest the validation set (seed {seed}).")
    return Split(parts, f"{protocol} (seed {seed}); no clip is spent on validation.")


def _is_published(table: pd.DataFrame, column: str) -> bool:
    """Whether every clip has its ``fold`` or ``split``; one that only some have says too little, and too much."""
    if column not in table or table[column].isna().all():
        return False
    if blank := int(table[column].isna().sum()):
        raise ClipsError(
            f"{blank} of {len(table)} clips have no {column}; fill in the rest of the {column} column, or delete it."
        )
    return True


def _kept(table: pd.DataFrame) -> str:
    return ", whole groups together," if "group" in table else ""


def _split_by_fold(table: pd.DataFrame, *, validation: bool, test_fold: int | None) -> Split:
    folds = sorted(int(fold) for fold in table["fold"].unique())
    if len(folds) < 2 + validation:
        raise ClipsError(f"The fold column holds {len(folds)} fold(s); {2 + validation} are needed.")
    test = folds[0] if test_fold is None else test_fold
    if test not in folds:
        raise ClipsError(f"There is no fold {test}; the folds are {', '.join(map(str, folds))}.")
    fold_of = table["fold"].to_numpy(dtype=int)
    parts = np.where(fold_of == test, "test", "train").astype(object)
    if not validation:
        return Split(parts, f"Published folds: fold {test} is the test set, the others train; none is for validation.")
    chooser = folds[(folds.index(test) + 1) % len(folds)]
    parts[fold_of == chooser] = "validation"
    return Split(parts, f"Published folds: fold {test} is the test set, fold {chooser} validates, the others train.")


def _split_as_published(table: pd.DataFrame, *, validation: bool, seed: int) -> Split:
    parts = table["split"].to_numpy(dtype=object).copy()
    if not (parts == "train").any():
        raise ClipsError("The split column names no clip for training; give some the word `train`.")
    name = "Published split"
    if not (parts == "test").any():
        # Two parts only: what was set aside is asked at the end, and nothing may be chosen on it.
        parts[parts == "validation"] = "test"
        name = "Published split without a test part: what it calls validation is the test set"
    published = (parts == "validation").any()
    if validation and not published:
        _carve_validation(table, parts, seed)
        return Split(parts, f"{name}; a sixth of its training part{_kept(table)} validates (seed {seed}).")
    if published and not validation:
        parts[parts == "validation"] = "train"
        return Split(parts, "Published split; its validation part trains too, since nothing is chosen on it.")
    return Split(parts, f"{name}.")


def _carve_validation(table: pd.DataFrame, parts: np.ndarray, seed: int) -> None:
    rest = np.flatnonzero(parts == "train")
    parts[_hold_out(table, rest, VALIDATION_FOLDS, seed, "validation")] = "validation"


def _hold_out(table: pd.DataFrame, rows: np.ndarray, folds: int, seed: int, purpose: str) -> np.ndarray:
    """One fold's worth of ``rows``: of every class a share, at least one clip, and whole groups."""
    labels = table["label"].to_numpy()[rows]
    if "group" in table:
        return rows[_hold_out_groups(labels, name_groups(table)[rows], folds, seed, purpose)]
    held = []
    generator = np.random.default_rng(seed)
    for label in sorted(set(labels)):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) < 2:
            raise ClipsError(
                f"Class {label!r} has too few clips to set any aside for {purpose}; record more of it, or leave it out."
            )
        held.append(members[: max(1, round(len(members) / folds))])
    return rows[np.sort(np.concatenate(held))]


def _hold_out_groups(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int, purpose: str) -> np.ndarray:
    """The first of the dealt folds without which every class can still be learned."""
    fold_of = _deal_groups(labels, groups, folds, seed)
    for fold in sorted(set(fold_of.tolist())):
        held = fold_of == fold
        if set(labels[~held]) == set(labels):
            return held
    few = min(set(labels), key=lambda label: (len(set(groups[labels == label])), label))
    raise ClipsError(
        f"Class {few!r} has too few groups to set any aside for {purpose}; record more of it, or leave it out."
    )


def name_groups(table: pd.DataFrame) -> np.ndarray:
    """The group of each clip; one that is not told is a group of its own."""
    groups = table["group"].astype(object)
    alone = pd.Series([f"\0{row}" for row in range(len(table))], index=table.index)
    return groups.where(groups.notna(), alone).to_numpy()


def _deal_groups(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    distinct = len(set(groups))
    most = int(np.unique(labels, return_counts=True)[1].max())  # scikit-learn refuses more folds than that
    if distinct < 2:
        raise ClipsError("All clips are of one group, so no part can be set aside; give the clips their own groups.")
    if most < 2:
        raise ClipsError("No class has two clips to divide, so no part can be set aside; record more of each.")
    fold_of = np.empty(len(labels), dtype=int)
    dealer = StratifiedGroupKFold(n_splits=min(folds, distinct, most), shuffle=True, random_state=seed)
    # scikit-learn warns where a class has fewer clips than folds; the figures per class show it better.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, members) in enumerate(dealer.split(labels, labels, groups)):
            fold_of[members] = fold
    return fold_of


def deal_folds(clips: Clips, *, folds: int = 5, seed: int = 0) -> tuple[np.ndarray, str]:
    """The fold of each clip for a cross-validation, and a sentence that says where the folds come from.

    Args:
        clips: The labelled clips; a complete ``fold`` column stands as published.
        folds: How many to deal where none are published.
        seed: Decides the dealing.

    Raises:
        ClipsError: a class or a number of groups too small for so many folds.
    """
    table = clips.table
    if _is_published(table, "fold"):
        published = table["fold"].to_numpy(dtype=int)
        if len(set(published)) < 2:
            raise ClipsError("The fold column holds a single fold; two are needed to test one against the other.")
        return published, f"The {len(set(published))} published folds"
    labels = table["label"].to_numpy()
    if "group" in table:
        fold_of = _deal_groups(labels, name_groups(table), folds, seed) + 1
        return fold_of, f"{len(set(fold_of))} folds dealt by class with whole groups together (seed {seed})"
    fold_of = np.empty(len(labels), dtype=int)
    generator = np.random.default_rng(seed)
    for label in sorted(set(labels)):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) < folds:
            raise ClipsError(f"Class {label!r} has {len(members)} clips, fewer than the {folds} folds; ask for fewer.")
        fold_of[members] = np.arange(len(members)) % folds + 1
    return fold_of, f"{folds} folds dealt by class (seed {seed})"
