"""Any file with sound in it -> one float32 mono waveform: whole, in part, or block by block.

The only room that decodes. libsndfile reads what it knows (WAV, FLAC, Ogg, MP3, AIFF, AU, CAF), FFmpeg the rest
(AAC, WebM, the sound of MP4 and MKV videos), soxr resamples. No sample is ever made up: what is missing stays missing,
with a ``SoundWarning``; what cannot be read is a ``SoundError``.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soxr

from earmark.errors import SoundError
from earmark.sound.channels import Mix, keep_channels, mix_to_mono
from earmark.sound.container import Container, Sound, open_container
from earmark.sound.readers import AvReader, Reader, SoundfileReader, SoundInfo, Stumble
from earmark.sound.resample import resample_pieces

__all__ = [
    "AUDIO_SUFFIXES",
    "Recording",
    "Sound",
    "SoundInfo",
    "SoundWarning",
    "decode",
    "decode_channels",
    "probe",
    "stream",
]

_SOUND_SUFFIXES = """
    .wav .wave .w64 .rf64 .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .au .snd .caf
    .m4a .m4b .aac .ac3 .amr .wma .wv .mka
"""
_VIDEO_SUFFIXES = ".mp4 .m4v .mov .mkv .webm .3gp .avi"
AUDIO_SUFFIXES: frozenset[str] = frozenset((_SOUND_SUFFIXES + _VIDEO_SUFFIXES).split())

# soxr's filter reaches this many samples of the lower of the two rates to either side (beyond them: below -130 dB).
_FILTER_REACH = 256


class SoundWarning(UserWarning):
    """A sound that is not whole: what is there was read, the rest is missing."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A sound as it is stored.

    Attributes:
        samples: (samples,) or (samples, channels), float32, at the sound's own rate; NaN and infinite values are left
            as they are.
        sample_rate: Hz.
        codec: As `probe` names it.
        bit_depth: Bits a sample of PCM, ALAC, FLAC or floats; ``None`` where the codec has none.
        fault: Why the file is not whole; blank if it is.
    """

    samples: np.ndarray
    sample_rate: int
    codec: str
    bit_depth: int | None
    fault: str


def probe(source: Sound) -> SoundInfo:
    """Duration, rate, channels and codec of a sound, without decoding it.

    Args:
        source: Path, bytes, or binary file object (read from its present position on, which is then undefined).

    Returns:
        What the header says; where it states no duration (WebM from a browser), the packets are counted.

    Raises:
        SoundError: Missing, empty, not a sound, no audio track; the message says what to do.

    Example:
        >>> import io, numpy as np, soundfile
        >>> soundfile.write(file := io.BytesIO(), np.zeros((8_000, 2)), 16_000, format="WAV")
        >>> probe(file.getvalue())
        SoundInfo(duration_s=0.5, sample_rate=16000, channels=2, codec='pcm_16', container='wav')
    """
    with open_container(source) as container, _reader(container) as reader:
        info = reader.info()
    if not info.duration_s:
        raise SoundError(f"{container.name} holds no samples; record or export it again.")
    return info


def decode(
    source: Sound, *, sample_rate: int | None = None, start_s: float = 0.0, duration_s: float | None = None
) -> tuple[np.ndarray, int]:
    """Waveform of a sound, or of a part of it, mixed to mono and resampled if need be.

    A part equals the same slice of the whole, resampled or not: the resampler hears what lies around it. libsndfile's
    formats are read only where asked; the others are decoded from their beginning to the end of the part.

    Args:
        source: Path, bytes, or binary file object (read from its present position on, which is then undefined).
        sample_rate: Hz wanted; ``None`` keeps the sound's own.
        start_s: Where the part begins, seconds, >= 0.
        duration_s: Length of the part, seconds, > 0; ``None`` means to the end.

    Returns:
        (samples,) float32, mono (the mean of the channels), nominally in [-1, 1]; and its rate in Hz. A part has
        ``round(duration_s * rate)`` samples, fewer where the sound ends before.

    Raises:
        SoundError: Missing, empty, not a sound, no samples, NaN or infinite samples, a part beyond the end; the message
            says what to do.

    Warns:
        SoundWarning: The file is cut off or damaged; what is there is returned.

    Example:
        >>> import io, numpy as np, soundfile
        >>> soundfile.write(file := io.BytesIO(), np.zeros(44_100), 44_100, format="FLAC")
        >>> waveform, rate = decode(file.getvalue(), sample_rate=16_000, start_s=0.25, duration_s=0.5)
        >>> waveform.shape, waveform.dtype.name, rate
        ((8000,), 'float32', 16000)

    Source:
        libsndfile (soundfile), FFmpeg (PyAV), soxr with its quality "HQ".
    """
    _check_rate(sample_rate)
    _check_part(start_s, duration_s)
    with open_container(source) as container:
        try:
            with _reader(container) as reader:
                return _read_part(container, reader, sample_rate, start_s, duration_s)
        except Stumble as stumble:
            with AvReader(container, stumble.promised) as reader:
                return _read_part(container, reader, sample_rate, start_s, duration_s)


def decode_channels(source: Sound, *, start_s: float = 0.0, duration_s: float | None = None) -> Recording:
    """A sound, or a part of it, as it is stored: all channels, its own rate, broken values and all.

    For those who look for faults; everything else hears what `decode` gives.

    Args:
        source: Path, bytes, or binary file object (read from its present position on, which is then undefined).
        start_s: Where the part begins, seconds, >= 0.
        duration_s: Length of the part, seconds, > 0; ``None`` means to the end.

    Raises:
        SoundError: As `decode`, but for NaN and infinite samples.

    Example:
        >>> import io, numpy as np, soundfile
        >>> soundfile.write(file := io.BytesIO(), np.zeros((8_000, 2)), 16_000, format="WAV", subtype="PCM_24")
        >>> recording = decode_channels(file.getvalue())
        >>> recording.samples.shape, recording.sample_rate, recording.codec, recording.bit_depth
        ((8000, 2), 16000, 'pcm_24', 24)
    """
    _check_part(start_s, duration_s)
    with open_container(source) as container:
        try:
            with _reader(container, keep_channels) as reader:
                return _read_as_stored(container, reader, start_s, duration_s)
        except Stumble as stumble:
            with AvReader(container, stumble.promised, keep_channels) as reader:
                return _read_as_stored(container, reader, start_s, duration_s)


def _read_as_stored(container: Container, reader: Reader, start_s: float, duration_s: float | None) -> Recording:
    first, last, _, _ = _span(reader.sample_rate, reader.sample_rate, start_s, duration_s)
    try:
        samples = reader.read(first, last)
    except ValueError as error:
        raise SoundError(
            f"{container.name} changes its number of channels midway; split it or convert it to WAV."
        ) from error
    if not len(samples):
        raise SoundError(_why_nothing(container, reader.fault, start_s, duration_s))
    return Recording(samples, reader.sample_rate, reader.name_codec(), reader.bit_depth, reader.fault or "")


def stream(
    source: Sound,
    *,
    sample_rate: int | None = None,
    block_s: float = 10.0,
    on_fault: Callable[[str], None] | None = None,
) -> Iterator[np.ndarray]:
    """The waveform that ``decode`` gives, block by block, in bounded memory whatever its length.

    Args:
        source: Path, bytes, or binary file object (read from its present position on, which is then undefined).
        sample_rate: Hz wanted; ``None`` keeps the sound's own.
        block_s: Length of a block, seconds, > 0.
        on_fault: Told after the last block that the file is cut off or damaged, instead of a warning, which a program
            of several threads cannot catch.

    Yields:
        (samples,) float32, mono; each of ``round(block_s * rate)`` samples, the last one shorter.

    Raises:
        SoundError: As ``decode``, when the blocks are asked for.

    Warns:
        SoundWarning: After the last block, where the file is cut off or damaged, unless ``on_fault`` is told.

    Example:
        >>> import io, numpy as np, soundfile
        >>> soundfile.write(file := io.BytesIO(), np.zeros(25_000), 10_000, format="WAV")
        >>> [len(block) for block in stream(file.getvalue(), sample_rate=8_000, block_s=1.0)]
        [8000, 8000, 4000]
    """
    _check_rate(sample_rate)
    if not block_s > 0:
        raise ValueError(f"block_s is {block_s}; it must be more than 0 seconds")
    with open_container(source) as container, _reader(container) as reader:
        rate = sample_rate or reader.sample_rate
        samples = resample_pieces(_pieces(container, reader, on_fault), reader.sample_rate, rate)
        empty = True
        for block in _blocks(samples, max(1, round(block_s * rate))):
            empty = False
            yield block
    if empty:
        raise SoundError(_why_nothing(container, None, 0.0, None))


@contextmanager
def _reader(container: Container, mix: Mix = mix_to_mono) -> Iterator[Reader]:
    """libsndfile where it can, FFmpeg where it cannot."""
    reader: Reader
    try:
        reader = SoundfileReader(container, mix)
    except Stumble:
        reader = AvReader(container, mix=mix)
    with reader:
        yield reader


def _read_part(
    container: Container, reader: Reader, sample_rate: int | None, start_s: float, duration_s: float | None
) -> tuple[np.ndarray, int]:
    rate = sample_rate or reader.sample_rate
    first, last, begin, end = _span(reader.sample_rate, rate, start_s, duration_s)
    samples = reader.read(first, last)
    _check_finite(samples, container, reader)
    if rate != reader.sample_rate and len(samples):
        samples = soxr.resample(samples, reader.sample_rate, rate, quality="HQ")
    part = samples[begin:end]
    if not len(part):
        raise SoundError(_why_nothing(container, reader.fault, start_s, duration_s))
    _warn_of(reader.fault, container)
    return part, rate


def _span(
    from_rate: int, to_rate: int, start_s: float, duration_s: float | None
) -> tuple[int, int | None, int, int | None]:
    """Stored samples to read (first, last), and the slice of them that is the part once they are resampled.

    What is read begins where both rates have a sample at the same instant, so that the part is the whole's slice.
    """
    begin = round(start_s * to_rate)
    end = None if duration_s is None else begin + round(duration_s * to_rate)
    if from_rate == to_rate:
        return begin, end, 0, None
    common = math.gcd(from_rate, to_rate)
    step, step_resampled = from_rate // common, to_rate // common
    reach = math.ceil(_FILTER_REACH * max(1.0, from_rate / to_rate))
    steps = max(0, begin * from_rate // to_rate - reach) // step
    offset = steps * step_resampled
    last = None if end is None else math.ceil(end * from_rate / to_rate) + reach
    return steps * step, last, begin - offset, None if end is None else end - offset


def _pieces(container: Container, reader: Reader, on_fault: Callable[[str], None] | None) -> Iterator[np.ndarray]:
    """All samples as they come; where libsndfile stumbles, FFmpeg goes on from the same sample."""
    given = 0
    try:
        for samples in reader.pieces(0):
            _check_finite(samples, container, reader)
            given += len(samples)
            yield samples
        fault = reader.fault
    except Stumble as stumble:
        with AvReader(container, stumble.promised) as second:
            for samples in second.pieces(given):
                _check_finite(samples, container, second)
                given += len(samples)
                yield samples
            fault = second.fault
    if not given:
        raise SoundError(_why_nothing(container, fault, 0.0, None))
    if fault and on_fault is not None:
        on_fault(_name_fault(fault, container))
    else:
        _warn_of(fault, container)


def _blocks(pieces: Iterator[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Pieces of any lengths, cut anew into blocks of ``length`` and one shorter rest."""
    held, count = [np.empty(0, np.float32)], 0
    for samples in pieces:
        held.append(samples)
        count += len(samples)
        if count >= length:
            joined = np.concatenate(held)
            whole = count - count % length
            yield from np.split(joined[:whole], whole // length)
            held, count = [joined[whole:]], count % length
    if count:
        yield np.concatenate(held)


def _check_rate(sample_rate: int | None) -> None:
    if sample_rate is not None and sample_rate < 1:
        raise ValueError(f"sample_rate is {sample_rate}; it must be at least 1 Hz, or None for the sound's own")


def _check_part(start_s: float, duration_s: float | None) -> None:
    if not 0 <= start_s < math.inf:
        raise SoundError(f"A part of a sound cannot start at {start_s} s; give a start of 0 s or later.")
    if duration_s is not None and not 0 < duration_s < math.inf:
        raise SoundError(f"A part of a sound cannot last {duration_s} s; give more than 0 s, or None for the rest.")


def _check_finite(samples: np.ndarray, container: Container, reader: Reader) -> None:
    if reader.integers:
        return
    finite = np.isfinite(samples)
    if not finite.all():
        count = len(samples) - np.count_nonzero(finite)
        raise SoundError(
            f"{container.name} holds NaN or infinite values ({count} of {len(samples)} samples read); "
            "mend the program that wrote it, or replace them and save it again, best as 16- or 24-bit WAV."
        )


def _why_nothing(container: Container, fault: str | None, start_s: float, duration_s: float | None) -> str:
    if start_s > 0:
        return f"{container.name} ends before {start_s} s; ask for an earlier part."
    if fault:
        return f"{container.name} holds no sound that can be read: {fault}; copy, download or record it again."
    if duration_s is not None:
        return f"{container.name} holds no sample within its first {duration_s} s; ask for a longer part."
    return f"{container.name} holds no samples; record or export it again."


def _warn_of(fault: str | None, container: Container) -> None:
    if fault:
        warnings.warn(_name_fault(fault, container), SoundWarning, stacklevel=4)


def _name_fault(fault: str, container: Container) -> str:
    return f"{container.name} is not whole: {fault}; what is there is used. Copy, download or record it again."
