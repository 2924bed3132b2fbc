"""`earmark predict … --out`: archives from the command line, killed and gone on with, and on Ray."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from earmark.cli.main import app
from earmark.inference.classifier import Classifier
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification

RATE = 8_000
SMALL = "import earmark.inference.shards as shards; shards.FILES_PER_SHARD = 32; "


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A random model whose answers differ from sound to sound."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=RATE // 2,
        front_end={"kind": "log_mel", "n_fft": 256, "n_mels": 16},
        backbone={"name": "cnn", "widths": [4, 8], "dropout": 0.0},
        id2label={0: "bell", 1: "rain", 2: "铃"},
        problem_type="single_label_classification",
    )
    EarmarkForAudioClassification(config).save_pretrained(folder)
    EarmarkFeatureExtractor(sampling_rate=RATE).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two hundred sounds, one of them none."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(199):
        noise = np.random.default_rng(number).normal(0, 0.1, 1_000 + 40 * number)
        soundfile.write(folder / f"{number:03d}.wav", noise * np.sin(np.arange(len(noise)) / (1 + number % 7)), RATE)
    (folder / "050.mp3").write_text("these are words")
    return folder


def call(*arguments, given=None):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], input=given)


def call_alone(*arguments, before=SMALL, **settings):
    code = f"{before}from earmark.cli.main import run\nif __name__ == '__main__': run()"
    return subprocess.Popen([sys.executable, "-c", code, "predict", *map(str, arguments)], **settings)


def read_rows(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_the_ending_of_the_file_says_its_form(model, sounds, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    for form in ("csv", "jsonl", "parquet"):
        result = call(model, sounds / "003.wav", sounds / "050.mp3", "--out", tmp_path / f"out.{form}")
        assert (result.exit_code, result.stdout) == (1, f"2 answers: {tmp_path / f'out.{form}'}\n")
        assert result.stderr.count("\n") == 1
        assert "050.mp3 is text, not sound" in result.stderr
    expected = Classifier.from_pretrained(model, "cpu").classify(str(sounds / "003.wav"))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["label"] for entry in lines[0]["prediction"]] == [entry["label"] for entry in expected]
    assert lines[0]["prediction"][0]["score"] == pytest.approx(expected[0]["score"], abs=1e-6)
    assert [row["rank"] for row in read_rows(tmp_path / "out.csv")] == ["1", "2", "3", ""]
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 4


def test_what_is_asked_for_counts_more_than_the_ending(model, sounds, tmp_path):
    call(model, sounds / "003.wav", "--format", "jsonl", "--out", tmp_path / "out.csv")
    assert json.loads((tmp_path / "out.csv").read_text(encoding="utf-8"))["path"] == str(sounds / "003.wav")
    call(model, sounds / "003.wav", "--out", tmp_path / "out.text")
    assert (tmp_path / "out.text").read_text(encoding="utf-8").startswith("file ")


def test_a_list_of_files_from_a_file_and_from_a_pipe(model, sounds, tmp_path, monkeypatch):
    monkeypatch.chdir(sounds)
    (sounds / "list.txt").write_text("003.wav\n004.wav\n", encoding="utf-8")
    by_file = call(model, sounds / "list.txt", "--format", "csv")
    by_pipe = call(model, "-", "--format", "csv", given="003.wav\n004.wav\n")
    (sounds / "list.txt").unlink()
    assert by_file.stdout.replace(f"{sounds}/", "") == by_pipe.stdout
    assert [row["path"] for row in csv.DictReader(io.StringIO(by_pipe.stdout))] == ["003.wav"] * 3 + ["004.wav"] * 3


def test_of_many_faults_ten_are_told(model, sounds, tmp_path):
    names = [tmp_path / f"gone {number}.wav" for number in range(13)]
    result = call(model, *names, "--out", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert result.stderr.count("does not exist; check the name") == 10
    assert result.stderr.splitlines()[-1] == "earmark: and 3 files more; each is a row with its reason."
    assert [row["path"] for row in read_rows(tmp_path / "out.csv")] == [str(name) for name in names]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format", "parquet"],
        ["--out", "x.parquet", "--explain", "why"],
        ["--engine", "ray"],
        ["--engine", "ray", "--out", "x.txt"],
    ],
)
def test_what_does_not_go_together_is_a_wrong_call(model, sounds, arguments):
    result = call(model, sounds / "003.wav", *arguments)
    assert result.exit_code == 2
    assert "--out" in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_and_asked_again_it_ends_with_the_same_bytes(model, sounds, tmp_path, monkeypatch):
    from earmark.inference import shards

    monkeypatch.setattr(shards, "FILES_PER_SHARD", 32)
    assert call(model, sounds, "--out", tmp_path / "whole.csv").exit_code == 1
    out = tmp_path / "out.csv"
    slow = (
        "import time, earmark.inference.shards as shards; write = shards.Shards.write\n"
        "shards.Shards.write = lambda *given: (write(*given), time.sleep(0.3))\n"
    )
    process = call_alone(model, sounds, "--out", out, before=SMALL + slow)
    while process.poll() is None and len(list(tmp_path.glob("out.csv.parts/*.jsonl"))) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    result = call(model, sounds, "--out", out)
    assert result.exit_code == 1
    kept = int(result.stderr.split(" of them were answered before")[0])
    assert 64 <= kept < 200
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "whole.csv"]


def test_ray_that_is_not_installed_names_the_extra(model, sounds, tmp_path, monkeypatch):
    from earmark.errors import RunError

    monkeypatch.setitem(sys.modules, "ray", None)
    result = call(model, sounds / "003.wav", "--engine", "ray", "--out", tmp_path / "out.csv")
    assert isinstance(result.exception, RunError)
    assert 'pip install "earmark[ray]"' in str(result.exception)


def find_actors() -> list[int]:
    """The processes of Ray on this machine that hold a copy of the model."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith(b"ray::") and b"ShardAnswerer" in line:
            found.append(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for Ray's workers in /proc")
def test_two_workers_of_ray_one_of_them_killed_give_what_one_machine_gives(model, sounds, tmp_path):
    pytest.importorskip("ray.data")
    import ray

    others = set(find_actors())
    ray.init(num_cpus=2, log_to_driver=False, logging_level="ERROR")
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    try:
        call(model, *[f"file://{sounds}"] * 4, "--out", tmp_path / "local.jsonl")
        out = tmp_path / "ray.jsonl"
        process = call_alone(model, *[f"file://{sounds}"] * 4, "--engine", "ray", "--out", out, env=environment)
        while process.poll() is None and not list(tmp_path.glob("ray.jsonl.parts/*.jsonl")):
            time.sleep(0.05)
        actors = set(find_actors()) - others
        assert len(actors) == 2
        os.kill(actors.pop(), signal.SIGKILL)
        assert process.wait() == 1, "the file that is none, as ever"
    finally:
        ray.shutdown()
    assert out.read_bytes() == (tmp_path / "local.jsonl").read_bytes()
    assert len(out.read_text(encoding="utf-8").splitlines()) == 800


@pytest.mark.slow
def test_ray_goes_on_where_one_machine_was_stopped(model, sounds, tmp_path, monkeypatch):
    pytest.importorskip("ray.data")
    import ray

    from earmark.inference import shards

    monkeypatch.setattr(shards, "FILES_PER_SHARD", 32)
    monkeypatch.chdir(sounds)
    call(model, ".", "--out", tmp_path / "whole.csv")
    write = shards.Shards.write

    def write_two(self, number, records):
        if number == 2:
            raise KeyboardInterrupt
        write(self, number, records)

    with monkeypatch.context() as patch:
        patch.setattr(shards.Shards, "write", write_two)
        assert call(model, ".", "--out", tmp_path / "out.csv").exit_code != 0
    ray.init(num_cpus=2, num_gpus=1, log_to_driver=False, logging_level="ERROR")  # one that is counted, and not there
    try:
        result = call(model, ".", "--engine", "ray", "--out", tmp_path / "out.csv")
    finally:
        ray.shutdown()
    assert "64 of them were answered before." in result.stderr
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
