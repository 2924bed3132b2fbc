"""An unlabelled folder against training data: told apart where it differs, in words with figures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import earmark
from earmark.cli.main import app
from earmark.errors import ClipsError, ModelError
from earmark.evaluation.drift import Drift, drift, measure_auc
from earmark.evaluation.sound_sample import pack_sample, sample_clips
from earmark.sound.synthesis import SOUND_NAMES, synthesise

RATE = 22_050
CLIPS_A_CLASS = 4


def write_takes(folder: Path, first_seed: int, *, rate: int = RATE, gain_db: float = 0.0, seconds: float = 1.0) -> Path:
    """The ten synthetic sounds at -30 dBFS and a gain, a folder a class; made at 22,050 Hz, kept at ``rate``."""
    for name in SOUND_NAMES:
        (folder / name).mkdir(parents=True)
        for take in range(CLIPS_A_CLASS):
            waveform = synthesise(name, seed=first_seed + take, duration_s=seconds, sample_rate=RATE)
            waveform *= 10 ** ((gain_db - 30) / 20) / np.sqrt(np.mean(waveform**2))
            waveform = soxr.resample(waveform, RATE, rate) if rate != RATE else waveform
            soundfile.write(folder / name / f"{name} {'abcd'[take]}.wav", waveform, rate)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_takes(tmp_path_factory.mktemp("clips") / "clips", 0)


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_takes(tmp_path_factory.mktemp("alike") / "alike", 100)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_takes(tmp_path_factory.mktemp("other") / "other", 100, rate=8000, gain_db=-14, seconds=2.0)


@pytest.fixture(scope="module")
def apart(clips: Path, other: Path) -> Drift:
    return earmark.drift(clips, other)


@pytest.fixture(scope="module")
def model(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of a model directory as is looked at."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text("{}")
    memory = {"clips": [], "sound": pack_sample(sample_clips(earmark.read_clips(clips)))}
    (folder / "training_data.json").write_text(json.dumps(memory))
    return folder


def differing(found: Drift) -> list[str]:
    return [difference.name for difference in found.differences if difference.differs]


def test_recordings_made_alike_are_not_told_apart(clips: Path, alike: Path) -> None:
    found = drift(clips, alike)
    assert found.low < 0.5
    assert differing(found) == []
    assert found.sentences == []
    assert "cannot tell" in found.verdict
    assert (found.recordings, found.reference) == (40, 40)


def test_recordings_made_otherwise_are_told_apart_and_described(apart: Drift) -> None:
    assert apart.low > 0.8
    assert {"level", "bandwidth", "duration", "sample rate"} <= set(differing(apart))
    level, _, bandwidth, duration, rate, _ = (difference.sentence for difference in apart.differences)
    assert "14 dB quieter" in level or "15 dB quieter" in level, level
    assert "against -30 dBFS" in level
    assert bandwidth == "Their sound ends at a lower frequency (median 4.0 against 11.0 kHz)."
    assert duration == "They are longer (median 2 against 1 s)."
    assert rate == ("Their sample rate is lower (100% have 8,000 Hz; 100% of the training clips have 22,050 Hz).")
    assert "from 4,000 to 8,000 Hz" in apart.spectrum or "from 8,000 to 16,000 Hz" in apart.spectrum
    assert "expect lower accuracy" in apart.verdict


def test_a_model_remembers_enough(apart: Drift, model: Path, other: Path) -> None:
    by_model = drift(model, other)
    assert differing(by_model) == differing(apart)
    assert by_model.auc == pytest.approx(apart.auc, abs=0.02)
    assert [one.sentence for one in by_model.differences] == [one.sentence for one in apart.differences]


def test_a_model_without_such_a_memory_says_that_clips_are_needed(tmp_path: Path, other: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for memory in (None, '{"clips": []}'):
        if memory is not None:
            (tmp_path / "training_data.json").write_text(memory)
        with pytest.raises(ModelError, match="only the clips themselves can be compared"):
            drift(tmp_path, other)


def test_a_folder_that_will_not_do_is_a_sentence(clips: Path, alike: Path, tmp_path: Path) -> None:
    with pytest.raises(ClipsError, match="is not a folder"):
        drift(clips, tmp_path / "nowhere")
    with pytest.raises(ClipsError, match="holds no sound files"):
        drift(clips, tmp_path)
    for name in ("a", "b"):
        shutil.copy(alike / "rain" / "rain a.wav", tmp_path / f"{name}.wav")
    (tmp_path / "broken.wav").write_text("no sound")
    with pytest.raises(ClipsError, match=r"2 recordings that can be read, and 5 are needed; the first fault: .*broken"):
        drift(clips, tmp_path)


def test_the_area_is_scikit_learns_and_the_interval_knows_groups() -> None:
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], 60)
    units = np.arange(120) // 10
    scores = np.round(random.normal(0, 1, 12)[units] + random.normal(0, 0.3, 120) + 0.8 * truth, 1)
    value, low, high = measure_auc(scores, truth, units, level=0.95, seed=0)
    assert value == pytest.approx(roc_auc_score(truth, scores))
    assert low < value < high
    _, alone_low, alone_high = measure_auc(scores, truth, np.arange(120), level=0.95, seed=0)
    assert high - low > 1.5 * (alone_high - alone_low)


def test_a_perfect_area_of_few_is_not_certain() -> None:
    few = measure_auc(np.arange(10.0), np.repeat([0, 1], 5), np.arange(10), level=0.95, seed=0)
    many = measure_auc(np.arange(200.0), np.repeat([0, 1], 100), np.arange(200), level=0.95, seed=0)
    assert few[0] == many[0] == 1.0
    assert few[1] < 0.5 < 0.95 < many[1]


def test_the_command_tells_the_figures_and_writes_them(model: Path, other: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "drift", str(model), str(other), "--json", str(tmp_path / "drift.json")])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "drift.json").read_text(encoding="utf-8"))
    assert written["verdict"] in result.output
    for difference in written["differences"]:
        assert not difference["differs"] or f"- {difference['sentence']}" in result.output
    assert "40 of your recordings against 40 training clips" in result.output
    assert {"value", "low", "high"} == set(written["auc"])
