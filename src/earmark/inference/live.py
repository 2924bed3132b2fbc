"""Live sound: raw samples or a microphone in, what is heard right now out."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from earmark.errors import SoundError
from earmark.inference.events import Event, EventFinder, ScoredWindow
from earmark.inference.timeline import WindowScorer
from earmark.sound.level import measure_level_db
from earmark.sound.resample import resample_pieces

Encoding = Literal["s16le", "f32le"]

READ_BYTES = 1 << 14
PIECES_AHEAD = 64
LATEST_S = 60.0  # of a microphone's sound may wait for the model
PIECE_S = 0.1  # of sound that a microphone gives at once
STOP_LOOKS_S = 0.1  # how often one looks whether to stop while nothing comes
_FILE_MARKS = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3"}
_DTYPES: dict[str, np.dtype] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}


@dataclass(frozen=True, eq=False)
class Hearing:
    """What is known after another piece of sound.

    Args:
        duration_s: How much was heard by now, seconds.
        level_db: Of the piece, dB of full scale; ``None`` at the end.
        window: The last whole window with its scores; ``None`` before the first.
        closed: The events that ended by this piece.
        open: Those that are running.
    """

    duration_s: float
    level_db: float | None
    window: ScoredWindow | None
    closed: list[Event]
    open: list[Event]


def listen(scorer: WindowScorer, finder: EventFinder, pieces: Iterable[np.ndarray]) -> Iterator[Hearing]:
    """Hear pieces of sound as they come; when there are no more, what was open is closed.

    Args:
        scorer: Cuts the windows and scores them.
        finder: Finds the events in them.
        pieces: Each (samples,), float32, at the model's rate.

    Yields:
        One `Hearing` a piece that holds any sound, and a last one.

    Raises:
        SoundError: as ``pieces`` do, or NaN among them; after what was open has been closed and given.
    """
    window: ScoredWindow | None = None
    fault: SoundError | None = None
    try:
        for samples in pieces:
            if not len(samples):
                continue
            scored = scorer.push(samples)
            window = scored[-1] if scored else window
            level_db = measure_level_db(samples)
            yield Hearing(scorer.duration_s, level_db, window, finder.push(scored), finder.open)
    except SoundError as error:
        fault = error
    closed = finder.push(scorer.finish()) + finder.finish()
    yield Hearing(scorer.duration_s, None, window, closed, [])
    if fault is not None:
        raise fault


def read_pcm(
    read: Callable[[int], bytes], *, encoding: Encoding, from_rate: int, to_rate: int, stop: threading.Event
) -> Iterator[np.ndarray]:
    """Raw mono samples, as `ffmpeg -f s16le -ac 1` writes them, as they come.

    They are read ahead of whoever asks for them, up to a megabyte.

    Args:
        read: Gives at most that many bytes, as soon as there are any; none at the end.
        encoding: ``"s16le"``: 16-bit integers; ``"f32le"``: floats, nominally in [-1, 1]; both little-endian.
        from_rate: Of the samples, Hz.
        to_rate: Wanted, Hz.
        stop: Set from outside, it ends the sound.

    Yields:
        (samples,) float32.

    Raises:
        SoundError: nothing came, or, after the last sample, an end in the middle of one.

    Example:
        >>> import io
        >>> source = io.BytesIO(np.array([0, 16_384], "<i2").tobytes())
        >>> pieces = read_pcm(source.read, encoding="s16le", from_rate=8_000, to_rate=8_000, stop=threading.Event())
        >>> next(pieces).tolist()
        [0.0, 0.5]
    """
    waiting: queue.Queue[bytes | OSError] = queue.Queue(PIECES_AHEAD)
    # A daemon: a read that never returns must not keep the program from ending.
    threading.Thread(target=_read_ahead, args=(read, waiting), daemon=True).start()
    try:
        yield from resample_pieces(decode_pcm(_take(waiting, stop), encoding), from_rate, to_rate)
    except SoundError:
        if not stop.is_set():  # whoever stops it may do so before anything came, or within a sample
            raise


@contextmanager
def open_microphone(device: str | None, *, sample_rate: int, stop: threading.Event) -> Iterator[Iterator[np.ndarray]]:
    """The pieces of sound that a microphone gives, until ``stop`` is set.

    Args:
        device: Number of a sound device or part of its name; the computer's default if not given.
        sample_rate: Wanted, Hz; resampled where the device has not got it.
        stop: Set from outside, it ends the sound.

    Yields:
        An iterator of (samples,) float32, mono.

    Raises:
        SoundError: no such device, none at all, no sounddevice; while iterating, one that is unplugged, or a model
            that is slower than it.

    Example:
        >>> with open_microphone(None, sample_rate=16_000, stop=stop) as pieces:   # doctest: +SKIP
        ...     first = next(pieces)
    """
    sounddevice = _import_sounddevice()
    waiting: queue.Queue[np.ndarray] = queue.Queue(round(LATEST_S / PIECE_S))
    late, gone = threading.Event(), threading.Event()

    def keep(samples: np.ndarray, *_: Any) -> None:
        try:
            waiting.put_nowait(samples[:, 0].copy())
        except queue.Full:
            late.set()

    place = int(device) if device is not None and device.isdecimal() else device
    try:
        rate = _choose_rate(sounddevice, place, sample_rate)
        microphone = sounddevice.InputStream(
            samplerate=rate,
            blocksize=round(PIECE_S * rate),
            device=place,
            channels=1,
            dtype="float32",
            callback=keep,
            finished_callback=gone.set,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise SoundError(_why_no_microphone(sounddevice, device, error)) from error
    with microphone:
        yield resample_pieces(_take_on_time(waiting, stop, late, gone), rate, sample_rate)


def _read_ahead(read: Callable[[int], bytes], waiting: "queue.Queue[bytes | OSError]") -> None:
    try:
        while data := read(READ_BYTES):
            waiting.put(data)
        waiting.put(b"")
    except OSError as error:
        waiting.put(error)


def _take(waiting: "queue.Queue[bytes | OSError]", stop: threading.Event) -> Iterator[bytes]:
    while not stop.is_set():
        try:
            data = waiting.get(timeout=STOP_LOOKS_S)
        except queue.Empty:
            continue
        if isinstance(data, OSError):
            raise SoundError(f"The sound broke off ({data.strerror}); start what it comes from again.") from data
        if not data:
            return
        yield data


def decode_pcm(chunks: Iterable[bytes], encoding: Encoding) -> Iterator[np.ndarray]:
    """Raw samples as numbers, chunk by chunk, wherever these were cut.

    Args:
        chunks: Bytes as they come.
        encoding: As `read_pcm` takes it.

    Yields:
        (samples,) float32 for each chunk.

    Raises:
        SoundError: a file instead of samples; at the end: no chunk came, or the last sample is not whole.

    Example:
        >>> [piece.tolist() for piece in decode_pcm([bytes([0, 0, 0]), bytes([64])], "s16le")]
        [[0.0], [0.5]]
    """
    dtype = _DTYPES[encoding]
    scale = np.float32(1 / 32_768 if dtype.kind == "i" else 1)
    rest = b""
    empty = True
    for chunk in chunks:
        if empty:
            _refuse_file(chunk)
        data = rest + chunk
        whole = len(data) - len(data) % dtype.itemsize
        rest = data[whole:]
        empty = False
        yield np.frombuffer(data[:whole], dtype).astype(np.float32) * scale
    if empty:
        raise SoundError("No sound came; check the program that it comes from.")
    if rest:
        raise SoundError(
            "The sound ends in the middle of a sample; what was whole was heard. Check its encoding if the events make "
            "no sense."
        )


def _refuse_file(beginning: bytes) -> None:
    """Samples without a header are expected; those of a file would be heard as noise, and at any rate."""
    kind = next((name for mark, name in _FILE_MARKS.items() if beginning.startswith(mark)), None)
    if kind is not None:
        raise SoundError(
            f"This is a {kind} file, not raw samples; give the file to `earmark timeline`, "
            "or pipe it through `ffmpeg -i - -f s16le -ac 1 -ar RATE -`."
        )


def _take_on_time(
    waiting: "queue.Queue[np.ndarray]", stop: threading.Event, late: threading.Event, gone: threading.Event
) -> Iterator[np.ndarray]:
    while not stop.is_set():
        if late.is_set():
            raise SoundError(
                f"The model is slower than the sound: more than {LATEST_S:.0f} s of it waited; give a longer --hop-s."
            )
        try:
            yield waiting.get(timeout=STOP_LOOKS_S)
        except queue.Empty:
            if gone.is_set():
                raise SoundError("The microphone gives no more sound; is it still plugged in?") from None


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise SoundError('A microphone needs sounddevice: pip install "earmark[live]".') from error
    except OSError as error:  # the package is there, the library that it calls is not
        raise SoundError(
            "A microphone needs the PortAudio library, which is not on this computer; install it "
            "(on Debian and Ubuntu: apt install libportaudio2), or pipe the sound in with `-`."
        ) from error
    return sounddevice


def _choose_rate(sounddevice: Any, place: int | str | None, sample_rate: int) -> int:
    """The rate wanted if the device has it, else its own."""
    try:
        sounddevice.check_input_settings(device=place, channels=1, dtype="float32", samplerate=sample_rate)
    except sounddevice.PortAudioError:
        return round(sounddevice.query_devices(place, "input")["default_samplerate"])
    return sample_rate


def _why_no_microphone(sounddevice: Any, device: str | None, error: Exception) -> str:
    inputs = [
        f"{number} ({entry['name']})"
        for number, entry in enumerate(sounddevice.query_devices())
        if entry["max_input_channels"]
    ]
    if not inputs:
        return "This computer has no microphone; plug one in, or pipe the sound in with `-`."
    name = "The default microphone" if device is None else f"The device {device}"
    reason = str(error).splitlines()[0]
    return f"{name} cannot be used ({reason}); give one of these with --device: {', '.join(inputs)}."
