"""How the command line draws tables: colour on a terminal, plain text of full width in a pipe."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 200


def console() -> "Console":
    """A rich console on standard output; a pipe gets wide plain lines instead of wrapped ones."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
