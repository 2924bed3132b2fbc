"""A fingerprint of labelled clips, the same wherever they lie."""

import hashlib
import math
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from earmark.data.clips import Clips, name_relative
from earmark.errors import ClipsError


def hash_clips(clips: Clips) -> str:
    """A fingerprint of the clips that is the same wherever they lie and in whatever order.

    Args:
        clips: The clips; their files must be there, for the size of each enters.

    Returns:
        SHA-256 over each clip's path below the folder that all share, size, label, start and end; 64 hex digits.

    Raises:
        ClipsError: a file is no longer there.
    """
    paths = [Path(path) for path in clips.table["path"]]
    shared = _shared_folder(paths)
    times = [clips.table[name] if name in clips.table else [math.nan] * len(clips) for name in ("start_s", "end_s")]
    lines = []
    for path, label, start_s, end_s in zip(paths, clips.table["label"], *times, strict=True):
        try:
            size = path.stat().st_size
        except OSError as error:
            raise ClipsError(
                f"{path} cannot be read ({error.strerror}): put it back or read the clips anew."
            ) from error
        name = unicodedata.normalize("NFC", name_relative(path, shared))
        lines.append("\0".join([name, str(size), label, f"{float(start_s):.6f}", f"{float(end_s):.6f}"]))
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def name_below_shared(paths: Sequence[str]) -> list[str]:
    """Each path from the innermost folder around all of them, with ``/`` between names.

    Example:
        >>> name_below_shared(["/s/a/1.wav", "/s/b/1.wav"])
        ['a/1.wav', 'b/1.wav']
    """
    # As text: a hundred thousand paths would take pathlib many seconds.
    folders = {os.path.dirname(path) for path in paths}
    shared = _shared_folder([Path(folder, "clip") for folder in folders])
    above = os.path.join(shared, "") if shared.parts else ""
    return [path.removeprefix(above).replace(os.sep, "/") for path in paths]


def _shared_folder(paths: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # no clips, or several Windows drives
        return Path()
