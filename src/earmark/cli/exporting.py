"""The verb that makes a model run elsewhere: export."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from earmark.cli.console import waiting


class Runtime(StrEnum):
    """What a model can be exported to."""

    onnx = "onnx"


def export(
    model: Annotated[str, typer.Argument(help="A model directory, a run, or a Hub id.")],
    form: Annotated[Runtime, typer.Option("--format", "-f", help="For which runtime.")] = Runtime.onnx,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of 8 bits: a quarter of their size.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.onnx", help="Write this file; NAME.onnx here if not given."),
    ] = None,
) -> None:
    """Write a model as one file that runs without torch, once its answers have been compared with torch's."""
    with waiting("Loading torch and transformers"):
        from earmark.publishing.export import INT8_TOLERANCE
        from earmark.publishing.export import export as write
    with waiting("Exporting"):
        exported = write(model, out, int8=int8)
    agreeing = f"{exported.agreeing} of {exported.sounds} sounds get the answer that torch gives"
    apart = f"logits at most {exported.logits_apart:.1g}, probabilities {exported.probabilities_apart:.1g} apart"
    typer.echo(f"{exported.path}, {exported.path.stat().st_size / 1e6:.1f} MB: {agreeing}; {apart}.")
    if int8:
        typer.echo(f"Weights of 8 bits move probabilities; up to {INT8_TOLERANCE:g} is taken for the same model.")
    typer.echo(f"Label a file: earmark predict {exported.path} FILE")
