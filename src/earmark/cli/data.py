"""The verbs about data: `data show`; `data audit`, `data download` and others have files of their own."""

import math
from pathlib import Path
from typing import Annotated

import typer

from earmark.cli.audit import apply, audit
from earmark.cli.augment import augment
from earmark.cli.download import download
from earmark.cli.drift import drift

app = typer.Typer(help="Look at labelled sounds before anything is trained.", no_args_is_help=True)
app.command("download")(download)
app.command("audit")(audit)
app.command("apply")(apply)
app.command("augment")(augment)
app.command("drift")(drift)


@app.callback()
def main() -> None:
    """Look at labelled sounds before anything is trained."""


@app.command()
def show(
    sounds: Annotated[str, typer.Argument(help="A folder of class folders, or a CSV with path,label.")],
    out: Annotated[Path | None, typer.Option("--csv", help="Write the clips as a manifest to this file.")] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Write a page with the counts and an example a class to hear and see.")
    ] = False,
    page: Annotated[Path | None, typer.Option("--out", "-o", help="That page; <SOUNDS>.html if not given.")] = None,
) -> None:
    """Classes with their counts and durations; rates, channels and formats of the files."""
    from rich.table import Table

    from earmark.cli.console import console
    from earmark.data.clips import write_csv
    from earmark.data.layouts import read_clips
    from earmark.data.overview import describe_clips
    from earmark.pages.layout import span
    from earmark.progress import show_progress

    clips = read_clips(sounds)
    with show_progress("Looking at files") as advance:
        overview = describe_clips(clips, advance)
    table = Table("class", box=None, pad_edge=False, header_style="bold")
    for name in ("clips", "total", "shortest", "longest"):
        table.add_column(name, justify="right")
    for row in overview.classes.to_dict("records"):
        # A class of which no file can be read has no shortest and no longest one.
        seconds = (row[key] for key in ("duration_s", "shortest_s", "longest_s"))
        spans = ("–" if math.isnan(value) else span(value) for value in seconds)
        table.add_row(str(row["label"]), f"{row['clips']:,}", *spans)
    table.add_row(f"{len(clips.labels)} classes", f"{overview.clips:,}", span(overview.duration_s), style="bold")
    console().print(table)
    for name, counts in (
        ("Sample rates", {f"{rate} Hz": count for rate, count in overview.sample_rates.items()}),
        ("Channels", overview.channels),
        ("Formats", overview.formats),
    ):
        typer.echo(f"{name}: {', '.join(f'{key} ({count:,})' for key, count in counts.items())}")
    for reason, count in overview.passed_over.items():
        typer.echo(f"Passed over, {reason}: {count:,}")
    for _, reason in overview.unreadable:
        typer.secho(f"Cannot be read: {reason}", fg="yellow")
    if out is not None:
        write_csv(clips, out)
        typer.echo(f"Manifest: {out}")
    if figures or page is not None:
        from earmark.data.gallery import write_gallery

        with show_progress("Drawing examples", "classes") as advance:
            written = write_gallery(clips, overview, page or f"{Path(sounds).resolve().stem}.html", advance)
        typer.echo(f"Look and listen: {written}")
    typer.echo(f"Next: earmark train {out or sounds}")
