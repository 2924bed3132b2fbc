"""The ways in which people lay out labelled sounds, recognised by themselves: a path in, clips out."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from earmark.data.audiofolder import read_audiofolder
from earmark.data.clips import SPLIT_OF_WORD, Clips, build_clips, clean_label, read_csv
from earmark.data.hub_dataset import PREFIX, fetch_hub_dataset, name_hub_dataset
from earmark.data.known import find_known_table, read_esc_folders, read_gtzan, read_known_table
from earmark.data.saved_dataset import read_parquet_file, read_parquet_folder, read_saved_dataset
from earmark.data.speech_sets import read_fsdd, read_speech_commands
from earmark.data.tree import Tree, scan_tree, unwrap
from earmark.errors import ClipsError
from earmark.sound.decode import AUDIO_SUFFIXES

_MANIFEST_SUFFIXES = frozenset({".csv", ".tsv"})
_HOW_TO_LAY_OUT = "Make one folder a class with its sounds in it, or write a CSV with the columns path,label."


def read_clips(path: str | os.PathLike[str]) -> Clips:
    """Read labelled clips from a folder, a file or the Hugging Face Hub, whichever way they are laid out.

    - A folder of class folders: each first-level folder is a class, and sounds at any depth beneath it belong to it.
      Class folders below folders that are named like splits (train, val, test, …) also give the ``split`` column.
    - A CSV is read by ``earmark.data.clips.read_csv``.
    - GTZAN: a folder a genre with tracks named ``blues.00000``; the fault-filtered split.
    - UrbanSound8K and ESC-50 by their CSV; ESC-10 too, where the CSV or the folder holds nothing else, and in its older
      layout (``001 - Dog bark/1-100032-A.ogg``); the published folds, and whole source recordings as groups.
    - Speech Commands by its two lists, with its published split; FSDD by its file names; speakers as groups.
    - A Hugging Face dataset: a Hub id (``owner/name``, ``hf://owner/name`` or ``hf://owner/name/configuration``), a
      folder written by ``save_to_disk``, Parquet files, or a folder with a ``metadata.csv``.
    - A folder around any of these, as archives unpack, is looked through.

    Hidden files, files that are no sound and sounds that belong to no class are passed over and counted.
    ``Clips.layout`` says what was recognised.

    Args:
        path: A folder, a file or a Hub id.

    Returns:
        The clips; those of a folder sorted by class and name, so that every system gives the same order.

    Raises:
        ClipsError: there is nothing to read, no sound, no class folders or a single class; files that a list names are
            missing; a Hub dataset does not exist or cannot be reached. The message says what was found and what to do.

    Example:
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("ant/1.wav", "cat/2.wav"): (root / name).parent.mkdir(); (root / name).touch()
        >>> read_clips(root).labels
        ('ant', 'cat')

    Source:
        The layout of torchvision's ``ImageFolder``; those of the known datasets are told where they are read.
    """
    name = name_hub_dataset(os.fspath(path))
    if name is not None:
        fetched = fetch_hub_dataset(name)
        clips = fetched if isinstance(fetched, Clips) else replace(_read_folder(fetched), source=f"{PREFIX}{name}")
    else:
        clips = _read_path(Path(os.path.abspath(os.path.expanduser(path))))
    if len(clips.labels) == 1:
        raise ClipsError(
            f"{clips.source} holds a single class, {clips.labels[0]!r}, with {_sounds(len(clips))}: "
            "a classifier needs at least two."
        )
    return clips


def _read_path(path: Path) -> Clips:
    if not path.exists():
        raise ClipsError(f"{path} does not exist: check its name.")
    if path.is_dir():
        return _read_folder(path)
    for recognise in _FILE_RECOGNISERS:
        clips = recognise(path)
        if clips is not None:
            return clips
    raise ClipsError(f"{path} is neither a folder nor a CSV. {_HOW_TO_LAY_OUT}")


def _read_folder(path: Path) -> Clips:
    clips = read_saved_dataset(path)
    if clips is not None:
        return clips
    tree = scan_tree(path)
    for recognise in _RECOGNISERS:
        clips = recognise(tree)
        if clips is not None:
            return clips
    return _read_class_folders(tree)


def _read_manifest(path: Path) -> Clips | None:
    return read_csv(path) if path.suffix.lower() in _MANIFEST_SUFFIXES else None


def _read_class_folders(tree: Tree) -> Clips:
    path = tree.path
    tree = unwrap(tree)
    if not tree.sounds:
        raise ClipsError(_describe_no_sound(tree))
    # The folders that hold the class folders: the root, or one folder a split.
    depth = 1 if _is_split(tree) else 0
    inside = [parts for parts in tree.sounds if len(parts) > depth + 1]
    if not inside:
        raise ClipsError(_describe_no_classes(tree))
    _check_names(tree, inside)
    rows = [{"path": os.path.join(tree.path, *parts), "label": clean_label(parts[depth])} for parts in inside]
    if depth:
        for row, parts in zip(rows, inside, strict=True):
            row["split"] = SPLIT_OF_WORD[parts[0].lower()]
    tree.passed_over["outside any class folder"] += len(tree.sounds) - len(inside)
    class_folders = {parts for parts in tree.folders if len(parts) == depth + 1}
    tree.passed_over["folder without sound"] += len(class_folders - {parts[: depth + 1] for parts in inside})
    return build_clips(rows, source=str(path), layout="folder of classes", passed_over=tree.count_passed_over())


_FILE_RECOGNISERS: tuple[Callable[[Path], Clips | None], ...] = (read_known_table, _read_manifest, read_parquet_file)
_RECOGNISERS: tuple[Callable[[Tree], Clips | None], ...] = (
    read_gtzan,
    find_known_table,
    read_esc_folders,
    read_speech_commands,
    read_fsdd,
    read_audiofolder,
    read_parquet_folder,
)
"""Tried in turn; each gives ``None`` for what is not its layout and a ClipsError for a damaged one of its own."""


def _is_split(tree: Tree) -> bool:
    """All folders with sound are named like splits, and there are two at least: one alone divides nothing."""
    splits = {SPLIT_OF_WORD.get(parts[0].lower()) for parts in tree.sounds if len(parts) > 1}
    return None not in splits and len(splits) > 1


def _check_names(tree: Tree, sounds: list[tuple[str, ...]]) -> None:
    """Names in another encoding (Chinese archives, unpacked elsewhere) can neither be shown nor written down."""
    bad = [parts for parts in sounds if any("\udc80" <= letter <= "\udcff" for letter in "".join(parts))]
    if bad:
        name = os.fsencode("/".join(bad[0]))
        raise ClipsError(
            f"{tree.path} holds names that are not valid UTF-8 (of {_sounds(len(bad))}), such as {name!r}: rename "
            "them, or unpack the archive with the encoding it was made in (for example unzip -O gb18030)."
        )


def _describe_no_sound(tree: Tree) -> str:
    if not tree.others:
        return f"{tree.path} holds no sound and no other file. {_HOW_TO_LAY_OUT}"
    kinds = Counter(Path(parts[-1]).suffix.lower() or "no suffix" for parts in tree.others)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    return (
        f"{tree.path} holds no sound: found {found}{_advise_manifest(tree)}. Sounds are known by their suffix: "
        f"{' '.join(sorted(AUDIO_SUFFIXES))}."
    )


def _describe_no_classes(tree: Tree) -> str:
    return (
        f"{tree.path} holds {_sounds(len(tree.sounds))} but no class folders{_advise_manifest(tree)}. {_HOW_TO_LAY_OUT}"
    )


def _sounds(count: int) -> str:
    return "1 sound" if count == 1 else f"{count} sounds"


def _advise_manifest(tree: Tree) -> str:
    manifests = sorted("/".join(parts) for parts in tree.others if Path(parts[-1]).suffix.lower() in _MANIFEST_SUFFIXES)
    return f" (if {manifests[0]} says which is which, give that file)" if manifests else ""
