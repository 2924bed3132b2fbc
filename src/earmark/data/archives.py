"""Archives of datasets unpacked: nothing lands outside the folder, and damage is told in a sentence."""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from earmark.errors import DownloadError
from earmark.progress import Advance

_CHUNK = 1 << 20
_ZIP_MAGIC = b"PK\x03\x04"


def unpack_archive(archive: Path, folder: Path, on_progress: Advance) -> None:
    """Write the files of a tar (plain, gzip, bzip2, xz) or zip archive below ``folder``.

    Hidden files, such as macOS adds, are left out. The archive is read to its end, so that its own check sums are
    looked at.

    Args:
        archive: The file; what it is shows in its first bytes, not in its name.
        folder: Where to; made if need be. On an error it may hold a part.
        on_progress: Called with (bytes read, bytes of the archive).

    Raises:
        DownloadError: it is no archive, damaged, encrypted, or holds a link or a name that leads out of ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(archive, "rb") as raw, _telling_of_damage(archive, folder):
        is_zip = raw.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        raw.seek(0)
        if is_zip:
            _unpack_zip(raw, folder, on_progress)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(raw, folder, on_progress)
        else:
            raise DownloadError(
                f"{archive} is neither a tar nor a zip archive (a web page saved in its place, perhaps): get it again."
            )


def _unpack_tar(raw: IO[bytes], folder: Path, on_progress: Advance) -> None:
    size = os.fstat(raw.fileno()).st_size
    with tarfile.open(fileobj=raw, mode="r:*") as tar:
        for member in tar:
            place = _find_place(member.name, folder, is_link=not (member.isfile() or member.isdir()))
            if member.isfile() and place is not None:
                _write(tar.extractfile(member), place)
            on_progress(raw.tell(), size)
        # The check sum of gzip stands behind the last file; nobody looks at it unless it is read.
        while tar.fileobj is not None and tar.fileobj.read(_CHUNK):
            pass


def _unpack_zip(raw: IO[bytes], folder: Path, on_progress: Advance) -> None:
    with zipfile.ZipFile(raw) as container:
        infos = container.infolist()
        size = sum(info.compress_size for info in infos)
        done = 0
        for info in infos:
            place = _find_place(info.filename, folder, is_link=stat.S_ISLNK(info.external_attr >> 16))
            if not info.is_dir() and place is not None:
                _write(container.open(info), place)
            done += info.compress_size
            on_progress(done, size)


def _find_place(name: str, folder: Path, *, is_link: bool) -> Path | None:
    """Where an entry goes; ``None`` for hidden ones. Links are refused: through one, a later entry could get out."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts:  # "./", the root itself
        return None
    if is_link or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        kind = "a link or special file" if is_link else "a name that leads out of its folder"
        raise DownloadError(f"The archive holds {kind} ({name!r}), so nothing is unpacked: get it from another source.")
    if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
        return None
    return folder.joinpath(*path.parts)


def _write(source: IO[bytes] | None, place: Path) -> None:
    assert source is not None, "only files are opened"
    place.parent.mkdir(parents=True, exist_ok=True)
    with source, open(place, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)


@contextmanager
def _telling_of_damage(archive: Path, folder: Path) -> Iterator[None]:
    """Each format names its damage differently; a reader needs one sentence."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError) as error:
        raise DownloadError(f"{archive} is damaged ({error}): get it again.") from error
    except RuntimeError as error:  # what zipfile raises for a password and for a compression that it does not know
        raise DownloadError(
            f"{archive} cannot be unpacked here ({error}): unpack it with another program and train on its folder."
        ) from error
    except OSError as error:
        if error.errno is None:  # gzip and bzip2 speak of damage like this
            raise DownloadError(f"{archive} is damaged ({error}): get it again.") from error
        error.filename = error.filename or str(folder)  # a full disk is told without the name of a file
        raise
