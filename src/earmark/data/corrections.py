"""Corrections of labelled clips as a CSV that a person edits, and what becomes of the clips when it is applied."""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from earmark.data.clips import Clips, clean_label, name_relative, read_cells, split_labels
from earmark.errors import ClipsError
from earmark.files import write_text_whole

Action = Literal["keep", "relabel", "drop"]

COLUMNS = ("path", "start_s", "end_s", "label", "suggested", "action", "reason")
_NEEDED = ("path", "label", "action")
_FAULTS_SHOWN = 10

_Key = tuple[str, float, float]
"""A clip: its file and its times, to the tenth of a millisecond; blank ones are 0 and infinite."""


@dataclass(frozen=True)
class Correction:
    """What is to become of one clip.

    Attributes:
        path: Its file, absolute.
        start_s: Where it starts in the file, seconds; ``None`` for the beginning.
        end_s: Where it ends; ``None`` for the end.
        label: What it is labelled now; several are separated by ``;``.
        suggested: What it becomes with the action ``relabel``.
        action: ``keep`` leaves it as it is, ``drop`` leaves it out.
        reason: Why it stands there, for who edits the file.
    """

    path: str
    start_s: float | None
    end_s: float | None
    label: str
    suggested: str
    action: Action
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Corrected:
    """The clips with the corrections applied, and how many were relabelled and dropped."""

    clips: Clips
    relabelled: int
    dropped: int


def write_corrections(corrections: Iterable[Correction], path: str | os.PathLike[str]) -> Path:
    """Write corrections for a person to edit, whole or not at all.

    Paths beneath the folder of the CSV are written relative to it, others absolute.

    Example:
        >>> import tempfile
        >>> corrections = [Correction("/a.wav", None, None, "cat", "dog", "keep", "likely wrong label")]
        >>> write_corrections(corrections, tempfile.mkdtemp() + "/corrections.csv").read_text().splitlines()[1]
        '/a.wav,,,cat,dog,keep,likely wrong label'
    """
    folder = Path(os.path.abspath(path)).parent
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for correction in corrections:
        times = ("" if time_s is None else f"{time_s:.10g}" for time_s in (correction.start_s, correction.end_s))
        name = name_relative(Path(correction.path), folder)
        table.writerow([name, *times, correction.label, correction.suggested, correction.action, correction.reason])
    written = text.getvalue()
    # Spreadsheets take a CSV for the local code page unless it starts with a byte-order mark.
    return write_text_whole(path, written if written.isascii() else "\ufeff" + written)


def apply_corrections(clips: Clips, path: str | os.PathLike[str]) -> Corrected:
    """The clips with what a CSV of corrections says.

    Args:
        clips: The clips that were audited.
        path: The CSV: ``path``, ``label`` (what the clip is labelled now) and ``action`` (``keep``, ``relabel`` or
            ``drop``; blank is ``keep``), where need be ``start_s``, ``end_s`` and ``suggested`` (the new label of a
            clip to relabel; several are separated by ``;``). Other columns are ignored, as are clips that it does not
            name: they stay.

    Returns:
        The clips in their order, and how many were relabelled and dropped.

    Raises:
        ClipsError: a column is missing, a path, label or action is unknown, a clip stands there twice, a label is no
            longer what it was, or a single class would be left; one sentence each, with row numbers.

    Example:
        >>> import tempfile
        >>> from earmark.data.clips import build_clips
        >>> labels = {"/a.wav": "cat", "/b.wav": "dog", "/c.wav": "cat"}
        >>> clips = build_clips([{"path": path, "label": label} for path, label in labels.items()])
        >>> corrections = [Correction("/a.wav", None, None, "cat", "dog", "relabel")]
        >>> file = write_corrections(corrections, tempfile.mkdtemp() + "/corrections.csv")
        >>> apply_corrections(clips, file).clips.table["label"].tolist()
        ['dog', 'dog', 'cat']
    """
    path = Path(path)
    header, *records = read_cells(path)
    columns = _find_columns(path, header)
    row_of = {_key(record): row for row, record in enumerate(clips.table.to_dict("records"))}
    faults: list[str] = []
    decided: dict[int, tuple[int, Action, str]] = {}
    for number, cells in enumerate(records, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < len(header):
            faults.append(f"Row {number} has {len(cells)} cells, the header {len(header)}: fill it up or delete it.")
            continue
        told = {name: cells[place].strip() for name, place in columns.items()}
        row, fault = _find_row(path.parent, told, row_of)
        if fault:
            faults.append(f"Row {number}: {fault}")
        elif row in decided:
            faults.append(f"Row {number} names the same clip as row {decided[row][0]}: delete one.")
        else:
            action, label, fault = _read_decision(told, str(clips.table["label"].iloc[row]), clips)
            if fault:
                faults.append(f"Row {number}: {fault}")
            decided[row] = (number, action, label)
    if faults:
        raise ClipsError(_tell_faults(path, faults))
    return _change(clips, {row: (action, label) for row, (_, action, label) in decided.items()})


def _find_columns(path: Path, header: list[str]) -> dict[str, int]:
    names = [cell.strip().lower() for cell in header]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise ClipsError(
            f"{path} has no column {' and no column '.join(missing)}: give the file that `earmark data audit` wrote, "
            f"with the columns {', '.join(COLUMNS)}."
        )
    return {name: names.index(name) for name in COLUMNS if name in names}


def _key(record: dict[Any, Any]) -> _Key:
    start_s, end_s = (record.get(name) for name in ("start_s", "end_s"))
    begin_s = 0.0 if start_s is None or math.isnan(start_s) else start_s
    stop_s = math.inf if end_s is None or math.isnan(end_s) else end_s
    return str(record["path"]), round(begin_s, 4), round(stop_s, 4)


def _find_row(folder: Path, told: dict[str, str], row_of: dict[_Key, int]) -> tuple[int, str]:
    """The position of the clip in the table, or what is wrong."""
    written = told["path"]
    if not written:
        return -1, "the path is blank: fill it in or delete the row."
    try:
        times_s = {name: float(told[name].replace(",", ".")) for name in ("start_s", "end_s") if told.get(name)}
    except ValueError:
        return -1, "start_s or end_s is not a time: write seconds, such as 2.5, as the audit did."
    for spelling in dict.fromkeys((written, written.replace("\\", "/"))):
        row = row_of.get(_key({"path": os.path.abspath(folder / spelling), **times_s}))
        if row is not None:
            return row, ""
    if times_s or not any(key[0] == os.path.abspath(folder / written) for key in row_of):
        return -1, f"no clip is {written}{_tell_times(times_s)}; relative paths start from the folder of the CSV."
    return -1, f"the clips of {written} have times: write its start_s and end_s."


def _tell_times(times_s: dict[str, float]) -> str:
    return "".join(f", {name} {time_s:g}" for name, time_s in times_s.items())


def _read_decision(told: dict[str, str], label: str, clips: Clips) -> tuple[Action, str, str]:
    """The action, the label that the clip shall have, and what is wrong."""
    action = told["action"].lower() or "keep"
    if action not in get_args(Action):
        return "keep", label, f"the action {told['action']!r} is unknown: write keep, relabel or drop."
    if _read_labels(told["label"], clips) != _read_labels(label, clips):
        return (
            "keep",
            label,
            f"the clip is labelled {label!r}, not {told['label']!r}: audit the clips anew, or mend the label column.",
        )
    if action != "relabel":
        return ("drop" if action == "drop" else "keep"), label, ""
    wanted = _read_labels(told.get("suggested", ""), clips)
    if not wanted:
        return "keep", label, "it is to be relabelled, but suggested is blank: write the new label there."
    unknown = [name for name in wanted if name not in clips.labels]
    if unknown:
        near = difflib.get_close_matches(unknown[0], clips.labels, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"the labels are {_list_some(clips.labels)}."
        return "keep", label, f"no clip has the label {unknown[0]!r}: {advice}"
    return "relabel", ";".join(wanted), ""


def _read_labels(cell: str, clips: Clips) -> list[str]:
    labels = [clean_label(label) for label in split_labels(cell, multi_label=clips.multi_label)]
    return list(dict.fromkeys(filter(None, labels)))


def _list_some(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")


def _tell_faults(path: Path, faults: list[str]) -> str:
    more = [f"And {len(faults) - _FAULTS_SHOWN} more."] if len(faults) > _FAULTS_SHOWN else []
    lines = [f"{path} cannot be applied as it is (the header is row 1):", *faults[:_FAULTS_SHOWN], *more]
    return "\n  ".join(lines)


def _change(clips: Clips, decided: dict[int, tuple[Action, str]]) -> Corrected:
    dropped = [row for row, (action, _) in decided.items() if action == "drop"]
    table = clips.table.copy()
    relabelled = 0
    for row, (action, label) in decided.items():
        if action == "relabel" and table["label"].iloc[row] != label:
            table.loc[table.index[row], "label"] = label
            relabelled += 1
    table = table.drop(index=table.index[dropped]).reset_index(drop=True)
    cells = [split_labels(cell, multi_label=clips.multi_label) for cell in table["label"]]
    labels = {label for labels in cells for label in labels}
    if len(labels) < 2:
        left = f"a single class, {labels.pop()!r}" if labels else "no clip"
        raise ClipsError(f"The corrections leave {left}: a classifier needs two classes; drop or relabel fewer clips.")
    return Corrected(replace(clips, table=table, labels=tuple(sorted(labels))), relabelled, len(dropped))
