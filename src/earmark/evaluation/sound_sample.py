"""A sample of recordings in numbers that hold no sound: what a model remembers of its clips, and others are held to."""

from __future__ import annotations

import base64
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.cores import count_cores
from earmark.data.clips import Clips, build_clips
from earmark.data.groups import infer_groups
from earmark.errors import ModelError, SoundError
from earmark.sound.decode import SoundWarning, decode_channels, probe
from earmark.sound.traits import SoundTraits, measure_traits

if TYPE_CHECKING:
    import pandas as pd

MOST_RECORDINGS = 512
LONGEST_S = 60.0
"""Of a longer recording the first minute is heard; its duration is that of the whole."""

TRAITS = (
    *("duration_s", "sample_rate", "channels", "level_db", "peak_level_db", "noise_floor_db"),
    *("silence_share", "clipped_share", "bandwidth_hz"),
)
"""Those of `SoundTraits` that recordings are compared by."""

N_MELS = 64
_BANDS = 32
_SAME_LEVEL = 0.1  # RMS at which spectra are taken, so that they do not tell the level
_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True, eq=False)
class SoundSample:
    """Recordings in numbers.

    Attributes:
        traits: Name in ``TRAITS`` -> (recordings,), float.
        spectra: (recordings, 64), float: the mean level of 32 mel bands, dB above the mean of all, and how much each
            varies; both whatever the level of the recording.
        units: (recordings,), int: which recordings stand and fall together (one source, speaker or place).
        total: How many there were to draw from.
        unreadable: Path and reason of each one drawn that could not be used.
    """

    traits: dict[str, NDArray[np.floating]]
    spectra: NDArray[np.floating]
    units: NDArray[np.integer]
    total: int
    unreadable: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.units)


def sample_clips(
    clips: Clips,
    rows: Sequence[int] | NDArray[np.integer] | None = None,
    *,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> SoundSample:
    """Listen to at most 512 clips, drawn evenly.

    Args:
        clips: The clips, labelled or not; each is read from its file, at the file's own rate.
        rows: The clips to draw from; all if not given.
        seed: Of the draw.
        on_progress: Called with (clips heard, clips to hear).

    Returns:
        What was heard, in the order of the clips.

    Example:
        >>> import tempfile
        >>> from earmark.data.layouts import read_clips
        >>> from earmark.sound.synthesis import write_sounds
        >>> clips = read_clips(write_sounds(tempfile.mkdtemp() + "/sounds", clips_per_class=1, duration_s=0.5))
        >>> sample = sample_clips(clips)
        >>> len(sample), sample.spectra.shape, float(sample.traits["duration_s"].max())
        (10, (10, 64), 0.5)
    """
    among = np.arange(len(clips)) if rows is None else np.asarray(rows)
    drawn = np.random.default_rng(seed).permutation(len(among))[:MOST_RECORDINGS]
    table = clips.table.iloc[among[np.sort(drawn)]].reset_index(drop=True)
    heard: list[tuple[SoundTraits, NDArray[np.floating]]] = []
    kept, unreadable = [], []
    with ThreadPoolExecutor(min(4, count_cores())) as threads:
        for row, found in enumerate(threads.map(_hear, table.to_dict("records"))):
            if isinstance(found, SoundError):
                unreadable.append((str(table["path"][row]), str(found)))
            else:
                kept.append(row)
                heard.append(found)
            if on_progress is not None:
                on_progress(row + 1, len(table))
    return SoundSample(
        {name: np.array([getattr(traits, name) for traits, _ in heard], dtype=float) for name in TRAITS},
        np.array([spectrum for _, spectrum in heard]).reshape(len(heard), 2 * _BANDS),
        _find_units(table)[kept],
        len(among),
        unreadable,
    )


def sample_files(
    paths: Sequence[str], *, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> SoundSample:
    """Listen to at most 512 files without labels, drawn evenly; those cut from one recording are known by their names.

    Args:
        paths: The files.
        seed: Of the draw.
        on_progress: Called with (files heard, files to hear).
    """
    rows = [{"path": path, "label": os.path.basename(os.path.dirname(path))} for path in paths]
    clips = infer_groups(build_clips(rows), to_deal=False)
    return sample_clips(clips, seed=seed, on_progress=on_progress)


def pack_sample(sample: SoundSample) -> dict[str, Any]:
    """A sample as a model keeps it in ``training_data.json``: about 100 kB at most, no sound, no names.

    Returns:
        Ready for JSON; `unpack_sample` reads it. ``quantiles`` (least, 10 %, half, 90 %, most) are for people.
    """
    values = np.stack([sample.traits[name] for name in TRAITS], axis=1).astype("<f4")
    known = {name: column for name, column in sample.traits.items() if len(column)}
    return {
        "total": sample.total,
        "quantiles": {name: np.quantile(column, _QUANTILES).round(4).tolist() for name, column in known.items()},
        "names": list(TRAITS),
        "traits_f4": _write_array(values),
        "spectra_f2": _write_array(sample.spectra.astype("<f2")),
        "units_i4": _write_array(sample.units.astype("<i4")),
    }


def unpack_sample(packed: dict[str, Any], name: str) -> SoundSample:
    """The sample that `pack_sample` packed; ``name`` is the model's, for messages.

    Raises:
        ModelError: it is damaged.
    """
    try:
        units = _read_array(packed["units_i4"], "<i4")
        columns = _read_array(packed["traits_f4"], "<f4").reshape(len(units), len(packed["names"])).astype(float)
        spectra = _read_array(packed["spectra_f2"], "<f2").reshape(len(units), 2 * _BANDS).astype(float)
        traits = {trait: columns[:, packed["names"].index(trait)] for trait in TRAITS}
        return SoundSample(traits, spectra, units.astype(np.int64), int(packed["total"]), [])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"What {name} remembers of its training clips is damaged; give the clips themselves instead of the model."
        ) from error


def _hear(record: dict[str, Any]) -> tuple[SoundTraits, NDArray[np.floating]] | SoundError:
    start_s, end_s = (record.get(name) for name in ("start_s", "end_s"))
    start_s = 0.0 if start_s is None or np.isnan(start_s) else start_s
    try:
        stop_s = probe(record["path"]).duration_s if end_s is None or np.isnan(end_s) else end_s
        length_s = stop_s - start_s
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SoundWarning)  # what is there of a file that is not whole will do
            recording = decode_channels(record["path"], start_s=start_s, duration_s=min(LONGEST_S, max(length_s, 1e-3)))
    except SoundError as error:
        return error
    traits = measure_traits(
        recording.samples, recording.sample_rate, codec=recording.codec, bit_depth=recording.bit_depth
    )
    if traits.broken_samples:
        return SoundError(f"{record['path']} holds NaN or infinite values; replace them and save it again.")
    if traits.duration_s >= LONGEST_S:
        traits = replace(traits, duration_s=length_s)
    return traits, _measure_spectrum(recording.samples, recording.sample_rate)


def _measure_spectrum(samples: NDArray[np.floating], sample_rate: int) -> NDArray[np.floating]:
    """(64,): levels of 32 bands and their deviations over time, dB, at the same RMS level for all."""
    from earmark.evaluation.examination import measure_features

    mono = np.asarray(samples, dtype=np.float32).reshape(len(samples), -1).mean(axis=1)
    rms = float(np.sqrt(np.mean(np.square(mono, dtype=np.float64))))
    features = measure_features(mono * np.float32(_SAME_LEVEL / rms) if rms > 0 else mono, sample_rate)
    means, deviations = (features[start : start + N_MELS].reshape(_BANDS, -1).mean(axis=1) for start in (0, N_MELS))
    return np.concatenate([means - means.mean(), deviations])


def _find_units(table: pd.DataFrame) -> NDArray[np.integer]:
    """A number for each group; a clip without one is alone."""
    from earmark.evaluation.metrics import assign_units

    units, _ = assign_units(len(table), table["group"].to_numpy(dtype=object) if "group" in table else None)
    return np.arange(len(table)) if units is None else units


def _write_array(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _read_array(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=kind)
