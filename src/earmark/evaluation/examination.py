"""The one look that an audit takes at every clip: decoded once, measured for all that is asked of it, and let go."""

from __future__ import annotations

import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from earmark.cores import count_cores
from earmark.data.clips import Clips
from earmark.data.leaks import hash_sound
from earmark.errors import RunError, SoundError
from earmark.sound.channels import mix_to_mono
from earmark.sound.decode import Recording, decode_channels
from earmark.sound.fingerprint import fingerprint
from earmark.sound.traits import SoundTraits, measure_traits

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_S = 600.0
"""Of a longer clip the first ten minutes are examined, so that memory stays bounded."""

FEATURE_RATE = 32_000
N_FFT, HOP_LENGTH, N_MELS = 1024, 320, 64  # those of the recipe `quick`
FEW_FILES = 8  # fewer are examined here: starting workers would take longer
FILES_PER_TASK = 4


@dataclass(frozen=True, eq=False)
class Examination:
    """What was found on looking at one clip.

    Attributes:
        traits: What the recording is like; ``None`` where it cannot be decoded.
        fault: Why it cannot be decoded, with the remedy; blank if it can.
        truncated: What is missing from its file; blank if it is whole.
        pcm_hash: The same for clips whose decoded sound, mixed to mono, is the same to the sample at the same rate;
            blank for silence and what cannot be decoded.
        fingerprint: Of `earmark.sound.fingerprint`; ``None`` for silence and broken values.
        features: (448,), float32: the mel statistics that the recipe ``quick`` hears, at 32 kHz; ``None`` likewise.
        decode_s: How long decoding took, seconds; a file with several clips counts for the first of them.
    """

    traits: SoundTraits | None
    fault: str = ""
    truncated: str = ""
    pcm_hash: str = ""
    fingerprint: NDArray | None = None
    features: NDArray[np.float32] | None = None
    decode_s: float = 0.0


class _Part(NamedTuple):
    """A clip of a file: its row in the table, and where it lies."""

    row: int
    start_s: float
    end_s: float


_File = tuple[str, list[_Part]]
_Found = list[tuple[int, Examination]]


def examine(
    clips: Clips, on_progress: Callable[[int, int], None] | None = None, *, workers: int | None = None
) -> list[Examination]:
    """Look at every clip once, in parallel.

    Each file is decoded once, at its own rate with all its channels, and forgotten when it is measured. Clips that
    ``start_s`` and ``end_s`` cut from a file of more than ten minutes are decoded one by one.

    Args:
        clips: The labelled clips.
        on_progress: Called with (clips done, clips).
        workers: Processes; one for each core by default, none for a handful of files.

    Returns:
        One examination a clip, in the order of the table. What cannot be decoded says so in ``fault``.

    Raises:
        RunError: a worker process died.

    Example:
        >>> import tempfile
        >>> from earmark.data.layouts import read_clips
        >>> from earmark.sound.synthesis import write_sounds
        >>> folder = write_sounds(tempfile.mkdtemp() + "/sounds", clips_per_class=1, duration_s=0.5)
        >>> examinations = examine(read_clips(folder), workers=1)
        >>> len(examinations), examinations[0].traits.duration_s, examinations[0].features.shape
        (10, 0.5, (448,))
    """
    files = _gather_files(clips)
    found: list[Examination | None] = [None] * len(clips)
    done = 0
    for examined in _examine_all(files, workers):
        for row, examination in examined:
            found[row] = examination
        done += len(examined)
        if on_progress is not None:
            on_progress(done, len(clips))
    return [examination for examination in found if examination is not None]


def _gather_files(clips: Clips) -> list[_File]:
    files: dict[str, list[_Part]] = {}
    for row, record in enumerate(clips.table.to_dict("records")):
        start_s, end_s = record.get("start_s", math.nan), record.get("end_s", math.nan)
        start_s, end_s = 0.0 if math.isnan(start_s) else start_s, math.inf if math.isnan(end_s) else end_s
        files.setdefault(record["path"], []).append(_Part(row, start_s, end_s))
    return list(files.items())


def _examine_all(files: Sequence[_File], workers: int | None) -> Iterator[_Found]:
    workers = min(count_cores(), -(-len(files) // FILES_PER_TASK)) if workers is None else workers
    if workers < 2 or len(files) < FEW_FILES:
        yield from map(_examine_file, files)
        return
    tasks = [files[i : i + FILES_PER_TASK] for i in range(0, len(files), FILES_PER_TASK)]
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_settle_worker) as pool:
            try:
                yield from pool.map(_examine_files, tasks)
            finally:  # after Ctrl-C nobody waits for what is left
                pool.shutdown(cancel_futures=True)
    except BrokenProcessPool as error:
        raise RunError(
            "A process that examined sounds died (out of memory, or a script without `if __name__ == '__main__':`); "
            "close other programs and run the same command again."
        ) from error


def _settle_worker() -> None:
    import torch

    torch.set_num_threads(1)  # one process a core is enough
    # Ctrl-C reaches every process of the terminal; the parent alone decides how to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _examine_files(files: Sequence[_File]) -> _Found:
    return [examined for file in files for examined in _examine_file(file)]


def _examine_file(file: _File) -> _Found:
    path, parts = file
    first_s, last_s = min(part.start_s for part in parts), max(part.end_s for part in parts)
    if len(parts) == 1 or last_s - first_s > LONGEST_S:
        return [(part.row, _examine_alone(path, part)) for part in parts]
    began = time.perf_counter()
    try:
        recording = decode_channels(path, start_s=first_s, duration_s=last_s - first_s)
    except SoundError:
        return [(part.row, _examine_alone(path, part)) for part in parts]
    decode_s = time.perf_counter() - began
    found: _Found = []
    for part in parts:
        begin, end = (round((edge_s - first_s) * recording.sample_rate) for edge_s in (part.start_s, part.end_s))
        samples = recording.samples[begin:end]
        if len(samples):
            found.append((part.row, _measure(recording, samples, 0.0 if found else decode_s)))
        else:
            found.append((part.row, _examine_alone(path, part)))
    return found


def _examine_alone(path: str, part: _Part) -> Examination:
    began = time.perf_counter()
    try:
        recording = decode_channels(path, start_s=part.start_s, duration_s=min(part.end_s - part.start_s, LONGEST_S))
    except SoundError as error:
        return Examination(None, fault=str(error))
    return _measure(recording, recording.samples, time.perf_counter() - began)


def _measure(recording: Recording, samples: NDArray[np.float32], decode_s: float) -> Examination:
    sample_rate = recording.sample_rate
    traits = measure_traits(samples, sample_rate, codec=recording.codec, bit_depth=recording.bit_depth)
    if traits.broken_samples or traits.constant:
        return Examination(traits, truncated=recording.fault, decode_s=decode_s)
    mono = np.ascontiguousarray(mix_to_mono(samples.T) if samples.ndim == 2 else samples)
    key = hash_sound(mono)
    if key is None:  # the channels cancel each other out
        return Examination(traits, truncated=recording.fault, decode_s=decode_s)
    return Examination(
        traits,
        truncated=recording.fault,
        pcm_hash=f"{sample_rate}:{key}",
        fingerprint=fingerprint(mono, sample_rate),
        features=measure_features(mono, sample_rate),
        decode_s=decode_s,
    )


def measure_features(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """The mel statistics of a sound as the recipe ``quick`` hears it.

    Args:
        waveform: (samples,), float32, mono.
        sample_rate: Hz; resampled to 32 kHz.

    Returns:
        (448,), float32; see `earmark.sound.statistics.mel_statistics`.

    Example:
        >>> measure_features(np.ones(800, dtype=np.float32), 8_000).shape
        (448,)
    """
    import soxr
    import torch

    from earmark.sound.features import mel_spectrogram
    from earmark.sound.statistics import mel_statistics

    if sample_rate != FEATURE_RATE:
        waveform = soxr.resample(waveform, sample_rate, FEATURE_RATE)
    sound = torch.from_numpy(np.ascontiguousarray(waveform))[None]
    with torch.no_grad():
        mel = mel_spectrogram(sound, sample_rate=FEATURE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS)
        frames = torch.ones(1, mel.shape[-1], dtype=torch.bool)
        return mel_statistics(mel, frames)[0].numpy()
