"""The embedded default data: the same everywhere, varied, neither trivial nor hopeless, and never half written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from earmark.errors import SoundError
from earmark.sound.synthesis import SOUND_NAMES, synthesise, write_sounds


def write_few(folder: Path, **arguments) -> Path:
    return write_sounds(folder, **({"clips_per_class": 2, "duration_s": 0.25, "sample_rate": 8000} | arguments))


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.wav"))}


def mean_log_mel(waveform: np.ndarray, sample_rate: int = 22_050, n_fft: int = 1024, n_mels: int = 64) -> np.ndarray:
    """Mean over time of a log-mel spectrogram with HTK bands: a plain front end that shares no code with ours."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, n_fft)[:: n_fft // 2] * np.hanning(n_fft)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), n_mels + 2) / 2595) - 1)
    frequency_hz = np.fft.rfftfreq(n_fft, 1 / sample_rate)[:, None]
    rising, falling = (frequency_hz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - frequency_hz) / np.diff(edges)[1:]
    return 10 * np.log10(np.maximum(power @ np.maximum(0, np.minimum(rising, falling)), 1e-10)).mean(axis=0)


def test_there_are_ten_sounds():
    assert len(SOUND_NAMES) == len(set(SOUND_NAMES)) == 10
    assert list(SOUND_NAMES) == sorted(SOUND_NAMES)


@pytest.mark.parametrize("name", SOUND_NAMES)
@pytest.mark.parametrize(("duration_s", "sample_rate"), [(2.0, 22_050), (0.3, 8000), (1.0, 48_000), (0.01, 16_000)])
def test_every_length_and_rate_gives_a_sound_within_range(name, duration_s, sample_rate):
    waveform = synthesise(name, seed=5, duration_s=duration_s, sample_rate=sample_rate)
    assert waveform.shape == (round(duration_s * sample_rate),)
    assert waveform.dtype == np.float32
    assert np.isfinite(waveform).all()
    assert 10 ** (-30.01 / 20) <= np.abs(waveform).max() <= 1.0


@pytest.mark.parametrize("name", SOUND_NAMES)
def test_takes_differ_and_are_not_background_alone(name):
    takes = [synthesise(name, seed=seed) for seed in range(4)]
    peaks = [np.abs(take).max() for take in takes]
    assert max(peaks) > 1.5 * min(peaks)
    assert all(abs(np.corrcoef(takes[0], take)[0, 1]) < 0.5 for take in takes[1:])


def test_a_take_is_the_same_in_another_process():
    code = (
        "import sys; from earmark.sound.synthesis import synthesise; "
        "sys.stdout.buffer.write(synthesise('voice', seed=7, duration_s=0.5).tobytes())"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert answer.stdout == synthesise("voice", seed=7, duration_s=0.5).tobytes()


def test_wrong_arguments_say_what_is_allowed():
    with pytest.raises(SoundError, match=r"no synthetic sound 'dog': choose one of alarm, bell, .*wind"):
        synthesise("dog", seed=0)
    with pytest.raises(SoundError, match="4000 Hz: use 8000 Hz or more"):
        synthesise("bell", seed=0, sample_rate=4000)
    with pytest.raises(SoundError, match=r"0\.0 s .* length above 0 s"):
        synthesise("bell", seed=0, duration_s=0.0)


@pytest.mark.slow
def test_a_linear_model_learns_the_classes_but_not_all_of_them():
    waveforms = [synthesise(name, seed=seed) for name in SOUND_NAMES for seed in range(30)]
    features = np.stack([mean_log_mel(waveform) for waveform in waveforms])
    labels = np.repeat(SOUND_NAMES, 30)
    assert np.unique(labels, return_counts=True)[1].max() / len(labels) == 0.1
    accuracies = []
    for learn, test in StratifiedShuffleSplit(4, test_size=0.3, random_state=0).split(features, labels):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features[learn], labels[learn])
        accuracies.append(model.score(features[test], labels[test]))
    assert min(accuracies) > 0.4
    assert max(accuracies) < 1.0
    assert 0.75 < np.mean(accuracies) < 0.97


def test_writes_a_folder_of_class_folders_in_16_bit(tmp_path):
    steps = []
    folder = write_few(tmp_path / "声音 data", on_progress=lambda done, total: steps.append((done, total)))
    assert folder == tmp_path / "声音 data"
    assert sorted(read_all(folder)) == [f"{name}/{name}_{take:03d}.wav" for name in SOUND_NAMES for take in (1, 2)]
    assert steps == [(done, 20) for done in range(1, 21)]
    info = soundfile.info(folder / "bell" / "bell_001.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (8000, 1, 2000, "PCM_16")
    assert [path.name for path in tmp_path.iterdir()] == ["声音 data"]


def test_all_takes_differ_and_the_seed_decides(tmp_path):
    first = read_all(write_few(tmp_path / "a"))
    assert len(set(first.values())) == 20
    assert read_all(write_few(tmp_path / "b")) == first
    assert not set(read_all(write_few(tmp_path / "c", seed=1)).values()) & set(first.values())


def test_a_complete_folder_is_left_untouched(tmp_path):
    folder = write_few(tmp_path / "sounds")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    steps = []
    (folder / "bell" / ".DS_Store").touch()
    write_few(folder, on_progress=lambda done, total: steps.append(done))
    (folder / "bell" / ".DS_Store").unlink()
    assert steps == []
    assert {path: time for path, time in before.items() if path.is_file()} == {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


def test_other_arguments_or_a_missing_file_write_it_anew(tmp_path):
    folder = write_few(tmp_path / "sounds", clips_per_class=3)
    write_few(folder)
    assert len(read_all(folder)) == 20
    whole = read_all(folder)
    (folder / "wind" / "wind_002.wav").unlink()
    assert read_all(write_few(folder)) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["sounds"]


def test_what_others_put_there_is_never_overwritten(tmp_path):
    folder = write_few(tmp_path / "sounds")
    (folder / "bell" / "mine.wav").write_bytes(b"precious")
    with pytest.raises(SoundError, match=r"sounds already holds something else \(bell/mine\.wav\): name another"):
        write_few(folder)
    assert (folder / "bell" / "mine.wav").read_bytes() == b"precious"
    (tmp_path / "a file").write_text("mine")
    with pytest.raises(SoundError, match=r"a file already holds something else"):
        write_few(tmp_path / "a file")
    assert (tmp_path / "a file").read_text() == "mine"


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_few(tmp_path / "sounds", on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_replacement_keeps_what_was_there(tmp_path):
    folder = write_few(tmp_path / "sounds")
    before = read_all(folder)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_few(folder, seed=9, on_progress=interrupt)
    assert read_all(folder) == before
    assert json.loads((folder / ".synthesis.json").read_text())["seed"] == 0
