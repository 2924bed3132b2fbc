"""The verbs `data audit` and `data apply`: what is wrong with labelled sounds, and the clips with it mended."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.console import console, waiting

if TYPE_CHECKING:
    from earmark.evaluation.audit_checks import Check

_STYLES = {"mend": "bold red", "look": "yellow", "fine": "dim", "not checked": "dim"}


def audit(
    sounds: Annotated[str, typer.Argument(help="A folder of class folders, or a CSV with path,label.")],
    page: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; <SOUNDS>-audit.html if not given.")
    ] = None,
    record: Annotated[Path | None, typer.Option("--json", help="Write all that was found to this file.")] = None,
) -> None:
    """Find what is wrong with labelled sounds: files, copies, leaks, shortcuts, labels; a page to listen to."""
    with waiting("Loading"):
        from earmark.data.corrections import write_corrections
        from earmark.evaluation.audit import audit as run_audit
        from earmark.evaluation.audit_checks import list_checks, sum_up
        from earmark.evaluation.audit_page import write_audit_page
        from earmark.evaluation.audit_record import describe_audit, propose_corrections
        from earmark.files import write_text_whole
        from earmark.progress import show_progress

    found = run_audit(sounds)
    checks = list_checks(found)
    console().print(_tabulate(checks))
    for note in found.notes:
        typer.echo(f"Note: {note}")
    page = page or Path(f"{Path(found.clips.source).stem or 'sounds'}-audit.html")
    proposed = propose_corrections(found)
    corrections = (
        _choose_free(page.with_name(f"{page.stem.removesuffix('-audit')}-corrections.csv")) if proposed else None
    )
    with show_progress("Drawing", "sounds") as advance:
        write_audit_page(found, page, corrections=corrections.name if corrections else "", on_progress=advance)
    if record is not None:
        write_text_whole(record, json.dumps(describe_audit(found), ensure_ascii=False, indent=1))
        typer.echo(f"Record: {record}")
    if corrections is not None:
        write_corrections(proposed, corrections)
        typer.echo(f"To decide on: {corrections} ({len(proposed)} clips: write keep, relabel or drop)")
    typer.echo(f"Look and listen: {page}")
    typer.secho(sum_up(checks), bold=True)
    typer.echo(f"Next: earmark data apply {sounds} {corrections}" if corrections else f"Next: earmark train {sounds}")


def apply(
    sounds: Annotated[str, typer.Argument(help="The sounds that were audited.")],
    corrections: Annotated[Path, typer.Argument(help="The CSV that `data audit` wrote, edited.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The new manifest; <SOUNDS>-corrected.csv if not given.")
    ] = None,
) -> None:
    """Write a new manifest with labels corrected and clips left out; the sounds themselves stay as they are."""
    from earmark.data.clips import write_csv
    from earmark.data.corrections import apply_corrections
    from earmark.data.layouts import read_clips
    from earmark.errors import ClipsError

    clips = read_clips(sounds)
    out = out or Path(f"{Path(clips.source).stem or 'sounds'}-corrected.csv")
    if os.path.abspath(out) == os.path.abspath(corrections):
        raise ClipsError(f"{out} holds the corrections; give the new manifest another name with --out.")
    corrected = apply_corrections(clips, corrections)
    write_csv(corrected.clips, out)
    typer.echo(
        f"{corrected.relabelled:,} relabelled, {corrected.dropped:,} dropped, "
        f"{len(corrected.clips):,} clips in {len(corrected.clips.labels)} classes left"
    )
    typer.echo(f"Manifest: {out}")
    typer.echo(f"Next: earmark train {out}")


def _tabulate(checks: list["Check"]) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("check")
    table.add_column("found", justify="right")
    table.add_column("", no_wrap=True)
    table.add_column("what it says")
    for check in checks:
        found = "–" if check.state == "not checked" else f"{check.found:,}"
        state = Text(check.state, style=_STYLES[check.state])
        table.add_row(check.name, found, state, Text(check.sentence))
    return table


def _choose_free(path: Path) -> Path:
    """A name that is not taken: corrections that somebody has edited are never written over."""
    number, free = 2, path
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free
