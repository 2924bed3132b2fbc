"""Claims: the first answer of ``earmark predict MODEL FILE`` takes at most 1.3 times as long as a bare script's, and
``earmark --help`` at most 0.4 times as long as ``python -c "import torch"``.

Each is a whole process, from start to end, round by round in turn. Bare is a script as a model's page shows one: torch
and transformers imported, model and feature extractor loaded by their Auto classes, the file read by soundfile, one
forward, the first label printed; ``import earmark.models`` too, where the model is one of Earmark's. The models are
untrained: ``cnn``, ``resnet18``, and a small Wav2Vec2, which is Transformers' own.

Usage: python benchmarks/startup.py [--rounds 9] [--record]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from models import write_model
from results import Result, add_record_option, publish

EARMARK = str(Path(sys.executable).with_name("earmark"))
BARE = """
import sys
import soundfile, torch
{own}
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
model = AutoModelForAudioClassification.from_pretrained(sys.argv[1]).eval()
extractor = AutoFeatureExtractor.from_pretrained(sys.argv[1])
samples, rate = soundfile.read(sys.argv[2], dtype="float32")
with torch.inference_mode():
    logits = model(**extractor(samples, sampling_rate=rate, return_tensors="pt")).logits
print(model.config.id2label[int(logits.argmax())])
"""
SOUND_S = 5.0


def write_wav2vec2(folder: Path) -> Path:
    """A small Wav2Vec2 with random weights, saved as Transformers saves it."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    config = Wav2Vec2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)
    model = folder / "wav2vec2"
    Wav2Vec2ForSequenceClassification(config).save_pretrained(model)
    Wav2Vec2FeatureExtractor().save_pretrained(model)
    return model


def write_sound(path: Path, sample_rate: int) -> Path:
    """Noise, so that nothing needs to be resampled in one of the two only."""
    import soundfile

    noise = np.random.default_rng(0).normal(0, 0.1, round(SOUND_S * sample_rate))
    soundfile.write(path, noise, sample_rate)
    return path


def prepare_answers(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Model -> the two commands that answer with it."""
    models = {
        write_model("cnn", folder): 32_000,
        write_model("resnet18", folder): 32_000,
        write_wav2vec2(folder): 16_000,
    }
    commands = {}
    for model, sample_rate in models.items():
        sound = str(write_sound(folder / f"{model.name}.wav", sample_rate))
        own = "" if model.name == "wav2vec2" else "import earmark.models"
        commands[f"first answer of `earmark predict`, `{model.name}`"] = {
            "earmark predict": [EARMARK, "predict", str(model), sound],
            "bare script": [sys.executable, "-c", BARE.format(own=own), str(model), sound],
        }
    return commands


def time_in_turn(commands: dict[str, list[str]], rounds: int) -> np.ndarray:
    """(rounds, commands) seconds, after a round that fills the file cache."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(rounds + 1):
        seconds.append([])
        for command in commands.values():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
            seconds[-1].append(time.perf_counter() - began)
    return np.array(seconds[1:])


def compare(claim: str, commands: dict[str, list[str]], rounds: int, at_most: float) -> Result:
    """One row: the first command to the second."""
    ours_s, theirs_s = time_in_turn(commands, rounds).T
    figures = f"{np.median(ours_s):.2f} and {np.median(theirs_s):.2f} s"
    return Result(claim, list(ours_s / theirs_s), list(commands)[1], at_most=at_most, figures=figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    add_record_option(parser)
    given = parser.parse_args()
    bare = {"earmark --help": [EARMARK, "--help"], "import torch": [sys.executable, "-c", "import torch"]}
    with tempfile.TemporaryDirectory() as folder:
        answers = prepare_answers(Path(folder))
        results = [compare(claim, commands, given.rounds, 1.3) for claim, commands in answers.items()]
    results.append(compare("`earmark --help`", bare, given.rounds, 0.4))
    publish("startup", results, record=given.record)


if __name__ == "__main__":
    main()
