"""GTZAN, UrbanSound8K, ESC-50 and ESC-10, known by their layout, with their published folds and splits."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.data.clips import Clips, build_clips
from earmark.data.tree import Tree
from earmark.errors import ClipsError

if TYPE_CHECKING:
    import pandas as pd

GTZAN_GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
_GTZAN_TRACK = re.compile(rf"({'|'.join(GTZAN_GENRES)})\.\d{{5}}", re.ASCII)
_GTZAN_LISTS = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}

# 101 - Dog / 1-100032-A.ogg: fold 1, take A of recording 100032. Later copies add the class number: 1-100032-A-0.
_ESC_FOLDER = re.compile(r"(\d{3}) - (.+)")
ESC_TAKE = re.compile(r"([1-5])-(?P<group>\d+)-[A-Z](-\d+)?", re.ASCII)

# 100032-3-0-0.wav: recording 100032, class 3, its first occurrence, the first slice of it.
URBANSOUND_SLICE = re.compile(r"(?P<group>\d{3,})-(?P<mark>\d)-\d+-\d+", re.ASCII)
_URBANSOUND_COLUMNS = ("slice_file_name", "fsID", "fold")
_ESC_COLUMNS = ("filename", "fold", "category", "esc10", "src_file")
_NAMES_SHOWN = 3


def read_gtzan(tree: Tree) -> Clips | None:
    """GTZAN: a folder a genre, tracks named ``blues.00000``; the fault-filtered, artist-aware split.

    The original's ``.au`` files, the ``.wav`` files of later copies and any part of the tracks are known alike. Tracks
    that are in none of the published lists get the split ``unused``.

    Args:
        tree: What lies beneath the folder.

    Returns:
        The clips, or ``None`` where any sound is not named and placed as GTZAN's tracks are.

    Source:
        Kereliuk, Sturm and Larsen, "Deep Learning and Music Adversaries" (2015); see ``gtzan/README.md``.
    """
    places = {parts[:-2] for parts in tree.sounds}
    if len(places) != 1 or not all(len(parts) > 1 and is_gtzan_track(parts[-1], parts[-2]) for parts in tree.sounds):
        return None
    rows = [
        {
            "path": os.path.join(tree.path, *parts),
            "label": parts[-2],
            "split": find_gtzan_split(parts[-1]),
        }
        for parts in tree.sounds
    ]
    return build_clips(rows, source=str(tree.path), layout="GTZAN", passed_over=tree.count_passed_over())


def is_gtzan_track(name: str, genre: str) -> bool:
    """Whether a file of this name and genre is a track of GTZAN.

    Example:
        >>> is_gtzan_track("jazz.00054.wav", "jazz"), is_gtzan_track("take5.wav", "jazz")
        (True, False)
    """
    track = _GTZAN_TRACK.fullmatch(os.path.splitext(name)[0])
    return track is not None and track[1] == genre


def find_gtzan_split(name: str) -> str:
    """The part of a GTZAN track in the fault-filtered split; ``unused`` where it is in none.

    Example:
        >>> find_gtzan_split("blues.00029.au"), find_gtzan_split("hiphop.00001.wav")
        ('train', 'unused')
    """
    return _read_gtzan_lists().get(os.path.splitext(name)[0], "unused")


@lru_cache(maxsize=1)
def _read_gtzan_lists() -> dict[str, str]:
    lists = resources.files("earmark.data") / "gtzan"
    return {
        Path(line).stem: part
        for part, name in _GTZAN_LISTS.items()
        for line in (lists / name).read_text(encoding="utf-8").split()
    }


def read_esc_folders(tree: Tree) -> Clips | None:
    """ESC-10 and ESC-50 as they were first published: ``001 - Dog bark/1-100032-A.ogg``.

    Args:
        tree: What lies beneath the folder.

    Returns:
        Clips labelled as the folders are (without their number), with the published fold and the source recording as
        group; ``None`` where any sound is not named and placed like that.
    """
    places = {parts[:-2] for parts in tree.sounds}
    if len(places) != 1:
        return None
    rows, numbers = [], []
    for parts in tree.sounds:
        folder = _ESC_FOLDER.fullmatch(parts[-2]) if len(parts) > 1 else None
        take = ESC_TAKE.fullmatch(os.path.splitext(parts[-1])[0])
        if folder is None or take is None:
            return None
        numbers.append(int(folder[1]))
        path = os.path.join(tree.path, *parts)
        rows.append({"path": path, "label": folder[2], "fold": int(take[1]), "group": take["group"]})
    # ESC-50 numbers its classes 101 to 510, ten to each of five kinds of sound.
    layout = "ESC-10" if max(numbers) <= 10 else "ESC-50"
    return build_clips(rows, source=str(tree.path), layout=layout, passed_over=tree.count_passed_over())


def find_known_table(tree: Tree) -> Clips | None:
    """UrbanSound8K or ESC-50, where the list of one of them lies in the folder and all sounds lie around it."""
    for parts in sorted(tree.others, key=len):
        if parts[-1].lower() not in ("urbansound8k.csv", "esc50.csv"):
            continue
        top = parts[: -2 if len(parts) > 1 and parts[-2] in ("metadata", "meta") else -1]
        if any(sound[: len(top)] != top for sound in tree.sounds):
            return None
        clips = read_known_table(tree.path.joinpath(*parts))
        if clips is not None:
            tree.passed_over[f"not in {parts[-1]}"] += len(tree.sounds) - len(clips)
            return replace(clips, source=str(tree.path), passed_over=tree.count_passed_over())
    return None


def read_known_table(path: Path) -> Clips | None:
    """UrbanSound8K or ESC-50 from the CSV that they come with; ``None`` for any other file.

    ESC-10 is what remains of ESC-50 where its CSV or its folder holds nothing else.

    Args:
        path: ``UrbanSound8K.csv`` or ``esc50.csv``, under any name: they are known by their columns.

    Raises:
        ClipsError: files that it names are missing; the message counts them and names a few.
    """
    if path.suffix.lower() != ".csv":
        return None
    for columns, read in ((_URBANSOUND_COLUMNS, _read_urbansound), (_ESC_COLUMNS, _read_esc50)):
        table = read_table(path, columns)
        if table is not None and "path" not in table:  # with a path column it is somebody's own manifest
            return read(path, table)
    return None


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame | None:
    """A CSV as text, cell by cell; ``None`` where it has not all of ``columns`` or is no table.

    Raises:
        ClipsError: it holds no rows.
    """
    import pandas as pd

    try:
        header = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns
        if not set(columns) <= set(header):
            return None
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig").fillna("")
    except (ValueError, OSError):  # not a table, not text, not readable: for other readers to say
        return None
    if table.empty:
        raise ClipsError(f"{path} holds a header but no rows: unpack the archive again.")
    return table


def _read_urbansound(path: Path, table: pd.DataFrame) -> Clips | None:
    label = next((name for name in ("class", "class_name") if name in table), None)
    if label is None:
        return None
    names = [f"fold{fold}/{name}" for fold, name in zip(table["fold"], table["slice_file_name"], strict=True)]
    beside = path.parent
    paths = find_files([beside.parent / "audio", beside / "audio", beside], names)
    refuse_missing(path, names, paths)
    rows = [
        {"path": found, "label": row[label], "fold": _read_fold(path, row["fold"]), "group": row["fsID"]}
        for found, row in zip(paths, table.to_dict("records"), strict=True)
    ]
    return build_clips(rows, source=str(path), layout="UrbanSound8K")


def _read_esc50(path: Path, table: pd.DataFrame) -> Clips:
    paths = find_files([path.parent.parent / "audio", path.parent / "audio"], table["filename"].tolist())
    of_esc10 = (table["esc10"].str.lower() == "true").tolist()
    layout = "ESC-50"
    # A folder with ESC-10's files and no other is ESC-10, whatever its list says besides.
    if any(of_esc10) and all(bool(found) == mine for found, mine in zip(paths, of_esc10, strict=True)):
        table, paths, layout = table[of_esc10], [found for found in paths if found], "ESC-10"
    refuse_missing(path, table["filename"].tolist(), paths)
    rows = [
        {"path": found, "label": row["category"], "fold": _read_fold(path, row["fold"]), "group": row["src_file"]}
        for found, row in zip(paths, table.to_dict("records"), strict=True)
    ]
    return build_clips(rows, source=str(path), layout=layout)


def _read_fold(path: Path, written: str) -> int:
    if not written.isdecimal():
        raise ClipsError(f"{path} has {written!r} for a fold: unpack the archive again, or write 1, 2, 3, ….")
    return int(written)


def find_files(folders: Sequence[Path], names: Sequence[str]) -> list[str]:
    """The absolute path of each file in the first folder that holds any; an empty string where one is missing."""
    for folder in folders:
        paths = [os.path.join(folder, name) for name in names]
        found = [path if os.path.isfile(path) else "" for path in paths]
        if any(found):
            return found
    return [""] * len(names)


def refuse_missing(path: Path, names: Sequence[str], paths: Sequence[str]) -> None:
    """Say which of the files that a list names are not there.

    Raises:
        ClipsError: any is missing.
    """
    missing = [name for name, found in zip(names, paths, strict=True) if not found]
    if missing:
        more = f" and {len(missing) - _NAMES_SHOWN} more" if len(missing) > _NAMES_SHOWN else ""
        raise ClipsError(
            f"{path} names {len(missing)} of {len(names)} files that are not there: "
            f"{', '.join(missing[:_NAMES_SHOWN])}{more}. Unpack the whole archive again, or delete their rows."
        )
