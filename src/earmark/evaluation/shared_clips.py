"""Whether runs were tested on the same clips, and their answers put into the same order."""

from __future__ import annotations

import filecmp
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from earmark.data.clips import split_labels
from earmark.errors import RunError

if TYPE_CHECKING:
    from pandas import DataFrame

    from earmark.evaluation.evaluate import Answers

Key = Hashable
REMEDY = "measure each model on the same clips with `earmark evaluate`, and compare those runs"


class Marks(NamedTuple):
    """What a run wrote down of its clips, where it did."""

    content: str | None = None
    """A fingerprint of the test clips' files, as `earmark.training.ledger` takes it."""
    names: str | None = None
    """A hash of all its clips' names, sizes, labels and times, as `earmark.data.fingerprint.hash_clips` has it."""


def align_answers(
    names: Sequence[str],
    answers: Sequence[Answers],
    marks: Sequence[Marks],
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Answers], list[str]]:
    """The answers of several runs about the same clips, in the order of the first run's.

    Two rows are about the same clip if path, start and end are the same. Where the paths differ, what follows the
    folder that all clips of a run share must be the same, and the sound with it: the fingerprint that the runs took of
    what they read, else the files, byte by byte. Where these are no longer there, an equal hash of the clips (names,
    sizes, labels and times) is taken for the proof, and said.

    Args:
        names: What the runs are called.
        answers: What each said.
        marks: What each run wrote down of its clips.
        on_progress: Called with (files compared, files to compare).

    Returns:
        The answers with a column ``clip`` that numbers the clips from 0, and what a reader should know, in sentences.

    Raises:
        RunError: the runs were not tested on the same clips, or nothing shows that they were; the message says how many
            clips differ, and what to do.

    Example:
        >>> import pandas as pd
        >>> from earmark.evaluation.evaluate import Answers
        >>> table = pd.DataFrame({"path": ["/a.wav", "/b.wav"], "label": ["dog", "cat"], "predicted": "dog"})
        >>> both = [Answers(rows, ("cat", "dog")) for rows in (table, table[::-1])]
        >>> aligned, remarks = align_answers(["one", "two"], both, [Marks(), Marks()])
        >>> aligned[1].table["path"].tolist(), remarks
        (['/a.wav', '/b.wav'], [])
    """
    remarks = []
    aligned = [_sort(answers[0], _list_keys(answers[0], whole=True), None)]
    for name, one, its_marks in zip(names[1:], answers[1:], marks[1:], strict=True):
        _check_kind(names[0], name, answers[0], one)
        first_keys, keys, moved = _match_keys(answers[0], one)
        _check_same(names[0], name, first_keys, keys)
        mine = _sort(one, keys, list(dict.fromkeys(first_keys)))
        _check_labels(names[0], name, aligned[0], mine)
        if moved and not _agree(marks[0].content, its_marks.content):
            same_names = _agree(marks[0].names, its_marks.names)
            remarks += _check_files(names[0], name, aligned[0], mine, same_names, on_progress)
        # Several labels may stand in another order; the first run's stand for all.
        truth = _one_row_a_clip(aligned[0])["label"].to_numpy()
        aligned.append(replace(mine, table=mine.table.assign(label=truth[mine.table["clip"]])))
    return aligned, remarks


def _agree(first: str | None, this: str | None) -> bool:
    return first is not None and first == this


def _check_kind(first: str, this: str, there: Answers, here: Answers) -> None:
    if there.multi_label != here.multi_label:
        several, one = (this, first) if here.multi_label else (first, this)
        raise RunError(
            f"{several} names several labels a clip and {one} a single one: compare runs of one kind, made on the same "
            "clips."
        )


def _match_keys(there: Answers, here: Answers) -> tuple[list[Key], list[Key], bool]:
    """The keys by which more clips are shared, and whether the clips lie in two folders by them."""
    whole = [_list_keys(one, whole=True) for one in (there, here)]
    tails = [_list_keys(one, whole=False) for one in (there, here)]
    moved = len(set(tails[0]) & set(tails[1])) > len(set(whole[0]) & set(whole[1]))
    return (tails[0], tails[1], True) if moved else (whole[0], whole[1], False)


def _list_keys(answers: Answers, *, whole: bool) -> list[Key]:
    """What names each row's clip: its path, or what follows the folder that all share, and its times."""
    table = answers.table
    # A run may come from a machine with other slashes, and macOS spells accents in two letters.
    paths = [unicodedata.normalize("NFC", path.replace("\\", "/")).split("/") for path in table["path"]]
    skipped = 0 if whole else _count_shared([parts[:-1] for parts in paths])
    starts, ends = (table[name] if name in table else [math.nan] * len(table) for name in ("start_s", "end_s"))
    return [
        ("/".join(parts[skipped:]), *(None if math.isnan(time_s) else round(float(time_s), 6) for time_s in times_s))
        for parts, *times_s in zip(paths, starts, ends, strict=True)
    ]


def _count_shared(folders: list[list[str]]) -> int:
    first, last = min(folders), max(folders)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _sort(answers: Answers, keys: list[Key], order: list[Key] | None) -> Answers:
    """The rows in the order of the keys, numbered; their own order if none is given."""
    place_of = {key: place for place, key in enumerate(dict.fromkeys(keys) if order is None else order)}
    table = answers.table.assign(clip=[place_of[key] for key in keys])
    return replace(answers, table=table.sort_values("clip", kind="stable", ignore_index=True))


def _check_same(first: str, this: str, first_keys: list[Key], keys: list[Key]) -> None:
    there, here = set(first_keys), set(keys)
    if there != here:
        only = [
            f"{len(mine - other):,} of {len(mine):,} clips are only in {name}"
            for name, mine, other in ((first, there, here), (this, here, there))
            if mine - other
        ]
        raise RunError(f"{first} and {this} were not tested on the same clips ({', '.join(only)}): {REMEDY}.")
    for name, mine in ((first, first_keys), (this, keys)):
        if len(set(Counter(mine).values())) > 1:
            raise RunError(f"The predictions of {name} hold some clips more often than others: make that run anew.")


def _check_labels(first: str, this: str, there: Answers, here: Answers) -> None:
    firsts, mine = _one_row_a_clip(there), _one_row_a_clip(here)
    other = [
        (Path(path).name, a, b)
        for path, a, b in zip(firsts["path"], firsts["label"], mine["label"], strict=True)
        if _sort_labels(a, there) != _sort_labels(b, here)
    ]
    if other:
        name, a, b = other[0]
        raise RunError(
            f"{first} and {this} were not tested on the same labels: {len(other):,} of {len(firsts):,} clips have "
            f"another one ({name} is {a!r} in the one and {b!r} in the other): {REMEDY}."
        )


def _one_row_a_clip(answers: Answers) -> DataFrame:
    return answers.table.drop_duplicates("clip")


def _sort_labels(cell: str, answers: Answers) -> list[str]:
    return sorted(split_labels(cell, multi_label=answers.multi_label))


def _check_files(
    first: str,
    this: str,
    there: Answers,
    here: Answers,
    same_names: bool,
    on_progress: Callable[[int, int], None] | None,
) -> list[str]:
    """That clips of one name in two folders are the same sound."""
    paths = (_one_row_a_clip(one)["path"] for one in (there, here))
    pairs = list(dict.fromkeys(zip(*paths, strict=True)))
    gone = 0
    for done, (one, other) in enumerate(pairs, start=1):
        try:
            same = filecmp.cmp(one, other, shallow=False)
        except OSError:
            gone, same = gone + 1, True
        if not same:
            raise RunError(
                f"{first} and {this} were tested on clips of the same names in two folders, but their content differs "
                f"({one} and {other}): {REMEDY}."
            )
        if on_progress is not None:
            on_progress(done, len(pairs))
    if gone and not same_names:
        raise RunError(
            f"{first} and {this} were tested on clips of the same names in two folders, and {gone:,} of {len(pairs):,} "
            f"pairs of files are no longer there to show that they are the same: put them back, or {REMEDY}."
        )
    if gone:
        return [
            f"{first} and {this} were tested in two folders. {gone:,} of {len(pairs):,} pairs of files are no longer "
            "there; names, sizes, labels and times agree."
        ]
    return []
