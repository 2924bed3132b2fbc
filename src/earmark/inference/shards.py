"""What a prediction over an archive has answered so far, kept beside its result so that a killed one goes on.

Layout, beside ``results.csv``, until that is whole::

    results.csv.parts/list           the paths, each ended by a zero byte
    results.csv.parts/job.json       what was asked: model, list, labels a file
    results.csv.parts/00000000.jsonl the answers about the first 256 files, and so on

Every file here is written whole or not at all. A shard is answered in the same groups of files whoever answers it and
whenever, so that a result put together from two runs is that of one, byte for byte.
"""

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from earmark.errors import RunError
from earmark.files import replace_whole, write_text_whole
from earmark.inference.answer_files import Record, to_line, write_records

FILES_PER_SHARD = 256
_MEANING = {
    "version": "another version of Earmark",
    "model": "another model",
    "list": "another list of files",
    "top_k": "another --top",
    "reject": "another --reject",
}


class Shards:
    """The answers of one job, shard by shard; made by `open_shards`.

    Args:
        folder: Where they lie.
        job: What is asked, for JSON; with a hash of the list once `settle` has seen it.
    """

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.folder = folder
        self.job = job
        self.files = 0
        self._offsets = array("Q")

    def settle(self, paths: Iterable[str]) -> None:
        """Write the list down, and see that what lies here already belongs to it.

        Raises:
            RunError: it belongs to another model, another list or other settings.
        """
        digest = hashlib.blake2b(digest_size=16)
        self.files, self._offsets, place = 0, array("Q"), 0
        with replace_whole(self.folder / "list") as part:
            with part.open("wb") as file:
                for path in paths:
                    if self.files % FILES_PER_SHARD == 0:
                        self._offsets.append(place)
                    entry = os.fsencode(path).replace(b"\0", b"\\0") + b"\0"
                    digest.update(entry)
                    place += file.write(entry)
                    self.files += 1
            self.job["list"] = digest.hexdigest()
            self._compare()
        write_text_whole(self.folder / "job.json", json.dumps(self.job))

    def _compare(self) -> None:
        try:
            before = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        changed = [words for key, words in _MEANING.items() if before.get(key) != self.job[key]]
        if changed:
            raise RunError(
                f"{self.folder} holds part of a prediction with {changed[0]}; ask the same again to continue it, "
                "give another --out, or delete that folder to start anew."
            )

    def find_missing(self) -> list[int]:
        """The shards that are not answered yet."""
        there = {entry.name for entry in os.scandir(self.folder)}
        return [number for number in range(len(self._offsets)) if _name(number) not in there]

    def count_files(self, number: int) -> int:
        """How many files a shard is about."""
        return min(FILES_PER_SHARD, self.files - number * FILES_PER_SHARD)

    def read_paths(self, number: int) -> list[str]:
        """The paths of a shard."""
        last = number + 1 == len(self._offsets)
        with open(self.folder / "list", "rb") as file:
            file.seek(self._offsets[number])
            entries = file.read(-1 if last else self._offsets[number + 1] - self._offsets[number])
        return [os.fsdecode(entry) for entry in entries.split(b"\0")[:-1]]

    def write(self, number: int, records: Iterable[Record]) -> None:
        """Keep the answers of a shard."""
        with replace_whole(self.folder / _name(number)) as part, part.open("w", encoding="utf-8") as file:
            file.writelines(map(to_line, records))
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> Iterator[Record]:
        """All answers, in the order of the list."""
        for number in range(len(self._offsets)):
            with open(self.folder / _name(number), encoding="utf-8") as lines:
                yield from map(json.loads, lines)

    def merge(self, records: Iterable[Record], out: Path, form: str) -> None:
        """Put the result in its place."""
        result = self.folder / "result"
        write_records(records, result, form)
        os.replace(result, out)


@contextmanager
def open_shards(out: Path, job: dict[str, Any]) -> Iterator[Shards]:
    """The folder beside ``out``, for this process alone; it goes away when the block ends without an error.

    Raises:
        RunError: another process is at work there, or it cannot be written.
    """
    folder = out.with_name(f"{out.name}.parts")
    if out.is_dir():
        raise RunError(f"{out} is a folder; give --out a file in it, such as {out / 'results.csv'}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock_folder(folder, out):
            yield Shards(folder, job)
    except OSError as error:
        raise RunError(
            f"{error.filename or folder} cannot be used ({error.strerror or error}); mend that and run the same "
            "command again: what was answered is kept."
        ) from error
    shutil.rmtree(folder, ignore_errors=True)


def _name(number: int) -> str:
    return f"{number:08d}.jsonl"


@contextmanager
def _lock_folder(folder: Path, out: Path) -> Iterator[None]:
    try:
        from filelock import FileLock, Timeout
    except ImportError:  # an installation for exported files alone may lack it; then nobody looks out for a second one
        yield
        return
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"Another `earmark predict` is writing {out}; wait for it, or give another --out.") from None
    try:
        yield
    finally:
        lock.release()
