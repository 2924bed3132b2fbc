"""How much room the store takes, and how it is kept within a limit: what was not used for longest goes first.

Whatever a process is using is held by a lease: a file that it keeps locked as long as it lives, beside another that
names the shards. Who dies lets go of its lock, so nothing has to be tidied up after a kill.
"""

import json
import os
import re
import secrets
import weakref
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.data.store_index import StoreIndex, find_cache_folder
from earmark.errors import RunError
from earmark.files import write_text_whole

LIMIT_VARIABLE = "EARMARK_CACHE_LIMIT"
DEFAULT_LIMIT = "50 GB"
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_EVERYTHING = "*"


@dataclass(frozen=True)
class RateRoom:
    """What the store holds at one sample rate.

    Args:
        sample_rate: Hz.
        files: Files, each once whatever its names.
        duration_s: Of all their sound, seconds.
        size: Bytes on the disk.
        in_use: Bytes of them that a process is using.
    """

    sample_rate: int
    files: int
    duration_s: float
    size: int
    in_use: int


@dataclass(frozen=True)
class Freed:
    """What was taken away: files, bytes; and the bytes that stay because they are in use."""

    files: int
    size: int
    in_use: int


class Lease:
    """Keeps shards from being cleared away, as long as this object and its process live.

    Args:
        folder: The store's folder of one sample rate.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock

        name = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._names = folder / f"{name}.shards"
        self._lock = FileLock(folder / f"{name}.lease")
        self._lock.acquire()
        self._held: set[str] = set()
        self._end = weakref.finalize(self, _release, self._lock, self._names, os.getpid())

    def hold(self, shards: Iterable[str]) -> None:
        """Hold these, too, and of the others only what was held before."""
        self._held.update(shards)
        write_text_whole(self._names, json.dumps(sorted(self._held)))

    def hold_all(self) -> None:
        """Hold whatever is there or comes; until the next `hold`."""
        write_text_whole(self._names, json.dumps([_EVERYTHING]))

    def release(self) -> None:
        """Hold nothing any more."""
        self._end()


def _release(lock: Any, names: Path, process: int) -> None:
    if os.getpid() != process:
        return  # a forked child ends before the one whose lease it is
    names.unlink(missing_ok=True)
    lock.release()
    with suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)


def read_limit() -> int | None:
    """How many bytes the store may take, by ``EARMARK_CACHE_LIMIT`` (50 GB if it is not set); none for ``none``.

    Raises:
        RunError: it is no size.
    """
    text = os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT
    if text.strip().lower() == "none":
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B|)\s*", text, re.IGNORECASE)
    if found is None:
        raise RunError(f"{LIMIT_VARIABLE} is {text!r}, which is no size; give one such as 20GB or 500MB, or none.")
    return round(float(found[1]) * _UNITS[found[2].upper()])


def describe_room(root: Path | None = None) -> list[RateRoom]:
    """What the store holds, rate by rate.

    Args:
        root: Where it lies; in the cache folder if not given.
    """
    rooms = []
    for folder in _find_rates(root):
        with _locked(folder):
            index = StoreIndex.load(folder)
            held = _find_held(folder, tidy=True)
        rate = _read_rate(folder)
        samples = sum(place.length for place in index.places.values())
        sizes = _measure_shards(folder)
        in_use = sum(size for shard, size in sizes.items() if _is_held(shard, held))
        rooms.append(RateRoom(rate, len(index.places), samples / rate, sum(sizes.values()), in_use))
    return rooms


def enforce_limit(root: Path) -> Freed:
    """Take away what was not used for longest until the store keeps its limit; never what is in use."""
    limit = read_limit()
    return Freed(0, 0, 0) if limit is None else _make_room(root, limit)


def clear_store(root: Path | None = None) -> Freed:
    """Take away all that no process is using.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        return _make_room(root or find_cache_folder() / "store", 0)
    except OSError as error:
        raise RunError(
            f"The store cannot be cleared: {error.filename} ({error.strerror}); check who may write there."
        ) from error


def _make_room(root: Path, limit: int) -> Freed:
    held = {folder: _find_held(folder) for folder in _find_rates(root)}
    shards = sorted(
        (path.stat().st_mtime, path.stat().st_size, folder, path.stem)
        for folder in held
        for path in folder.glob("*.f32")
    )
    excess = sum(size for _, size, _, _ in shards) - limit
    in_use = sum(size for _, size, folder, shard in shards if _is_held(shard, held[folder]))
    chosen: dict[Path, set[str]] = {folder: set() for folder in held}
    for _, size, folder, shard in shards:
        if excess > 0 and not _is_held(shard, held[folder]):
            chosen[folder].add(shard)
            excess -= size
    freed = [_drop_shards(folder, names) for folder, names in chosen.items() if names]
    return Freed(sum(files for files, _ in freed), sum(size for _, size in freed), in_use)


def _drop_shards(folder: Path, shards: Collection[str]) -> tuple[int, int]:
    """Files and bytes that went; the index is written first, so that it never names what is not there."""
    from filelock import Timeout

    try:
        with _locked(folder, wait=False):
            held = _find_held(folder, tidy=True)  # asked again: nobody gets a lease while this is locked
            gone = {shard for shard in shards if not _is_held(shard, held)}
            index = StoreIndex.load(folder)
            files = len(index.places)
            index.drop(gone)
            index.save(folder)
            size = 0
            for shard in gone:
                path = folder / f"{shard}.f32"
                with suppress(OSError):  # still open on a system that does not let go of it; it goes another time
                    length = path.stat().st_size
                    path.unlink()
                    size += length
            return files - len(index.places), size
    except Timeout:
        return 0, 0  # another process is at work there, and makes room itself


def _find_rates(root: Path | None) -> Iterator[Path]:
    root = root or find_cache_folder() / "store"
    found = [folder for folder in root.glob("*hz") if folder.name.removesuffix("hz").isdigit()]
    yield from sorted(found, key=_read_rate)


def _read_rate(folder: Path) -> int:
    return int(folder.name.removesuffix("hz"))


def _measure_shards(folder: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in folder.glob("*.f32")}


def _is_held(shard: str, held: Collection[str]) -> bool:
    return shard in held or _EVERYTHING in held


def _find_held(folder: Path, *, tidy: bool = False) -> set[str]:
    """The shards in living processes' leases; under the folder's lock, what the dead left behind is tidied away."""
    from filelock import FileLock, Timeout

    held: set[str] = set()
    for path in folder.glob("*.lease"):
        names = path.with_suffix(".shards")
        try:
            with FileLock(path, timeout=0):
                if tidy:
                    names.unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
        except Timeout:
            try:
                held.update(json.loads(names.read_text(encoding="utf-8")))
            except FileNotFoundError:  # it has just begun, and holds nothing yet; or it has just ended
                continue
    return held


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    from filelock import FileLock

    with FileLock(folder / ".lock", timeout=-1 if wait else 0):
        yield
