"""Clips that hold the same sound, and where that does harm: under two labels, on two sides of a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from earmark.data.clips import Clips, split_labels
from earmark.data.leaks import Leak, find_leaks
from earmark.data.near_duplicates import Pair, find_near_duplicates
from earmark.evaluation.examination import Examination
from earmark.progress import Advance

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOTHING_KEPT = np.zeros((0, 1), np.uint8)


class Conflict(NamedTuple):
    """The same sound under two labels: positions of the two clips, and whether the samples are the same."""

    first: int
    second: int
    exact: bool


@dataclass(frozen=True, eq=False)
class Resemblance:
    """Which clips are alike. They are named by their position in the table.

    Attributes:
        copies: Clips whose decoded samples are the same, a list for each sound.
        near_duplicates: Pairs with nearly the same sound that are no copies, the most similar first.
        conflicts: Copies and near duplicates with different labels.
        leaks: Groups and sounds that stand in several parts of the split or in several folds.
        divided: The clips have a split or folds, so that something could leak.
        units: (clips,), the same number for clips that share a group or a sound.
    """

    copies: list[list[int]]
    near_duplicates: list[Pair]
    conflicts: list[Conflict]
    leaks: list[Leak]
    divided: bool
    units: NDArray[np.integer]


def find_resemblance(
    clips: Clips, names: Sequence[str], examinations: Sequence[Examination], on_progress: Advance | None = None
) -> Resemblance:
    """Compare every clip with every other.

    Args:
        clips: The labelled clips.
        names: (clips,), what people call each clip.
        examinations: One a clip.
        on_progress: Called with (clips done, clips).

    Example:
        >>> from earmark.data.clips import build_clips
        >>> clips = build_clips([{"path": "/a.wav", "label": "cat"}, {"path": "/b.wav", "label": "dog"}])
        >>> twice = [Examination(None, pcm_hash="x")] * 2
        >>> find_resemblance(clips, ["a.wav", "b.wav"], twice).conflicts
        [Conflict(first=0, second=1, exact=True)]
    """
    copies = _find_copies(examinations)
    kept = [_NOTHING_KEPT if one.fingerprint is None else one.fingerprint for one in examinations]
    near = [
        pair
        for pair in find_near_duplicates(kept, on_progress=on_progress)
        if examinations[pair.first].pcm_hash != examinations[pair.second].pcm_hash
    ]
    same = [(rows[0], row) for rows in copies for row in rows[1:]]
    alike = _join(len(clips), [*same, *((pair.first, pair.second) for pair in near)])
    groups = _read_groups(clips)
    members = _link(groups)
    parts = _find_parts(clips)
    return Resemblance(
        copies=copies,
        near_duplicates=near,
        conflicts=_find_conflicts(clips, copies, near),
        leaks=[leak for part in parts for leak in _find_leaks(part, clips, names, groups, examinations, alike)],
        divided=bool(parts),
        units=_join(len(clips), [*members, *_link(alike.tolist())]),
    )


def _find_copies(examinations: Sequence[Examination]) -> list[list[int]]:
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, examination in enumerate(examinations):
        if examination.pcm_hash:
            rows_of[examination.pcm_hash].append(row)
    return [rows for rows in rows_of.values() if len(rows) > 1]


def _join(count: int, links: Sequence[tuple[int, int]]) -> NDArray[np.integer]:
    """(count,), the same number for all that links hold together."""
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    ends = np.array(links, dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _link(keys: Iterable[Hashable | None]) -> list[tuple[int, int]]:
    """Each row that has a key with the first row that has it."""
    first_of: dict[Hashable, int] = {}
    return [(row, first_of.setdefault(key, row)) for row, key in enumerate(keys) if key is not None]


def _read_groups(clips: Clips) -> list[str | None]:
    if "group" not in clips.table:
        return [None] * len(clips)
    groups = clips.table["group"]
    return [None if blank else str(group) for group, blank in zip(groups, groups.isna(), strict=True)]


def _find_parts(clips: Clips) -> list[list[str | None]]:
    """The part of each clip, once by the split and once by the folds, where there are any."""
    parts = []
    for column, prefix in (("split", ""), ("fold", "fold ")):
        if column in clips.table:
            cells = clips.table[column]
            told = [None if blank else f"{prefix}{cell}" for cell, blank in zip(cells, cells.isna(), strict=True)]
            if len(set(told) - {None, "unused"}) > 1:
                parts.append(told)
    return parts


def _find_conflicts(clips: Clips, copies: Sequence[Sequence[int]], near: Sequence[Pair]) -> list[Conflict]:
    cells = clips.table["label"].tolist()
    labels = [frozenset(split_labels(cell, multi_label=clips.multi_label)) for cell in cells]
    conflicts = []
    for rows in copies:
        first_with = {labels[row]: row for row in reversed(rows)}
        first, *others = sorted(first_with.values())
        conflicts += [Conflict(first, other, True) for other in others]
    different = (pair for pair in near if labels[pair.first] != labels[pair.second])
    return conflicts + [Conflict(pair.first, pair.second, False) for pair in different]


def _find_leaks(
    parts: Sequence[str | None],
    clips: Clips,
    names: Sequence[str],
    groups: Sequence[str | None],
    examinations: Sequence[Examination],
    alike: NDArray[np.integer],
) -> list[Leak]:
    leaks = find_leaks(
        parts,
        names=names,
        groups=groups,
        sounds=[examination.pcm_hash or None for examination in examinations],
        near=alike.tolist(),
        labels=clips.table["label"].tolist(),
    )
    # What are copies to the sample was told as such.
    return [
        leak
        for leak in leaks
        if leak.kind != "near duplicate" or len({examinations[row].pcm_hash for row in leak.rows}) > 1
    ]
