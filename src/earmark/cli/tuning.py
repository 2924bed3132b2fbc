"""The verb `tune`: a search for better settings of a recipe."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from earmark.cli.console import console, waiting
from earmark.cli.training import LOADING, AllowLeak, ModelName, RecipeName, Seed, Set, Strict, check_start, name_model

TRIALS_SHOWN = 15


def tune(
    context: typer.Context,
    sounds: Annotated[
        str | None,
        typer.Argument(help="A folder of class folders, a CSV with path,label, a known dataset, or the Hub id of one."),
    ] = None,
    recipe: RecipeName = "cnn",
    trials: Annotated[
        int | None, typer.Option("--trials", "-n", min=1, help="How many trainings.", show_default="20")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The directory; runs/<time>-tune-<recipe> if not given.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Begin no trial that would end later: 30m, 2h.", metavar="TIME")
    ] = None,
    overrides: Set = None,
    model: ModelName = None,
    seed: Seed = None,
    test_fold: Annotated[int | None, typer.Option("--test-fold", help="The published fold to leave out.")] = None,
    strict: Strict = False,
    allow_leak: AllowLeak = False,
    resume: Annotated[Path | None, typer.Option("--resume", help="Continue this search, or add trials to it.")] = None,
) -> None:
    """Search for better settings of a recipe on validation clips; the test clips are left alone."""
    began = time.perf_counter()
    check_start(context, "give the sounds to search on, or --resume SEARCH", beside=("trials", "budget"))
    with waiting(LOADING):
        from earmark.training import tune as verb
        from earmark.training.budget import parse_budget
    budget_s = parse_budget(budget) if budget is not None else None
    if resume is not None:
        search = verb.resume_tune(resume, trials=trials, budget_s=budget_s, began=began)
    else:
        search = verb.tune(
            str(sounds),
            recipe,
            trials=trials or 20,
            out=out,
            overrides=[*(overrides or ()), *name_model(model)],
            seed=seed,
            test_fold=test_fold,
            budget_s=budget_s,
            began=began,
            strict=strict,
            allow_leak=allow_leak,
        )
    tell_search(search.figures)
    typer.echo(f"Look: {search.folder / verb.PAGE_FILE}")
    typer.echo(f"Train with it: {search.figures['next']}")


def tell_search(figures: dict[str, Any]) -> None:
    """The best trials, a row each, and what a reader must know."""
    from rich.table import Table

    from earmark.evaluation.search_page import write_value
    from earmark.pages.layout import span

    settings = list(figures["trials"][0]["values"])
    table = Table("trial", figures["figure"], "epochs", "time", *settings, box=None, pad_edge=False)
    ranked = sorted(figures["trials"], key=lambda trial: (trial["pruned"], -trial["figure"], trial["number"]))
    for trial in ranked[:TRIALS_SHOWN]:
        early = " (ended early)" if trial["pruned"] else ""
        values = [write_value(trial["values"][name], factor=name in figures["factors"]) for name in settings]
        row = (str(trial["number"]), f"{trial['figure']:.1%}{early}", str(trial["epochs"]), span(trial["seconds"]))
        table.add_row(*row, *values)
    console().print(table)
    if len(ranked) > TRIALS_SHOWN:
        typer.echo(f"and {len(ranked) - TRIALS_SHOWN} more on the page")
    for entry in figures["left_out"]:
        typer.secho(f"Left out: {entry['reason']}", fg="yellow")
    for note in figures["notes"]:
        typer.secho(f"Note: {note}", fg="yellow")
    typer.echo(figures["protocol"])
