"""What `earmark timeline --page` writes: a recording to hear and see, its events beneath, a click away."""

import base64
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from earmark.errors import RunError, SoundError
from earmark.files import write_text_whole
from earmark.inference.events import Event, clock
from earmark.inference.timeline import Timeline
from earmark.pages.figure import to_png
from earmark.pages.layout import render_page
from earmark.pages.player import encode_sound
from earmark.sound.decode import probe, stream
from earmark.sound.overview import SoundOverview, to_mel

LONGEST_HELD_S = 600.0  # the page holds the sound of recordings up to this; of longer ones it plays the file
MOST_EVENTS = 2000
HIGHEST_RATE = 48_000  # what one can hear; and what an MP3 can hold
MOST_ROWS = 6
ROW_COLUMNS = 900
ROWS_S = (10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
MOST_TICKS = 6
TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600)
MARKED_HZ = {250: "250", 1000: "1k", 4000: "4k", 16_000: "16k"}
BLOCK_S = 10.0


class Mark(NamedTuple):
    """A part of an event as it lies in a row; places in percent of the row."""

    event: Event
    left: float
    width: float
    start_s: float
    """Where a click jumps to."""


class Lane(NamedTuple):
    """A label's events within a row."""

    label: str
    marks: list[Mark]


class Row(NamedTuple):
    """A line of the page: a stretch of the recording."""

    start_s: float
    end_s: float
    share: float
    """Of the longest row, percent: the last one is shorter, its seconds are as long."""
    picture: str
    ticks: list[tuple[float, str]]
    lanes: list[Lane]


def write_timeline_page(
    timeline: Timeline,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    model: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the page of a recording: player, spectrogram in rows, events under it and as a table.

    Of recordings up to ten minutes the page holds the sound; of longer ones it plays the file, where it lies. It shows
    at most 2,000 events, those with the highest scores.

    Args:
        timeline: What was heard in it.
        source: The sound file.
        target: The page, ending in ``.html``, or a folder, in which it is ``index.html``.
        model: What found the events, to name it.
        on_progress: Called with (seconds drawn, seconds in all).

    Returns:
        The page's path.

    Raises:
        RunError: the page would take the place of another file, or nothing was heard.

    Example:
        >>> write_timeline_page(timeline, "yard.flac", "yard.html", model="runs/1").name   # doctest: +SKIP
        'yard.html'
    """
    from earmark import __version__

    source = Path(source)
    page = choose_page(target, source)
    row_s = _choose_row_s(timeline.duration_s)
    levels, waveform, sample_rate = _look(timeline, source, row_s, on_progress)
    held = None if waveform is None else encode_sound(waveform, sample_rate, max_s=LONGEST_HELD_S)
    surest = set(sorted(timeline.events, key=lambda event: -event.score)[:MOST_EVENTS])
    events = [event for event in timeline.events if event in surest]
    text = render_page(
        "timeline.html.j2",
        title=source.name,
        version=__version__,
        model=model,
        timeline=timeline,
        events=events,
        rows=list(_lay_out(events, timeline.duration_s, row_s, levels)),
        bands=_place_frequencies(sample_rate),
        sound=_link(source, page) if held is None else held.uri,
        is_held=held is not None,
        longest_held_min=round(LONGEST_HELD_S / 60),
        clock=clock,
    )
    return write_text_whole(page, text)


def choose_page(target: str | os.PathLike[str], source: str | os.PathLike[str]) -> Path:
    """Where the page goes: ``target`` if it ends in ``.html``, else the ``index.html`` in it.

    Raises:
        RunError: something else is there.

    Example:
        >>> choose_page("yard.html", "yard.flac").name, choose_page("yard", "yard.flac").name
        ('yard.html', 'index.html')
    """
    target = Path(target)
    page = target if target.suffix.lower() in (".html", ".htm") else target / "index.html"
    if target is not page and target.exists() and not target.is_dir():
        raise RunError(f"{target} is a file; name a folder for the page, or a file that ends in .html.")
    if page.exists() and page.samefile(source):
        raise RunError(f"The page would take the place of {source}; name another file.")
    return page


def _look(
    timeline: Timeline, source: Path, row_s: float, on_progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """The spectrogram's levels (bands, columns), the samples where the page holds them, and their rate."""
    duration_s = timeline.duration_s
    sample_rate = min(probe(source).sample_rate, HIGHEST_RATE)
    columns = max(1, math.ceil(duration_s / row_s * ROW_COLUMNS))
    overview = SoundOverview(sample_rate, duration_s=duration_s, columns=columns)
    held: list[np.ndarray] | None = [] if duration_s <= LONGEST_HELD_S else None
    for number, block in enumerate(_read(source, sample_rate), start=1):
        overview.push(block)
        if held is not None:
            held.append(block)
        if on_progress is not None:
            on_progress(min(round(number * BLOCK_S), math.ceil(duration_s)), math.ceil(duration_s))
    waveform = None if held is None else np.concatenate(held)
    return overview.finish(), waveform, sample_rate


def _read(source: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """The sound as far as it can be read; the timeline has told why there is no more."""
    begun = False
    try:
        for block in stream(source, sample_rate=sample_rate, block_s=BLOCK_S, on_fault=lambda _: None):
            begun = True
            yield block
    except SoundError:
        if not begun:
            raise


def _choose_row_s(duration_s: float) -> float:
    """How much sound a row shows: a round figure such that there are few rows; a short sound has one, of its length."""
    if duration_s <= 2 * ROWS_S[0]:
        return duration_s
    fitting = (row_s for row_s in ROWS_S if math.ceil(duration_s / row_s) <= MOST_ROWS)
    return next(fitting, duration_s / MOST_ROWS)


def _lay_out(events: list[Event], duration_s: float, row_s: float, levels: np.ndarray) -> Iterator[Row]:
    for number in range(math.ceil(duration_s / row_s)):
        start_s, end_s = number * row_s, min((number + 1) * row_s, duration_s)
        first = number * ROW_COLUMNS
        png = to_png(levels[::-1, first : first + ROW_COLUMNS])
        picture = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
        share = 100 * (end_s - start_s) / row_s
        yield Row(
            start_s, end_s, share, picture, _place_ticks(start_s, end_s, row_s), _fill_lanes(events, start_s, end_s)
        )


def _fill_lanes(events: list[Event], start_s: float, end_s: float) -> list[Lane]:
    """The labels that are heard within a row, in the order in which they begin."""
    length_s = end_s - start_s
    lanes: dict[str, Lane] = {}
    for event in events:
        begin_s, finish_s = max(event.start_s, start_s), min(event.end_s, end_s)
        if finish_s <= begin_s:
            continue
        left, width = 100 * (begin_s - start_s) / length_s, 100 * (finish_s - begin_s) / length_s
        lane = lanes.setdefault(event.label, Lane(event.label, []))
        lane.marks.append(Mark(event, left, width, begin_s))
    return list(lanes.values())


def _place_ticks(start_s: float, end_s: float, row_s: float) -> list[tuple[float, str]]:
    """Places in percent of the row, and times, at round ones."""
    step_s = next((step for step in TICK_STEPS_S if row_s / step <= MOST_TICKS), row_s)
    first, last = math.ceil(start_s / step_s - 1e-9), math.floor(end_s / step_s + 1e-9)
    times_s = [number * step_s for number in range(first, last + 1)]
    return [(100 * (time_s - start_s) / (end_s - start_s), _name_tick(time_s)) for time_s in times_s]


def _name_tick(time_s: float) -> str:
    name = clock(time_s)
    return name.removesuffix(".0")


def _place_frequencies(sample_rate: int) -> list[tuple[float, str]]:
    """Places in percent of the picture's height from below, and the frequencies there."""
    highest = to_mel(sample_rate / 2)
    places = [(100 * to_mel(hz) / highest, name) for hz, name in MARKED_HZ.items() if hz < sample_rate / 2]
    return [(place, name) for place, name in places if place < 94]


def _link(source: Path, page: Path) -> str:
    """The file as the page finds it from where it lies."""
    try:
        return quote(Path(os.path.relpath(source.resolve(), page.resolve().parent)).as_posix())
    except ValueError:  # on another drive
        return source.resolve().as_uri()
