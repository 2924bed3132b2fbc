"""The verb that hands a model over: push."""

from pathlib import Path
from typing import Annotated

import typer

from earmark.cli.console import waiting


def push(
    run: Annotated[Path, typer.Argument(help="A run, or a model directory.")],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="What it is to be called on the Hub.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; else only its owners do.")] = False,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.")] = None,
) -> None:
    """Upload a trained model with its card and figures to the Hugging Face Hub; no recordings go with it."""
    with waiting("Loading torch and transformers"):
        from earmark.publishing.hub import push as upload
    url = upload(run, repo_id, private=not public, message=message)
    typer.echo(f"On the Hub, {'for everybody' if public else 'private'}: {url}")
    typer.echo(f"Label a file: earmark predict {repo_id} FILE")
