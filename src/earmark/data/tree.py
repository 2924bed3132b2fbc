"""What lies beneath a folder of sounds, looked at once for all who want to recognise it."""

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from earmark.errors import ClipsError
from earmark.sound.decode import AUDIO_SUFFIXES

_HIDDEN_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class Tree:
    """What lies beneath a folder, each thing as the parts of its path from there; hidden things left out."""

    path: Path
    sounds: list[tuple[str, ...]]
    others: list[tuple[str, ...]]
    folders: list[tuple[str, ...]]
    passed_over: Counter[str]

    def count_passed_over(self) -> dict[str, int]:
        """What was left out, and how often: reason -> count."""
        return {reason: count for reason, count in self.passed_over.items() if count}


def scan_tree(path: Path) -> Tree:
    """Look beneath a folder; links are followed, but never round in circles.

    Args:
        path: The folder.

    Returns:
        What lies there, the sounds sorted by their names.

    Raises:
        ClipsError: a folder that may not be read.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("b.wav", "a.wav", "notes.txt"): (root / name).touch()
        >>> scan_tree(root).sounds
        [('a.wav',), ('b.wav',)]
    """
    tree = Tree(path, [], [], [], Counter())
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


def unwrap(tree: Tree) -> Tree:
    """Go down through folders that hold nothing but one folder; archives unpack like that."""
    while (
        len({parts[0] for parts in tree.folders}) == 1
        and len(tree.folders) > 1
        and min(map(len, tree.sounds), default=0) > 1
    ):
        tree = Tree(
            tree.path / tree.folders[0][0],
            [parts[1:] for parts in tree.sounds],
            [parts[1:] for parts in tree.others if len(parts) > 1],
            [parts[1:] for parts in tree.folders if len(parts) > 1],
            tree.passed_over,
        )
    return tree
