"""Every file decoded once: append-only shards of float32 samples, memory-mapped, keyed by content and sample rate.

Layout, in the user's cache folder (or ``EARMARK_CACHE``)::

    store/32000hz/index.npz          content key -> shard, offset, length; and path, size, time -> content key
    store/32000hz/<random>.f32       samples, one file after another
    store/32000hz/<random>.lease     which of them a process is using; see `earmark.data.store_room`

Samples are written and flushed before the index that names them replaces the old one by renaming: a killed run costs
at most the files since the last commit, never a wrong answer. Decoding runs in worker processes and in this one, each
of which appends to a shard of its own, so nothing large travels between processes.
"""

import multiprocessing
import os
import secrets
import signal
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from earmark.cores import count_cores
from earmark.data.store_index import Stored, StoreIndex, find_cache_folder, hash_file
from earmark.data.store_room import Lease, enforce_limit
from earmark.errors import RunError, SoundError
from earmark.sound.decode import SoundWarning, decode, stream

if TYPE_CHECKING:
    from filelock import FileLock

WHOLE_FILE_BYTES = 16 << 20  # larger files are decoded block by block, so that memory stays bounded
FILES_PER_TASK = 4
SAMPLE_BYTES = 4
COMMIT_EVERY_S = 5.0
STALE_SHARD_S = 24 * 3600.0
FEW_FILES = 8  # fewer are decoded here: starting workers would take longer

Progress = Callable[[int, int], None]


class _Decoded(NamedTuple):
    path: str
    key: str
    shard: str
    offset: int
    length: int
    remark: str
    failure: str
    new: bool = False


@dataclass
class Preparation:
    """What `Store.prepare` found: where each file lies, what could not be decoded, and what was noteworthy.

    Args:
        stored: Path -> where its samples lie.
        keys: Path -> a hash of the file's bytes.
        failures: Path -> why it cannot be decoded.
        remarks: Path -> what the decoder warned of (a truncated file, say).
        decoded: How many files were decoded now; the others had been before.
    """

    stored: dict[str, Stored] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    decoded: int = 0


class Store:
    """Decoded sound at one sample rate.

    Args:
        sample_rate: Hz; each rate has its own shards.
        folder: Where the store lies; the cache folder if not given.

    Example:
        >>> store = Store(16_000)                                    # doctest: +SKIP
        >>> preparation = store.prepare(["dog.wav", "rain.ogg"])     # doctest: +SKIP
        >>> store.read(preparation.stored["dog.wav"], 0, 16_000)     # doctest: +SKIP
    """

    def __init__(self, sample_rate: int, folder: str | os.PathLike[str] | None = None) -> None:
        root = Path(folder) if folder is not None else find_cache_folder() / "store"
        self.sample_rate = sample_rate
        self.folder = root / f"{sample_rate}hz"
        self._maps: dict[str, np.ndarray] = {}
        self._lease: Lease | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A worker that is sent a store opens the shards itself; pickled, a memory map would travel as all its samples.
        # Nor does what it holds against clearing: the one who sent it goes on holding that.
        return self.__dict__ | {"_maps": {}, "_lease": None}

    def prepare(
        self, paths: Iterable[str], *, workers: int | None = None, on_progress: Progress | None = None
    ) -> Preparation:
        """Decode the files that are not stored yet, in parallel; bounded memory whatever their number and length.

        Args:
            paths: Files; each is looked at once.
            workers: Processes that decode, this one among them; one for each core by default, this one alone for a
                handful of files.
            on_progress: Called with (files done, files to decode) as the work goes on.

        Returns:
            A `Preparation`. Files that cannot be decoded stand in ``failures`` with the reason.

        Raises:
            RunError: the cache folder cannot be written.
        """
        preparation = Preparation()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock():
                index = StoreIndex.load(self.folder)
                self._remove_stale_shards(index)
                missing = _find_stored(index, paths, preparation)
                self._lease = self._lease or Lease(self.folder)
                self._lease.hold(place.shard for place in preparation.stored.values())
                self._touch({place.shard for place in preparation.stored.values()})
            enforce_limit(self.folder.parent)
            if missing:
                with self._lock():
                    self._lease.hold_all()  # the same content may turn out to be stored under another name
        except OSError as error:
            raise RunError(
                f"The cache folder {self.folder} cannot be written ({error.strerror or error}); "
                "set EARMARK_CACHE to a folder that can be."
            ) from error
        try:
            if missing:
                self._decode_missing(missing, preparation, workers=workers, on_progress=on_progress)
        finally:
            self._lease.hold(place.shard for place in preparation.stored.values())
        return preparation

    def count_missing(self, paths: Iterable[str]) -> int:
        """How many of the files would be decoded by `prepare`."""
        index = StoreIndex.load(self.folder)
        return sum(index.find_key(path) is None for path in dict.fromkeys(paths))

    def read(self, place: Stored, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Samples ``start`` to ``stop`` of a stored file: a read-only view, float32, nothing copied or decoded."""
        samples = self._maps.get(place.shard)
        if samples is None or len(samples) < place.offset + place.length:
            # As a plain array: slices of a memory map cost five times as much.
            samples = np.asarray(np.memmap(self.folder / f"{place.shard}.f32", dtype=np.float32, mode="r"))
            self._maps[place.shard] = samples
        stop = place.length if stop is None else min(stop, place.length)
        return samples[place.offset + start : place.offset + stop]

    def _decode_missing(
        self, missing: list[str], preparation: Preparation, *, workers: int | None, on_progress: Progress | None
    ) -> None:
        pending: list[_Decoded] = []
        committed_at = time.monotonic()
        try:
            for done, result in enumerate(_decode_all(missing, self.folder, self.sample_rate, workers), start=1):
                if result.failure:
                    preparation.failures[result.path] = result.failure
                else:
                    preparation.decoded += result.new
                    preparation.stored[result.path] = Stored(result.shard, result.offset, result.length)
                    preparation.keys[result.path] = result.key
                    if result.remark:
                        preparation.remarks[result.path] = result.remark
                    pending.append(result)
                if on_progress is not None:
                    on_progress(done, len(missing))
                if time.monotonic() - committed_at > COMMIT_EVERY_S:
                    self._commit(pending)
                    pending, committed_at = [], time.monotonic()
        finally:  # also when a worker died or somebody pressed Ctrl-C: what was decoded is kept
            self._commit(pending)

    def _commit(self, results: list[_Decoded]) -> None:
        if not results:
            return
        try:
            with self._lock():
                index = StoreIndex.load(self.folder)  # another process may have added to it
                for result in results:
                    place = Stored(result.shard, result.offset, result.length)
                    index.add(result.path, result.key, place, result.remark)
                index.save(self.folder)
        except OSError as error:
            raise _cannot_keep(self.folder, error) from error

    def _lock(self) -> "FileLock":
        from filelock import FileLock

        return FileLock(self.folder / ".lock")

    def _touch(self, shards: set[str]) -> None:
        """Note that these are used now: they will not be the first to go."""
        for shard in shards:
            with suppress(OSError):
                os.utime(self.folder / f"{shard}.f32")

    def _remove_stale_shards(self, index: "StoreIndex") -> None:
        """Samples that a killed run wrote and no index names; a day's grace for runs that are still at work."""
        used = {place.shard for place in index.places.values()}
        for shard in self.folder.glob("*.f32"):
            if shard.stem not in used and time.time() - shard.stat().st_mtime > STALE_SHARD_S:
                shard.unlink(missing_ok=True)


def count_decoders(files: int) -> int:
    """How many processes decode so many files, unless told."""
    return 1 if files < FEW_FILES else min(count_cores(), -(-files // FILES_PER_TASK))


def _find_stored(index: StoreIndex, paths: Iterable[str], preparation: Preparation) -> list[str]:
    """Note where files lie that are stored; the others are given back."""
    missing = []
    for path in dict.fromkeys(paths):
        key = index.find_key(path)
        if key is None:
            missing.append(path)
        else:
            preparation.stored[path] = index.places[key]
            preparation.keys[path] = key
            if remark := index.remarks.get(key):
                preparation.remarks[path] = remark
    return missing


def _try_hash(path: str) -> str:
    """The hash, or nothing for a file that cannot be read: decoding it will say why."""
    try:
        return hash_file(path)
    except OSError:
        return ""


def _decode_all(paths: Sequence[str], folder: Path, sample_rate: int, workers: int | None) -> Iterator[_Decoded]:
    workers = count_decoders(len(paths)) if workers is None else workers
    # A shard and an index of its own each time: this process may have prepared other files before.
    desk = _open_desk(os.getpid(), str(folder))
    if workers < 2 or len(paths) < FEW_FILES:
        yield from _decode_into(*desk, paths, folder, sample_rate)
        return
    tasks = deque(paths[i : i + FILES_PER_TASK] for i in range(0, len(paths), FILES_PER_TASK))
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers - 1, mp_context=context, initializer=_ignore_interrupt) as pool:
            running: set[Future[list[_Decoded]]] = set()
            while tasks or running:
                while tasks and len(running) < 2 * workers:
                    running.add(pool.submit(_decode_task, tasks.popleft(), str(folder), sample_rate))
                # This process decodes, too: the others take a third of a second to start.
                if tasks:
                    yield from _decode_into(*desk, tasks.popleft(), folder, sample_rate)
                done, running = wait(running, timeout=0 if tasks else None, return_when=FIRST_COMPLETED)
                for task in done:
                    yield from task.result()
    except BrokenProcessPool as error:
        raise RunError(
            "A decoding process died (out of memory, or a script without `if __name__ == '__main__':`); "
            "run the same command again: what was decoded is kept."
        ) from error


def _open_desk(process: int, folder: str) -> tuple[str, StoreIndex]:
    """What a process works with: a shard name of its own, and what was stored when it began."""
    return f"{process}-{secrets.token_hex(6)}", StoreIndex.load(Path(folder))


_keep_desk = lru_cache(maxsize=1)(_open_desk)  # a worker keeps its desk from task to task


def _ignore_interrupt() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides how to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _decode_task(paths: Sequence[str], folder: str, sample_rate: int) -> list[_Decoded]:
    """Decode files into this process's own shard. Runs in a worker."""
    return list(_decode_into(*_keep_desk(os.getpid(), folder), paths, Path(folder), sample_rate))


def _decode_into(
    shard_name: str, index: StoreIndex, paths: Sequence[str], folder: Path, sample_rate: int
) -> Iterator[_Decoded]:
    """Decode files one after another to the end of a shard."""
    with open(folder / f"{shard_name}.f32", "ab") as shard:
        for path in paths:
            yield _decode_file(path, shard, shard_name, sample_rate, index)


def _decode_file(path: str, shard: BinaryIO, shard_name: str, sample_rate: int, index: StoreIndex) -> _Decoded:
    offset = shard.tell() // SAMPLE_BYTES
    try:
        key = _try_hash(path)
        if key in index.places:  # the same content under another name or time
            return _Decoded(path, key, *index.places[key], index.remarks.get(key, ""), "")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SoundWarning)
            length = sum(_write_block(block, shard) for block in decode_blocks(path, sample_rate))
        shard.flush()
    except SoundError as error:
        shard.seek(offset * SAMPLE_BYTES)
        shard.truncate()
        return _Decoded(path, "", "", 0, 0, "", str(error))
    except OSError as error:
        raise _cannot_keep(shard.name, error) from error
    remark = "; ".join(str(warning.message) for warning in caught if issubclass(warning.category, SoundWarning))
    return _Decoded(path, key, shard_name, offset, length, remark, "", new=True)


def _cannot_keep(place: object, error: OSError) -> RunError:
    return RunError(
        f"The decoded sound cannot be kept in {place} ({error.strerror or error}); "
        "make room there, or set EARMARK_CACHE to another folder."
    )


def decode_blocks(path: str, sample_rate: int) -> Iterator[np.ndarray]:
    """The samples of a file, mono: all at once, or block by block where it is large."""
    if os.path.isfile(path) and os.path.getsize(path) > WHOLE_FILE_BYTES:
        yield from stream(path, sample_rate=sample_rate)
    else:
        yield decode(path, sample_rate=sample_rate)[0]


def _write_block(block: np.ndarray, shard: BinaryIO) -> int:
    shard.write(np.ascontiguousarray(block, dtype=np.float32).data)
    return len(block)
