"""An exported file in an environment that holds only what docs/onnx.md says it needs; it is built from a registry."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from earmark.inference.classifier import Classifier
from earmark.sound.synthesis import synthesise

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """The folder of the environment's programs."""
    lines = re.findall(r"^pip install (.*)$", (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8"), re.MULTILINE)
    packages, earmark = lines[0].split(), lines[1]
    assert (len(packages), earmark.split()[0]) == (6, "--no-deps")
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    for arguments in (packages, ["--no-deps", str(ROOT)]):
        subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", *arguments], check=True)
    return programs


def ask(place: Path, *arguments: object) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(place / "earmark"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8", env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_the_environment_holds_neither_torch_nor_what_comes_with_it(place):
    done = subprocess.run(
        [place / "python", "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    )
    names = {entry["name"].lower() for entry in json.loads(done.stdout)}
    assert {"earmark", "onnxruntime"} <= names
    assert not names & {"torch", "transformers", "pandas", "scikit-learn", "matplotlib", "onnx", "safetensors", "timm"}


def test_predict_answers_as_torch_does_elsewhere(place, exported_cnn, tmp_path):
    soundfile.write(tmp_path / "new.flac", synthesise("rain", seed=3, duration_s=3.3, sample_rate=44_100), 44_100)
    answer = json.loads(ask(place, "predict", f"{exported_cnn}.onnx", tmp_path / "new.flac", "--format", "jsonl"))
    expected = Classifier.from_pretrained(exported_cnn, device="cpu").classify(tmp_path / "new.flac", top_k=3)
    assert [entry["label"] for entry in answer["prediction"]] == [entry["label"] for entry in expected]
    for entry, other in zip(answer["prediction"], expected, strict=True):
        assert entry["score"] == pytest.approx(other["score"], abs=1e-4)


def test_timeline_and_verify_run(place, exported_cnn, tmp_path):
    soundfile.write(tmp_path / "long.wav", synthesise("rain", seed=3, duration_s=8.0, sample_rate=16_000), 16_000)
    table = ask(place, "timeline", f"{exported_cnn}.onnx", tmp_path / "long.wav", "--format", "csv")
    assert table.startswith("start_s,end_s,label,score\n")
    assert ask(place, "verify", f"{exported_cnn}.onnx").endswith(
        "gives the answers that torch gave when it was exported.\n"
    )
