"""Hugging Face datasets on disk: what ``save_to_disk`` writes and Parquet files, with our own decoder for the sound.

A table of clips needs paths. Sounds that lie inside the dataset are written out once, into the user's cache folder,
each in a folder named by its content, so that the same sound is never written twice under one name.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from earmark.data.clips import LABEL_SEPARATOR, SPLIT_OF_WORD, Clips, build_clips, clean_label
from earmark.data.known import find_gtzan_split, is_gtzan_track, refuse_missing
from earmark.data.store import find_cache_folder
from earmark.data.tree import Tree
from earmark.errors import ClipsError, RunError
from earmark.files import replace_whole
from earmark.progress import is_live, show_progress

LAYOUT = "Hugging Face dataset"
LABEL_COLUMNS = (
    *("label", "labels", "genre", "class", "class_name", "category", "emotion", "intent_class"),
    *("species", "keyword", "command", "tag", "tags", "target"),
)
GROUP_COLUMNS = ("group", "speaker_id", "speaker", "client_id", "fsid", "src_file", "recording_id")
_LONGEST_NAME = 80


@dataclass(frozen=True)
class _Columns:
    """Which column is what; ``label_names`` are the words of labels that are stored as numbers."""

    audio: str
    label: str
    label_names: list[str] | None
    multi_label: bool
    fold: str | None
    group: str | None


def import_datasets() -> Any:
    """The package ``datasets``.

    Raises:
        ClipsError: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise ClipsError(
            'Hugging Face datasets are read with the package datasets: pip install "earmark[datasets]".'
        ) from error
    return datasets


@contextmanager
def quieten(datasets: Any) -> Iterator[None]:
    """No log lines of the package's own, and its bars only where a terminal watches: what fails is said by us."""
    from huggingface_hub import utils as hub

    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    hidden = [package for package in (datasets, hub) if not is_live() and not package.are_progress_bars_disabled()]
    for package in hidden:
        package.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        for package in hidden:
            package.enable_progress_bars()


def read_saved_dataset(path: Path) -> Clips | None:
    """A folder that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` has written; ``None`` for any other.

    Args:
        path: The folder.

    Raises:
        ClipsError: it is damaged, or has no column of sounds or of labels.
    """
    if not (path / "dataset_dict.json").is_file() and not (path / "state.json").is_file():
        return None
    datasets = import_datasets()
    return _read_parts(path, lambda: datasets.load_from_disk(str(path)))


def read_parquet_folder(tree: Tree) -> Clips | None:
    """A folder with Parquet files, named and divided as on the Hub; ``None`` where it holds sounds or no Parquet."""
    if tree.sounds or not any(parts[-1].lower().endswith(".parquet") for parts in tree.others):
        return None
    datasets = import_datasets()
    return _read_parts(tree.path, lambda: datasets.load_dataset(str(tree.path), streaming=True))


def read_parquet_file(path: Path) -> Clips | None:
    """One Parquet file; ``None`` for any other."""
    if path.suffix.lower() != ".parquet":
        return None
    datasets = import_datasets()
    return _read_parts(path, lambda: datasets.load_dataset("parquet", data_files=str(path), streaming=True))


def _read_parts(path: Path, load: Callable[[], Any]) -> Clips:
    datasets = import_datasets()
    with quieten(datasets):
        try:
            loaded = load()
            return build_dataset_clips(loaded if isinstance(loaded, dict) else {"": loaded}, str(path))
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ClipsError(
                f"{path} cannot be read as a Hugging Face dataset ({reason}): save or download it again."
            ) from error


def build_dataset_clips(parts: Mapping[str, Any], source: str) -> Clips:
    """Clips from the parts of a dataset; sounds that lie inside it are written to the cache folder.

    Args:
        parts: Name -> ``Dataset`` or ``IterableDataset``.
        source: What was read.

    Raises:
        ClipsError: no column of sounds or of labels, or sounds that are named but not there.
        RunError: the cache folder cannot be written.
    """
    datasets = import_datasets()
    columns = _find_columns(datasets, next(iter(parts.values())).features, source)
    splits = _name_splits(list(parts))
    names = [name for name in (columns.audio, columns.label, columns.fold, columns.group) if name]
    rows: list[dict[str, Any]] = []
    passed_over: Counter[str] = Counter()
    places = _Places(source)
    total = sum(len(part) for part in parts.values() if hasattr(part, "__len__"))
    with show_progress("Taking sounds out of the dataset", "sounds") as advance:
        for part, dataset in parts.items():
            dataset = dataset.select_columns(names)
            if isinstance(dataset.features[columns.audio], datasets.Audio):
                dataset = dataset.cast_column(columns.audio, datasets.Audio(decode=False))
            for record in dataset:
                row = _read_record(record, columns, places)
                if row["path"] and row["label"]:
                    rows.append(row | {"split": splits.get(part)})
                else:
                    passed_over["no sound in the row" if row["label"] else "no label"] += 1
                advance(len(rows), max(total, len(rows)))
    refuse_missing(Path(source), places.named, places.found)
    if not rows:
        raise ClipsError(f"{source} holds no sound with a label in its column {columns.label}: choose another dataset.")
    layout = LAYOUT
    # Copies of GTZAN on the Hub keep its file names, by which the published split is known.
    if not splits and all(is_gtzan_track(os.path.basename(row["path"]), row["label"]) for row in rows):
        rows = [row | {"split": find_gtzan_split(os.path.basename(row["path"]))} for row in rows]
        layout = "GTZAN"
    return build_clips(
        rows, multi_label=columns.multi_label, source=source, layout=layout, passed_over=dict(passed_over)
    )


def _name_splits(parts: list[str]) -> dict[str, str]:
    """The part that each name means; nothing where there is a single one, or none of them is known."""
    words = {part: SPLIT_OF_WORD.get(re.split(r"[^a-z]", part.lower())[0]) for part in parts}
    if len(parts) < 2 or not any(words.values()):
        return {}
    return {part: word or "unused" for part, word in words.items()}


def _find_columns(datasets: Any, features: Mapping[str, Any] | None, source: str) -> _Columns:
    features = features or {}
    found = ", ".join(features) or "none"
    audio = next((name for name, feature in features.items() if _is_sound(datasets, feature)), None)
    if audio is None:
        raise ClipsError(f"{source} has no audio column (its columns: {found}): choose a dataset of sounds.")
    label = _find_label(datasets, features, source)
    if label is None:
        raise ClipsError(
            f"{source} has no column of labels (its columns: {found}): rename the one that holds them to label."
        )
    inner = getattr(features[label], "feature", None)
    by_name = {name.lower(): name for name, feature in features.items() if _is_plain(datasets, feature)}
    fold = by_name.get("fold")
    return _Columns(
        audio=audio,
        label=label,
        label_names=getattr(inner or features[label], "names", None),
        multi_label=inner is not None,
        fold=fold if fold and features[fold].dtype.startswith(("int", "uint")) else None,
        group=next((by_name[name] for name in GROUP_COLUMNS if name in by_name and by_name[name] != label), None),
    )


def _is_sound(datasets: Any, feature: Any) -> bool:
    """An Audio column, or the structure that one is stored as."""
    return isinstance(feature, datasets.Audio) or (isinstance(feature, dict) and {"bytes", "path"} <= feature.keys())


def _is_plain(datasets: Any, feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype.startswith(("string", "large_string", "int", "uint"))


def _find_label(datasets: Any, features: Mapping[str, Any], source: str) -> str | None:
    """The one column of class labels; else the first of words or numbers that is named like one."""
    classes, plain = {}, {}
    for name, feature in features.items():
        inner = getattr(feature, "feature", None) or feature
        if isinstance(inner, datasets.ClassLabel):
            classes[name.lower()] = name
        elif _is_plain(datasets, inner):
            plain[name.lower()] = name
    if len(classes) == 1:
        return next(iter(classes.values()))
    for columns in (classes, plain):
        for name in LABEL_COLUMNS:
            if name in columns:
                return columns[name]
    if classes:
        raise ClipsError(
            f"{source} has several columns of labels ({', '.join(classes.values())}): save it to a folder with "
            'dataset.rename_column(…, "label").save_to_disk(…), and give that folder.'
        )
    return None


def _read_record(record: dict[str, Any], columns: _Columns, places: _Places) -> dict[str, Any]:
    """One row of the dataset as a row of the clips; a blank label or path where there is none."""
    cells = record[columns.label]
    cells = [] if cells is None else cells if columns.multi_label else [cells]
    labels = [_word(cell, columns) for cell in cells if cell is not None]
    row: dict[str, Any] = {"label": LABEL_SEPARATOR.join(dict.fromkeys(filter(None, labels))), "path": ""}
    if row["label"]:
        row["path"] = places.find(record[columns.audio] or {})
    for name, column in (("fold", columns.fold), ("group", columns.group)):
        if column is not None and record[column] is not None:
            row[name] = int(record[column]) if name == "fold" else str(record[column])
    return row


def _word(cell: Any, columns: _Columns) -> str:
    if columns.label_names is not None:
        return clean_label(columns.label_names[cell]) if 0 <= cell < len(columns.label_names) else ""  # -1: kept secret
    word = clean_label(str(cell))
    return word.replace(LABEL_SEPARATOR, ",") if columns.multi_label else word


class _Places:
    """Where the sounds of a dataset lie as files.

    ``named`` and ``found`` list the sounds that the dataset only names, and the path of each, blank if it is not there.
    """

    def __init__(self, source: str) -> None:
        self.folder = find_cache_folder() / "sounds"
        self.beside = Path(source) if os.path.isdir(source) else Path(source).parent
        self.taken: set[str] = set()
        self.named: list[str] = []
        self.found: list[str] = []

    def find(self, sound: dict[str, Any]) -> str:
        """The path of a sound, written out if need be; blank where the row holds none."""
        content, name = sound.get("bytes"), sound.get("path")
        if content:
            return self._keep(content, _plain_name(name or ""))
        if not name:
            return ""
        path = os.path.abspath(self.beside / name)
        self.named.append(name)
        self.found.append(path if os.path.isfile(path) else "")
        return path

    def _keep(self, content: bytes, name: str) -> str:
        """Write a sound under a name of its own, unless it lies there from an earlier time."""
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        folder = self.folder / digest[:2] / digest
        path, copy = folder / name, 1
        while str(path) in self.taken:  # the same sound twice in one dataset: two clips, so two files
            copy += 1
            path = folder / f"{copy}-{name}"
        self.taken.add(str(path))
        try:
            if not path.is_file():
                with replace_whole(path) as part:
                    part.write_bytes(content)
        except OSError as error:
            raise RunError(
                f"The cache folder {self.folder} cannot be written ({error.strerror or error}); "
                "set EARMARK_CACHE to a folder that can be."
            ) from error
        return str(path)


def _plain_name(written: str) -> str:
    """The last part of a path that may come from any system, with nothing in it that a file system refuses."""
    name = re.sub(r"[^\w.\- ]", "_", PurePosixPath(written.replace("\\", "/")).name).lstrip(". ")
    return name[-_LONGEST_NAME:] or "sound"
