"""Groups read from file names where nobody told them: clips cut from one recording, or spoken by one person."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from earmark.data.clips import Clips, split_labels
from earmark.data.fingerprint import name_below_shared
from earmark.data.known import ESC_TAKE, URBANSOUND_SLICE
from earmark.data.speech_sets import DIGIT_TAKE, WORD_TAKE

if TYPE_CHECKING:
    import pandas as pd

FEWEST_GROUPS = 3  # of each class, so that train, validation and test may each have one


@dataclass(frozen=True)
class _Naming:
    """Names of a known dataset; ``group`` in the pattern is who or what, ``mark`` a number that goes with the class."""

    dataset: str
    unit: str
    pattern: re.Pattern[str]


_NAMINGS = (
    _Naming("UrbanSound8K", "recordings", URBANSOUND_SLICE),
    _Naming("ESC-50", "recordings", ESC_TAKE),
    _Naming("Speech Commands", "speakers", WORD_TAKE),
    _Naming("FSDD", "speakers", DIGIT_TAKE),
)

# kitchen_001, kitchen-3, kitchen_part2: a recording and the number of its chunk.
_CHUNK = re.compile(
    r"(?P<stem>.+?)[ _.-]+(?:(?:chunk|part|seg|segment|slice|window|piece)[ _-]*)?(?P<number>\d{1,4})", re.I | re.ASCII
)
# kitchen_12.5_17.5, kitchen_10s-20s: a recording and when its chunk starts and ends, seconds.
_SPAN = re.compile(
    r"(?P<stem>.+?)[ _-]+(?P<start>\d+(?:\.\d+)?)s?[ _-]+(?:to[ _-]+)?(?P<end>\d+(?:\.\d+)?)s?", re.I | re.ASCII
)
_DATE = re.compile(r"(?<!\d)\d{4}[-_.]\d{1,2}[-_.]\d{1,2}$", re.ASCII)
_NUMBERED_RECORDING = re.compile(r"\d{4,}", re.ASCII)
# What people call their files when they only count them.
_COUNTED = frozenset(
    {"audio", "sound", "clip", "sample", "file", "wav", "record", "recording", "rec", "take", "track", "train"}
    | {"training", "test", "testing", "val", "valid", "validation", "录音", "音频", "声音", "样本"}
)


def infer_groups(clips: Clips, *, to_deal: bool = True) -> Clips:
    """Add the ``group`` column where it is missing and the file names tell it; all else stays as it is.

    - The names of UrbanSound8K (recording), ESC-50 (recording), Speech Commands and FSDD (speaker), where every file
      has such a name.
    - Clips that ``start_s`` and ``end_s`` cut from one file.
    - Chunks of one file: several files of a folder that differ only in a number or a time range at the end
      (``kitchen_001``, ``kitchen-3``, ``kitchen_12.5_17.5``). Mere numbering is not taken for chunks: a stem that is
      the name of the class or the folder, a word such as ``audio``, or the only stem of a class in its folder.

    Where clips are yet to be dealt, every class must have three groups, or the groups would leave too little to deal:
    then they are left out.

    Args:
        clips: The labelled clips.
        to_deal: Parts or folds are to be dealt by the groups, unless the clips bring their own.

    Returns:
        The clips; ``grouping`` says for the report what was read from the names, or why it was not used.

    Example:
        >>> from earmark.data.clips import build_clips
        >>> names = ["dog/home_1", "dog/home_2", "dog/park_1", "dog/zoo_1", "cat/a_1", "cat/b_1", "cat/c_1"]
        >>> clips = build_clips([{"path": f"/{name}.wav", "label": name[:3]} for name in names])
        >>> infer_groups(clips).table["group"].tolist()[:3]
        ['dog/home', 'dog/home', None]
    """
    table = clips.table
    if "group" in table or table.empty:
        return clips
    found = _read_known(table) or _read_chunks(table)
    if found is None:
        return clips
    groups, told = found
    few = _find_few(clips, groups) if to_deal and not {"fold", "split"} & set(table) else None
    if few is not None:
        label, count = few
        grouping = (
            f"The file names seem to tell groups ({told}), but class {label!r} has only {count}, too few to keep "
            "them apart; they were not used, and the figures may be too good."
        )
        return replace(clips, grouping=grouping)
    import pandas as pd

    column = pd.Series(groups, dtype="object", index=table.index)
    grouping = (
        f"Groups were read from the file names: {told}. If they mean something else, add a `group` column to the CSV."
    )
    return replace(clips, table=table.assign(group=column), grouping=grouping)


def hash_group(name: str) -> str:
    """A group as a model remembers it where its name should not be read: the same for the same, and for a hash itself.

    Example:
        >>> hash_group("jackson")
        'sha256:dc355ec75a2dc4a1'
    """
    if name.startswith("sha256:"):
        return name
    return f"sha256:{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


Groups = tuple[list[str | None], str]
"""The group of each clip, and in words what they are."""


def _read_known(table: pd.DataFrame) -> Groups | None:
    stems = [os.path.splitext(os.path.basename(path))[0] for path in table["path"]]
    for naming in _NAMINGS:
        takes = [naming.pattern.fullmatch(stem) for stem in stems]
        if not all(takes) or not _marks_agree(takes, table["label"]):
            continue
        groups = [take["group"] for take in takes if take]
        return list(groups), f"{len(set(groups))} {naming.unit}, by the names of {naming.dataset} such as {stems[0]}"
    return None


def _marks_agree(takes: Sequence[re.Match[str] | None], labels: pd.Series) -> bool:
    """Each number that should stand for a class stands for one, and each class has one number."""
    pairs = {
        (take["mark"], label)
        for take, label in zip(takes, labels, strict=True)
        if take and "mark" in take.re.groupindex
    }
    return all(len({pair[side] for pair in pairs}) == len(pairs) for side in (0, 1))


def _read_chunks(table: pd.DataFrame) -> Groups | None:
    places = [os.path.split(path) for path in table["path"]]
    stems = _read_stems(places)
    _drop_numbering(places, stems, table["label"].tolist())
    groups = _name_recordings(table["path"].tolist(), places, stems)
    _join_cuts(table, groups)
    sizes = Counter(group for group in groups if group is not None)
    groups = [group if group is not None and sizes[group] > 1 else None for group in groups]
    first = next((row for row, group in enumerate(groups) if group is not None), None)
    if first is None:
        return None
    count, clips = len(set(groups) - {None}), sum(group is not None for group in groups)
    kind = "clips of one file by their times" if stems[first] is None else "chunks of one recording"
    return groups, f"{count} recordings in {clips} of {len(groups)} clips, {kind} such as {places[first][1]}"


Stem = tuple[str, str]
"""The name of a recording, and the mark of a chunk of it: its number or its time range."""


def _read_stems(places: Sequence[tuple[str, str]]) -> list[Stem | None]:
    names = [unicodedata.normalize("NFC", os.path.splitext(name)[0]) for _, name in places]
    spans = [_SPAN.fullmatch(name) for name in names]
    # kitchen_3_12 may be take 12 in kitchen_3: whole numbers are times where all chunks of a recording last equally.
    lasting: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for (folder, _), span in zip(places, spans, strict=True):
        if span:
            lasting[folder, span["stem"]].append(float(span["end"]) - float(span["start"]))
    stems: list[Stem | None] = []
    for (folder, _), name, span in zip(places, names, spans, strict=True):
        chunk = _CHUNK.fullmatch(name)
        if span and _is_span(span, lasting[folder, span["stem"]]):
            stems.append((span["stem"], f"{span['start']}-{span['end']}"))
        elif chunk and _can_name(chunk["stem"]) and not _DATE.search(name):
            stems.append((chunk["stem"], chunk["number"]))
        else:
            stems.append(None)
    return stems


def _is_span(span: re.Match[str], lasting: Sequence[float]) -> bool:
    fractional = "." in span["start"] + span["end"]
    equal = len(lasting) > 1 and len(set(lasting)) == 1
    return _can_name(span["stem"]) and float(span["start"]) < float(span["end"]) and (fractional or equal)


def _can_name(stem: str) -> bool:
    """Whether a recording may be called that: more than a word for any file, and no short number or code."""
    letters = any(letter.isalpha() for letter in stem)
    return _fold(stem) not in _COUNTED if letters else _NUMBERED_RECORDING.fullmatch(stem) is not None


def _drop_numbering(places: Sequence[tuple[str, str]], stems: list[Stem | None], labels: Sequence[str]) -> None:
    """Forget stems that only count: the name of the class or of the folder, or the only one of a folder and class."""
    cells: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row, (folder, _) in enumerate(places):
        cells[folder, labels[row]].append(row)
    for (folder, label), rows in cells.items():
        distinct = {stem[0] if (stem := stems[row]) else places[row][1] for row in rows}
        for row in rows:
            stem = stems[row]
            if stem and (len(distinct) == 1 or _fold(stem[0]) in (_fold(label), _fold(os.path.basename(folder)))):
                stems[row] = None


def _fold(text: str) -> str:
    """A name as it is compared: letters and digits only, without case."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _name_recordings(
    paths: Sequence[str], places: Sequence[tuple[str, str]], stems: Sequence[Stem | None]
) -> list[str | None]:
    """The recording of each clip: its stem below the folder that all share.

    A stem that several folders have is one recording where no number comes twice: somebody sorted its chunks by class.
    """
    marks: defaultdict[str, Counter[str]] = defaultdict(Counter)
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for (folder, _), stem in zip(places, stems, strict=True):
        if stem:
            marks[stem[0]][stem[1]] += 1
            folders[stem[0]].add(folder)
    groups: list[str | None] = []
    for name, stem in zip(name_below_shared(paths), stems, strict=True):
        if stem is None:
            groups.append(None)
        elif len(folders[stem[0]]) > 1 and max(marks[stem[0]].values()) == 1:
            groups.append(stem[0])
        else:
            groups.append(posixpath.join(posixpath.dirname(name), stem[0]))
    return groups


def _join_cuts(table: pd.DataFrame, groups: list[str | None]) -> None:
    """A file that clips are cut from by their times is a recording."""
    if not {"start_s", "end_s"} & set(table):
        return
    for row, name in enumerate(name_below_shared(table["path"].tolist())):
        groups[row] = groups[row] or name


def _find_few(clips: Clips, groups: Sequence[str | None]) -> tuple[str, int] | None:
    """The class that groups leave with the fewest units, and how many, where they are too few to be dealt."""
    units: defaultdict[str, list[Any]] = defaultdict(list)
    for row, (cell, group) in enumerate(zip(clips.table["label"], groups, strict=True)):
        for label in split_labels(cell, multi_label=clips.multi_label):
            units[label].append(row if group is None else group)
    counts = {label: len(set(members)) for label, members in units.items()}
    few = {label: count for label, count in counts.items() if count < min(FEWEST_GROUPS, len(units[label]))}
    return min(few.items(), key=lambda item: (item[1], item[0])) if few else None
