"""What stands on two sides of a split: a group, or the same sound. Cheap enough to be asked every time."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from earmark.data.clips import Clips
from earmark.data.fingerprint import name_below_shared
from earmark.data.waveforms import ClipWaveforms

Kind = Literal["group", "duplicate", "near duplicate"]

PROBE_SAMPLES = 256
LEAST_OVERLAP_S = 0.01  # less is how times are rounded
CLIPS_NAMED = 3
UNUSED = "unused"


@dataclass(frozen=True)
class Leak:
    """One group, or one sound, that stands in several parts.

    Args:
        kind: Of which sort.
        parts: The parts it stands in, in the order in which the clips name them.
        rows: Positions of its clips in the table.
        sentence: Where it stands: ``'jackson' (30 clips in train, 12 in test)``, ``a.wav (train) = b.wav (test)``.
    """

    kind: Kind
    parts: tuple[str, ...]
    rows: tuple[int, ...]
    sentence: str


def find_leaks(
    parts: Sequence[str | None],
    *,
    names: Sequence[str],
    groups: Sequence[Hashable | None] | None = None,
    sounds: Sequence[Hashable | None] | None = None,
    near: Sequence[Hashable | None] | None = None,
    labels: Sequence[str] | None = None,
) -> list[Leak]:
    """Find what stands in more than one part.

    Args:
        parts: (clips,), what each clip is dealt to: ``train``, ``test``, ``fold 3``…; ``None`` or ``unused`` for none.
        names: (clips,), what people call each clip.
        groups: (clips,), the recording, speaker or track of each clip; ``None`` where it is not told.
        sounds: (clips,), equal where the sound is the same to the sample; ``None`` for a sound that is there once.
        near: (clips,), equal where the sound is nearly the same; ``None`` for a sound that is there once.
        labels: (clips,); named where the same sound has several.

    Returns:
        Groups first, then duplicates, then near duplicates, each sort in the order of the clips.

    Example:
        >>> parts, names = ["train", "train", "test"], ["a.wav", "b.wav", "c.wav"]
        >>> [leak.sentence for leak in find_leaks(parts, names=names, groups=["x", None, "x"], sounds=[None, 7, 7])]
        ["'x' (1 clip in train, 1 in test)", 'b.wav (train) = c.wav (test)']
    """
    leaks = []
    keys: tuple[tuple[Kind, Sequence[Hashable | None] | None], ...] = (
        ("group", groups),
        ("duplicate", sounds),
        ("near duplicate", near),
    )
    for kind, of_clip in keys:
        for key, rows in _gather(of_clip, parts).items():
            met = tuple(dict.fromkeys(str(parts[row]) for row in rows))
            if len(met) < 2:
                continue
            if kind == "group":
                sentence = _tell_group(key, [str(parts[row]) for row in rows])
            else:
                sentence = _tell_same(rows, parts, names, labels)
            leaks.append(Leak(kind, met, tuple(rows), sentence))
    return leaks


def _gather(keys: Sequence[Hashable | None] | None, parts: Sequence[str | None]) -> dict[Hashable, list[int]]:
    rows_of: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys if keys is not None else ()):
        if key is not None and key == key and parts[row] not in (None, UNUSED):  # NaN, a blank cell, is not itself
            rows_of[key].append(row)
    return rows_of


def _tell_group(key: Hashable, parts: Sequence[str]) -> str:
    (first, count), *others = Counter(parts).items()
    clips = "1 clip" if count == 1 else f"{count} clips"
    return f"{str(key)!r} ({', '.join([f'{clips} in {first}', *(f'{count} in {part}' for part, count in others)])})"


def _tell_same(
    rows: Sequence[int], parts: Sequence[str | None], names: Sequence[str], labels: Sequence[str] | None
) -> str:
    """The first two neighbours that stand in different parts."""
    pair = next(pair for pair in pairwise(rows) if parts[pair[0]] != parts[pair[1]])
    differ = labels is not None and labels[pair[0]] != labels[pair[1]]
    told = [f"{names[row]} ({parts[row]}{f', labelled {labels[row]}' if differ and labels else ''})" for row in pair]
    return " = ".join(told) + (f" and {len(rows) - 2} more" if len(rows) > 2 else "")


def find_conflicts(sounds: Sequence[Hashable | None], labels: Sequence[str], names: Sequence[str]) -> list[str]:
    """The sounds that stand in the table under several labels, a sentence each.

    Example:
        >>> find_conflicts([1, None, 1], ["dog", "cat", "cat"], ["a.wav", "b.wav", "c.wav"])
        ['a.wav (dog) = c.wav (cat)']
    """
    conflicts = []
    for rows in _gather(sounds, ["train"] * len(labels)).values():
        first_with = {labels[row]: row for row in reversed(rows)}
        if len(first_with) > 1:
            shown = sorted(first_with.values())[:CLIPS_NAMED]
            conflicts.append(" = ".join(f"{names[row]} ({labels[row]})" for row in shown))
    return conflicts


def name_clips(clips: Clips) -> list[str]:
    """What people call each clip: its path below the folder that all share, and its times where it is cut.

    Example:
        >>> from earmark.data.clips import build_clips
        >>> name_clips(build_clips([{"path": f"/s/{name}.wav", "label": "x"} for name in ("a/1", "b/1")]))
        ['a/1.wav', 'b/1.wav']
    """
    table = clips.table
    names = name_below_shared(table["path"].tolist())
    if "start_s" not in table and "end_s" not in table:
        return names
    blank = [np.nan] * len(table)
    starts_s, ends_s = (table[name].tolist() if name in table else blank for name in ("start_s", "end_s"))
    return [_name_cut(*cut) for cut in zip(names, starts_s, ends_s, strict=True)]


def _name_cut(name: str, start_s: float, end_s: float) -> str:
    if np.isnan(start_s) and np.isnan(end_s):
        return name
    end = "end" if np.isnan(end_s) else f"{end_s:g} s"
    return f"{name} {0.0 if np.isnan(start_s) else start_s:g}–{end}"


def hash_sound(samples: np.ndarray) -> str | None:
    """BLAKE2b of decoded samples, 32 hexadecimal digits; ``None`` for silence and all that never changes.

    Two empty recordings are no copy of each other that gives anything away.

    Example:
        >>> hash_sound(np.zeros(100, dtype=np.float32)) is None
        True
    """
    if _is_constant(samples):
        return None
    return hashlib.blake2b(np.ascontiguousarray(samples, dtype=np.float32).data, digest_size=16).hexdigest()


def _is_constant(samples: np.ndarray) -> bool:
    return not len(samples) or bool((samples == samples[0]).all())


def find_copies(waveforms: ClipWaveforms, on_progress: Callable[[int, int], None] | None = None) -> list[str | None]:
    """Which clips are the same to the sample, whatever files they were decoded from (a WAV and its FLAC, say).

    Only a few milliseconds in the middle of each clip are read; all of it only where they and the length agree.

    Args:
        waveforms: The clips and their sound.
        on_progress: Called with (clips looked at, clips).

    Returns:
        (clips,), equal keys for equal sound, ``None`` for a sound that is there once.
    """
    alike: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for row, place in enumerate(waveforms.places):
        middle = place.length // 2
        probe = waveforms.read(row, middle, middle + PROBE_SAMPLES).tobytes()
        alike[place.length, hashlib.blake2b(probe, digest_size=16).digest()].append(row)
        if on_progress is not None and (row + 1) % 1000 == 0:
            on_progress(row + 1, len(waveforms))
    keys: list[str | None] = [None] * len(waveforms)
    for rows in alike.values():
        for row in rows if len(rows) > 1 else ():
            keys[row] = hash_sound(waveforms.read(row))
    times = Counter(keys)
    return [key if times[key] > 1 else None for key in keys]


def join_overlaps(waveforms: ClipWaveforms, copies: Sequence[str | None]) -> list[str | None]:
    """The keys of `find_copies`, where clips that share a stretch of a file count as the same sound, too."""
    keys = list(copies)
    joined: dict[str, str] = {}

    def find(key: str) -> str:
        while key in joined:
            key = joined[key]
        return key

    for first, second in _find_overlaps(waveforms):
        one = keys[first] = keys[first] or f"stretch {first}"
        other = keys[second] = keys[second] or one
        if find(one) != find(other):
            joined[find(other)] = find(one)
    return [None if key is None else find(key) for key in keys]


def _find_overlaps(waveforms: ClipWaveforms) -> Iterator[tuple[int, int]]:
    """Pairs of clips that share a stretch of a file: each with the one before it that lasts longest."""
    rate, table = waveforms.store.sample_rate, waveforms.clips.table
    starts_s = table["start_s"].fillna(0.0) if "start_s" in table else [0.0] * len(table)
    starts = [round(start_s * rate) for start_s in starts_s]
    ends = [start + place.length for start, place in zip(starts, waveforms.places, strict=True)]
    files = waveforms.content_keys
    last: int | None = None
    for row in sorted(range(len(files)), key=lambda row: (files[row], starts[row])):
        if last is not None and files[last] == files[row]:
            shared = min(ends[last], ends[row]) - starts[row]
            if shared > LEAST_OVERLAP_S * rate and not _is_constant(waveforms.read(row, 0, shared)):
                yield last, row
            if ends[last] >= ends[row]:
                continue
        last = row
