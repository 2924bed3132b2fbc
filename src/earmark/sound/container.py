"""What a file says about itself before anything is decoded: its kind, whether it was cut off, why it cannot be read.

Only ``earmark.sound.decode`` and ``earmark.sound.readers`` need this room.
"""

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from earmark.errors import SoundError

Sound = str | os.PathLike[str] | bytes | BinaryIO
"""What can be decoded: a path, the bytes themselves, or a binary file object."""

_HEAD_LENGTH = 4096
_LONGEST_OGG_PAGE = 65_307
_IN_MEMORY = 1 << 26
_SOUNDFILE_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"dns.", b"caff", b"NIST")


class _Rest:
    """A seekable file from its present position on, without its name (FFmpeg guesses formats from names)."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._origin = file.tell()
        self.read = file.read
        if hasattr(file, "readinto"):
            self.readinto = file.readinto

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._file.seek(offset + self._origin if whence == os.SEEK_SET else offset, whence)
        return self.tell()

    def tell(self) -> int:
        return self._file.tell() - self._origin


@dataclass(frozen=True)
class Container:
    """A sound's bytes, not yet understood.

    Attributes:
        name: What messages call it.
        head: Its first bytes.
        size: Its length in bytes.
    """

    name: str
    head: bytes
    size: int
    _source: "str | _Rest"

    def for_soundfile(self) -> "str | _Rest":
        """What libsndfile opens: a path where there is one, because that is fastest."""
        if not isinstance(self._source, str):
            self._source.seek(0)
        return self._source

    @contextmanager
    def opened(self) -> "Iterator[_Rest]":
        """A nameless binary file at its start."""
        if isinstance(self._source, str):
            with open(self._source, "rb", buffering=0) as file:
                yield _Rest(file)
        else:
            self._source.seek(0)
            yield self._source

    def bytes_at(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset`` on, fewer at the end."""
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        with self.opened() as file:
            file.seek(offset)
            return file.read(length)

    def suits_soundfile(self) -> bool:
        """Whether libsndfile is to read this.

        It is asked only for headers that it knows by their bytes: by the suffix alone it would hand out the letters of
        a text file named ``.au`` as samples. Of MP3 it gets those whose tag tells their length and agrees with the
        size: without one it estimates the length and drops what lies beyond (85 % of a variable-rate file in a test),
        and with a wrong one libmpg123 writes to the user's terminal.
        """
        start = _after_id3(self.head)
        if self.bytes_at(start, 4).startswith(_SOUNDFILE_MAGICS):
            return True
        promised = self._mp3_length()
        return promised is not None and promised <= self.size - start <= 1.005 * promised

    def cut(self) -> str | None:
        """How we know from its first or last bytes that an Ogg or MP3 file was cut off; ``None`` where we do not."""
        if self.head.startswith(b"OggS"):
            return self._ogg_cut()
        promised = self._mp3_length()
        there = self.size - _after_id3(self.head)
        if promised is not None and there < promised:
            return f"its header promises {promised} bytes of sound and {there} are there"
        return None

    def _ogg_cut(self) -> str | None:
        tail = self.bytes_at(max(0, self.size - _LONGEST_OGG_PAGE), _LONGEST_OGG_PAGE)
        page = tail.rfind(b"OggS")
        header = tail[page : page + 27]
        if page < 0 or len(header) < 27:
            return "its last page is not whole"
        segments = tail[page + 27 : page + 27 + header[26]]
        if page + 27 + header[26] + sum(segments) > len(tail):
            return "its last page is not whole"
        return None if header[5] & 4 else "its last page is not marked as the last"

    def _mp3_length(self) -> int | None:
        """Bytes of MPEG audio that the Xing or Info tag in the first frame tells; ``None`` without such a tag."""
        frame = self.bytes_at(_after_id3(self.head), 64)
        if len(frame) < 64 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
            return None
        tag = max(frame.find(b"Xing"), frame.find(b"Info"))
        frames_and_bytes_told = tag >= 0 and frame[tag + 7] & 3 == 3
        return int.from_bytes(frame[tag + 12 : tag + 16]) if frames_and_bytes_told else None

    def format_name(self, names: str) -> str:
        """The plain name of this container, where FFmpeg names a family (``mov,mp4,m4a,3gp,3g2,mj2``)."""
        if names.startswith("mov"):
            brand = self.head[8:12]
            return {b"M4A ": "m4a", b"M4B ": "m4a", b"qt  ": "mov", b"3gp4": "3gp", b"3gp5": "3gp"}.get(brand, "mp4")
        if names.startswith("matroska"):
            return "webm" if b"webm" in self.head[:64] else "mkv"
        return names.split(",")[0]

    def why_unreadable(self) -> str:
        """The likeliest reason that no library opens this, and what to do, to follow ``<name>``."""
        if self.head.startswith((b"RIFF", b"RIFX")):
            fmt = self.head.find(b"fmt ")
            if fmt >= 0 and self.head[fmt + 10 : fmt + 12] == b"\0\0":
                return "says in its header that it has zero channels; record or export it again"
        if cut := self.cut():
            return f"holds no sound that can be read: {cut}; copy, download or record it again"
        if self.head[4:8] == b"ftyp":
            return "has no index (moov), which is written last, so it was cut off; copy, download or record it again"
        if _is_text(self.head):
            return f"is text, not sound (it begins with {self.head[:20].decode(errors='ignore')!r}); give an audio file"
        return (
            "is not in a sound format that Earmark reads, or is damaged beyond reading; "
            "if a player plays it, convert it, for instance with `ffmpeg -i IN OUT.wav`"
        )


def _after_id3(head: bytes) -> int:
    """Where the sound begins behind an ID3v2 tag, whose length is written in four times seven bits."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _is_text(head: bytes) -> bool:
    try:
        text = head[:512].decode()
    except UnicodeDecodeError as error:
        # A character cut in two by the end of the sample is no fault of the text.
        text = head[: error.start].decode() if error.start > len(head[:512]) - 4 else "\0"
    return all(character.isprintable() or character.isspace() for character in text)


@contextmanager
def open_container(sound: Sound) -> Iterator[Container]:
    """Open a path, bytes or a binary file object, seekable or not, as a ``Container``."""
    if isinstance(sound, str | os.PathLike):
        path = os.fspath(sound)
        with _path_errors_explained(path):
            found = _from_path(path)
        if found is not None:
            yield found
        else:
            with open(path, "rb") as pipe, _kept(pipe) as file:
                yield _from_file(file, path)
    elif isinstance(sound, bytes | bytearray | memoryview):
        yield _from_file(_Rest(io.BytesIO(sound)), "<bytes>")
    elif hasattr(sound, "read"):
        name = getattr(sound, "name", None)
        name = name if isinstance(name, str) else "<file object>"
        if not isinstance(sound.read(0), bytes):
            raise SoundError(f"{name} is open as text; open it in binary mode ('rb').")
        if getattr(sound, "seekable", bool)():
            yield _from_file(_Rest(sound), name)
        else:
            with _kept(sound) as file:
                yield _from_file(file, name)
    else:
        raise TypeError(f"a sound is a path, bytes or a binary file object, not {type(sound).__name__}")


@contextmanager
def _kept(pipe: BinaryIO) -> Iterator[_Rest]:
    """What comes out of a pipe, seekable: in memory while it is small, in a temporary file beyond."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        shutil.copyfileobj(pipe, file)
        file.seek(0)
        yield _Rest(file)


def _from_file(file: _Rest, name: str) -> Container:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return _not_empty(Container(name, file.read(_HEAD_LENGTH), size, file))


def _from_path(path: str) -> Container | None:
    """A regular file's ``Container``; ``None`` for a pipe or device, which must not be read twice."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise SoundError(f"{path} is a folder; give a sound file, or each file in it.")
    if not stat.S_ISREG(status.st_mode):
        return None
    with open(path, "rb", buffering=0) as file:
        return _not_empty(Container(path, file.read(_HEAD_LENGTH), status.st_size, path))


@contextmanager
def _path_errors_explained(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise SoundError(f"{path} does not exist; check the name and the folder ({Path.cwd()} at present).") from None
    except PermissionError:
        raise SoundError(
            f"{path} may not be read by you; change its permissions or copy it to where you may."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise SoundError(f"{path!r} cannot be read ({reason}); check the name and the disk.") from None


def _not_empty(container: Container) -> Container:
    if not container.head:
        raise SoundError(f"{container.name} is empty (0 bytes); copy, download or record it again.")
    return container
