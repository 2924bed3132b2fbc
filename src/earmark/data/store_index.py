"""Where the store lies, and its index: which samples belong to which file."""

import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from earmark.files import replace_whole


class Stored(NamedTuple):
    """Where a file's samples lie: shard name, first sample, number of samples."""

    shard: str
    offset: int
    length: int


def find_cache_folder() -> Path:
    """``EARMARK_CACHE`` if set, else the user's cache folder of this system."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("EARMARK_CACHE")
    return Path(chosen) if chosen else user_cache_path("earmark")


@dataclass
class StoreIndex:
    """What is stored at one rate: content key -> place, a file's mark -> content key, content key -> remark."""

    places: dict[str, Stored] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "StoreIndex":
        """The index in ``folder``; an empty one where there is none, or a damaged one."""
        path = folder / "index.npz"
        if not path.exists():
            return cls()
        try:
            with np.load(path, allow_pickle=False) as arrays:
                shards = arrays["shards"].tolist()
                rows = zip(arrays["keys"].tolist(), arrays["places"].tolist(), strict=True)
                places = {key: Stored(shards[shard], offset, length) for key, (shard, offset, length) in rows}
                keys = dict(zip(arrays["marks"].tolist(), arrays["mark_keys"].tolist(), strict=True))
                remarks = dict(zip(arrays["remark_keys"].tolist(), arrays["remarks"].tolist(), strict=True))
        except (ValueError, KeyError, EOFError, BadZipFile):
            # A disk that failed it, not a killed run: what it named is decoded again, and nothing else is lost.
            return cls()
        return cls(places, keys, remarks)

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        shards = sorted({place.shard for place in self.places.values()})
        number = {shard: i for i, shard in enumerate(shards)}
        places = [(number[place.shard], place.offset, place.length) for place in self.places.values()]
        with replace_whole(folder / "index.npz") as part, part.open("wb") as file:
            np.savez(
                file,
                shards=np.array(shards, dtype=np.str_),
                keys=np.array(list(self.places), dtype=np.str_),
                places=np.array(places, dtype=np.int64).reshape(-1, 3),
                marks=np.array(list(self.keys), dtype=np.str_),
                mark_keys=np.array(list(self.keys.values()), dtype=np.str_),
                remark_keys=np.array(list(self.remarks), dtype=np.str_),
                remarks=np.array(list(self.remarks.values()), dtype=np.str_),
            )

    def find_key(self, path: str) -> str | None:
        """The content key of a file known by its name, size and time of change; the file is not read."""
        mark = mark_file(path)
        if mark is None:
            return None
        key = self.keys.get(mark)
        return key if key in self.places else None

    def add(self, path: str, key: str, place: Stored, remark: str) -> None:
        """Enter a decoded file."""
        self.places.setdefault(key, place)
        mark = mark_file(path)
        if mark is not None:
            self.keys[mark] = key
        if remark:
            self.remarks[key] = remark

    def drop(self, shards: Collection[str]) -> None:
        """Forget all that lies in these shards."""
        self.places = {key: place for key, place in self.places.items() if place.shard not in shards}
        self.keys = {mark: key for mark, key in self.keys.items() if key in self.places}
        self.remarks = {key: remark for key, remark in self.remarks.items() if key in self.places}


def mark_file(path: str) -> str | None:
    """Name, size and time of change, hashed: cheap to ask, and different once the file is."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    mark = f"{os.path.abspath(path)}\0{state.st_size}\0{state.st_mtime_ns}"
    return hashlib.blake2b(mark.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def hash_file(path: str | os.PathLike[str]) -> str:
    """BLAKE2b of a file's bytes, 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
