"""Who learns, who chooses, who is asked at the end: train, validation and test, and the folds of a cross-validation.

A published split or fold stands as it is. Where there is none, clips are dealt out by class, and whole groups
(recordings, speakers, tracks) stay on one side.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from earmark.data.clips import Clips, split_labels
from earmark.data.strata import deal_strata, hold_out_strata
from earmark.errors import ClipsError

TEST_FOLDS = 5  # one fifth is tested
VALIDATION_FOLDS = 6  # and a sixth of the rest chooses

How = Literal["official", "random"]

_PUBLISHED_SPLITS = {
    "GTZAN": "GTZAN's published fault-filtered split",
    "Speech Commands": "Speech Commands' published lists",
}
_PUBLISHED_FOLDS = ("UrbanSound8K", "ESC-50", "ESC-10")


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


def split_clips(
    clips: Clips, *, validation: bool, test_fold: int | None = None, seed: int = 0, how: How = "official"
) -> Split:
    """Deal clips into train, test and, if asked for, validation.

    Clips whose ``split`` is ``unused`` take no part, unless the split is random.

    Args:
        clips: The labelled clips.
        validation: Whether a validation part is needed (a model is chosen on it).
        test_fold: The published fold to test on; the first one if the table has folds and none is named.
        seed: Decides the random part where nothing is published.
        how: ``"official"`` takes what is published, else keeps groups together; ``"random"`` deals all clips by class
            and ignores folds, groups and published splits, as tutorials do: clips of one recording may be on two sides.

    Raises:
        ClipsError: a fold that does not exist, a class too small to be dealt out, groups that cannot be kept apart.

    Example:
        >>> table = pd.DataFrame({"path": [f"{i}.wav" for i in range(20)], "label": ["cat", "dog"] * 10})
        >>> clips = Clips(table=table, labels=("cat", "dog"), multi_label=False, source="", layout="", passed_over={})
        >>> pd.Series(split_clips(clips, validation=True).parts).value_counts().to_dict()
        {'train': 14, 'test': 4, 'validation': 2}
    """
    if how not in get_args(How):
        raise ClipsError(f"There is no split {how!r}; choose {' or '.join(get_args(How))}.")
    if how == "random":
        return _split_at_random(clips, validation=validation, test_fold=test_fold, seed=seed)
    table = clips.table
    if _is_published(table, "fold"):
        return _split_by_fold(clips, validation=validation, test_fold=test_fold)
    if test_fold is not None:
        raise ClipsError("--test-fold needs clips with folds; add a `fold` column to the CSV, or leave the option out.")
    if _is_published(table, "split") and table["split"].isin(["validation", "test"]).any():
        return _split_as_published(clips, validation=validation, seed=seed)
    origin = "No split is published for these clips"
    if clips.layout == "FSDD":
        origin = "FSDD's speakers are kept apart, unlike in its own split"
    return _deal_parts(clips, origin, f"each class{_kept(table)}", validation=validation, seed=seed)


def is_official(clips: Clips, *, crossval: bool = False) -> bool:
    """Whether the parts that clips are dealt into are those which a known dataset's makers, or its critics, published.

    Args:
        clips: The labelled clips.
        crossval: They are dealt into folds, not into train and test.

    Example:
        >>> table = pd.DataFrame({"path": ["a", "b"], "label": ["cat", "dog"], "split": ["train", "test"]})
        >>> is_official(Clips(table, ("cat", "dog"), False, "", "Speech Commands"))
        True
    """
    return clips.layout in _PUBLISHED_FOLDS or (not crossval and clips.layout in _PUBLISHED_SPLITS)


def drop_unused(clips: Clips) -> Clips:
    """The clips without those that a published split leaves ``unused``, as a cross-validation takes them.

    Raises:
        ClipsError: none are left.

    Example:
        >>> table = pd.DataFrame({"path": ["a", "b"], "label": ["cat", "dog"], "split": ["train", "unused"]})
        >>> drop_unused(Clips(table, ("cat", "dog"), False, "", "")).labels
        ('cat',)
    """
    unused = _find_unused(clips.table)
    if not unused.any():
        return clips
    if unused.all():
        raise ClipsError(f"All clips of {clips.source} are marked unused; mark some train and test instead.")
    table = clips.table[~unused].reset_index(drop=True)
    labels = {label for cell in table["label"] for label in split_labels(cell, multi_label=clips.multi_label)}
    return replace(clips, table=table, labels=tuple(sorted(labels)))


def _find_unused(table: pd.DataFrame) -> np.ndarray:
    return (table["split"] == "unused").to_numpy(dtype=bool) if "split" in table else np.zeros(len(table), dtype=bool)


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


def _split_at_random(clips: Clips, *, validation: bool, test_fold: int | None, seed: int) -> Split:
    if test_fold is not None:
        raise ClipsError("A random split knows no folds; leave out --test-fold, or --split random.")
    bare = replace(clips, table=clips.table.drop(columns=["fold", "group", "split"], errors="ignore"))
    split = _deal_parts(bare, "Split at random, as tutorials do", "each class", validation=validation, seed=seed)
    ignored = "Groups, folds and published splits are ignored, so the figure may owe much to leakage."
    return Split(split.parts, f"{split.protocol} {ignored}")


def _deal_parts(clips: Clips, origin: str, of_what: str, *, validation: bool, seed: int) -> Split:
    """A random fifth for the test and, if asked for, a sixth of the rest for validation."""
    parts = np.where(_find_unused(clips.table), "unused", "train").astype(object)
    parts[_hold_out(clips, np.flatnonzero(parts == "train"), TEST_FOLDS, seed, "test")] = "test"
    protocol = f"{origin}: a random fifth of {of_what} is the test set"
    if validation:
        _carve_validation(clips, parts, seed)
        return Split(parts, f"{protocol}, a sixth of the rest the validation set (seed {seed}).")
    return Split(parts, f"{protocol} (seed {seed}); no clip is spent on validation.")


def _split_by_fold(clips: Clips, *, validation: bool, test_fold: int | None) -> Split:
    table = clips.table
    folds = sorted(int(fold) for fold in table["fold"].unique())
    if len(folds) < 2 + validation:
        raise ClipsError(f"The fold column holds {len(folds)} fold(s); {2 + validation} are needed.")
    test = folds[0] if test_fold is None else test_fold
    if test not in folds:
        raise ClipsError(f"There is no fold {test}; the folds are {', '.join(map(str, folds))}.")
    fold_of = table["fold"].to_numpy(dtype=int)
    parts = np.where(fold_of == test, "test", "train").astype(object)
    chooser = folds[(folds.index(test) + 1) % len(folds)]
    if validation:
        parts[fold_of == chooser] = "validation"
    parts[_find_unused(table)] = "unused"
    name = f"{clips.layout}'s published folds" if clips.layout in _PUBLISHED_FOLDS else "Published folds"
    if not validation:
        return Split(parts, f"{name}: fold {test} is the test set, the others train; none is for validation.")
    return Split(parts, f"{name}: fold {test} is the test set, fold {chooser} validates, the others train.")


def _split_as_published(clips: Clips, *, validation: bool, seed: int) -> Split:
    table = clips.table
    parts = table["split"].to_numpy(dtype=object).copy()
    if not (parts == "train").any():
        raise ClipsError("The split column names no clip for training; give some the word `train`.")
    name = _name_split(clips, parts)
    if not (parts == "test").any():
        # Two parts only: what was set aside is asked at the end, and nothing may be chosen on it.
        parts[parts == "validation"] = "test"
        name = f"{name} without a test part: what it calls validation is the test set"
    published = (parts == "validation").any()
    if validation and not published:
        _carve_validation(clips, parts, seed)
        return Split(parts, f"{name}; a sixth of its training part{_kept(table)} validates (seed {seed}).")
    if published and not validation:
        parts[parts == "validation"] = "train"
        return Split(parts, f"{name}; its validation part trains too, since nothing is chosen on it.")
    return Split(parts, f"{name}.")


def _name_split(clips: Clips, parts: np.ndarray) -> str:
    """``GTZAN's published fault-filtered split (443/197/290, 69 clips unused)``."""
    name = _PUBLISHED_SPLITS.get(clips.layout)
    sizes = "/".join(str((parts == part).sum()) for part in ("train", "validation", "test"))
    unused = int((parts == "unused").sum())
    told = [sizes] * (name is not None) + [f"{unused} clips unused"] * (unused > 0)
    return f"{name or 'Published split'} ({', '.join(told)})" if told else "Published split"


def _carve_validation(clips: Clips, parts: np.ndarray, seed: int) -> None:
    rest = np.flatnonzero(parts == "train")
    parts[_hold_out(clips, rest, VALIDATION_FOLDS, seed, "validation")] = "validation"


def _hold_out(clips: Clips, rows: np.ndarray, folds: int, seed: int, purpose: str) -> np.ndarray:
    """One fold's worth of ``rows``: of every class a share, at least one clip, and whole groups."""
    table = clips.table
    if clips.multi_label:
        return rows[_hold_out_labels(table.iloc[rows], folds, seed, purpose)]
    labels = table["label"].to_numpy()[rows]
    if "group" in table:
        return rows[_hold_out_groups(labels, name_groups(table)[rows], folds, seed, purpose)]
    held = []
    generator = np.random.default_rng(seed)
    for label in sorted(set(labels)):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) < 2:
            raise ClipsError(_describe_few(label, "clips", purpose))
        held.append(members[: max(1, round(len(members) / folds))])
    return rows[np.sort(np.concatenate(held))]


def _describe_few(label: str, units: str, purpose: str) -> str:
    return f"Class {label!r} has too few {units} to set any aside for {purpose}; record more of it, or leave it out."


def _hold_out_labels(table: pd.DataFrame, folds: int, seed: int, purpose: str) -> np.ndarray:
    """Which clips of a table with several labels each are set aside, (clips,) boolean."""
    unit_of, names, counts = _count_labels(table)
    units = (counts > 0).sum(axis=0)
    rarest = int(units.argmin())
    held = hold_out_strata(counts, np.bincount(unit_of), 1 / folds, seed) if units[rarest] > 1 else None
    if held is None:
        raise ClipsError(_describe_few(names[rarest], "groups" if "group" in table else "clips", purpose))
    return held[unit_of]


def _count_labels(table: pd.DataFrame) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The unit (group or clip) of each clip, the labels, and (units, labels): how many clips of each have which."""
    unit_of = np.unique(name_groups(table), return_inverse=True)[1] if "group" in table else np.arange(len(table))
    cells = [split_labels(cell, multi_label=True) for cell in table["label"]]
    names = sorted({label for cell in cells for label in cell})
    place = {label: column for column, label in enumerate(names)}
    counts = np.zeros((unit_of.max() + 1, len(names)), dtype=np.int32)
    for unit, cell in zip(unit_of, cells, strict=True):
        for label in cell:
            counts[unit, place[label]] += 1
    return unit_of, names, counts


def _hold_out_groups(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int, purpose: str) -> np.ndarray:
    """The first of the dealt folds without which every class can still be learned."""
    fold_of = _deal_groups(labels, groups, folds, seed)
    for fold in sorted(set(fold_of.tolist())):
        held = fold_of == fold
        if set(labels[~held]) == set(labels):
            return held
    few = min(set(labels), key=lambda label: (len(set(groups[labels == label])), label))
    raise ClipsError(_describe_few(few, "groups", purpose))


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
        clips: The labelled clips; a complete ``fold`` column stands as published. All of them are dealt out: pass them
            through `drop_unused` first.
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
        of_set = f" of {clips.layout}" if clips.layout in _PUBLISHED_FOLDS else ""
        return published, f"The {len(set(published))} published folds{of_set}"
    if clips.multi_label:
        fold_of = _deal_labels(table, folds, seed) + 1
    elif "group" in table:
        fold_of = _deal_groups(table["label"].to_numpy(), name_groups(table), folds, seed) + 1
    else:
        fold_of = _deal_clips(table["label"].to_numpy(), folds, seed)
    dealt = f"{len(set(fold_of.tolist()))} folds dealt by class"
    if "group" in table:
        return fold_of, f"{dealt} with whole groups together (seed {seed})"
    caution = ", blind to its artists, who may be on two sides" if clips.layout == "GTZAN" else ""
    return fold_of, f"{dealt} (seed {seed}){caution}"


def _deal_clips(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    fold_of = np.empty(len(labels), dtype=int)
    generator = np.random.default_rng(seed)
    for label in sorted(set(labels)):
        members = generator.permutation(np.flatnonzero(labels == label))
        _refuse_few(label, len(members), folds)
        fold_of[members] = np.arange(len(members)) % folds + 1
    return fold_of


def _deal_labels(table: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    unit_of, names, counts = _count_labels(table)
    if len(counts) < 2:
        raise ClipsError("All clips are of one group, so no part can be set aside; give the clips their own groups.")
    if "group" in table:
        folds = min(folds, len(counts))
    else:
        for label, count in zip(names, counts.sum(axis=0), strict=True):
            _refuse_few(label, count, folds)
    shares = np.full(folds, 1 / folds)
    return deal_strata(counts, np.bincount(unit_of), shares, np.random.default_rng(seed))[unit_of]


def _refuse_few(label: str, clips: int, folds: int) -> None:
    if clips < folds:
        raise ClipsError(f"Class {label!r} has {clips} clips, fewer than the {folds} folds; ask for fewer.")
