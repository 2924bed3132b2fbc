"""The ways in which people lay out labelled sounds, recognised by themselves: a path in, clips out."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from earmark.data.clips import SPLIT_OF_WORD, Clips, build_clips, clean_label, read_csv
from earmark.errors import ClipsError
from earmark.sound.decode import AUDIO_SUFFIXES

_MANIFEST_SUFFIXES = frozenset({".csv", ".tsv"})
_HIDDEN_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_HOW_TO_LAY_OUT = "Make one folder a class with its sounds in it, or write a CSV with the columns path,label."


def read_clips(path: str | os.PathLike[str]) -> Clips:
    """Read labelled clips from a folder or a CSV, whichever way they are laid out.

    - A CSV is read by ``earmark.data.clips.read_csv``.
    - A folder of class folders: each first-level folder is a class, and sounds at any depth beneath it belong to it.
    - Class folders below folders that are named like splits (train, val, test, …) also give the ``split`` column.
    - A folder around all of these, as archives unpack, is looked through.

    Hidden files, files that are no sound and sounds beside the class folders are passed over and counted.

    Args:
        path: A folder or a CSV file.

    Returns:
        The clips; those of a folder sorted by class and name, so that every system gives the same order.

    Raises:
        ClipsError: there is nothing to read, no sound, no class folders or a single class; the message says what was
            found and how to lay it out.

    Example:
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("ant/1.wav", "cat/2.wav"): (root / name).parent.mkdir(); (root / name).touch()
        >>> read_clips(root).labels
        ('ant', 'cat')

    Source:
        The layout of torchvision's ``ImageFolder``.
    """
    path = Path(os.path.abspath(os.path.expanduser(path)))
    if not path.exists():
        raise ClipsError(f"{path} does not exist: check its name.")
    for recognise in _RECOGNISERS:
        clips = recognise(path)
        if clips is not None:
            return clips
    raise ClipsError(f"{path} is neither a folder nor a CSV. {_HOW_TO_LAY_OUT}")


def _read_manifest(path: Path) -> Clips | None:
    return read_csv(path) if path.is_file() and path.suffix.lower() in _MANIFEST_SUFFIXES else None


def _read_class_folders(path: Path) -> Clips | None:
    if not path.is_dir():
        return None
    tree = _unwrap(_scan(path))
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
    labels = {row["label"] for row in rows}
    if len(labels) == 1:
        raise ClipsError(
            f"{tree.path} holds a single class, {labels.pop()!r}, with {_sounds(len(rows))}: "
            "a classifier needs at least two, each in its own folder."
        )
    tree.passed_over["outside any class folder"] += len(tree.sounds) - len(inside)
    class_folders = {parts for parts in tree.folders if len(parts) == depth + 1}
    tree.passed_over["folder without sound"] += len(class_folders - {parts[: depth + 1] for parts in inside})
    passed_over = {reason: count for reason, count in tree.passed_over.items() if count}
    return build_clips(rows, source=str(path), layout="folder of classes", passed_over=passed_over)


_RECOGNISERS: tuple[Callable[[Path], Clips | None], ...] = (_read_manifest, _read_class_folders)
"""Tried in turn; each gives ``None`` for what is not its layout and a ClipsError for a damaged one of its own."""


@dataclass(frozen=True)
class _Tree:
    """What lies beneath a folder, each thing as the parts of its path from there; hidden things left out."""

    path: Path
    sounds: list[tuple[str, ...]]
    others: list[tuple[str, ...]]
    folders: list[tuple[str, ...]]
    passed_over: Counter[str]


def _scan(path: Path) -> _Tree:
    tree = _Tree(path, [], [], [], Counter())
    for folder, folder_names, file_names in os.walk(path, followlinks=True, onerror=_raise_unreadable):
        above = Path(folder).relative_to(path).parts
        visible = [name for name in folder_names if not _is_hidden(name)]
        finite = [name for name in visible if not _is_loop(folder, name)]
        tree.passed_over["hidden"] += len(folder_names) - len(visible)
        tree.passed_over["link to a folder around it"] += len(visible) - len(finite)
        folder_names[:] = finite  # os.walk goes only where this list says
        tree.folders.extend((*above, name) for name in finite)
        for name in file_names:
            if _is_hidden(name):
                tree.passed_over["hidden"] += 1
            elif os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                tree.sounds.append((*above, name))
            else:
                tree.passed_over["not audio"] += 1
                tree.others.append((*above, name))
    # File systems list in their own order and macOS decomposes names: neither may show in the order of the clips.
    tree.sounds.sort(key=lambda parts: [unicodedata.normalize("NFC", part) for part in parts])
    return tree


def _raise_unreadable(error: OSError) -> None:
    raise ClipsError(f"{error.filename} cannot be read: {error.strerror}. Change its permissions.") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _HIDDEN_NAMES


def _is_loop(folder: str, name: str) -> bool:
    """A link to a folder that it lies in: following it would never end."""
    path = Path(folder, name)
    return path.is_symlink() and Path(folder).resolve().is_relative_to(path.resolve())


def _unwrap(tree: _Tree) -> _Tree:
    """Go down through folders that hold nothing but one folder; archives unpack like that."""
    while (
        len({parts[0] for parts in tree.folders}) == 1
        and len(tree.folders) > 1
        and min(map(len, tree.sounds), default=0) > 1
    ):
        tree = _Tree(
            tree.path / tree.folders[0][0],
            [parts[1:] for parts in tree.sounds],
            [parts[1:] for parts in tree.others if len(parts) > 1],
            [parts[1:] for parts in tree.folders if len(parts) > 1],
            tree.passed_over,
        )
    return tree


def _is_split(tree: _Tree) -> bool:
    """All folders with sound are named like splits, and there are two at least: one alone divides nothing."""
    splits = {SPLIT_OF_WORD.get(parts[0].lower()) for parts in tree.sounds if len(parts) > 1}
    return None not in splits and len(splits) > 1


def _check_names(tree: _Tree, sounds: list[tuple[str, ...]]) -> None:
    """Names in another encoding (Chinese archives, unpacked elsewhere) can neither be shown nor written down."""
    bad = [parts for parts in sounds if any("\udc80" <= letter <= "\udcff" for letter in "".join(parts))]
    if bad:
        name = os.fsencode("/".join(bad[0]))
        raise ClipsError(
            f"{tree.path} holds names that are not valid UTF-8 (of {_sounds(len(bad))}), such as {name!r}: rename "
            "them, or unpack the archive with the encoding it was made in (for example unzip -O gb18030)."
        )


def _describe_no_sound(tree: _Tree) -> str:
    if not tree.others:
        return f"{tree.path} holds no sound and no other file. {_HOW_TO_LAY_OUT}"
    kinds = Counter(Path(parts[-1]).suffix.lower() or "no suffix" for parts in tree.others)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    return (
        f"{tree.path} holds no sound: found {found}{_advise_manifest(tree)}. Sounds are known by their suffix: "
        f"{' '.join(sorted(AUDIO_SUFFIXES))}."
    )


def _describe_no_classes(tree: _Tree) -> str:
    return (
        f"{tree.path} holds {_sounds(len(tree.sounds))} but no class folders{_advise_manifest(tree)}. {_HOW_TO_LAY_OUT}"
    )


def _sounds(count: int) -> str:
    return "1 sound" if count == 1 else f"{count} sounds"


def _advise_manifest(tree: _Tree) -> str:
    manifests = sorted("/".join(parts) for parts in tree.others if Path(parts[-1]).suffix.lower() in _MANIFEST_SUFFIXES)
    return f" (if {manifests[0]} says which is which, give that file)" if manifests else ""
