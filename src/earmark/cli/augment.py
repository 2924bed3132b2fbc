"""The verb `data augment`: what a recipe does to a sound in training, to be heard and seen before it is trained."""

from pathlib import Path
from typing import Annotated

import typer

from earmark.cli.console import waiting
from earmark.cli.training import LOADING, RecipeName, Seed, Set


def augment(
    files: Annotated[
        list[Path],
        typer.Argument(help="The sound to listen to; further ones are only mixed with it.", show_default=False),
    ],
    recipe: RecipeName = "cnn",
    overrides: Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The directory; augmented/<time>-<recipe> if not given.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=50, help="How many versions.")] = 5,
    seed: Seed = None,
) -> None:
    """Write a sound as it is and as training hears it, with a page to listen to and to look at."""
    with waiting(LOADING):
        from earmark.training.audition import audition
    done = audition(files, recipe, out=out, overrides=overrides or (), count=count, seed=seed)
    for note in done.notes:
        typer.secho(f"Note: {note}", fg="yellow")
    typer.echo(f"Sounds: {done.sounds[0]} and {count} version{'s' if count > 1 else ''} of it")
    typer.echo(f"Listen and look: {done.page}")
