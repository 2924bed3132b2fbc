"""Timelines: one engine for files and streams, the same answers however the sound is cut, and memory that stays."""

import struct
import tracemalloc
import warnings

import numpy as np
import pytest
import soundfile
import torch

from earmark.errors import RunError, SoundError
from earmark.inference.classifier import Classifier
from earmark.inference.decision import Decision
from earmark.inference.timeline import WindowScorer, find_events
from earmark.inference.torch_network import TorchNetwork
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
from earmark.sound.level import measure_level_db
from earmark.sound.synthesis import synthesise

RATE, WINDOW = 8_000, 8_000
SLOW_RATE = 1_000


class LevelNetwork:
    """Hears `up` where samples lie above zero, `down` where they lie below; where they are nought, it is not sure."""

    sample_rate, window, shortest, ignores_padding, multi_label = SLOW_RATE, 10 * SLOW_RATE, 1, True, False
    labels = ("up", "down", "neither")
    decision = Decision()

    def __init__(self):
        self.most_samples = 0

    def run(self, waveforms):
        self.most_samples = max(self.most_samples, sum(map(len, waveforms)))
        means = np.array([waveform.mean() for waveform in waveforms])
        return np.stack([20 * means, -20 * means, np.zeros(len(means))], 1).astype(np.float32)


@pytest.fixture(scope="module")
def classifier():
    """A random model of ours whose answers differ from window to window."""
    torch.manual_seed(0)
    labels = dict(enumerate(("bell", "rain", "voice")))
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=WINDOW,
        front_end={"kind": "mel_statistics", "n_fft": 512, "hop_length": 256, "n_mels": 24},
        backbone={"name": "mlp", "hidden": [16], "dropout": 0.0, "batch_norm": False, "activation": "relu"},
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
        problem_type="single_label_classification",
    )
    model = EarmarkForAudioClassification(config)
    with torch.no_grad():
        model.standardise.fit([model.encode(torch.from_numpy(make_sound(40_000).reshape(5, -1)))])
        model.backbone.layers[-1].weight.mul_(6.0)
    return Classifier(TorchNetwork(model, EarmarkFeatureExtractor(sampling_rate=RATE), "cpu"))


@pytest.fixture
def levels():
    return Classifier(LevelNetwork())


def make_sound(samples, sample_rate=RATE):
    second = [
        synthesise(name, seed=seed, duration_s=1.5, sample_rate=sample_rate)[:sample_rate]
        for seed, name in enumerate(("bell", "rain", "voice", "engine", "siren"))
    ]
    return np.resize(np.concatenate(second), samples).astype(np.float32)


def score_in_pieces(classifier, sound, cuts, **settings):
    scorer = WindowScorer(classifier, **settings)
    windows = []
    for piece in np.split(sound, cuts):
        windows += scorer.push(piece)
    return windows + scorer.finish()


@pytest.mark.parametrize("hop_s", [None, 1.0, 0.3])
def test_batch_is_stream_whatever_the_pieces(classifier, hop_s):
    sound = make_sound(45_321)
    whole = score_in_pieces(classifier, sound, [], hop_s=hop_s)
    assert np.ptp([window.probabilities for window in whole], axis=0).max() > 0.1
    rng = np.random.default_rng(0)
    for pieces in (3, 17, 400):
        cuts = np.sort(rng.integers(0, len(sound), pieces))
        windows = score_in_pieces(classifier, sound, cuts, hop_s=hop_s)
        assert [(w.start_s, w.end_s, w.level_db) for w in windows] == [(w.start_s, w.end_s, w.level_db) for w in whole]
        np.testing.assert_allclose(
            [window.probabilities for window in windows], [window.probabilities for window in whole], atol=1e-5
        )


def test_each_window_is_what_the_classifier_says_of_that_stretch(classifier):
    sound = make_sound(30_500)
    windows = score_in_pieces(classifier, sound, [10_000])
    assert [window.start_s for window in windows] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert windows[-1].end_s == 30_500 / RATE
    for window in windows:
        stretch = sound[round(window.start_s * RATE) : round(window.end_s * RATE)]
        np.testing.assert_allclose(window.probabilities, classifier.score([stretch])[0], atol=1e-5)
        assert window.level_db == measure_level_db(stretch)


@pytest.mark.parametrize("samples", [1, 3_999, WINDOW, WINDOW + 1, 3 * WINDOW, 3 * WINDOW + 700])
def test_side_by_side_they_are_the_windows_that_are_averaged_for_a_file(classifier, samples):
    sound = make_sound(samples)
    windows = score_in_pieces(classifier, sound, [], hop_s=WINDOW / RATE)
    lengths = [round((window.end_s - window.start_s) * RATE) for window in windows]
    assert sum(lengths) == samples
    average = np.average([window.probabilities for window in windows], axis=0, weights=lengths)
    np.testing.assert_allclose(average, classifier.score([sound])[0], atol=1e-5)


@pytest.mark.parametrize(("samples", "count"), [(8_000, 1), (8_001, 2), (12_000, 2), (12_001, 3), (500, 1)])
def test_the_last_window_ends_with_the_sound_and_none_comes_after_it(classifier, samples, count):
    windows = score_in_pieces(classifier, make_sound(samples), [])
    assert len(windows) == count
    assert windows[-1].end_s == samples / RATE


def test_no_sound_is_no_window(classifier):
    scorer = WindowScorer(classifier)
    assert scorer.push(np.zeros(0, np.float32)) == scorer.finish() == []
    assert scorer.duration_s == 0.0


def test_a_window_shorter_than_the_model_s_own(classifier):
    scorer = WindowScorer(classifier, window_s=0.25)
    assert (scorer.window_s, scorer.hop_s) == (0.25, 0.125)
    sound = make_sound(4_000)
    first = scorer.push(sound)[0]
    np.testing.assert_allclose(first.probabilities, classifier.score([sound[:2_000]])[0], atol=1e-5)


@pytest.mark.parametrize("value", [0.0, -1.0, 0.001, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["window_s", "hop_s"])
def test_windows_that_cannot_be_are_named_with_what_can(classifier, name, value):
    with pytest.raises(RunError, match=r"give a (length|step) from 0\.01 to 1 s"):
        WindowScorer(classifier, **{name: value})


def test_a_step_longer_than_the_window_would_leave_sound_unheard(classifier):
    with pytest.raises(RunError, match=r"0\.5 s, the length of a window"):
        WindowScorer(classifier, window_s=0.5, hop_s=0.6)


def test_nan_is_refused_wherever_it_stands(classifier):
    scorer = WindowScorer(classifier)
    scorer.push(make_sound(100))
    with pytest.raises(SoundError, match="NaN"):
        scorer.push(np.array([0.0, np.nan], np.float32))


def write_steps(path, levels, *, step_s=20, rate=SLOW_RATE, **how):
    soundfile.write(path, np.repeat(np.array(levels, np.float32), step_s * rate), rate, **how)
    return path


def test_events_of_a_file_lie_where_the_sound_does(levels, tmp_path):
    path = write_steps(tmp_path / "steps 音.flac", [0.0, 0.5, -0.5, 0.0])
    timeline = find_events(levels, path)
    assert [(event.label, event.start_s, event.end_s) for event in timeline.events] == [
        ("up", 17.5, 37.5),
        ("down", 42.5, 62.5),
    ]
    assert timeline.to_records()[0] == {
        "start_s": 17.5,
        "end_s": 37.5,
        "label": "up",
        "score": pytest.approx(1.0, abs=1e-3),
    }
    assert (timeline.duration_s, timeline.fault) == (80.0, "")
    assert (timeline.settings.window_s, timeline.settings.hop_s) == (10.0, 5.0)
    assert find_events(levels, path.read_bytes()).events == timeline.events


def test_a_file_of_another_rate_is_heard_at_the_model_s(levels, tmp_path):
    path = write_steps(tmp_path / "steps.wav", [0.0, 0.5, 0.0], rate=44_100)
    timeline = find_events(levels, path)
    assert [(event.label, event.start_s, event.end_s) for event in timeline.events] == [("up", 17.5, 42.5)]
    assert timeline.duration_s == 60.0


def test_progress_ends_at_the_end(levels, tmp_path):
    path = write_steps(tmp_path / "steps.wav", [0.0] * 10)
    told = []
    find_events(levels, path, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (200, 200)
    assert told == sorted(told)
    assert len(told) > 1


def test_ten_hours_take_no_more_memory_than_minutes(levels, tmp_path):
    path = tmp_path / "ten hours.flac"
    hour = np.zeros(3_600 * SLOW_RATE, np.int16)
    hour[1_800_000:1_860_000] = 16_384
    with soundfile.SoundFile(path, "w", SLOW_RATE, 1, format="FLAC") as file:
        for _ in range(10):
            file.write(hour)
    tracemalloc.start()
    timeline = find_events(levels, path, hop_s=10.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert timeline.duration_s == 36_000.0
    assert [event.start_s for event in timeline.events] == [hour_s + 1_800.0 for hour_s in range(0, 36_000, 3_600)]
    assert peak < 16e6, "the sound alone is 144 MB"
    assert levels.network.most_samples <= 16 * levels.window


def test_a_header_that_promises_ten_hours_is_answered_with_what_there_is(levels, tmp_path):
    path = write_steps(tmp_path / "lies.flac", [0.5, 0.0, 0.5])
    data = bytearray(path.read_bytes())
    # STREAMINFO: 20 bits of rate, 3 of channels, 5 of depth, 36 of samples in all, from byte 18 on.
    packed = struct.unpack(">Q", data[18:26])[0]
    data[18:26] = struct.pack(">Q", packed & ~((1 << 36) - 1) | 36_000 * SLOW_RATE)
    path.write_bytes(data)
    timeline = find_events(levels, path)
    assert timeline.duration_s == pytest.approx(60.0)
    assert [event.label for event in timeline.events] == ["up", "up"]


def test_a_file_that_is_cut_off_gives_its_events_until_there(levels, tmp_path):
    rng = np.random.default_rng(0)
    steps = np.repeat(np.array([0.5, 0.0, 0.5, 0.0, 0.5], np.float32), 60 * SLOW_RATE)
    path = tmp_path / "cut.flac"
    soundfile.write(path, steps + 0.01 * rng.standard_normal(len(steps)), SLOW_RATE)
    whole = find_events(levels, path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is told, not warned of
        timeline = find_events(levels, path)
    assert 100 < timeline.duration_s < 160
    assert timeline.events[0] == whole.events[0]
    assert "not whole" in timeline.fault
    assert timeline.fault.count(str(path.name)) == 1


def test_nan_far_into_a_file_leaves_the_events_before_it(levels, tmp_path):
    steps = np.repeat(np.array([0.5, 0.0] * 10, np.float32), 60 * SLOW_RATE)
    steps[-10] = np.nan
    path = tmp_path / "nan.wav"
    soundfile.write(path, steps, SLOW_RATE, subtype="FLOAT")
    timeline = find_events(levels, path)
    assert timeline.events
    assert timeline.events[0].label == "up"
    assert timeline.duration_s < 1_200
    assert "NaN" in timeline.fault


@pytest.mark.parametrize("content", [None, b"", b"hello" * 99])
def test_what_is_no_sound_is_an_error(levels, tmp_path, content):
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SoundError, match=r"x\.wav"):
        find_events(levels, path)


def test_a_file_of_nan_is_an_error(levels, tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.full(5_000, np.nan, np.float32), SLOW_RATE, subtype="FLOAT")
    with pytest.raises(SoundError, match="NaN"):
        find_events(levels, tmp_path / "nan.wav")
