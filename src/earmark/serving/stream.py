"""Live sound over a WebSocket: raw samples in, windows and events out while it goes on."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from earmark.errors import EarmarkError
from earmark.inference.classifier import Classifier
from earmark.inference.events import Event, ScoredWindow
from earmark.inference.live import decode_pcm
from earmark.serving.admission import Admission
from earmark.serving.answers import EventSettings, build_finder, describe_settings
from earmark.serving.limits import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from earmark.serving.problems import Refusal, describe_problem, find_kind
from earmark.serving.values import explain_values
from earmark.sound.resample import resample_pieces

MAX_MESSAGE = 1 << 20  # bytes
# RFC 6455: what a closed connection says about itself.
CLOSE_CODES = {"token": 1008, "too-slow": 1008, "busy": 1013, "failed": 1011}
REFUSED = 1007
Message = dict[str, Any]


class StreamStart(BaseModel):
    """The first message: what follows, and how it is to be heard."""

    model_config = ConfigDict(extra="forbid")

    sample_rate: int = Field(ge=LOWEST_RATE_HZ, le=HIGHEST_RATE_HZ)
    encoding: Literal["s16le", "f32le"] = "s16le"
    top_k: int = Field(default=5, ge=1)
    window_s: float | None = None
    hop_s: float | None = None
    threshold: float | None = None
    smooth: int | None = Field(default=None, le=999)
    min_duration_s: float | None = None
    token: str = ""


class LiveStream:
    """One live sound; its methods take as long as the model does, so they are called in a thread.

    Args:
        classifier: One that many threads may ask.
        start: What the first message said.

    Raises:
        RunError: a setting out of its range.
    """

    def __init__(self, classifier: Classifier, start: StreamStart) -> None:
        settings = {name: getattr(start, name) for name in EventSettings.__dataclass_fields__}
        self.scorer, self.finder = build_finder(classifier, EventSettings(**settings))
        self._classifier = classifier
        self._top_k = start.top_k
        self._arrived: bytes | None = None
        chunks = decode_pcm(self._arrivals(), start.encoding)
        # A piece comes out for each that goes in, and, where it is resampled, one more at the end.
        self._pieces = resample_pieces(chunks, start.sample_rate, classifier.sample_rate)

    def describe(self) -> Message:
        """What the stream answers first."""
        return {"type": "ready", "labels": self._classifier.labels, **describe_settings(self.scorer, self.finder)}

    def push(self, data: bytes) -> list[Message]:
        """Hear more.

        Raises:
            SoundError: NaN, infinite values, or a file instead of samples.
        """
        self._arrived = data
        return self._hear(next(self._pieces))

    def finish(self) -> list[Message]:
        """The sound is over: what is left of windows and events.

        Raises:
            SoundError: nothing came, or the last sample is not whole.
        """
        self._arrived = None
        messages = []
        for piece in self._pieces:
            messages += self._hear(piece)
        messages += self._tell(self.scorer.finish())
        messages += [_describe_event(event) for event in self.finder.finish()]
        return [*messages, {"type": "end", "duration_s": self.scorer.duration_s}]

    def _arrivals(self) -> Iterator[bytes]:
        while self._arrived is not None:
            yield self._arrived

    def _hear(self, samples: np.ndarray) -> list[Message]:
        return self._tell(self.scorer.push(samples)) if len(samples) else []

    def _tell(self, windows: list[ScoredWindow]) -> list[Message]:
        messages = []
        for window in windows:
            closed = self.finder.push([window])
            messages += [_describe_event(event) for event in closed]
            messages.append(
                {
                    "type": "window",
                    "start_s": window.start_s,
                    "end_s": window.end_s,
                    "level_db": round(window.level_db, 2),
                    "prediction": list(self._classifier.name_scores(window.probabilities, self._top_k)),
                    "open": [asdict(event) for event in self.finder.open],
                }
            )
        return messages


async def answer_stream(
    websocket: WebSocket,
    classifier: Classifier,
    admission: Admission,
    pool: Executor,
    check_token: Callable[[str], None],
) -> None:
    """Talk to one client until the sound is over, or something is wrong; then say so and close.

    Args:
        websocket: A connection that waits to be accepted.
        classifier: One that many threads may ask.
        admission: Lets the stream in.
        pool: Where the model is asked.
        check_token: Raises a `Refusal` for a token that is not the service's.
    """
    await websocket.accept()
    try:
        with admission.hear():
            await _converse(websocket, classifier, admission.limits.max_silence_s, pool, check_token)
        await websocket.close()
    except WebSocketDisconnect:
        return
    except EarmarkError as error:
        await websocket.send_text(_write({"type": "problem", **describe_problem(error)} | {"kind": find_kind(error)}))
        await websocket.close(CLOSE_CODES.get(find_kind(error), REFUSED))


async def _converse(
    websocket: WebSocket, classifier: Classifier, silence_s: float, pool: Executor, check_token: Callable[[str], None]
) -> None:
    loop = asyncio.get_running_loop()
    start = _read_start(await _receive(websocket, silence_s))
    check_token(start.token or websocket.headers.get("authorization", "").removeprefix("Bearer "))
    stream = LiveStream(classifier, start)
    await websocket.send_text(_write(stream.describe()))
    while True:
        message = await _receive(websocket, silence_s)
        if isinstance(message, str):
            _check_end(message)
            answers = await loop.run_in_executor(pool, stream.finish)
        else:
            answers = await loop.run_in_executor(pool, stream.push, message)
        for answer in answers:
            await websocket.send_text(_write(answer))
        if isinstance(message, str):
            return


async def _receive(websocket: WebSocket, silence_s: float) -> str | bytes:
    try:
        message = await asyncio.wait_for(websocket.receive(), silence_s)
    except TimeoutError:
        raise Refusal("too-slow", f"Nothing came for {silence_s:g} s; connect again.") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text = message.get("text")
    return message["bytes"] if text is None else text


def _read_start(message: str | bytes) -> StreamStart:
    if isinstance(message, bytes):
        raise Refusal(
            "wrong-value",
            'The first message must be text: JSON such as {"sample_rate": 16000, "encoding": "s16le"}; samples follow.',
        )
    try:
        return StreamStart.model_validate_json(message)
    except ValidationError as fault:
        raise Refusal("wrong-value", f"The first message: {explain_values(fault.errors())}") from None


def _check_end(message: str) -> None:
    try:
        ends = json.loads(message) == {"type": "end"}
    except ValueError:
        ends = False
    if not ends:
        raise Refusal(
            "wrong-value", 'After the first message come samples as binary messages, at the end {"type": "end"}.'
        )


def _describe_event(event: Event) -> Message:
    return {"type": "event", **asdict(event)}


def _write(message: Message) -> str:
    return json.dumps(message, ensure_ascii=False, allow_nan=False)
