"""The verb `timeline`: what is heard in a long recording, and when."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.console import console, load_classifier

if TYPE_CHECKING:
    from earmark.inference.timeline import Timeline

Model = Annotated[str, typer.Argument(help="A model directory, a run, a Hub id, or an exported .onnx file.")]
WindowS = Annotated[
    float | None,
    typer.Option(
        "--window-s", "--window_s", help="What the model hears at once, seconds; its own window if not given."
    ),
]
HopS = Annotated[
    float | None,
    typer.Option("--hop-s", "--hop_s", help="From one window to the next, seconds; half a window if not given."),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", help="From which probability on a label is heard; the model's own, or 0.5."),
]
Smooth = Annotated[
    int | None, typer.Option("--smooth", help="Windows over which probabilities are averaged, an odd number.")
]
MinDurationS = Annotated[
    float | None,
    typer.Option("--min-duration-s", "--min_duration_s", help="Leave out events, and close gaps, shorter than this."),
]


class EventFormat(StrEnum):
    """How events are written."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"
    audacity = "audacity"
    raven = "raven"


def timeline(
    model: Model,
    file: Annotated[Path, typer.Argument(help="A sound file of any length.", show_default=False)],
    window_s: WindowS = None,
    hop_s: HopS = None,
    threshold: Threshold = None,
    smooth: Smooth = None,
    min_duration_s: MinDurationS = None,
    form: Annotated[EventFormat, typer.Option("--format", "-f", help="How to write the events.")] = EventFormat.table,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of the screen.")] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", metavar="DIR|HTML", help="A page to hear, see and jump from event to event."),
    ] = None,
) -> None:
    """Find what is heard in a long recording, and when: start, end, label and score of each event."""
    from earmark.inference.events import clock
    from earmark.inference.timeline import find_events
    from earmark.progress import show_progress

    _check_targets(file, out, page)
    classifier = load_classifier(model)
    with show_progress("Listening", "seconds") as advance:
        found = find_events(
            classifier,
            file,
            window_s=window_s,
            hop_s=hop_s,
            threshold=threshold,
            smooth=smooth,
            min_duration_s=min_duration_s,
            on_progress=advance,
        )
    text = _write(found, form)
    if out is None:
        typer.echo(text, nl=False)
    else:
        from earmark.files import write_text_whole

        write_text_whole(out, text)
        typer.echo(f"{count_events(len(found.events))} in {clock(found.duration_s)}: {out}")
    if page is not None:
        _write_page(found, file, page, model)
    if found.fault:
        typer.secho(f"earmark: {found.fault}", fg="red", err=True)
        raise typer.Exit(1)


def count_events(count: int) -> str:
    """How many events, in words.

    Example:
        >>> count_events(1), count_events(0)
        ('1 event', '0 events')
    """
    return f"{count} event{'' if count == 1 else 's'}"


def _check_targets(file: Path, out: Path | None, page: Path | None) -> None:
    """Hours of listening should not end with a name that cannot be."""
    from earmark.errors import RunError

    if out is not None and out.exists() and file.exists() and out.samefile(file):
        raise RunError(f"The events would take the place of {file}; name another file with --out.")
    if page is not None:
        from earmark.inference.timeline_page import choose_page

        choose_page(page, file)


def _write(found: "Timeline", form: EventFormat) -> str:
    from earmark.inference.event_files import to_audacity, to_csv, to_jsonl, to_raven

    if form is EventFormat.table:
        return _write_table(found)
    if form is EventFormat.raven:
        return to_raven(found.events, sample_rate=found.sample_rate)
    return {EventFormat.csv: to_csv, EventFormat.jsonl: to_jsonl, EventFormat.audacity: to_audacity}[form](found.events)


def _write_table(found: "Timeline") -> str:
    from rich.table import Table

    from earmark.inference.events import clock

    settings = found.settings
    heard = (
        f"heard {clock(found.duration_s)} in windows of {settings.window_s:.3g} s, one every {settings.hop_s:.3g} s\n"
    )
    if not found.events:
        return f"No label reached its threshold; {heard}"
    table = Table("label", box=None, pad_edge=False, header_style="bold")
    for name in ("from", "to", "%"):
        table.add_column(name, justify="right")
    for event in found.events:
        table.add_row(event.label, clock(event.start_s), clock(event.end_s), f"{100 * event.score:.1f}")
    target = console()
    with target.capture() as captured:
        target.print(table)
    lines = "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    return f"{lines}{count_events(len(found.events))}; {heard}"


def _write_page(found: "Timeline", file: Path, page: Path, model: str) -> None:
    from earmark.inference.timeline_page import write_timeline_page
    from earmark.progress import show_progress

    with show_progress("Drawing", "seconds") as advance:
        written = write_timeline_page(found, file, page, model=model, on_progress=advance)
    typer.echo(f"Look and listen: {written}", err=True)
