"""The verb `listen`: what is heard right now, from a microphone or from another program."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.console import load_classifier
from earmark.cli.live_view import describe_event, open_view
from earmark.cli.timeline import HopS, MinDurationS, Model, Smooth, Threshold, WindowS, count_events

if TYPE_CHECKING:
    import numpy as np

    from earmark.inference.classifier import Classifier
    from earmark.inference.events import Event


class Encoding(StrEnum):
    """How raw samples are encoded, by FFmpeg's names."""

    s16le = "s16le"
    f32le = "f32le"


class LineFormat(StrEnum):
    """How an event is written as soon as it is over."""

    text = "text"
    jsonl = "jsonl"


def listen(
    model: Model,
    source: Annotated[
        str, typer.Argument(metavar="[-]", help="`-` for raw mono samples on standard input.", show_default=False)
    ] = "",
    device: Annotated[
        str | None, typer.Option("--device", help="Number or name of a microphone; the computer's own if not given.")
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option("--rate", min=1, help="Of the samples on standard input, Hz; the model's if not given."),
    ] = None,
    encoding: Annotated[
        Encoding, typer.Option("--encoding", help="Of the samples on standard input.")
    ] = Encoding.s16le,
    window_s: WindowS = None,
    hop_s: HopS = None,
    threshold: Threshold = None,
    smooth: Smooth = None,
    min_duration_s: MinDurationS = None,
    form: Annotated[
        LineFormat, typer.Option("--format", "-f", help="How to write each event as soon as it is over.")
    ] = LineFormat.text,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the events to this file, one JSON object a line.")
    ] = None,
) -> None:
    """Listen to a microphone, or to `ffmpeg … -f s16le -ac 1 -ar RATE - | earmark listen MODEL -`; Ctrl-C ends it."""
    from earmark.inference.events import clock
    from earmark.inference.live import listen as hear
    from earmark.inference.timeline import build_engine

    _check_source(source, device, rate)
    classifier = load_classifier(model)
    scorer, finder = build_engine(
        classifier,
        window_s=window_s,
        hop_s=hop_s,
        threshold=threshold,
        smooth=smooth,
        min_duration_s=min_duration_s,
    )
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(_stopping(stop))
        pieces = stack.enter_context(_open_sound(classifier, source, device, rate, encoding, stop))
        write = stack.enter_context(_open_events(form, out))
        show = stack.enter_context(open_view(classifier))
        n_events = 0
        for hearing in hear(scorer, finder, pieces):
            for event in hearing.closed:
                write(event)
            n_events += len(hearing.closed)
            show(hearing)
    typer.echo(f"{count_events(n_events)} in {clock(scorer.duration_s)}{f': {out}' if out else ''}", err=True)


def _check_source(source: str, device: str | None, rate: int | None) -> None:
    from earmark.errors import SoundError

    if source not in ("", "-"):
        raise SoundError(
            f"{source} is not heard live; give files to `earmark timeline`, or `-` for raw samples on standard input."
        )
    if source == "-" and device is not None:
        raise SoundError("The sound comes from standard input or from a microphone; leave out `-` or --device.")
    if not source and rate is not None:
        raise SoundError("--rate is that of samples on standard input; a microphone's is chosen by itself.")
    if source == "-" and sys.stdin.isatty():
        raise SoundError("Nothing is piped into standard input; try `ffmpeg … -f s16le -ac 1 - | earmark listen …`.")


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C ends the sound, so that what is open is closed; the second breaks off at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler)

    for number in former:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _open_sound(
    classifier: "Classifier",
    source: str,
    device: str | None,
    rate: int | None,
    encoding: Encoding,
    stop: threading.Event,
) -> "Iterator[Iterator[np.ndarray]]":
    from earmark.inference.live import open_microphone, read_pcm

    if source == "-":
        read = partial(os.read, sys.stdin.fileno())  # as soon as anything comes, and without a lock
        yield read_pcm(
            read,
            encoding=encoding.value,
            from_rate=rate or classifier.sample_rate,
            to_rate=classifier.sample_rate,
            stop=stop,
        )
        return
    with open_microphone(device, sample_rate=classifier.sample_rate, stop=stop) as pieces:
        yield pieces


@contextmanager
def _open_events(form: LineFormat, out: Path | None) -> "Iterator[Callable[[Event], None]]":
    """Where events are written, each as soon as it is over: they must be there when the power fails."""
    from earmark.inference.event_files import to_jsonl

    def say(event: "Event") -> None:
        text = to_jsonl([event]) if form is LineFormat.jsonl else f"{describe_event(event)}\n"
        sys.stdout.write(text)  # not through typer, which goes past the live line
        sys.stdout.flush()

    if out is None:
        yield say
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="\n") as file:

        def write(event: "Event") -> None:
            file.write(to_jsonl([event]))
            file.flush()
            if form is LineFormat.text:
                say(event)

        yield write
