"""The verb `compare`: runs side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer

CLASSES_SHOWN = 10


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Two runs or more; each is compared with the first.", metavar="RUN RUN…", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write a page (.html) with figures and clips to listen to.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file.", metavar="FILE")
    ] = None,
) -> None:
    """Put runs on the same test clips side by side: what differs, and whether more than chance is behind it."""
    from earmark.cli.console import waiting

    with waiting("Loading torch and transformers"):
        from earmark.training.comparison import compare as compare_runs
    comparison = compare_runs(runs, out=out)
    figures = comparison.figures
    _tell_runs(figures)
    _tell_classes(figures)
    for remark in figures["remarks"]:
        typer.secho(f"Note: {remark}", fg="yellow")
    for caution in figures["cautions"]:
        typer.secho(f"Note: {caution}", fg="yellow")
    for difference in figures["differences"]:
        typer.echo(difference["sentence"])
    if json_file is not None:
        import json

        from earmark.files import write_text_whole

        write_text_whole(json_file, json.dumps(figures, ensure_ascii=False, indent=2) + "\n")
        typer.echo(f"Figures: {json_file}")
    if comparison.page is not None:
        typer.echo(f"Look and listen: {comparison.page}")
    else:
        typer.echo("Look and listen: give -o compare.html too.")


def _tell_runs(figures: dict[str, Any]) -> None:
    """A row a run: its score, its difference, and what it costs."""
    from rich.table import Table

    from earmark.cli.console import console
    from earmark.evaluation.metrics import SCORE_NAMES
    from earmark.evaluation.paired_tests import word_p_value

    primary = figures["primary"]
    corrected = len(figures["differences"]) > 1
    table = Table("run", box=None, pad_edge=False, header_style="bold")
    test = " or ".join(sorted({difference["test"] for difference in figures["differences"]}))
    for heading in (
        SCORE_NAMES[primary][primary].lower(),
        "95 %",
        f"more than {figures['first']}",
        "95 %",
        f"p ({test}{', Holm' if corrected else ''})",
        "training",
        "parameters",
        "latency",
        "weights",
    ):
        table.add_column(heading, justify="right")
    differences = {difference["name"]: difference for difference in figures["differences"]}
    for run in figures["runs"]:
        score, cells = run[primary], ["", "", ""]
        if difference := differences.get(run["name"]):
            more = difference[primary]
            interval = f"{100 * more['low']:+.1f} to {100 * more['high']:+.1f}"
            cells = [f"{100 * more['value']:+.1f}", interval, word_p_value(difference["p_holm"])]
        interval = f"{100 * score['low']:.1f} to {100 * score['high']:.1f}"
        table.add_row(run["name"], f"{100 * score['value']:.1f}", interval, *cells, *_word_costs(run))
    console().print(table)
    _tell_how(figures)


def _word_costs(run: dict[str, Any]) -> list[str]:
    from rich.filesize import decimal

    from earmark.pages.layout import span

    return [
        "–" if run["train_s"] is None else span(run["train_s"]),
        "–" if run["parameters"] is None else f"{run['parameters']:,}",
        "–" if run["latency_ms"] is None else f"{run['latency_ms']:.1f} ms",
        "–" if run["model_bytes"] is None else decimal(run["model_bytes"]),
    ]


def _tell_how(figures: dict[str, Any]) -> None:
    """Where the numbers of the table come from, and what is missing in it."""
    typer.echo(f"In percent and points, on {figures['clips']:,} test clips; {figures['interval']}.")
    if figures["multi_label"]:
        typer.echo("McNemar's test does not apply where a clip has several labels; p is that of the interval.")
    elif any(difference["mcnemar"] is None for difference in figures["differences"]):
        typer.echo("McNemar's test does not apply to several answers a clip (seeds); p is that of the interval there.")
    places = sorted({run["latency_on"] for run in figures["runs"] if run["latency_on"]})
    if places:
        typer.echo(f"Latency: one clip of the model's window, measured now ({', '.join(places)}).")
    for run in figures["runs"]:
        if run["latency_missing"]:
            typer.echo(f"No latency of {run['name']}: {run['latency_missing']}.")


def _tell_classes(figures: dict[str, Any]) -> None:
    """The classes that change most, a column a run."""
    from rich.table import Table

    from earmark.cli.console import console

    rows: dict[str, list[dict[str, Any]]] = {}
    for difference in figures["differences"]:
        for row in difference["per_class"]:
            if row["support"]:
                rows.setdefault(row["label"], []).append(row)
    most = sorted(rows, key=lambda label: -max(abs(row["value"]) for row in rows[label]))[:CLASSES_SHOWN]
    measure = "average precision" if figures["multi_label"] else "F1"
    which = f"the {len(most)} classes of {len(rows)} that change most" if len(most) < len(rows) else "all classes"
    typer.echo(f"\nPoints of {measure} more than {figures['first']}, {which}:")
    table = Table("class", box=None, pad_edge=False, header_style="bold")
    table.add_column("clips", justify="right")
    for difference in figures["differences"]:
        table.add_column(difference["name"], justify="right")
    for label in most:
        cells = [
            f"{100 * row['value']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})" for row in rows[label]
        ]
        table.add_row(label, f"{rows[label][0]['support']:,}", *cells)
    console().print(table)
    typer.echo()
