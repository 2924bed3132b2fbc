"""The verb `data drift`: an unlabelled folder against the training data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from earmark.evaluation.drift_words import Difference


def drift(
    reference: Annotated[
        str,
        typer.Argument(
            help="A run, a model directory or Hub id, or the clips it was trained on (a folder or CSV).",
            metavar="MODEL|CLIPS",
            show_default=False,
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="A folder of recordings, without labels.", show_default=False)],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file.", metavar="FILE")
    ] = None,
) -> None:
    """Will it work on these recordings? In what they differ from the training data, and how plainly."""
    from rich.table import Table

    from earmark.cli.console import console, waiting

    with waiting("Loading torch and transformers"):
        from earmark.evaluation.drift import drift as find_drift
    found = find_drift(reference, folder)
    table = Table("", box=None, pad_edge=False, header_style="bold")
    for heading in ("yours: median", "10 to 90 %", "training: median", "10 to 90 %", "AUC", "95 % together"):
        table.add_column(heading, justify="right")
    for difference in found.differences:
        table.add_row(*_word(difference), style="bold" if difference.differs else None)
    console().print(table)
    typer.echo(f"{found.recordings:,} of your recordings against {found.reference:,} training clips.")
    for path, reason in found.unreadable:
        typer.secho(f"Cannot be read: {reason or path}", fg="yellow", err=True)
    typer.echo(f"\n{found.verdict}")
    for sentence in found.sentences:
        typer.echo(f"- {sentence}")
    if json_file is not None:
        import json

        from earmark.files import write_text_whole

        write_text_whole(json_file, json.dumps(found.as_dict(), ensure_ascii=False, indent=2) + "\n")
        typer.echo(f"Figures: {json_file}")
    typer.echo("Next: label a few of them, and `earmark evaluate MODEL CLIPS` tells the accuracy.")


def _word(difference: "Difference") -> list[str]:
    """The cells of a row: levels in dB, shares in percent, the rest with three digits."""
    if difference.unit == "dBFS":
        form = "{:.0f}"
    else:
        form = "{:,.0f}" if difference.unit == "Hz" else "{:.3g}" if difference.unit else "{:.0%}"
    cells = [", ".join(part for part in (difference.name, difference.unit) if part)]
    for low, middle, high in (difference.yours, difference.reference):
        cells += [form.format(middle), f"{form.format(low)} to {form.format(high)}"]
    return [*cells, f"{difference.auc:.2f}", f"{difference.low:.2f} to {difference.high:.2f}"]
