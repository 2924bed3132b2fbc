"""`earmark predict --reject`: unknown in a table, in CSV and in JSON Lines; without it nothing is different."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from earmark.cli.main import app
from earmark.inference.decision import Decision
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
from earmark.sound.level import make_noise

RATE = 8000


def write_model(folder: Path, decision: Decision | None) -> str:
    """A model that says "rain", 70 % sure, whatever it hears."""
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=RATE,
        front_end={"kind": "mel_statistics"},
        backbone={"name": "mlp", "hidden": [4], "dropout": 0.0, "batch_norm": False, "activation": "relu"},
        id2label={0: "bell", 1: "rain"},
        problem_type="single_label_classification",
        **({"earmark_decision": decision.to_config()} if decision else {}),
    )
    model = EarmarkForAudioClassification(config)
    with torch.no_grad():
        model.backbone.layers[-1].weight.zero_()
        model.backbone.layers[-1].bias.copy_(torch.tensor([0.3, 0.7]).log())
    model.save_pretrained(folder)
    EarmarkFeatureExtractor(sampling_rate=RATE).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    soundfile.write(folder / "noise.wav", make_noise("white", RATE, level_db=-20.0, seed=0), RATE)
    soundfile.write(folder / "silence.wav", np.zeros(RATE), RATE)
    return str(folder)


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("strict"), Decision({"bell": 0.5, "rain": 0.8}))


def predict(*arguments):
    result = CliRunner().invoke(app, ["predict", *arguments])
    assert result.exit_code == 0, result.output
    return result


def test_json_lines(strict, sounds):
    lines = [json.loads(line) for line in predict(strict, sounds, "--reject", "--format=jsonl").stdout.splitlines()]
    for line in lines:
        assert [entry["label"] for entry in line["prediction"]] == ["unknown", "rain", "bell"]
        assert [round(entry["score"], 3) for entry in line["prediction"]] == [0.3, 0.7, 0.3]


def test_csv(strict, sounds):
    rows = list(csv.DictReader(io.StringIO(predict(strict, sounds, "--reject", "--format=csv", "--top=2").stdout)))
    assert [(row["rank"], row["label"]) for row in rows] == [("1", "unknown"), ("2", "rain")] * 2


def test_the_table_gives_unknown_no_figure_beside_those_of_the_classes(strict, sounds):
    lines = predict(strict, sounds, "--reject", "--top=2").stdout.splitlines()
    assert [line.split()[1:] for line in lines[1:]] == [["unknown", "rain", "70.0"]] * 2


@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_without_it_the_answers_are_as_ever(strict, sounds, form, tmp_path):
    plain = write_model(tmp_path, None)
    with_thresholds, without = (predict(model, sounds, f"--format={form}").stdout for model in (strict, plain))
    assert with_thresholds == without
    assert "unknown" not in without


def test_a_model_without_thresholds_knows_silence_only_and_it_is_said(sounds, tmp_path):
    result = predict(write_model(tmp_path, None), sounds, "--reject", "--format=jsonl")
    answers = {Path(line["path"]).name: line["prediction"] for line in map(json.loads, result.stdout.splitlines())}
    assert [answers[name][0]["label"] for name in ("noise.wav", "silence.wav")] == ["rain", "unknown"]
    assert "no thresholds, so only silence comes out unknown" in result.stderr
