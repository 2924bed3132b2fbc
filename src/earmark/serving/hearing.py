"""Bytes from outside -> waveform, block by block, within the limits: what decodes to hours is cut off at once."""

import io
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from earmark.cores import count_cores
from earmark.serving.limits import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, MOST_CHANNELS, Limits, name_duration
from earmark.serving.problems import Refusal
from earmark.serving.uploads import Upload
from earmark.sound.decode import probe, stream


class _Named(io.BytesIO):
    """Bytes that messages call by a name; nothing opens it."""

    def __init__(self, upload: Upload) -> None:
        super().__init__(upload.content)
        self.name = upload.name


class Hearing:
    """The sounds of one request, decoded within what is left of its limits.

    Args:
        limits: What the request may ask for, all its files together.
        turn: Held while a block is decoded, so that no more threads decode than there are processors.
        stopping: Set when the service is to end without waiting.
    """

    def __init__(self, limits: Limits, turn: threading.Semaphore, stopping: threading.Event) -> None:
        self.limits = limits
        self._turn = turn
        self._stopping = stopping
        self.heard_s = 0.0
        self.decoding_s = 0.0

    def decode(
        self, upload: Upload, *, sample_rate: int, block_s: float, on_fault: Callable[[str], None]
    ) -> tuple[float, Iterator[np.ndarray]]:
        """What a sound says of its duration, seconds, and its blocks as `earmark.sound.decode.stream` gives them.

        Raises:
            SoundError: not a sound that can be read.
            Refusal: too long, or too much work to decode.
        """
        with self._turn:
            began_s = time.thread_time()
            info = probe(_Named(upload))
            self.decoding_s += time.thread_time() - began_s
        if not LOWEST_RATE_HZ <= info.sample_rate <= HIGHEST_RATE_HZ:
            raise Refusal(
                "unreadable",
                f"{upload.name} has a sample rate of {info.sample_rate:,} Hz; this service takes {LOWEST_RATE_HZ:,} to "
                f"{HIGHEST_RATE_HZ:,} Hz, so resample it first.",
            )
        if info.channels > MOST_CHANNELS:
            raise Refusal(
                "unreadable",
                f"{upload.name} has {info.channels} channels; this service takes {MOST_CHANNELS}, so mix them first.",
            )
        if self.heard_s + info.duration_s > self.limits.max_duration_s:
            raise self._refuse_duration(upload, f"lasts {name_duration(info.duration_s)}")
        blocks = stream(_Named(upload), sample_rate=sample_rate, block_s=block_s, on_fault=on_fault)
        return info.duration_s, self._count(upload, blocks, sample_rate)

    def _count(self, upload: Upload, blocks: Iterator[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
        while True:
            with self._turn:
                # Time of this thread, not of the clock: what others do at the same time is not this sound's fault.
                began_s = time.thread_time()
                block = next(blocks, None)
                self.decoding_s += time.thread_time() - began_s
            if block is None:
                return
            self.heard_s += len(block) / sample_rate
            if self.heard_s > self.limits.max_duration_s:
                raise self._refuse_duration(upload, "goes on for longer than it says")
            if self.decoding_s > self.limits.max_decode_s:
                raise Refusal(
                    "too-long",
                    f"{upload.name} takes more than the {name_duration(self.limits.max_decode_s)} that this service "
                    "gives to decoding; convert it to WAV or FLAC, or cut it.",
                )
            if self._stopping.is_set():
                raise Refusal("busy", "The service ends; send it again when it runs.")
            yield block

    def _refuse_duration(self, upload: Upload, fault: str) -> Refusal:
        beside = " together with the sounds before it" if self.heard_s and "lasts" in fault else ""
        return Refusal(
            "too-long",
            f"{upload.name} {fault}, and this service takes {name_duration(self.limits.max_duration_s)} of sound in a "
            f"request{beside}; cut it, use `earmark timeline`, or start the service with a larger --max-duration-s.",
        )


def make_turn() -> threading.Semaphore:
    """One turn for each processor."""
    return threading.BoundedSemaphore(count_cores())
