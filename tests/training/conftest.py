"""What the training tests share: three classes of half-second sounds at 8 kHz, tiny recipes, one finished run."""

import os
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.data.clips import Clips
from earmark.data.layouts import read_clips
from earmark.data.waveforms import ClipWaveforms, load_waveforms
from earmark.evaluation import report_clips
from earmark.training import callbacks
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.run import Run, train
from earmark.training.tracker_exhibits import Exhibits, collect_exhibits

RATE = 8000
CLIPS_PER_CLASS = 12
ALL_PICTURES = report_clips.MISTAKES, report_clips.EXAMPLES
Told = tuple[dict[str, Any], pd.DataFrame]

TINY_QUICK = [
    f"audio.sample_rate={RATE}",
    "front_end.n_fft=256",
    "front_end.hop_length=128",
    "front_end.n_mels=16",
    "model.hidden=[16]",
    "train.epochs=4",
    "train.batch_size=8",
]
TINY_CNN = [
    f"audio.sample_rate={RATE}",
    "audio.window_s=0.5",
    "front_end.n_fft=256",
    "front_end.hop_length=160",
    "front_end.n_mels=16",
    "model.widths=[4, 8]",
    "augment.mix=0.5",
    "augment.roll=true",
    "augment.gain_db=6",
    "augment.mask_time_s=0.1",
    "augment.mask_mels=4",
    "train.epochs=4",
    "train.batch_size=8",
    "train.precision=fp32",
]


@pytest.fixture(autouse=True)
def _save_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs here take milliseconds; a checkpoint after each lets a test kill a run where it likes."""
    monkeypatch.setattr(callbacks, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(callbacks, "SAVE_PAUSE", 0)


def make_sound(label: str, seed: int, seconds: float = 0.5) -> np.ndarray:
    """A low hum, a high beep or a hiss, behind so much noise that nobody is always right."""
    random = np.random.default_rng((seed, len(label)))
    time_s = np.arange(round(seconds * RATE)) / RATE
    noise = random.normal(0, 1, len(time_s))
    pitch_hz = {"beep": 2200, "hum": 300, "hiss": 0}[label] * random.uniform(0.8, 1.25)
    return (0.1 * noise + random.uniform(0.02, 0.2) * np.sin(2 * np.pi * pitch_hz * time_s)) * random.uniform(0.2, 1)


def write_sound(path: Path, samples: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return str(path)


@contextmanager
def show_clips(mistakes: int, examples: int) -> Iterator[None]:
    """Reports with at most so many clips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_clips, "MISTAKES", mistakes)
        patch.setattr(report_clips, "EXAMPLES", examples)
        yield


@pytest.fixture(scope="module", autouse=True)
def few_pictures() -> Iterator[None]:
    """One mistake and one example: twenty pictures a run would take longer than its training."""
    with show_clips(1, 1):
        yield


@pytest.fixture(scope="module")
def all_pictures(few_pictures: None) -> Iterator[None]:
    with show_clips(*ALL_PICTURES):
        yield


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders: beep, hiss, hum."""
    folder = tmp_path_factory.mktemp("sounds")
    for label in ("beep", "hiss", "hum"):
        for take in range(CLIPS_PER_CLASS):
            write_sound(folder / label / f"{label} {take:02d}.wav", make_sound(label, take))
    return folder


@pytest.fixture(scope="session")
def clips(sounds: Path) -> Clips:
    return read_clips(sounds)


@pytest.fixture(scope="session")
def waveforms(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> ClipWaveforms:
    before = os.environ.get("EARMARK_CACHE")
    os.environ["EARMARK_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    try:
        return load_waveforms(clips, sample_rate=RATE)
    finally:
        os.environ.pop("EARMARK_CACHE")
        if before is not None:
            os.environ["EARMARK_CACHE"] = before


@pytest.fixture(scope="session")
def tiny_quick() -> Recipe:
    return load_recipe("quick", TINY_QUICK)


@pytest.fixture(scope="session")
def tiny_cnn() -> Recipe:
    return load_recipe("cnn", TINY_CNN)


@pytest.fixture(scope="session")
def quick_run(clips: Clips, tiny_quick: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One finished run with all its pictures, to be looked at and not to be changed."""
    with show_clips(*ALL_PICTURES):  # it may be made before or within `few_pictures`
        return train(clips, tiny_quick, out=tmp_path_factory.mktemp("runs") / "quick", seed=5)


@pytest.fixture(scope="session")
def told(quick_run: Run) -> Told:
    """A report and the answers it is about."""
    return quick_run.report, pd.read_csv(quick_run.folder / "predictions.csv")


@pytest.fixture(scope="session")
def exhibits(told: Told) -> Exhibits:
    """What the finished run has to show; drawing it takes longer than what is tested with it."""
    with show_clips(*ALL_PICTURES):
        return collect_exhibits(*told)
