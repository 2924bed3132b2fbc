"""What one sees while listening: one quiet line, drawn over and over, with the level, the label and the last events."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from earmark.progress import is_live

if TYPE_CHECKING:
    from rich.text import Text

    from earmark.inference.classifier import Classifier
    from earmark.inference.events import Event
    from earmark.inference.live import Hearing

METER_CELLS = 16
QUIETEST_DB = -60.0  # the left end of the meter
LAST_EVENTS = 3
LOOKS_PER_S = 8


def describe_event(event: "Event") -> str:
    """An event in one line.

    Example:
        >>> from earmark.inference.events import Event
        >>> describe_event(Event(2.5, 7.5, "Dog bark", 0.934))
        '0:02.5 – 0:07.5  Dog bark  93.4 %'
    """
    from earmark.inference.events import clock

    return f"{clock(event.start_s)} – {clock(event.end_s)}  {event.label}  {100 * event.score:.1f} %"


@contextmanager
def open_view(classifier: "Classifier") -> "Iterator[Callable[[Hearing], None]]":
    """A function to show each hearing with, on standard error; it does nothing where no terminal watches."""
    if not is_live():
        yield lambda hearing: None
        return
    from rich.console import Console
    from rich.live import Live

    last: deque[Event] = deque(maxlen=LAST_EVENTS)
    with Live(
        console=Console(stderr=True, highlight=False),
        refresh_per_second=LOOKS_PER_S,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # events go above the line; into a pipe they go as they are
    ) as live:

        def show(hearing: "Hearing") -> None:
            last.extend(hearing.closed)
            live.update(draw_line(classifier, hearing, list(last)))

        yield show


def draw_line(classifier: "Classifier", hearing: "Hearing", last: "list[Event]") -> "Text":
    """The line: how long, how loud, which label, and which events were the last, the newest first."""
    from rich.text import Text

    from earmark.inference.events import clock

    line = Text(f"{clock(hearing.duration_s):>7} ", no_wrap=True, overflow="ellipsis")
    level_db = QUIETEST_DB if hearing.level_db is None else hearing.level_db
    share = min(max(1 - level_db / QUIETEST_DB, 0.0), 1.0)
    filled = round(share * METER_CELLS)
    line.append("━" * filled, style="bold red" if level_db > -1 else "green")
    line.append("─" * (METER_CELLS - filled), style="dim")
    line.append(f" {level_db:4.0f} dB  ")
    line.append(*_name_now(classifier, hearing))
    for event in reversed(last):
        line.append(f"  · {clock(event.start_s)} {event.label}", style="dim")
    return line


def _name_now(classifier: "Classifier", hearing: "Hearing") -> tuple[str, str]:
    """What the last window is, and in which style: bold where it is part of an event."""
    window = hearing.window
    if window is None:
        return "…", "dim"
    if window.level_db < classifier.decision.silence_db:
        return "silence", "dim"
    top = classifier.name_scores(window.probabilities, 1)[0]
    running = any(event.label == top["label"] for event in hearing.open)
    return f"{top['label']} {100 * top['score']:.0f} %", "bold" if running else "dim"
