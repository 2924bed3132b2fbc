"""Events as the files that other programs read: CSV, JSON lines, Audacity's labels, Raven's selection table."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from earmark.inference.events import Event

CSV_COLUMNS = ("start_s", "end_s", "label", "score")
RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Annotation",
    "Score",
)


def to_csv(events: Iterable[Event]) -> str:
    """One row an event, with a header.

    Example:
        >>> print(to_csv([Event(0.0, 2.5, "dog, big", 0.912345)]), end="")
        start_s,end_s,label,score
        0.000,2.500,"dog, big",0.9123
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for event in events:
        writer.writerow((_write_s(event.start_s), _write_s(event.end_s), event.label, f"{event.score:.4f}"))
    return buffer.getvalue()


def to_jsonl(events: Iterable[Event]) -> str:
    """One JSON object a line: ``{"start_s", "end_s", "label", "score"}``.

    Example:
        >>> print(to_jsonl([Event(0.0, 2.5, "狗", 0.5)]), end="")
        {"start_s": 0.0, "end_s": 2.5, "label": "狗", "score": 0.5}
    """
    return "".join(json.dumps(asdict(event), ensure_ascii=False) + "\n" for event in events)


def to_audacity(events: Iterable[Event]) -> str:
    """A label track for *File > Import > Labels* of Audacity: start, end, label, with tabs between, without a header.

    Example:
        >>> to_audacity([Event(0.0, 2.5, "dog", 0.9)])
        '0.000000\\t2.500000\\tdog\\n'
    """
    return "".join(f"{event.start_s:.6f}\t{event.end_s:.6f}\t{_flatten(event.label)}\n" for event in events)


def to_raven(events: Iterable[Event], *, sample_rate: int) -> str:
    """A selection table for Raven, Pro or Lite; each selection reaches from 0 Hz to what the model could hear.

    Args:
        events: In the order of their numbers.
        sample_rate: Of the model, Hz; selections reach up to half of it.

    Example:
        >>> to_raven([Event(0.0, 2.5, "dog", 0.9)], sample_rate=16_000).splitlines()[1]
        '1\\tSpectrogram 1\\t1\\t0.000\\t2.500\\t0.0\\t8000.0\\tdog\\t0.9000'
    """
    rows: list[Sequence[str]] = [RAVEN_COLUMNS]
    for number, event in enumerate(events, start=1):
        place = (_write_s(event.start_s), _write_s(event.end_s), "0.0", f"{sample_rate / 2:.1f}")
        rows.append((str(number), "Spectrogram 1", "1", *place, _flatten(event.label), f"{event.score:.4f}"))
    return "".join("\t".join(row) + "\n" for row in rows)


def _write_s(seconds: float) -> str:
    return f"{seconds:.3f}"


def _flatten(label: str) -> str:
    """Neither program knows quotes: a tab or a line end within a label would begin another column or row."""
    return " ".join(label.split())
