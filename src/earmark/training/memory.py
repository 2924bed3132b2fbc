"""What a model remembers of its training clips, and which of other clips it knows from there."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.groups import hash_group
from earmark.data.leaks import LEAST_OVERLAP_S, hash_sound
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ModelError
from earmark.evaluation.drift import MEMORY_FILE
from earmark.inference.classifier import Classifier, find_model
from earmark.inference.torch_network import reach_torch


@dataclass(frozen=True)
class Recalled:
    """What a model knows of clips.

    Args:
        same: Rows of clips that it learned from.
        groups: Group -> rows of its clips that it did not learn from, though it did from others of the group.
        excused: Rows of clips it knows in such a way because a published protocol has it so.
    """

    same: list[int]
    groups: dict[str, list[int]]
    excused: list[int]


def remember_clips(
    waveforms: ClipWaveforms, rows: np.ndarray, excused: Mapping[str, Collection[int]] | None = None
) -> list[dict[str, Any]]:
    """One entry a clip, without sound or file name: the hashes of its file and its samples, its group, its times.

    Args:
        waveforms: The clips and their sound.
        rows: Those it learned from.
        excused: Clips that a published protocol has on two sides, by ``"group"`` and by ``"duplicate"``.
    """
    table = waveforms.clips.table
    groups = [_plain(group) for group in table["group"]] if "group" in table else [None] * len(table)
    entries = []
    for row in map(int, rows):
        group = groups[row]
        if group is not None and waveforms.clips.grouping:
            group = hash_group(group)  # it was read from file names, which are nobody's business
        entry: dict[str, Any] = {
            "hash": waveforms.content_keys[row],
            "sound": hash_sound(waveforms.read(row)),
            "group": group,
        }
        start_s, end_s = _find_times(waveforms, row)
        if start_s > 0 or math.isfinite(end_s):
            entry["start_s"] = start_s
            entry["end_s"] = end_s if math.isfinite(end_s) else None
        kinds = sorted(kind for kind, members in (excused or {}).items() if row in members)
        entries.append(entry | ({"excused": kinds} if kinds else {}))
    return entries


def read_memory(classifier: Classifier) -> list[dict[str, Any]] | None:
    """The clips a model learned from, as `remember_clips` wrote them; ``None`` where it does not say."""
    name = getattr(reach_torch(classifier).model, "name_or_path", "")
    try:
        place = Path(find_model(name)) if name else None
        memory = json.loads((place / MEMORY_FILE).read_text(encoding="utf-8")) if place else {}
    except (ModelError, OSError, ValueError):
        return None
    clips = memory.get("clips") if isinstance(memory, dict) else None
    return clips or None


def recall_clips(
    waveforms: ClipWaveforms, memory: list[dict[str, Any]], on_progress: Callable[[int, int], None] | None = None
) -> Recalled:
    """Find clips, and groups, that a model learned from.

    Args:
        waveforms: The clips it is asked about, at its own sample rate, as it learned from its own.
        memory: The entries of `remember_clips`.
        on_progress: Called with (clips compared, clips).
    """
    by_sound: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    by_file: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    by_group: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in memory:
        for known, key in ((by_sound, entry.get("sound")), (by_file, entry["hash"]), (by_group, entry.get("group"))):
            if key is not None:
                known[key].append(entry)
    recalled = Recalled([], {}, [])
    groups = waveforms.clips.table["group"] if "group" in waveforms.clips.table else [None] * len(waveforms)
    for row, group in enumerate(map(_plain, groups)):
        key = hash_sound(waveforms.read(row))
        same = (
            [] if key is None else [*by_sound[key], *_overlapping(by_file[waveforms.content_keys[row]], waveforms, row)]
        )
        # A model on the Hub, and groups read from file names, are remembered by their hashes.
        related = [] if group is None else [*by_group[group], *by_group[hash_group(group)]]
        if not all(_is_excused(entry, "duplicate") for entry in same):
            recalled.same.append(row)
        elif group is not None and not all(_is_excused(entry, "group") for entry in related):
            recalled.groups.setdefault(group, []).append(row)
        elif same or related:
            recalled.excused.append(row)
        if on_progress is not None:
            on_progress(row + 1, len(waveforms))
    return recalled


def _is_excused(entry: dict[str, Any], kind: str) -> bool:
    return kind in entry.get("excused", ())


def _overlapping(entries: list[dict[str, Any]], waveforms: ClipWaveforms, row: int) -> list[dict[str, Any]]:
    """The entries of one file that share a stretch of it with a clip."""
    start_s, end_s = _find_times(waveforms, row)
    return [
        entry
        for entry in entries
        if min(end_s, entry.get("end_s") or math.inf) - max(start_s, entry.get("start_s") or 0.0) > LEAST_OVERLAP_S
    ]


def _find_times(waveforms: ClipWaveforms, row: int) -> tuple[float, float]:
    """When a clip starts and ends in its file, seconds; infinity for the file's end."""
    table = waveforms.clips.table
    start_s, end_s = (float(table[name].iloc[row]) if name in table else math.nan for name in ("start_s", "end_s"))
    return (0.0 if math.isnan(start_s) else start_s), (math.inf if math.isnan(end_s) else end_s)


def _plain(group: Any) -> str | None:
    """A cell of the group column; nothing for a blank one."""
    return str(group) if isinstance(group, str) else None
