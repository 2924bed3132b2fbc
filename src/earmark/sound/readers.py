"""Two readers of sound with one face: libsndfile, and FFmpeg for what libsndfile cannot open.

Both give float32, mono unless they are told to keep the channels, and know, after reading, whether something was wrong
(``fault``). Only ``earmark.sound.decode`` needs this room.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, Self

import numpy as np
import soundfile

from earmark.errors import SoundError
from earmark.sound.channels import Mix, mix_to_mono
from earmark.sound.container import Container
from earmark.sound.traits import read_bit_depth

_PIECE_FRAMES = 1 << 18
_UNKNOWN_LENGTH = 1 << 40
_LONGEST_VORBIS_PAGE = 255 * 4096  # samples: at most 255 packets, each at most half of the longest block


@dataclass(frozen=True)
class SoundInfo:
    """What a file says about its sound, before decoding.

    Attributes:
        duration_s: Seconds, as stated by the header or counted from packets; of a damaged file less may be readable.
        sample_rate: Hz.
        channels: As stored; decoding mixes them to one.
        codec: ``pcm_16``, ``float``, ``ulaw``, ``ima_adpcm``, ``flac``, ``vorbis``, ``opus``, ``mp3``, ``aac``, …
        container: ``wav``, ``flac``, ``ogg``, ``mp3``, ``m4a``, ``mp4``, ``webm``, ``mkv``, …
    """

    duration_s: float
    sample_rate: int
    channels: int
    codec: str
    container: str


class Stumble(Exception):  # noqa: N818 - not an error yet: the other reader may get over it
    """libsndfile cannot open this, or could not read the ``promised`` number of samples."""

    def __init__(self, promised: int | None = None) -> None:
        super().__init__(promised)
        self.promised = promised


class Reader(Protocol):
    """One opened sound."""

    sample_rate: int
    integers: bool  # stored as integers, so that no sample can be NaN
    fault: str | None

    @property
    def bit_depth(self) -> int | None: ...
    def name_codec(self) -> str: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def info(self) -> SoundInfo: ...
    def read(self, start: int, stop: int | None) -> np.ndarray: ...
    def pieces(self, start: int) -> Iterator[np.ndarray]: ...


class SoundfileReader:
    """libsndfile: seeks to the exact sample, but for two formats.

    Vorbis: within the last page it lands up to a block too late, as it counts back from the page's trimmed end.
    MP3: after a seek (and Python's soundfile seeks after every read) libmpg123 lacks the bits that earlier frames hold,
    decodes wrongly and complains on the user's terminal; so it reads MP3 in one go or leaves it to FFmpeg.
    """

    def __init__(self, container: Container, mix: Mix = mix_to_mono) -> None:
        if not container.suits_soundfile():
            raise Stumble
        cut = container.cut()  # now, since it moves about in a file object that libsndfile reads later
        try:
            self._file = soundfile.SoundFile(container.for_soundfile())
        except (soundfile.LibsndfileError, TypeError):  # TypeError: a file named .raw
            raise Stumble from None
        self.sample_rate: int = self._file.samplerate
        self._mix = mix
        self._codec: str = self._file.subtype
        self.integers = self._codec.startswith("PCM")
        # Before its first seek libsndfile forgets the delay that Opus of FFmpeg's making declares.
        self._position = -1 if self._codec == "OPUS" else 0
        log = self._file.extra_info
        self.fault = _cut_chunk(log) or cut
        self._frames = _frames_stored(self._file, log)
        reach = _LONGEST_VORBIS_PAGE if self._codec == "VORBIS" else 0
        self._last_exact_seek = max(0, self._frames - reach)
        # No length (a FLAC written into a pipe) or a length of 0 (a recorder that was killed): FFmpeg finds the end.
        if not 0 < self._frames < _UNKNOWN_LENGTH:
            self._file.close()
            raise Stumble

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    @property
    def bit_depth(self) -> int | None:
        return read_bit_depth(self._codec.lower())

    def name_codec(self) -> str:
        if self._file.format == "FLAC":
            return "flac"
        codec = self._codec.lower()
        return {"mpeg_layer_iii": "mp3", "mpeg_layer_ii": "mp2", "mpeg_layer_i": "mp1"}.get(codec, codec)

    def info(self) -> SoundInfo:
        container = {"wavex": "wav", "rf64": "wav"}.get(name := self._file.format.lower(), name)
        duration_s = self._frames / self.sample_rate
        return SoundInfo(duration_s, self.sample_rate, self._file.channels, self.name_codec(), container)

    def read(self, start: int, stop: int | None) -> np.ndarray:
        """Samples ``start`` to ``stop`` (``None``: the end), fewer where the sound ends."""
        stop = self._frames if stop is None else min(stop, self._frames)
        if start >= stop:
            return np.empty(0, np.float32)
        if self._codec.startswith("MPEG") and stop - start < self._frames:
            raise Stumble(self._frames)
        # What Python's soundfile calls tell() is a seek; it costs 0.1 ms in Ogg.
        begin = self._position if start == self._position else min(start, self._last_exact_seek)
        try:
            if begin != self._position:
                self._file.seek(begin)
            samples = self._file.read(stop - begin, dtype="float32")
        except soundfile.LibsndfileError:
            raise Stumble(self._frames) from None
        if len(samples) < stop - begin:
            raise Stumble(self._frames)
        self._position = stop
        if start > begin:
            samples = samples[start - begin :].copy()  # a view would keep all of it in memory
        return self._mix(samples.T) if samples.ndim == 2 else samples

    def pieces(self, start: int) -> Iterator[np.ndarray]:
        """All samples from ``start`` on, a few seconds at a time."""
        for position in range(start, self._frames, _PIECE_FRAMES):
            yield self.read(position, position + _PIECE_FRAMES)


_CUT = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# What programs write for "unknown" when they record into a pipe: nearly 2 or nearly 4 GiB.
_UNKNOWN_SIZES = (range(0x7FFF_0000, 0x8000_0001), range(0xFFFF_0000, 0x1_0000_0000))


def _cut_chunk(log: str) -> str | None:
    """What libsndfile found on comparing the header's promise (WAV, AIFF, AU, CAF, W64) with the file's size."""
    for match in _CUT.finditer(log):
        promised, there = int(match[1]), int(match[2])
        if promised > there and not any(promised in sizes for sizes in _UNKNOWN_SIZES):
            return f"its header promises {promised} bytes of sound and {there} are there"
    return None


def _frames_stored(file: soundfile.SoundFile, log: str) -> int:
    """Frames of real sound.

    ADPCM comes in blocks. libsndfile hands out a whole block even where the file ends within it (samples of -1.0) and
    where the encoder filled the last one up (the ``fact`` chunk tells where the sound ends): both are made up.
    """
    if file.subtype not in ("IMA_ADPCM", "MS_ADPCM"):
        return file.frames
    told = {
        key: int(value) for key, value in re.findall(r"^\s*(Block Align|Samples/Block|frames)\s*: (\d+)", log, re.M)
    }
    data = re.search(r"^data : (\d+)(?: \(should be (\d+)\))?", log, re.MULTILINE)
    if data is None or not {"Block Align", "Samples/Block"} <= told.keys():
        return file.frames
    frames = min(file.frames, int(data[2] or data[1]) // told["Block Align"] * told["Samples/Block"])
    fact = told.get("frames", frames)
    return fact if 0 < frames - fact < told["Samples/Block"] else frames


# FFmpeg demuxers that hold sound. A closed list, because others (playlists, concat scripts) open further files by name.
_FORMATS = (
    "mov,matroska,aac,mp3,ogg,flac,wav,w64,aiff,caf,au,amr,amrnb,amrwb,asf,avi,flv,mpeg,mpegts,ac3,eac3,dts,ape,wv,tta,tak,"
    "mpc,mpc8,voc,dsf,latm,loas"
)
_STATES_DURATION = ("mov", "matroska", "flac", "wav")
_SHORT_BY_S = 0.1
_CODECS = {
    "pcm_u8": "pcm_u8",
    "pcm_s8": "pcm_s8",
    "pcm_s16": "pcm_16",
    "pcm_s24": "pcm_24",
    "pcm_s32": "pcm_32",
    "pcm_f32": "float",
    "pcm_f64": "double",
    "pcm_mulaw": "ulaw",
    "pcm_alaw": "alaw",
    "adpcm_ms": "ms_adpcm",
    "adpcm_ima": "ima_adpcm",
    "mp3float": "mp3",
}


class AvReader:
    """FFmpeg through PyAV: reads nearly everything, from the beginning only, since its seeking is not exact.

    Encoder delay (the priming samples of AAC, Opus, MP3) is left out where container and decoder tell it, as FFmpeg
    does by itself. Packets that are not whole are left out too: decoders would fill in what is missing.
    """

    integers = False

    def __init__(self, container: Container, promised: int | None = None, mix: Mix = mix_to_mono) -> None:
        import av

        self._av = av
        self._container = container
        self._promised = promised
        self._mix = mix
        self._cut = container.cut()
        self.fault: str | None = self._cut
        with ExitStack() as stack:
            file = stack.enter_context(container.opened())
            try:
                media = stack.enter_context(
                    av.open(file, options={"format_whitelist": _FORMATS}, metadata_errors="replace")
                )
                self._stream: Any = media.streams.best("audio")
            except (av.error.FFmpegError, ValueError, OSError):
                raise SoundError(f"{container.name} {container.why_unreadable()}.") from None
            self._media: Any = media
            self._check_track()
            self._stack = stack.pop_all()
        self.sample_rate: int = self._stream.codec_context.sample_rate

    def _check_track(self) -> None:
        name = self._container.name
        if self._stream is None:
            if self._media.streams.video:
                raise SoundError(f"{name} is a video without an audio track; give one that has sound.")
            raise SoundError(f"{name} {self._container.why_unreadable()}.")
        context = self._stream.codec_context
        if context is None:
            raise SoundError(f"{name} has sound in a codec that FFmpeg does not know; convert it to WAV or FLAC.")
        if not context.sample_rate or not context.channels:
            raise SoundError(f"{name} {self._container.why_unreadable()}.")
        context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def bit_depth(self) -> int | None:
        return read_bit_depth(self.name_codec())

    def name_codec(self) -> str:
        codec = self._stream.codec_context.name.removesuffix("le").removesuffix("be")
        return next((plain for start, plain in _CODECS.items() if codec.startswith(start)), codec)

    def info(self) -> SoundInfo:
        duration_s = self._stated_duration_s()
        if duration_s is None:
            packets = self._media.demux(self._stream)
            duration_s = float(sum(packet.duration or 0 for packet in packets) * self._stream.time_base)
        channels = self._stream.codec_context.channels
        container = self._container.format_name(self._media.format.name)
        return SoundInfo(duration_s, self.sample_rate, channels, self.name_codec(), container)

    def _stated_duration_s(self) -> float | None:
        """The track's duration where the container states it; those of bare streams are FFmpeg's guesses."""
        if not self._media.format.name.startswith(_STATES_DURATION):
            return None
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        if clock := re.match(r"(\d+):(\d+):(\d+(?:\.\d{1,9})?)", self._stream.metadata.get("DURATION", "")):
            return float(int(clock[1]) * 3600 + int(clock[2]) * 60 + Fraction(clock[3]))
        # Matroska states one duration for all its tracks, so it says nothing of the sound beside a longer picture.
        alone = len(self._media.streams) == 1
        return self._media.duration / self._av.time_base if alone and self._media.duration else None

    def read(self, start: int, stop: int | None) -> np.ndarray:
        """Samples ``start`` to ``stop`` (``None``: the end), fewer where the sound ends."""
        held, position = [], start
        for piece in self.pieces(start):
            held.append(piece)
            position += len(piece)
            if stop is not None and position >= stop:
                break
        samples = np.concatenate(held) if held else np.empty(0, np.float32)
        return samples if stop is None else samples[: max(0, stop - start)]

    def pieces(self, start: int) -> Iterator[np.ndarray]:
        """All samples from ``start`` on, frame by frame."""
        position = 0
        for samples in self._without_padding(self._frames()):
            if position + len(samples) > start:
                yield samples[max(0, start - position) :]
            position += len(samples)
        self._note_missing(position)

    def _note_missing(self, decoded: int) -> None:
        decoded_s = decoded / self.sample_rate
        if self._promised is None:
            stated_s = self._stated_duration_s()
            missing = stated_s is not None and decoded_s < stated_s - _SHORT_BY_S
        else:
            stated_s = self._promised / self.sample_rate
            missing = decoded < self._promised
        if missing:
            self.fault = self.fault or f"its header promises {stated_s:.3f} s and {decoded_s:.3f} s can be decoded"

    def _without_padding(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """MP4 states its length to the sample: what the encoder added to fill its last frame is no sound.

        Only the last frame is trimmed: where more follow, the stated length was wrong (a recorder's first fragment).
        """
        exact = self._media.format.name.startswith("mov") and self._stream.duration
        if not exact:
            yield from frames
            return
        end = round(self._stream.duration * self._stream.time_base * self.sample_rate)
        position, beyond = 0, None
        for samples in frames:
            if beyond is not None:
                yield beyond
                beyond = None
            if position < end < position + len(samples):
                yield samples[: end - position]
                beyond = samples[end - position :]
            else:
                yield samples
            position += len(samples)

    def _frames(self) -> Iterator[np.ndarray]:
        damaged = 0
        is_mp3 = self._stream.codec_context.name.startswith("mp3")
        for packet in self._whole_packets():
            try:
                for frame in packet.decode():
                    if frame.sample_rate != self.sample_rate:
                        raise SoundError(
                            f"{self._container.name} changes its sample rate midway ({self.sample_rate} to "
                            f"{frame.sample_rate} Hz); split it or convert it to WAV."
                        )
                    yield self._mix(_scale(frame))
            except self._av.error.FFmpegError:
                # Tags and padding behind an MP3 come as packets too, but do not begin as one.
                damaged += not is_mp3 or bytes(packet)[:1] == b"\xff"
        if damaged:
            self.fault = self.fault or f"damaged packets had to be left out ({damaged})"

    def _whole_packets(self) -> Iterator[Any]:
        """Packets in order. Of an MP3 known to be cut, the last may be a part of one, which the decoder completes."""
        codec = self._stream.codec_context.name
        held = None
        try:
            for packet in self._media.demux(self._stream):
                if packet.is_corrupt and not codec.startswith("pcm"):
                    self.fault = self.fault or "it ends within a packet"
                elif self._cut is None or not codec.startswith("mp3"):
                    yield packet
                elif packet.size:
                    if held is not None:
                        yield held
                    held = packet
        except self._av.error.FFmpegError as error:
            self.fault = self.fault or f"FFmpeg could not read on ({error.strerror})"


def _scale(frame: Any) -> np.ndarray:
    """One decoded frame as (channels, samples) float32; integers are scaled by their full range, as libsndfile does."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float32, copy=False)
