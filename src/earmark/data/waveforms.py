"""Labelled clips together with their decoded sound: what training and evaluation read."""

import time
from dataclasses import dataclass, replace

import numpy as np

from earmark.data.clips import Clips
from earmark.data.store import Progress, Store, Stored
from earmark.errors import ClipsError, SoundError


@dataclass(frozen=True, eq=False)
class ClipWaveforms:
    """Clips whose sound is in the store; row ``i`` of the table is clip ``i`` here.

    Args:
        clips: The clips that can be heard.
        store: Where their samples lie.
        places: Where each clip's own samples lie (a slice of its file if it has start and end times).
        content_keys: A hash of each clip's file.
        left_out: ``{"path", "reason"}`` of every clip that cannot be heard.
        remarks: Sentences about files that decode only in part.
        decoded: How many files were decoded now, not found in the store.
        decode_s: How long that took, seconds.
    """

    clips: Clips
    store: Store
    places: list[Stored]
    content_keys: list[str]
    left_out: list[dict[str, str]]
    remarks: list[str]
    decoded: int
    decode_s: float

    def __len__(self) -> int:
        return len(self.places)

    @property
    def lengths(self) -> np.ndarray:
        """Samples of each clip."""
        return np.array([place.length for place in self.places], dtype=np.int64)

    def read(self, row: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Samples ``start`` to ``stop`` of clip ``row``: a read-only view, float32."""
        return self.store.read(self.places[row], start, stop)

    def targets(self) -> np.ndarray:
        """(clips, classes), float32: 1 where the clip is of the class."""
        position = {label: i for i, label in enumerate(self.clips.labels)}
        targets = np.zeros((len(self), len(position)), dtype=np.float32)
        for row, cell in enumerate(self.clips.table["label"]):
            for label in cell.split(";") if self.clips.multi_label else (cell,):
                targets[row, position[label]] = 1.0
        return targets


def load_waveforms(
    clips: Clips, *, sample_rate: int, strict: bool = False, on_progress: Progress | None = None
) -> ClipWaveforms:
    """Decode what is not in the store yet and put clips and sound together.

    Args:
        clips: The labelled clips.
        sample_rate: Hz.
        strict: Refuse the whole set if any clip cannot be heard, instead of leaving it out by name.
        on_progress: Called with (files done, files to decode).

    Raises:
        ClipsError: ``strict`` and something cannot be heard; or nothing, or only one class, is left.
    """
    began = time.perf_counter()
    store = Store(sample_rate)
    preparation = store.prepare(clips.table["path"].tolist(), on_progress=on_progress)
    kept, places, left_out = [], [], []
    for row, record in enumerate(clips.table.to_dict("records")):
        path = record["path"]
        try:
            if path in preparation.failures:
                raise SoundError(preparation.failures[path])
            places.append(_cut(preparation.stored[path], record, sample_rate))
            kept.append(row)
        except SoundError as error:
            left_out.append({"path": path, "reason": str(error)})
    if left_out and strict:
        reasons = "\n".join(f"  {entry['reason']}" for entry in left_out[:10])
        more = f"\n  and {len(left_out) - 10} more" if len(left_out) > 10 else ""
        raise ClipsError(f"{len(left_out)} clip(s) cannot be heard, and --strict allows none:\n{reasons}{more}")
    if not kept:
        raise ClipsError(f"None of the {len(clips.table)} clips can be heard; the first: {left_out[0]['reason']}")
    table = clips.table.iloc[kept].reset_index(drop=True)
    heard = {label for cell in table["label"] for label in (cell.split(";") if clips.multi_label else (cell,))}
    if len(heard) < 2:
        raise ClipsError(f"Only one class is left once the clips that cannot be heard are out: {heard.pop()!r}.")
    labels = tuple(label for label in clips.labels if label in heard)
    return ClipWaveforms(
        clips=replace(clips, table=table, labels=labels),
        store=store,
        places=places,
        content_keys=[preparation.keys[path] for path in table["path"]],
        left_out=left_out,
        remarks=[f"{path}: {remark}" for path, remark in preparation.remarks.items()],
        decoded=preparation.decoded,
        decode_s=time.perf_counter() - began,
    )


def _cut(place: Stored, record: dict, sample_rate: int) -> Stored:
    """The part of a stored file between ``start_s`` and ``end_s``."""
    start_s, end_s = record.get("start_s"), record.get("end_s")
    start = 0 if start_s is None or np.isnan(start_s) else round(start_s * sample_rate)
    stop = place.length if end_s is None or np.isnan(end_s) else min(round(end_s * sample_rate), place.length)
    if start >= stop:
        raise SoundError(
            f"{record['path']}: the clip starts at {start / sample_rate:g} s, but the file ends at "
            f"{place.length / sample_rate:g} s; correct its times in the CSV."
        )
    return Stored(place.shard, place.offset + start, stop - start)
