"""What is in a set of clips, without decoding any of it: counts, lengths, rates, formats, files that cannot be read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark.data.clips import Clips, split_labels
from earmark.errors import SoundError
from earmark.sound.decode import SoundInfo, probe

if TYPE_CHECKING:
    import pandas as pd

# Probing waits for the disk most of the time; more threads than this gain nothing on a local one.
_THREADS = 8


@dataclass(frozen=True, eq=False)
class Overview:
    """What is in a set of clips.

    Attributes:
        classes: One row a class, in the order of ``clips.labels``: ``label``, ``clips`` (all of them), and of those
            that can be read ``duration_s`` (total), ``shortest_s`` and ``longest_s`` (NaN where there are none).
        clips: How many clips there are; one with several labels counts once.
        duration_s: How long the readable ones are together, seconds; a clip without a known length counts nothing.
        sample_rates: Hz -> number of files, the most frequent first; so too ``channels`` and ``formats``.
        channels: Number of channels -> number of files.
        formats: ``"container/codec"`` -> number of files.
        unreadable: Path and reason of each clip that cannot be used, in the order of the clips.
        passed_over: What was seen and left out when the clips were read: reason -> count.
    """

    classes: pd.DataFrame
    clips: int
    duration_s: float
    sample_rates: dict[int, int]
    channels: dict[int, int]
    formats: dict[str, int]
    unreadable: list[tuple[str, str]]
    passed_over: dict[str, int]


def describe_clips(clips: Clips, on_progress: Callable[[int, int], None] | None = None) -> Overview:
    """Look at the header of every file and sum up.

    Args:
        clips: The clips; ``start_s`` and ``end_s`` count where there are any.
        on_progress: Called with (files looked at, files in all) after each file, in the calling thread.

    Returns:
        The overview; files that cannot be read are listed in it and raise nothing.

    Example:
        >>> import pathlib, tempfile
        >>> from earmark.data.layouts import read_clips
        >>> from earmark.sound.synthesis import write_sounds
        >>> folder = write_sounds(pathlib.Path(tempfile.mkdtemp()) / "sounds", clips_per_class=1, duration_s=0.5)
        >>> overview = describe_clips(read_clips(folder))
        >>> overview.clips, overview.duration_s, overview.sample_rates
        (10, 5.0, {22050: 10})
    """
    import pandas as pd

    found = _probe_all(list(dict.fromkeys(clips.table["path"])), on_progress)
    infos = [info for info in found.values() if isinstance(info, SoundInfo)]
    durations_s: list[float] = []
    unreadable = []
    for clip in clips.table.to_dict("records"):
        length_s, reason = _measure(found[clip["path"]], clip.get("start_s"), clip.get("end_s"))
        durations_s.append(length_s)
        if reason:
            unreadable.append((clip["path"], reason))
    return Overview(
        classes=pd.DataFrame(_classes(clips, durations_s), columns=_CLASS_COLUMNS),
        clips=len(clips),
        duration_s=math.fsum(length_s for length_s in durations_s if not math.isnan(length_s)),
        sample_rates=dict(Counter(info.sample_rate for info in infos).most_common()),
        channels=dict(Counter(info.channels for info in infos).most_common()),
        formats=dict(Counter(f"{info.container}/{info.codec}" for info in infos).most_common()),
        unreadable=unreadable,
        passed_over=dict(clips.passed_over),
    )


_CLASS_COLUMNS = ["label", "clips", "duration_s", "shortest_s", "longest_s"]


def _probe_all(paths: list[str], on_progress: Callable[[int, int], None] | None) -> dict[str, SoundInfo | SoundError]:
    found: dict[str, SoundInfo | SoundError] = {}
    threads = ThreadPoolExecutor(_THREADS)
    try:
        for path, info in zip(paths, threads.map(_probe, paths), strict=True):
            found[path] = info
            if on_progress:
                on_progress(len(found), len(paths))
    finally:
        # After Ctrl-C nobody waits for what is left.
        threads.shutdown(cancel_futures=True)
    return found


def _probe(path: str) -> SoundInfo | SoundError:
    try:
        return probe(path)
    except SoundError as error:
        return error


def _measure(info: SoundInfo | SoundError, start_s: float | None, end_s: float | None) -> tuple[float, str]:
    """The length of a clip in seconds, NaN where unknown, and why it cannot be used if it cannot."""
    if isinstance(info, SoundError):
        return math.nan, str(info)
    begin_s = 0.0 if start_s is None or math.isnan(start_s) else start_s
    stop_s = info.duration_s if end_s is None or math.isnan(end_s) else min(end_s, info.duration_s)
    if begin_s >= info.duration_s:
        return math.nan, f"start_s is {begin_s:g} but the file ends at {info.duration_s:g} s"
    return stop_s - begin_s, ""


def _classes(clips: Clips, durations_s: list[float]) -> list[list[object]]:
    of_label: dict[str, list[float]] = {label: [] for label in clips.labels}
    for cell, length_s in zip(clips.table["label"], durations_s, strict=True):
        for label in split_labels(cell, multi_label=clips.multi_label):
            of_label[label].append(length_s)
    rows: list[list[object]] = []
    for label, lengths_s in of_label.items():
        known_s = [length_s for length_s in lengths_s if not math.isnan(length_s)]
        extremes_s = (min(known_s), max(known_s)) if known_s else (math.nan, math.nan)
        rows.append([label, len(lengths_s), math.fsum(known_s), *extremes_s])
    return rows
