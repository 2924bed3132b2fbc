"""Several processes that train together: what they share, and that they learn what one alone learns."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from earmark.errors import RecipeError, RunError
from earmark.progress import is_first_process, is_live
from earmark.training import crossval
from earmark.training.processes import (
    agree,
    count_processes,
    leave_processes,
    share_batch,
    sum_over_processes,
    take_turns,
)

PLAIN = [  # neither dropout nor batch norm, whose figures hang on which clips share a process
    "audio.sample_rate=8000",
    "front_end.n_fft=256",
    "front_end.hop_length=128",
    "front_end.n_mels=16",
    "model.hidden=[16]",
    "model.dropout=0",
    "model.batch_norm=false",
    "train.epochs=3",
    "train.batch_size=8",
    "train.precision=fp32",
]
SMALL_CNN = [
    "audio.sample_rate=8000",
    "audio.window_s=0.5",
    "front_end.n_fft=256",
    "front_end.hop_length=160",
    "front_end.n_mels=16",
    "model.widths=[4, 8]",
    "train.epochs=2",
    "train.batch_size=8",
    "train.average=0.9",
    'train.balance="sampler"',
    "train.select=validation",
]


def test_alone_there_is_nothing_to_share():
    assert count_processes() == 1
    assert share_batch(7) == 7
    assert agree("here") == "here"
    assert sum_over_processes([1.0, 2.5]) == [1.0, 2.5]
    with take_turns():
        leave_processes()


def test_a_batch_is_shared_evenly_or_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert share_batch(32) == 8
    with pytest.raises(RecipeError, match=r"30 cannot be shared evenly by 4 processes; .* --set train\.batch_size=32"):
        share_batch(30)


def test_only_the_first_process_speaks(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("RANK", "1")
    assert is_first_process(), "a lone process is the first, whatever else its environment says"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not is_first_process()
    assert not is_live()


def test_a_cross_validation_is_one_process_s_work(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for start in (lambda: crossval.crossval(tmp_path), lambda: crossval.resume_crossval(tmp_path)):
        with pytest.raises(RunError, match="is one process's work; start it without torchrun"):
            start()


def start(launcher: list[str], sounds: Path, *arguments: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, "train", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=sounds.parent)


def train(launcher: list[str], sounds: Path, *arguments: object) -> subprocess.CompletedProcess:
    done = start([*launcher, "-m", "earmark"], sounds, *arguments)
    assert done.returncode == 0, done.stderr
    return done


def read_losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(sounds, tmp_path):
    # Of 36 clips, four to a class are kept for the test: 24 remain, three whole batches.
    (tmp_path / "clips.csv").write_text(
        "path,label,split\n"
        + "".join(
            f"{path},{path.parent.name},{'test' if number % 12 >= 8 else 'train'}\n"
            for number, path in enumerate(sorted(sounds.glob("*/*.wav")))
        ),
        encoding="utf-8",
    )
    given = [tmp_path / "clips.csv", "-r", "quick", "-s", "train.select=last", *(f"--set={entry}" for entry in PLAIN)]
    alone = train([], sounds, *given, "--out", tmp_path / "one")
    together = train(TWO, sounds, *given, "--out", tmp_path / "two")
    assert read_losses(tmp_path / "two") == pytest.approx(read_losses(tmp_path / "one"), abs=1e-6)
    assert (tmp_path / "two" / "predictions.csv").read_text().splitlines()[0].startswith("path")
    figures = [
        json.loads((tmp_path / run / "report.json").read_text())["metrics"]["accuracy"] for run in ("one", "two")
    ]
    assert figures[0] == figures[1]
    # It is told once, as by one process.
    assert together.stdout.count("Accuracy ") == alone.stdout.count("Accuracy ") == 1
    assert together.stderr.count("epoch 3/3") == alone.stderr.count("epoch 3/3")
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}


STOPS = """
    import os
    from earmark.training.callbacks import EpochTeller

    begin = EpochTeller.on_epoch_begin

    def stop(self, args, state, control, **more):
        begin(self, args, state, control, **more)
        if state.epoch >= 1:
            os._exit(9)

    EpochTeller.on_epoch_begin = stop
    from earmark.cli.main import run
    run()
"""


@pytest.mark.slow
def test_two_processes_validate_average_balance_and_go_on_after_a_kill(sounds, tmp_path):
    given = [sounds, "-r", "cnn", *(f"--set={entry}" for entry in SMALL_CNN)]
    train(TWO, sounds, *given, "--out", tmp_path / "whole")
    history = json.loads((tmp_path / "whole" / "report.json").read_text())["history"]
    assert all(0 <= record["validation_accuracy"] <= 1 for record in history)
    (tmp_path / "stops.py").write_text(textwrap.dedent(STOPS))
    killed = start([*TWO, str(tmp_path / "stops.py")], sounds, *given, "--out", tmp_path / "run")
    assert killed.returncode != 0
    assert len(read_losses(tmp_path / "run")) == 1
    train(TWO, sounds, "--resume", tmp_path / "run")
    assert read_losses(tmp_path / "run") == pytest.approx(read_losses(tmp_path / "whole"), abs=1e-6)
