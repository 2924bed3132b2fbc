"""What the verbs share: tables in colour on a terminal and plain in a pipe, a mark while one waits, a model loaded."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from earmark.inference.classifier import Classifier

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


def load_classifier(model: str) -> "Classifier":
    """The model, with a turning mark for the seconds that torch takes to load; an exported file needs none of it."""
    from earmark.inference.classifier import Classifier
    from earmark.inference.onnx_network import is_onnx

    if not is_onnx(model):
        with waiting("Loading torch and transformers"):
            import earmark.inference.torch_network  # noqa: F401
    return Classifier.from_pretrained(model)  # what comes from the Hub shows a bar of its own
