"""The labelled-clip table, and its manifest: one CSV that says which sound is of which class."""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import ClipsError
from earmark.files import write_text_whole

if TYPE_CHECKING:
    import pandas as pd

SPLIT_OF_WORD = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
    "unused": "unused",
}
"""The words that data sets use for their parts, and the part that each means; ``unused`` neither trains nor tests."""

LABEL_SEPARATOR = ";"

_OPTIONAL_COLUMNS = ("fold", "group", "split", "start_s", "end_s")
_ROWS_SHOWN = 10
# What other people's manifests call the two columns that we need: only ever used to word the advice.
_OTHER_NAMES = {
    "path": ("file", "filename", "file_name", "filepath", "file_path", "slice_file_name", "audio", "wav", "文件"),
    "label": ("class", "category", "target", "class_name", "genre", "species", "tag", "tags", "标签", "类别"),
}
# The order in which the faults of a manifest are told, and what to do about each kind.
_REMEDIES = {
    "another number of cells than the header": "Put names with a comma in them into double quotes.",
    "no path": "Fill in the path column or delete the row.",
    "no such file": "Relative paths start from the folder of the CSV.",
    "no label": "Fill in the label column or delete the row.",
    "the same clip twice": "Delete one row, or put all its labels into one row of a labels column, separated by ';'.",
    "fold is not a whole number": "Write 1, 2, 3, … or leave it blank.",
    "unknown split": "Write train, validation or test, unused for none of them, or leave it blank.",
    "start_s or end_s is not a time": "Write seconds from the start of the file, such as 2.5, or leave it blank.",
    "end_s is not after start_s": "end_s counts from the start of the file, as start_s does.",
    "a single class": "A classifier needs at least two.",
}


@dataclass(frozen=True, eq=False)
class Clips:
    """Sounds with their labels, one row a clip.

    Attributes:
        table: ``path`` (absolute, str) and ``label`` (str; with ``multi_label`` several, separated by ``;``), and only
            where they are known: ``fold`` (Int64), ``group`` (str: the recording, speaker or track that must not be
            split), ``split`` (``train``, ``validation``, ``test`` or ``unused``), ``start_s`` and ``end_s`` (float,
            seconds from the start of the file). A blank cell is missing (``pandas.isna``); a blank ``start_s`` or
            ``end_s`` means the start or the end of the file.
        labels: The class names, sorted: the class order of every model trained on these clips.
        multi_label: A clip may have several labels.
        source: The file or folder that was read.
        layout: What it was recognised as: ``"folder of classes"``, ``"CSV manifest"``, ``"GTZAN"``, ….
        passed_over: What was seen and left out: reason -> count.
        grouping: How groups were read from the file names, for the report; blank where nobody tried or none show.

    Example:
        >>> clips = build_clips([{"path": "/a.wav", "label": "cat"}, {"path": "/b.wav", "label": "ant"}])
        >>> len(clips), clips.labels
        (2, ('ant', 'cat'))
    """

    table: pd.DataFrame
    labels: tuple[str, ...]
    multi_label: bool
    source: str
    layout: str
    passed_over: dict[str, int] = field(default_factory=dict)
    grouping: str = ""

    def __len__(self) -> int:
        return len(self.table)

    def _repr_html_(self) -> str:
        """What a notebook shows of clips: how many of which class."""
        from earmark.data.gallery import render_counts

        return render_counts(self)


def build_clips(
    rows: Sequence[dict[str, Any]],
    *,
    multi_label: bool = False,
    source: str = "",
    layout: str = "",
    passed_over: dict[str, int] | None = None,
) -> Clips:
    """Clips from rows that are already known to be sound; the columns get the types that ``Clips`` promises.

    Args:
        rows: One dictionary a clip, with ``path``, ``label`` and any of the optional columns; ``None`` is blank.
        multi_label: The labels in ``label`` are separated by ``;``.
        source: The file or folder that was read.
        layout: What it was recognised as.
        passed_over: What was left out: reason -> count.

    Returns:
        The clips, in the order of ``rows``; a column in which every row is blank is left out.

    Example:
        >>> build_clips([{"path": "/a.wav", "label": "cat", "fold": 1}, {"path": "/b.wav", "label": "ant"}]).table.fold
        0       1
        1    <NA>
        Name: fold, dtype: Int64
    """
    import pandas as pd

    types = {"fold": "Int64", "start_s": "float64", "end_s": "float64"}
    columns = {}
    for name in ("path", "label", *_OPTIONAL_COLUMNS):
        values = [os.fspath(row["path"]) if name == "path" else row.get(name) for row in rows]
        if name in ("path", "label") or any(value is not None for value in values):
            columns[name] = pd.Series(values, dtype=types.get(name, "object"), name=name)
    labels = {label for row in rows for label in split_labels(row["label"], multi_label=multi_label)}
    return Clips(pd.DataFrame(columns), tuple(sorted(labels)), multi_label, source, layout, passed_over or {})


def split_labels(cell: str, *, multi_label: bool) -> list[str]:
    """The labels in one cell of the ``label`` column.

    Example:
        >>> split_labels("dog;rain", multi_label=True), split_labels("dog;rain", multi_label=False)
        (['dog', 'rain'], ['dog;rain'])
    """
    return cell.split(LABEL_SEPARATOR) if multi_label else [cell]


def clean_label(text: str) -> str:
    """A label as it is stored: composed Unicode (NFC) without space around it, otherwise exactly as written.

    macOS decomposes accents and kana in file names, so the same class may come in two spellings that look alike.

    Example:
        >>> clean_label(" cafe\\u0301 ") == "caf\\u00e9", clean_label("01")
        (True, '01')
    """
    return unicodedata.normalize("NFC", text).strip()


def read_csv(path: str | os.PathLike[str]) -> Clips:
    """Read a manifest: a CSV with the columns ``path`` and ``label``, one row a clip.

    ``labels`` in place of ``label`` holds several, separated by ``;``. Optional columns: ``fold``, ``group``, ``split``
    (train/validation/test/unused; val, valid, dev, eval too), ``start_s``, ``end_s``; all others are ignored. Relative
    paths start from the folder of the CSV; back-slashes are understood everywhere. UTF-8 or GB18030 (GBK);
    commas, semicolons or tabs. Labels are kept as written: ``01`` stays ``01``.

    Args:
        path: The CSV file.

    Returns:
        The clips, in the order of the file.

    Raises:
        ClipsError: the file cannot be read as a table, or anything in it is wrong: all faults in one message, with row
            numbers as a spreadsheet shows them (the header is row 1).

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("a.wav", "b.wav"): (folder / name).touch()
        >>> _ = (folder / "clips.csv").write_text("path,label\\na.wav,cat\\nb.wav,ant\\n")
        >>> read_csv(folder / "clips.csv").labels
        ('ant', 'cat')
    """
    path = Path(path)
    header, *records = read_cells(path)
    columns = _find_columns(path, header)
    rows: list[dict[str, Any]] = []
    faults: dict[str, list[str]] = defaultdict(list)
    row_of_clip: dict[tuple[Any, ...], int] = {}
    blank_rows = 0
    for number, cells in enumerate(records, start=2):
        if not any(cell.strip() for cell in cells):
            blank_rows += 1
        elif len(cells) < len(header) or any(cells[len(header) :]):
            faults["another number of cells than the header"].append(f"row {number} ({len(cells)}, not {len(header)})")
        else:
            row = _read_row(path, number, {name: cells[index] for name, index in columns.items()}, faults)
            clip = (row["path"], row.get("start_s") or 0.0, row.get("end_s"))
            if row["path"] and row_of_clip.setdefault(clip, number) != number:
                name = Path(row["path"]).name
                faults["the same clip twice"].append(f"row {number} as row {row_of_clip[clip]} ({name})")
            rows.append(row)
    multi_label = "labels" in columns
    labels = {label for row in rows for label in split_labels(row["label"], multi_label=multi_label) if label}
    if not rows and not faults:
        raise ClipsError(f"{path} holds a header but no rows: add one row a clip.")
    if len(labels) == 1:
        faults["a single class"].append(f"the only label is {labels.pop()!r}")
    if faults:
        raise ClipsError(_describe_faults(path, faults))
    passed_over = {"blank row": blank_rows} if blank_rows else {}
    return build_clips(rows, multi_label=multi_label, source=str(path), layout="CSV manifest", passed_over=passed_over)


def write_csv(clips: Clips, path: str | os.PathLike[str]) -> Path:
    """Write the clips as a manifest that ``read_csv`` reads back, whole or not at all.

    Paths beneath the folder of the CSV are written relative to it, so that the folder can be moved; others absolute.

    Args:
        clips: The clips.
        path: The CSV to write; its folder is made if need be.

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> clips = build_clips([{"path": "/a.wav", "label": "cat"}, {"path": "/b.wav", "label": "ant"}])
        >>> write_csv(clips, tempfile.mkdtemp() + "/clips.csv").read_text().splitlines()
        ['path,label', '/a.wav,cat', '/b.wav,ant']
    """
    folder = Path(os.path.abspath(path)).parent
    table = clips.table.astype(object).where(clips.table.notna(), "")
    table["path"] = [name_relative(Path(clip), folder) for clip in table["path"]]
    if clips.multi_label:
        table = table.rename(columns={"label": "labels"})
    text = table.to_csv(index=False, lineterminator="\n")
    # Spreadsheets take a CSV for the local code page unless it starts with a byte-order mark.
    return write_text_whole(path, text if text.isascii() else "\ufeff" + text)


def name_relative(path: Path, folder: Path) -> str:
    """``path`` from ``folder`` where it lies beneath it, else whole; with forward slashes."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def read_cells(path: Path) -> list[list[str]]:
    """All rows of a CSV as text, the header first; UTF-8 or GB18030, commas, semicolons or tabs.

    Raises:
        ClipsError: it cannot be read as a table, or is empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ClipsError(f"{path} cannot be read: {error.strerror}. Check the path and its permissions.") from error
    text = _decode(path, content)
    header = text.split("\n", 1)[0]
    try:
        # Blank rows are kept, so that row numbers stay those of a spreadsheet.
        cells = list(csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True))
    except csv.Error as error:
        raise ClipsError(
            f"{path} is not a well-formed CSV ({error}): look for a double quote that is not closed, "
            "or save it from a spreadsheet as 'CSV UTF-8'."
        ) from error
    if not any(cell.strip() for row in cells for cell in row):
        raise ClipsError(f"{path} is empty: it needs a header (path,label) and one row a clip.")
    return cells


def _decode(path: Path, content: bytes) -> str:
    # GB18030 is what spreadsheets write in China; it is tried last, since it takes almost any bytes for text.
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ClipsError(f"{path} is neither UTF-8 nor GB18030 text: save it from a spreadsheet as 'CSV UTF-8'.")


def _find_columns(path: Path, header: list[str]) -> dict[str, int]:
    """Where the columns that we know stand; names are compared without case and space."""
    names = [cell.strip().lower() for cell in header]
    columns = {name: names.index(name) for name in ("path", "label", "labels", *_OPTIONAL_COLUMNS) if name in names}
    faults = [f"the column {name} stands there twice: delete one." for name in columns if names.count(name) > 1]
    if "label" in columns and "labels" in columns:
        faults.append("it has a label and a labels column: keep one.")
    for wanted in ("path", "label"):
        if wanted not in columns and not (wanted == "label" and "labels" in columns):
            faults.append(f"it has no {wanted} column{_advise_rename(wanted, names)}")
    if faults:
        found = ", ".join(cell.strip() or "(blank)" for cell in header)
        raise ClipsError(f"{path}: {' Also '.join(faults)} Columns found: {found}.")
    return columns


def _advise_rename(wanted: str, names: list[str]) -> str:
    near = [name for name in names if name in _OTHER_NAMES[wanted]]
    near = near or difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    return f": rename {near[0]!r} to {wanted}?" if near else f": name one of its columns {wanted}."


def _read_row(path: Path, number: int, cells: dict[str, str], faults: dict[str, list[str]]) -> dict[str, Any]:
    """One row with its values in their types; what is wrong with it goes to ``faults``."""
    row: dict[str, Any] = {"path": "", "label": _read_label(cells)}
    if not cells["path"].strip():
        faults["no path"].append(f"row {number}")
    elif found := _find_file(path.parent, cells["path"]):
        row["path"] = found
    else:
        faults["no such file"].append(f"row {number} ({cells['path']})")
    if not row["label"]:
        faults["no label"].append(f"row {number}")
    written = {name: cells[name].strip() for name in _OPTIONAL_COLUMNS if cells.get(name, "").strip()}
    if "group" in written:
        row["group"] = unicodedata.normalize("NFC", written["group"])
    if "fold" in written:
        fold = _read_number(written["fold"])  # pandas writes 1.0 where other rows are blank
        if fold.is_integer():
            row["fold"] = int(fold)
        else:
            faults["fold is not a whole number"].append(f"row {number} ({written['fold']})")
    if "split" in written:
        row["split"] = SPLIT_OF_WORD.get(written["split"].lower())
        if row["split"] is None:
            faults["unknown split"].append(f"row {number} ({written['split']})")
    return row | _read_times(number, written, faults)


def _read_times(number: int, written: dict[str, str], faults: dict[str, list[str]]) -> dict[str, float]:
    times: dict[str, float] = {}
    for name in ("start_s", "end_s"):
        if name in written:
            times[name] = _read_number(written[name])
            if not 0 <= times[name] < math.inf:
                faults["start_s or end_s is not a time"].append(f"row {number} ({name} {written[name]})")
    start_s, end_s = times.get("start_s", 0.0), times.get("end_s", math.inf)
    if 0 <= end_s <= start_s < math.inf:
        faults["end_s is not after start_s"].append(f"row {number} ({start_s:g} to {end_s:g})")
    return times


def _read_label(cells: dict[str, str]) -> str:
    if "label" in cells:
        return clean_label(cells["label"])
    labels = map(clean_label, cells["labels"].split(LABEL_SEPARATOR))
    return LABEL_SEPARATOR.join(dict.fromkeys(filter(None, labels)))


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _find_file(folder: Path, written: str) -> str | None:
    """The absolute path of a file that a manifest names; ``None`` if it is not there."""
    # As written first, since almost any character may stand in a file name; then as other systems write it.
    portable = written.strip().replace("\\", "/")
    spellings = (
        written,
        written.strip(),
        portable,
        *(unicodedata.normalize(form, portable) for form in ("NFC", "NFD")),
    )
    paths = (os.path.abspath(folder / spelling) for spelling in spellings)
    return next((path for path in paths if os.path.isfile(path)), None)


def _describe_faults(path: Path, faults: dict[str, list[str]]) -> str:
    lines = [f"{path} cannot be used as it is (the header is row 1):"]
    for kind, remedy in _REMEDIES.items():
        if where := faults.get(kind):
            more = f" and {len(where) - _ROWS_SHOWN} more" if len(where) > _ROWS_SHOWN else ""
            lines.append(f"  {kind}: {', '.join(where[:_ROWS_SHOWN])}{more}. {remedy}")
    return "\n".join(lines)
