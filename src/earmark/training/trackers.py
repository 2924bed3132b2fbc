"""Trackers that follow a training: SwanLab, TensorBoard, Weights & Biases, MLflow, Trackio; several at once."""

from __future__ import annotations

import difflib
import io
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from earmark.errors import RunError
from earmark.progress import Advance, say, show_progress
from earmark.training.tracker_exhibits import collect_exhibits, flatten_recipe, name_epoch_figures
from earmark.training.tracker_kinds import MLflow, Outcome, SwanLab, TensorBoard, Tracker, Trackio, Wandb

if TYPE_CHECKING:
    from pandas import DataFrame


class Kind(NamedTuple):
    """A kind of tracker: what it is called, and how a run is opened in it."""

    title: str
    open: Callable[[Path, str, Mapping[str, str | int | float | bool]], Tracker]


# The names are those of the packages and of Earmark's extras, too.
KINDS = {
    "swanlab": Kind("SwanLab", SwanLab),
    "tensorboard": Kind("TensorBoard", TensorBoard),
    "wandb": Kind("W&B", Wandb),
    "mlflow": Kind("MLflow", MLflow),
    "trackio": Kind("Trackio", Trackio),
}
REASON_LETTERS = 200


class Trackers:
    """A training followed in any number of trackers, which may be none.

    A tracker that fails says so once and is asked no more; the training goes on. As a context manager it finishes
    all of them, and marks them as failed or aborted where the block ends in an error.

    Args:
        live: Name -> the run in that tracker.
    """

    def __init__(self, live: Mapping[str, Tracker]) -> None:
        self._live = dict(live)
        self._hints = {name: tracker.hint for name, tracker in live.items()}
        self._last_epoch = 0

    def log_epoch(self, record: Mapping[str, Any]) -> None:
        """Tell an epoch.

        Args:
            record: As in ``metrics.jsonl``: ``epoch``, ``loss``, ``accuracy``, ``learning_rate``, and where known
                ``validation_loss``, ``validation_accuracy``, ``validation_map``. Of a cross-validation also ``fold``.
                It becomes ``train/loss``, ``validation/accuracy``, ``fold_2/train/loss``…
        """
        epoch = int(record["epoch"])
        self._last_epoch = max(self._last_epoch, epoch)
        figures = name_epoch_figures(record)
        self._tell(lambda tracker: tracker.log_figures(figures, epoch))

    def log_report(self, report: Mapping[str, Any], answers: DataFrame) -> None:
        """Tell the figures on the test set with their intervals, and show the confusion matrix and a few clips.

        Args:
            report: As `earmark.evaluation.report.write_report` takes it.
            answers: The table of `earmark.evaluation.evaluate.Answers`.
        """
        if not self._live:
            return
        with show_progress("Telling the trackers", "trackers") as advance:
            try:
                exhibits = collect_exhibits(report, answers)
            except Exception as error:
                say(f"The pictures for the trackers could not be made: {_shorten(error)}.")
                return
            self._tell(lambda tracker: tracker.show(exhibits, self._last_epoch), advance)

    def hints(self) -> list[str]:
        """A sentence for each tracker that says how to look at the run."""
        return list(self._hints.values())

    def finish(self, outcome: Outcome = "finished") -> None:
        """End the runs in all trackers; a second call does nothing."""
        self._tell(lambda tracker: tracker.finish(outcome))
        self._live = {}

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish("finished")
        else:
            self.finish("aborted" if issubclass(kind, KeyboardInterrupt) else "failed")

    def _tell(self, act: Callable[[Tracker], None], advance: Advance | None = None) -> None:
        told = list(self._live.items())
        for done, (name, tracker) in enumerate(told, start=1):
            try:
                with _quietly():
                    act(tracker)
            except Exception as error:
                del self._live[name]
                self._hints.pop(name)
                say(f"{KINDS[name].title} follows this training no more: {_shorten(error)}. The training goes on.")
                _let_go(tracker)
            if advance is not None:
                advance(done, len(told))


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that the trackers exist and are installed, before anything else is done.

    Args:
        names: Among ``swanlab``, ``tensorboard``, ``wandb``, ``mlflow``, ``trackio``.

    Raises:
        RunError: a name that is none of these (the nearest is named), or a package that is not installed (the extra to
            install is named).

    Example:
        >>> check_trackers(["tensorbord"])
        Traceback (most recent call last):
        ...
        earmark.errors.RunError: There is no tracker 'tensorbord'. Did you mean tensorboard? Earmark knows swanlab, \
tensorboard, wandb, mlflow, trackio.
    """
    for name in names:
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, n=1, cutoff=0.5)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise RunError(f"There is no tracker {name!r}.{guess} Earmark knows {', '.join(KINDS)}.")
        if find_spec(name) is None:
            raise RunError(f'{KINDS[name].title} is not installed; `pip install "earmark[{name}]"` brings it.')


def open_trackers(names: Sequence[str], *, folder: Path, title: str, recipe_tables: Mapping[str, Any]) -> Trackers:
    """Open a run in each tracker.

    None of them asks for an account or for anything else: where one is logged in, SwanLab and W&B send to their
    servers; otherwise they write into the run directory, as the others do. Their own environment variables
    (``SWANLAB_MODE``, ``WANDB_MODE``, ``MLFLOW_TRACKING_URI``, ``TRACKIO_DIR``…) are honoured. What they write to the
    terminal is kept back.

    Args:
        names: Which; a name given twice counts once.
        folder: The run directory.
        title: What the run is called there.
        recipe_tables: The recipe as `earmark.training.recipe.to_tables` gives it; becomes the run's configuration.

    Returns:
        The trackers; one that cannot be opened (a server that does not answer) warns in a sentence and is left out.

    Raises:
        RunError: as `check_trackers`.

    Example:
        >>> with open_trackers([], folder=Path("run"), title="quick", recipe_tables={}) as trackers:
        ...     trackers.log_epoch({"epoch": 1, "loss": 0.5})
        ...     trackers.hints()
        []
    """
    check_trackers(names)
    settings = flatten_recipe(recipe_tables)
    live: dict[str, Tracker] = {}
    if not names:
        return Trackers(live)
    with show_progress("Opening the trackers", "trackers") as advance:
        for done, name in enumerate(dict.fromkeys(names), start=1):
            try:
                with _quietly():
                    live[name] = KINDS[name].open(folder, title, settings)
            except Exception as error:
                say(f"{KINDS[name].title} does not follow this training: {_shorten(error)}. The training goes on.")
            except BaseException:
                Trackers(live).finish("aborted")
                raise
            advance(done, len(set(names)))
    return Trackers(live)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what a tracker writes to the terminal, and leave Ctrl-C to whom it belongs."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _let_go(tracker: Tracker) -> None:
    """Free what a tracker that failed still holds, as far as it can."""
    try:
        with _quietly():
            tracker.finish("failed")
    except Exception:
        return


def _shorten(error: Exception) -> str:
    """The first line of an error, as the middle of a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:REASON_LETTERS].rstrip(" .")
