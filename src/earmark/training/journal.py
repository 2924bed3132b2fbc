"""What a run tells while it goes: one record an epoch, in ``metrics.jsonl`` and as a live line."""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from earmark.files import write_text_whole
from earmark.progress import is_first_process, is_live
from earmark.training.processes import sum_over_processes

Record = dict[str, Any]
OnRecord = Callable[[Record], None]
WRITE_EVERY_S = 1.0
VALIDATION_FIGURES = ("accuracy", "map")


def read_history(path: Path) -> list[Record]:
    """The epochs in a ``metrics.jsonl``, in order; none if there is no such file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


class Journal(TrainerCallback):
    """Keeps one record an epoch, writes it down, and draws the line somebody may be watching.

    Args:
        path: Where ``metrics.jsonl`` lies, or ``None`` to write nothing.
        title: What is being trained, in the live line.
        validating: Whether a validation figure follows each epoch.
        plain_lines: Where no terminal watches, about this many lines a training.
        on_record: Told every record; those of a run that is continued, too.
    """

    def __init__(
        self,
        path: Path | None,
        title: str,
        *,
        validating: bool,
        plain_lines: int = 10,
        on_record: OnRecord | None = None,
    ) -> None:
        self.path = path
        self.title = title
        self.validating = validating
        self.plain_lines = plain_lines
        self.on_record = on_record
        self.history: list[Record] = []
        self._tally: list[tuple[Any, Any, int]] = []
        self._bar: Any = None
        self._task: Any = None
        self._began = 0.0
        self._wrote_at = 0.0

    def count(self, loss: Any, right: Any, clips: int) -> None:
        """Add one batch to the epoch's figures; tensors are read only when the epoch ends."""
        self._tally.append((loss, right, clips))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = time.perf_counter()
        done = round(state.epoch or 0)
        self.history = [record for record in read_history(self.path) if record["epoch"] <= done] if self.path else []
        if self.on_record is not None:
            for record in self.history:
                self.on_record(record)
        if is_live():
            self._open_bar(state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        if not self._tally:
            return
        loss, right, clips = sum_over_processes(
            [
                sum(float(loss) * count for loss, _, count in self._tally),
                sum(float(right) for _, right, _ in self._tally),
                sum(count for _, _, count in self._tally),
            ]
        )
        record: Record = {
            "epoch": math.ceil(state.epoch - 1e-6),  # a part of an epoch counts as one
            "loss": loss / clips,
            "accuracy": right / clips,
            "learning_rate": optimizer.param_groups[0]["lr"] if optimizer is not None else None,
        }
        self._tally = []
        self.history.append(record)
        if not self.validating:
            self._tell(state, saving=control.should_save)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        if self.history and metrics:
            self.history[-1]["validation_loss"] = metrics["eval_loss"]
            for figure in VALIDATION_FIGURES:
                if f"eval_{figure}" in metrics:
                    self.history[-1][f"validation_{figure}"] = metrics[f"eval_{figure}"]
            self._tell(state, saving=control.should_save)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._write()
        self.close()

    def find_best_epoch(self) -> int:
        """The first epoch with the best validation figure; the last epoch where none was taken."""
        for figure in VALIDATION_FIGURES:
            taken = [record.get(f"validation_{figure}", -1.0) for record in self.history]
            if self.validating and any(value >= 0 for value in taken):
                return 1 + taken.index(max(taken))
        return len(self.history)

    def close(self) -> None:
        """Take the live line away, also when a training breaks off."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _write(self) -> None:
        if self.path is not None and is_first_process():
            write_text_whole(self.path, "".join(json.dumps(record) + "\n" for record in self.history))
            self._wrote_at = time.monotonic()

    def _tell(self, state: Any, *, saving: bool) -> None:
        if not is_first_process():
            return
        # A checkpoint's epochs stand in the file before it; else once a second will do for whoever watches.
        if saving or time.monotonic() - self._wrote_at > WRITE_EVERY_S:
            self._write()
        if self.on_record is not None:
            self.on_record(self.history[-1])
        epochs = state.num_train_epochs
        epoch = self.history[-1]["epoch"]
        if self._bar is not None:
            self._bar.update(self._task, figures=describe_briefly(self.history[-1], epochs))
        elif epoch % max(1, epochs // self.plain_lines) == 0:
            elapsed_s = time.perf_counter() - self._began
            line = describe_epoch(self.history[-1], epochs)
            sys.stderr.write(f"Training {self.title}: {line}, {elapsed_s:.0f} s\n")
            sys.stderr.flush()

    def _open_bar(self, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=8),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(self.title, total=steps, figures="")


def describe_briefly(record: Record, epochs: int) -> str:
    """One record in a live line, which must fit a terminal of 80 columns.

    Example:
        >>> describe_briefly({"epoch": 3, "loss": 0.5, "accuracy": 0.9, "learning_rate": 0.001}, 60)
        '3/60 loss 0.500 accuracy 90.0 % lr 1.0e-03'
    """
    chosen = "".join(f" {words}" for words in _describe_validation(record))
    rate = f" lr {record['learning_rate']:.1e}" if record.get("learning_rate") is not None else ""
    figures = f"{record['epoch']}/{epochs} loss {record['loss']:.3f} accuracy {record['accuracy']:.1%}{chosen}"
    return figures.replace("%", " %") + rate


def describe_epoch(record: Record, epochs: int) -> str:
    """One record as a line.

    Example:
        >>> describe_epoch({"epoch": 3, "loss": 0.5, "accuracy": 0.9, "learning_rate": 0.001}, 60)
        'epoch 3/60, loss 0.500, accuracy 90.0 %, learning rate 1.0e-03'
    """
    parts = [f"epoch {record['epoch']}/{epochs}", f"loss {record['loss']:.3f}", f"accuracy {record['accuracy']:.1%}"]
    parts += _describe_validation(record)
    if record.get("learning_rate") is not None:
        parts.append(f"learning rate {record['learning_rate']:.1e}")
    return ", ".join(parts).replace("%", " %")


def _describe_validation(record: Record) -> list[str]:
    if "validation_map" in record:
        return [f"validation mAP {record['validation_map']:.1%}"]
    return [f"validation {record['validation_accuracy']:.1%}"] if "validation_accuracy" in record else []
