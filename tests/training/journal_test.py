"""The journal: one record an epoch, whole on disk, plain lines in a pipe."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from earmark.training.journal import Journal, describe_epoch, read_history

ARGUMENTS = SimpleNamespace()
SAVING = SimpleNamespace(should_save=True)


def state_at(epoch: float) -> Any:
    return SimpleNamespace(epoch=epoch, global_step=0, max_steps=100, num_train_epochs=20)


def optimizer_at(rate: float) -> Any:
    return SimpleNamespace(param_groups=[{"lr": rate}])


def live_through(journal: Journal, epoch: float, control: Any = SAVING) -> None:
    journal.count(2.0, 1, 4)
    journal.count(0.5, 2, 2)
    journal.on_epoch_end(ARGUMENTS, state_at(epoch), control, optimizer=optimizer_at(1e-3))


def test_an_epoch_is_the_mean_over_its_clips(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl", "quick", validating=False)
    journal.on_train_begin(ARGUMENTS, state_at(0), None)
    live_through(journal, 1.0)
    assert journal.history == [{"epoch": 1, "loss": 1.5, "accuracy": 0.5, "learning_rate": 1e-3}]
    live_through(journal, 2.0)
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert read_history(tmp_path / "metrics.jsonl") == journal.history


def test_validation_figures_join_their_epoch(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl", "quick", validating=True)
    journal.on_train_begin(ARGUMENTS, state_at(0), None)
    live_through(journal, 1.0)
    assert not (tmp_path / "metrics.jsonl").exists()  # the epoch is not over before it is validated
    journal.on_evaluate(ARGUMENTS, state_at(1), SAVING, metrics={"eval_loss": 0.7, "eval_accuracy": 0.9})
    (record,) = read_history(tmp_path / "metrics.jsonl")
    assert (record["validation_loss"], record["validation_accuracy"]) == (0.7, 0.9)


def test_epochs_of_milliseconds_are_not_written_one_by_one_but_all_are_in_the_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "metrics.jsonl", "quick", validating=False)
    journal.on_train_begin(ARGUMENTS, state_at(0), SAVING)
    live_through(journal, 1.0)
    for epoch in (2.0, 3.0):
        live_through(journal, epoch, SimpleNamespace(should_save=False))
    assert len(read_history(tmp_path / "metrics.jsonl")) == 1
    journal.on_train_end(ARGUMENTS, state_at(3), SAVING)
    assert read_history(tmp_path / "metrics.jsonl") == journal.history
    assert len(journal.history) == 3


def test_a_part_of_an_epoch_counts_as_one() -> None:
    journal = Journal(None, "quick", validating=False)
    live_through(journal, 1.0)
    live_through(journal, 1.25)
    assert [record["epoch"] for record in journal.history] == [1, 2]


def test_a_resumed_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """What was written after the checkpoint is lived through again, so it must not stand there twice."""
    journal = Journal(tmp_path / "metrics.jsonl", "quick", validating=False)
    for epoch in (1.0, 2.0, 3.0):
        live_through(journal, epoch)
    again = Journal(tmp_path / "metrics.jsonl", "quick", validating=False)
    again.on_train_begin(ARGUMENTS, state_at(2), None)
    live_through(again, 3.0)
    assert [record["epoch"] for record in read_history(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert read_history(tmp_path / "none.jsonl") == []


def test_a_resumed_run_tells_the_epochs_before_again(tmp_path: Path) -> None:
    """Whoever listens (a tracker) hears the whole run."""
    journal = Journal(tmp_path / "metrics.jsonl", "quick", validating=False)
    for epoch in (1.0, 2.0, 3.0):
        live_through(journal, epoch)
    heard: list[int] = []
    again = Journal(
        tmp_path / "metrics.jsonl", "quick", validating=False, on_record=lambda record: heard.append(record["epoch"])
    )
    again.on_train_begin(ARGUMENTS, state_at(2), None)
    live_through(again, 3.0)
    assert heard == [1, 2, 3]


def test_a_pipe_gets_a_few_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(None, "quick", validating=False, plain_lines=10)
    journal.on_train_begin(ARGUMENTS, state_at(0), None)
    for epoch in range(1, 21):
        live_through(journal, float(epoch))
    written = capsys.readouterr()
    assert written.out == ""
    lines = written.err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("Training quick: epoch 2/20, loss 1.500, accuracy 50.0 %, learning rate 1.0e-03, ")
    assert "\x1b" not in written.err


def test_an_epoch_in_words() -> None:
    record = {"epoch": 2, "loss": 0.1234, "accuracy": 0.5, "validation_accuracy": 0.25, "learning_rate": None}
    assert describe_epoch(record, 9) == "epoch 2/9, loss 0.123, accuracy 50.0 %, validation 25.0 %"
