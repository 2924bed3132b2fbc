"""The verb `cache`: what the store of decoded sound holds, and how to be rid of it."""

import typer

app = typer.Typer()


@app.callback(invoke_without_command=True)
def cache(context: typer.Context) -> None:
    """Show what the store of decoded sound holds, its size and its limit."""
    if context.invoked_subcommand is None:
        _show()


def _show() -> None:
    from rich.table import Table

    from earmark.cli.console import console
    from earmark.data.store_index import find_cache_folder
    from earmark.data.store_room import LIMIT_VARIABLE, describe_room, read_limit

    limit = read_limit()
    rooms = describe_room()
    folder = find_cache_folder() / "store"
    if not rooms:
        typer.echo(f"Nothing is stored in {folder}.")
    else:
        table = Table("rate", box=None, pad_edge=False, header_style="bold")
        for name in ("files", "hours", "size", "in use"):
            table.add_column(name, justify="right")
        for room in rooms:
            hours, size, in_use = f"{room.duration_s / 3600:,.1f}", show_size(room.size), show_size(room.in_use)
            table.add_row(f"{room.sample_rate:,} Hz", f"{room.files:,}", hours, size, in_use)
        console().print(table)
        typer.echo(f"{show_size(sum(room.size for room in rooms))} in {folder}")
    allowed = "none" if limit is None else f"{show_size(limit)}, kept when a run begins: the longest unused goes first"
    typer.echo(f"Limit: {allowed} ({LIMIT_VARIABLE})")


@app.command()
def clear() -> None:
    """Take away all decoded sound that no run is using; what is needed again is decoded again."""
    from earmark.data.store_room import clear_store

    freed = clear_store()
    typer.echo(f"Freed {show_size(freed.size)}: the sound of {freed.files:,} files.")
    if freed.in_use:
        typer.echo(f"{show_size(freed.in_use)} stay, because a run is using them.")


def show_size(size: int) -> str:
    """Bytes as one reads them.

    Example:
        >>> show_size(999), show_size(1_500_000)
        ('999 B', '1.5 MB')
    """
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
