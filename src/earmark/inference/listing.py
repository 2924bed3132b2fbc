"""Which files are meant by folders, lists and names: told one by one, however many there are."""

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from earmark.errors import SoundError
from earmark.inference.loading import import_fsspec, is_url
from earmark.sound.decode import AUDIO_SUFFIXES

LIST_SUFFIX = ".txt"
STANDARD_INPUT = "-"


def list_sounds(names: Iterable[str]) -> Iterator[str]:
    """The files that names mean, in order: one folder is held in memory at a time, and no list of them all.

    Args:
        names: Sound files; folders, with all that lies below them, in the order of their names; addresses of either,
            such as ``s3://bucket/owls``; text files (``.txt``) with a path or an address a line, relative to the text
            file's folder; ``-`` for such lines on standard input, relative to the present folder.

    Raises:
        SoundError: a folder without sounds, a list that cannot be read, or an address that cannot be listed.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("b.wav", "a.flac", "notes.md"):
        ...     (folder / name).touch()
        >>> [pathlib.Path(path).name for path in list_sounds([str(folder)])]
        ['a.flac', 'b.wav']
    """
    for name in names:
        if name == STANDARD_INPUT:
            yield from _read_lines(sys.stdin, None)
        elif is_url(name):
            yield from _list_address(name)
        elif os.path.isdir(name):
            yield from _require_some(_walk_folder(str(Path(name))), name)
        elif name.lower().endswith(LIST_SUFFIX):
            yield from _read_list(name)
        else:
            yield name


def look_ahead(paths: Iterator[str]) -> Iterator[str]:
    """The same paths, the first of them found at once, so that a fault in the names shows before anything is done."""
    first = next(paths, None)
    return paths if first is None else chain([first], paths)


def _is_sound(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and not name.startswith(".")


def _walk_folder(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        # A folder's name ends in a slash here, so that all paths come in the order that sorting them whole would give.
        names = [
            f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or (_is_sound(entry.name) and entry.is_file())
        ]
    begin = "" if folder == "." else os.path.join(folder, "")
    for name in sorted(names):
        path = begin + name.removesuffix("/")
        if name.endswith("/"):
            yield from _walk_folder(path)
        else:
            yield path


def _require_some(paths: Iterator[str], name: str) -> Iterator[str]:
    first = next(paths, None)
    if first is None:
        raise SoundError(f"The folder {name} holds no sound files; name files, or another folder.")
    yield first
    yield from paths


def _list_address(url: str) -> Iterator[str]:
    fsspec = import_fsspec(url)
    try:
        system, path = fsspec.core.url_to_fs(url)
        is_folder = system.isdir(path)
    except Exception as error:  # every store has its own kinds
        raise SoundError(f"{url} cannot be asked ({error}); check the address and your rights.") from error
    yield from _require_some(_walk_address(system, path), url) if is_folder else [url]


def _walk_address(system: Any, folder: str) -> Iterator[str]:
    found = {}
    for entry in system.ls(folder, detail=True):
        name = entry["name"].rstrip("/").rsplit("/", 1)[-1]
        if entry["type"] == "directory":
            found[f"{name}/"] = entry["name"]
        elif _is_sound(name):
            found[name] = entry["name"]
    for name in sorted(found):
        if name.endswith("/"):
            yield from _walk_address(system, found[name])
        else:
            yield system.unstrip_protocol(found[name])


def _read_list(name: str) -> Iterator[str]:
    try:
        with open(name, encoding="utf-8-sig", errors="surrogateescape") as lines:
            yield from _read_lines(lines, Path(name).parent)
    except FileNotFoundError:
        raise SoundError(f"There is no list {name}; give a text file with a path a line.") from None


def _read_lines(lines: Iterable[str], folder: Path | None) -> Iterator[str]:
    for line in lines:
        path = line.rstrip("\r\n")
        if path:
            yield path if folder is None or is_url(path) else str(folder / path)
