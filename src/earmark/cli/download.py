"""The verb `data download`: known datasets by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from earmark.data.catalogue import KnownDataset


def download(
    name: Annotated[
        str | None, typer.Argument(help="A known dataset; without it, all of them are listed.", show_default=False)
    ] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where its folder goes.", show_default=False)
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="ARCHIVE", help="An archive that you have already (Kaggle's copies, too); it is kept."
        ),
    ] = None,
) -> None:
    """Fetch a known dataset, check it and unpack it; a transfer that broke off goes on."""
    from earmark.data.catalogue import find_dataset
    from earmark.data.download import download_dataset
    from earmark.errors import DownloadError

    if name is None:
        _list_datasets()
        return
    dataset = find_dataset(name)
    if folder is None:
        raise DownloadError(f"Say where {dataset.title} goes: earmark data download {dataset.name} DIR.")
    _describe(dataset)
    done = download_dataset(name, folder, archive=archive)
    if not done.is_new:
        typer.echo(f"It stands there already, with {done.clips:,} clips; nothing was done: {done.folder}")
    else:
        typer.echo(f"Unpacked {done.clips:,} clips: {done.folder}")
    for remark in done.remarks:
        typer.secho(remark, fg="yellow")
    typer.echo(f"Next: earmark train {done.folder}")


def _describe(dataset: "KnownDataset") -> None:
    from rich.filesize import decimal

    size = decimal(dataset.sources[0].size)
    typer.echo(f"{dataset.title}: {dataset.clips:,} clips, {dataset.classes} classes, archive of {size}")
    typer.echo(f"Licence: {dataset.licence}. To cite: {dataset.citation}")


def _list_datasets() -> None:
    from rich.filesize import decimal
    from rich.table import Table

    from earmark.cli.console import console
    from earmark.data.catalogue import KNOWN_DATASETS

    table = Table("name", "dataset", box=None, pad_edge=False, header_style="bold")
    for heading in ("archive", "clips", "classes"):
        table.add_column(heading, justify="right")
    table.add_column("licence")
    for dataset in KNOWN_DATASETS:
        size = decimal(dataset.sources[0].size)
        table.add_row(dataset.name, dataset.title, size, f"{dataset.clips:,}", str(dataset.classes), dataset.licence)
    console().print(table)
    typer.echo("Next: earmark data download NAME DIR")
