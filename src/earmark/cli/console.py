"""How the command line draws tables: colour on a terminal, plain text of full width in a pipe."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 200


def console() -> "Console":
    """A rich console on standard output; a pipe gets wide plain lines instead of wrapped ones."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A turning mark on standard error while something of unknown length goes on; nothing where no terminal watches."""
    from earmark.progress import is_live

    if not is_live():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
