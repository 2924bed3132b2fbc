"""`earmark predict --explain`: the answers as always, and a page of reasons beside them."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from earmark.cli.main import app
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification

RATE = 8_000


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=RATE,
        front_end={"kind": "mel_statistics", "n_fft": 256, "n_mels": 16},
        backbone={"name": "mlp", "hidden": [8], "dropout": 0.0, "batch_norm": False, "activation": "relu"},
        id2label={0: "dog", 1: "rain"},
        label2id={"dog": 0, "rain": 1},
        problem_type="single_label_classification",
    )
    EarmarkForAudioClassification(config).save_pretrained(tmp_path / "model")
    EarmarkFeatureExtractor(sampling_rate=RATE).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def write_noise(path: Path) -> Path:
    noise = np.random.default_rng(0).normal(0, 3_000, RATE // 2).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(noise.tobytes())
    return path


def test_the_page_stands_beside_the_answers_and_out_of_their_way(model: Path, tmp_path: Path) -> None:
    good, bad = write_noise(tmp_path / "noise.wav"), tmp_path / "bad.wav"
    bad.write_text("no sound")
    why = tmp_path / "why"
    asked = ["predict", str(model), str(good), str(bad), "--format", "jsonl", "--explain", str(why)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1, "one file cannot be read, as without --explain"
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(answer["path"]).name for answer in answers] == ["noise.wav", "bad.wav"]
    assert f"Why: {why / 'index.html'}" in result.stderr
    page = (why / "index.html").read_text(encoding="utf-8")
    assert "noise.wav" in page
    assert answers[0]["prediction"][0]["label"] in page
    assert "This sound could not be explained." in page
    assert {path.name for path in why.iterdir()} == {"index.html", "noise.wav.png", "noise.wav.svg"}
