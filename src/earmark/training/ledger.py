"""How often test clips were read: one line a reading, kept beside the runs.

A figure is honest once. Whoever looks, changes something and looks again chooses on the test clips, and the figures
climb without the model getting better. The ledger does not forbid it; it counts.
"""

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.waveforms import ClipWaveforms
from earmark.files import write_text_whole

LEDGER_FILE = "ledger.jsonl"
READINGS_NAMED = 4


def record_reading(
    folder: Path, verb: str, waveforms: ClipWaveforms, rows: np.ndarray, *, kept: Path | None = None
) -> dict[str, Any]:
    """Add a reading of test clips to the ledger in the folder that holds the runs, and count those there have been.

    The same clips are known again wherever they lie and in whatever order.

    Args:
        folder: The run's.
        verb: ``"train"``, ``"crossval"`` or ``"evaluate"``.
        waveforms: The clips and their sound.
        rows: The test clips among them.
        kept: Where what is told is kept until the run ends, so that one that is killed afterwards and continued, with
            nothing chosen in between, counts once.

    Returns:
        ``{"reads", "file", "clips", "fingerprint", "sentence"}`` for the report; ``file`` is ``None`` where it could
        not be written.
    """
    from filelock import FileLock

    if kept is not None and kept.is_file():
        told: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return told
    place = folder.absolute().parent / LEDGER_FILE
    mark = mark_clips(waveforms, rows)
    reading = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": folder.absolute().name,
        "verb": verb,
        "fingerprint": mark,
        "clips": len(rows),
    }
    try:
        with FileLock(place.with_name(f".{LEDGER_FILE}.lock")):
            earlier = [entry for entry in read_ledger(place) if entry["fingerprint"] == mark]
            _append(place, reading)
    except OSError as error:
        sentence = f"How often these test clips were read is not known: {place} cannot be written ({error.strerror})."
        return {"reads": 1, "file": None, "clips": len(rows), "fingerprint": mark, "sentence": sentence}
    readings = [*earlier, reading]
    told = {"reads": len(readings), "file": str(place), "clips": len(rows), "fingerprint": mark}
    told["sentence"] = tell_readings(readings)
    if kept is not None:
        kept.parent.mkdir(exist_ok=True)
        write_text_whole(kept, json.dumps(told, ensure_ascii=False))
    return told


def read_ledger(place: Path) -> list[dict[str, Any]]:
    """The readings in a ledger, oldest first; a line that was broken off by a killed run is passed over."""
    if not place.exists():
        return []
    readings = []
    for line in place.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"fingerprint", "run", "verb"} <= entry.keys():
            readings.append(entry)
    return readings


def tell_readings(readings: list[dict[str, Any]]) -> str:
    """The sentence for the report.

    Example:
        >>> tell_readings([{"verb": "train", "run": "a"}])
        'These test clips were read for the first time.'
        >>> tell_readings([{"verb": "train", "run": "a"}, {"verb": "evaluate", "run": "b"}])[:74]
        'These test clips have now been read 2 times (train in a, evaluate in b); e'
    """
    if len(readings) == 1:
        return "These test clips were read for the first time."
    named = [f"{entry['verb']} in {entry['run']}" for entry in readings[-READINGS_NAMED:]]
    if len(readings) > READINGS_NAMED:
        named.insert(0, f"{len(readings) - READINGS_NAMED} earlier")
    return (
        f"These test clips have now been read {len(readings)} times ({', '.join(named)}); each choice made after "
        "looking makes the figures more optimistic."
    )


def mark_clips(waveforms: ClipWaveforms, rows: np.ndarray) -> str:
    """A fingerprint of some clips, 32 hexadecimal digits: of their files' content and their times, in any order."""
    table = waveforms.clips.table
    times = [table[name].tolist() if name in table else [np.nan] * len(table) for name in ("start_s", "end_s")]
    lines = [f"{waveforms.content_keys[row]} {times[0][row]:.6f} {times[1][row]:.6f}" for row in map(int, rows)]
    return hashlib.blake2b("\n".join(sorted(lines)).encode(), digest_size=16).hexdigest()


def _append(place: Path, reading: dict[str, Any]) -> None:
    """One write of one whole line, after the end of a line that may have been broken off."""
    with open(place, "ab+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        broken = file.read(1) not in (b"", b"\n")
        file.write(("\n" * broken + json.dumps(reading, ensure_ascii=False) + "\n").encode())
