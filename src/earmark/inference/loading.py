"""Files as a classifier takes them: decoded whole where they are short, named where they are long.

Imports little, since processes that do nothing but decode start with this module.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np

from earmark.errors import EarmarkError, SoundError
from earmark.sound.decode import decode, stream

WHOLE_FILE_BYTES = 16 << 20  # larger files are read block by block,
LONGEST_WHOLE_S = 60.0  # and so is what is small and yet lasts longer: a packed file may hold hours


class Loaded(NamedTuple):
    """One file: its waveform, or the reason why there is none; neither where it is to be read block by block."""

    path: str
    waveform: np.ndarray | None
    reason: str


class Loading(Protocol):
    """Files that are being decoded."""

    def result(self) -> list[Loaded]:
        """What became of them, once they are."""
        ...


class Decoders(Protocol):
    """Threads or processes that decode: an executor of the standard library, or what is asked like one."""

    def submit(self, load: Callable[[list[str], int], list[Loaded]], paths: list[str], sample_rate: int, /) -> Loading:
        """Begin to decode some files."""
        ...


def is_url(path: str) -> bool:
    """Whether ``path`` names what fsspec opens.

    Example:
        >>> is_url("s3://birds/owl.flac"), is_url("birds/owl.flac")
        (True, False)
    """
    return "://" in path


def load_file(path: str, sample_rate: int) -> Loaded:
    """Decode one file, unless it is long.

    Args:
        path: A path, or an address that fsspec opens, such as ``s3://bucket/owl.flac``.
        sample_rate: Hz wanted.
    """
    try:
        if os.path.isfile(path) and os.path.getsize(path) > WHOLE_FILE_BYTES:
            return Loaded(path, None, "")
        with open_source(path) as source:
            waveform, _ = decode(source, sample_rate=sample_rate, duration_s=LONGEST_WHOLE_S + 1.0)
    except EarmarkError as error:
        return Loaded(path, None, str(error))
    return Loaded(path, None if len(waveform) > LONGEST_WHOLE_S * sample_rate else waveform, "")


def load_files(paths: Sequence[str], sample_rate: int) -> list[Loaded]:
    """`load_file`, one after another."""
    return [load_file(path, sample_rate) for path in paths]


def stream_file(path: str, sample_rate: int, block_s: float) -> Iterator[np.ndarray]:
    """A long file block by block, as `earmark.sound.decode.stream` gives it.

    Raises:
        SoundError: it cannot be opened or decoded.
    """
    with open_source(path) as source:
        yield from stream(source, sample_rate=sample_rate, block_s=block_s)


@contextmanager
def open_source(path: str) -> Iterator[Any]:
    """What `decode` takes: the path itself, or the open file behind an address or a name that is no text."""
    if not is_url(path):
        if _is_text(path) or not os.access(path, os.R_OK):
            yield path
            return
        with open(path, "rb") as file:  # libsndfile takes no name whose bytes are no text
            yield file
        return
    try:
        with open_address(path) as file:
            yield file
    except SoundError as error:
        raise SoundError(str(error).replace("<file object>", path)) from error


@contextmanager
def open_address(url: str) -> Iterator[Any]:
    """The bytes behind an address.

    Raises:
        SoundError: fsspec, or what it needs for this kind of address, is not installed; or it cannot be opened.
    """
    fsspec = import_fsspec(url)
    try:
        with fsspec.open(url, "rb") as file:
            yield file
    except EarmarkError:
        raise
    except Exception as error:  # every store has its own kinds
        raise SoundError(
            f"{url} cannot be opened ({_name_fault(error)}); check the address and your rights."
        ) from error


def import_fsspec(url: str) -> Any:
    """The module fsspec.

    Raises:
        SoundError: it is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise SoundError(f'{url} is an address, which fsspec opens; run `pip install "earmark[ray]"`.') from error
    return fsspec


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name_fault(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
