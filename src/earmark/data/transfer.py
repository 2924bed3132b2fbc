"""One file fetched over HTTP: a transfer that broke off goes on where it stopped."""

import os
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from earmark import __version__
from earmark.errors import DownloadError
from earmark.progress import Advance

if TYPE_CHECKING:
    import requests

HUB = "https://huggingface.co"
ATTEMPTS = 4  # in a row that bring nothing new
PAUSE_S = 1.0
_TIMEOUT_S = (10.0, 60.0)  # to connect, between two packets
_CHUNK = 1 << 16  # of a transfer that breaks off, what arrived of the last one is lost
_PASSING_TROUBLE = frozenset({429, 500, 502, 503, 504})


class SourceError(DownloadError):
    """This source gives nothing; another one may."""


def find_mirror(url: str) -> str:
    """The address to ask: that of the mirror in ``HF_ENDPOINT`` for what lies at huggingface.co.

    Example:
        >>> os.environ["HF_ENDPOINT"] = "https://mirror.example/"
        >>> find_mirror("https://huggingface.co/datasets/a/b")
        'https://mirror.example/datasets/a/b'
        >>> del os.environ["HF_ENDPOINT"]
    """
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return mirror + url.removeprefix(HUB) if mirror and url.startswith(f"{HUB}/") else url


def fetch_file(url: str, target: Path, *, size: int, on_progress: Advance) -> None:
    """Fetch ``url`` to ``target``, which appears only when all of it has arrived.

    What has arrived is kept beside it in ``<target>.part``: the next attempt, in this run or a later one, asks the
    server for the rest. A server that cannot send a rest sends all, and the transfer begins anew.

    Args:
        url: Address of the file.
        target: Where it goes; nothing is done where it is already.
        size: Bytes, where the server does not say.
        on_progress: Called with (bytes arrived, bytes in all).

    Raises:
        SourceError: the server cannot be reached or does not have the file; the message says why.
        DownloadError: the transfer broke off time and again; what has arrived is kept.
        OSError: it cannot be written, for example to a full disk.

    Source:
        Range requests of RFC 9110, section 14, on pooch's ``HTTPDownloader``.
    """
    import requests

    if target.exists():
        return
    part = target.with_name(f"{target.name}.part")
    furthest, failures = _size_of(part), 0
    while True:
        try:
            _fetch_rest(url, part, size, on_progress)
            break
        except requests.RequestException as error:
            status = None if error.response is None else error.response.status_code
            if status == 416:  # what is here already is no beginning of that file
                part.unlink(missing_ok=True)
            elif (status is not None and status not in _PASSING_TROUBLE) or not part.exists():
                raise SourceError(f"{url} {_tell_reason(error)}") from error
            failures = 0 if _size_of(part) > furthest else failures + 1
            furthest = max(furthest, _size_of(part))
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"The transfer from {url} broke off at {_size_of(part):,} bytes ({_tell_reason(error)}): "
                    "run the command again to go on from there."
                ) from error
            time.sleep(PAUSE_S)
    os.replace(part, target)


def _fetch_rest(url: str, part: Path, size: int, on_progress: Advance) -> None:
    from pooch import HTTPDownloader  # type: ignore[import-untyped]

    # Compressed on the way, a rest would be counted in other bytes than those of the file.
    headers = {"Accept-Encoding": "identity", "User-Agent": f"earmark/{__version__}"}
    if have := _size_of(part):
        headers["Range"] = f"bytes={have}-"
    sink = _Sink(part, have, size, on_progress)
    try:
        fetch = HTTPDownloader(
            chunk_size=_CHUNK, headers=headers, timeout=_TIMEOUT_S, hooks={"response": sink.look_at_answer}
        )
        fetch(url, sink, None)
    finally:
        sink.close()


class _Sink:
    """What pooch writes to: the part file, opened when the server's answer shows whether it goes on or begins anew."""

    def __init__(self, part: Path, have: int, size: int, on_progress: Advance) -> None:
        self._part, self._done, self._total, self._on_progress = part, have, size, on_progress
        self._file: IO[bytes] | None = None

    def look_at_answer(self, response: "requests.Response", **_: object) -> None:
        if response.status_code not in (200, 206):  # a redirection or an error
            return
        self._file = open(self._part, "ab" if response.status_code == 206 else "wb")  # noqa: SIM115
        self._done = self._file.tell()
        self._total = self._done + int(response.headers.get("Content-Length", self._total - self._done))

    def write(self, chunk: bytes) -> None:
        assert self._file is not None, "an answer comes before its content"
        try:
            self._file.write(chunk)
        except OSError as error:
            error.filename = str(self._part)  # a full disk is told without the name of a file
            raise
        self._done += len(chunk)
        self._on_progress(self._done, max(self._done, self._total))

    def flush(self) -> None:
        """Pooch asks for it after every chunk; closing the file does it once."""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tell_reason(error: "requests.RequestException") -> str:
    import requests

    if error.response is not None:
        return f"answers {error.response.status_code} ({error.response.reason})"
    if isinstance(error, requests.Timeout):
        return "does not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "has no certificate that this computer trusts"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "cannot be reached"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "stopped sending"
    return f"cannot be asked ({error})"
