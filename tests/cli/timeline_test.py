"""`earmark timeline` and `earmark listen`: what they write, where, and what they say of what cannot be."""

import csv
import io
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from earmark.cli.main import app
from earmark.errors import EarmarkError
from earmark.inference.classifier import Classifier

RATE = 1_000
# A model that needs no torch: it hears `up` where samples lie above zero, `down` where they lie below.
MODEL = """
import numpy as np
from earmark.inference.classifier import Classifier
from earmark.inference.decision import Decision

class LevelNetwork:
    sample_rate, window, shortest, ignores_padding, multi_label = 1_000, 2_000, 1, True, False
    labels = ("up", "down")
    decision = Decision({"up": 0.9, "down": 0.9})

    def run(self, waveforms):
        means = np.array([waveform.mean() for waveform in waveforms])
        return np.stack([20 * means, -20 * means], 1).astype(np.float32)

"""
PIPED = (
    MODEL
    + """
import sys
Classifier.from_pretrained = classmethod(lambda cls, name: cls(LevelNetwork()))
from earmark.cli.main import run
try:
    run()
finally:
    loaded = {"torch", "transformers", "pandas", "sklearn", "matplotlib", "jinja2"} & set(sys.modules)
    assert not loaded, loaded
"""
)


@pytest.fixture(autouse=True)
def model(monkeypatch):
    names = {}
    exec(MODEL, names)
    monkeypatch.setattr(Classifier, "from_pretrained", lambda name: Classifier(names["LevelNetwork"]()))


def make_steps(*levels, step_s=4):
    return np.repeat(np.array(levels, np.float32), step_s * RATE)


@pytest.fixture
def sound(tmp_path):
    soundfile.write(tmp_path / "steps.flac", make_steps(0.0, 0.5, -0.5, 0.0), RATE)
    return tmp_path / "steps.flac"


def ask(*arguments):
    result = CliRunner().invoke(app, ["timeline", "model.onnx", *map(str, arguments)])
    if isinstance(result.exception, EarmarkError):
        return result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def pipe(*arguments, data, binary=PIPED):
    """``earmark listen model.onnx - ARGUMENTS`` in a process of its own, with ``data`` on its standard input."""
    command = [sys.executable, "-c", binary, "listen", "model.onnx", "-", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)


def to_s16le(samples):
    return (samples * 32_768).astype("<i2").tobytes()


def test_the_table_names_label_from_to_and_score_and_how_one_listened(sound):
    lines = ask(sound).stdout.splitlines()
    assert lines[0].split() == ["label", "from", "to", "%"]
    assert [line.split()[:3] for line in lines[1:3]] == [["up", "0:03.5", "0:07.5"], ["down", "0:08.5", "0:12.5"]]
    assert lines[3] == "2 events; heard 0:16.0 in windows of 2 s, one every 1 s"


def test_every_format_tells_the_same_events(sound):
    rows = list(csv.reader(io.StringIO(ask(sound, "--format", "csv").stdout)))
    assert [row[:3] for row in rows[1:]] == [["3.500", "7.500", "up"], ["8.500", "12.500", "down"]]
    records = [json.loads(line) for line in ask(sound, "--format", "jsonl").stdout.splitlines()]
    assert [(record["start_s"], record["end_s"], record["label"]) for record in records] == [
        (3.5, 7.5, "up"),
        (8.5, 12.5, "down"),
    ]
    assert ask(sound, "--format", "audacity").stdout.startswith("3.500000\t7.500000\tup\n")
    raven = ask(sound, "--format", "raven").stdout.splitlines()
    assert raven[1].split("\t")[3:8] == ["3.500", "7.500", "0.0", "500.0", "up"]


def test_options_are_taken_in_both_spellings(sound):
    settings = {"window": "1", "hop": "0.5", "min-duration": "4"}
    dashes = [part for name, value in settings.items() for part in (f"--{name}-s", value)]
    lines = [part.replace("-", "_").replace("__", "--", 1) for part in dashes]
    assert lines[::2] == ["--window_s", "--hop_s", "--min_duration_s"]
    assert ask(sound, *dashes).stdout == ask(sound, *lines).stdout
    assert "windows of 1 s, one every 0.5 s" in ask(sound, *lines).stdout


def test_out_holds_what_the_screen_would(sound, tmp_path):
    out = tmp_path / "new" / "events.csv"
    result = ask(sound, "--format", "csv", "--out", out)
    assert result.stdout == f"2 events in 0:16.0: {out}\n"
    assert out.read_text(encoding="utf-8") == ask(sound, "--format", "csv").stdout


def test_a_threshold_nothing_reaches_is_said(sound):
    assert "No label reached its threshold" in ask(sound, "--threshold", "1").stdout


def test_a_file_that_breaks_off_gives_its_events_and_one_sentence(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "cut.flac"
    soundfile.write(path, make_steps(0.5, 0.0, -0.5, step_s=60) + 0.01 * rng.standard_normal(180 * RATE), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = ask(path, "--format", "csv")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].endswith(",up,1.0000")
    assert result.stderr.count("\n") == 1
    assert "is not whole" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--window-s", "3"], "from 0.01 to 2 s"),
        (["--window-s", "nan"], "from 0.01 to 2 s"),
        (["--hop-s", "0"], "from 0.01 to 2 s"),
        (["--threshold", "7"], "more than 0, at most 1"),
        (["--smooth", "2"], "give an odd number"),
        (["--min-duration-s", "-1"], "give 0 s or more"),
    ],
)
def test_values_out_of_range_are_one_sentence(sound, arguments, said):
    fault = ask(sound, *arguments)
    assert isinstance(fault, EarmarkError)
    assert said in str(fault)


def test_the_recording_is_never_written_over(sound, tmp_path):
    before = sound.read_bytes()
    assert "take the place" in str(ask(sound, "--out", sound))
    page = tmp_path / "x.html"
    page.write_bytes(before)
    assert "take the place" in str(ask(page, "--page", page))
    assert "is a file" in str(ask(sound, "--page", sound))
    assert sound.read_bytes() == page.read_bytes() == before


def test_a_page_goes_into_a_folder_or_under_its_name(sound, tmp_path):
    result = ask(sound, "--page", tmp_path / "folder")
    page = tmp_path / "folder" / "index.html"
    assert result.stderr == f"Look and listen: {page}\n"
    assert "steps.flac" in page.read_text(encoding="utf-8")
    ask(sound, "--page", tmp_path / "steps.html")
    assert (tmp_path / "steps.html").is_file()


def test_a_pipe_gives_each_event_a_plain_line(tmp_path):
    done = pipe(data=to_s16le(make_steps(0.0, 0.5, -0.5)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "0:03.5 – 0:07.5  up  100.0 %\n0:08.5 – 0:12.0  down  100.0 %\n"
    assert done.stderr.decode() == "2 events in 0:12.0\n"


def test_json_lines_go_to_standard_output_or_to_a_file(tmp_path):
    data = make_steps(0.5, -0.5).astype("<f4").tobytes()
    done = pipe("--encoding", "f32le", "--format", "jsonl", "--out", tmp_path / "events.jsonl", data=data)
    assert done.returncode == 0, done.stderr
    written = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(event["label"], event["start_s"], event["end_s"]) for event in written] == [
        ("up", 0.0, 3.5),
        ("down", 4.5, 8.0),
    ]
    assert done.stdout == b""
    assert "2 events in 0:08.0: " in done.stderr.decode()


def test_another_rate_is_heard_at_its_own_speed():
    done = pipe("--rate", "4000", data=to_s16le(np.repeat(make_steps(0.5), 4)))
    assert done.stdout.decode() == "0:00.0 – 0:04.0  up  100.0 %\n"


def test_what_came_before_half_a_sample_is_told(tmp_path):
    done = pipe(data=to_s16le(make_steps(0.5)) + b"\x01")
    assert done.returncode == 2
    assert done.stdout.decode() == "0:00.0 – 0:04.0  up  100.0 %\n"
    assert "in the middle of a sample" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_nothing_on_standard_input_is_one_sentence():
    done = pipe(data=b"")
    assert done.returncode == 2
    assert "earmark: No sound came; check the program that it comes from." in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_ctrl_c_closes_what_is_open():
    command = [sys.executable, "-c", PIPED, "listen", "model.onnx", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        process.stdin.write(to_s16le(make_steps(0.5, -0.5)))
        process.stdin.flush()
        assert process.stdout.readline().decode() == "0:00.0 – 0:03.5  up  100.0 %\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out.decode().startswith("0:04.5 – 0:0")
    assert "down" in out.decode()
    assert err.decode().startswith("2 events in 0:0")


def listen_here(*arguments):
    result = CliRunner().invoke(app, ["listen", "model.onnx", *arguments])
    return str(result.exception)


def test_what_cannot_be_listened_to_is_named(sound):
    assert "earmark timeline" in listen_here(str(sound))
    assert "leave out `-` or --device" in listen_here("-", "--device", "1")
    assert "standard input" in listen_here("--rate", "8000")


def test_a_microphone_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert 'pip install "earmark[live]"' in listen_here()
