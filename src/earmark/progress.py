"""Progress of long steps: one quiet line with the time left on a terminal, plain lines where there is none."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, int], None]


def is_first_process() -> bool:
    """Whether this is the process that speaks and writes: the only one, or the first of those `torchrun` started."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def is_live() -> bool:
    """Whether somebody watches standard error, so that a line may be drawn over and over."""
    return sys.stderr.isatty() and is_first_process()


def say(sentence: str) -> None:
    """One line on standard error, from the process that speaks."""
    if is_first_process():
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()


@contextmanager
def show_progress(description: str, unit: str = "files") -> Iterator[Advance]:
    """A bar for a step of known length, on standard error; nothing at all where no terminal watches.

    Args:
        description: What is being done, such as ``"Decoding"``.
        unit: What is counted; ``"bytes"`` are shown as kB, MB and GB.

    Yields:
        A function to call with (done, total).

    Example:
        >>> with show_progress("Counting") as advance:
        ...     for done in range(3):
        ...         advance(done + 1, 3)
    """
    if not is_live():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    counts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), TextColumn(unit))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        *((DownloadColumn(),) if unit == "bytes" else counts),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
