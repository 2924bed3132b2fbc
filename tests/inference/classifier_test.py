"""Classifier: any sound in, the same answer whatever stands beside it, and faults in one sentence."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import soundfile
import soxr
import torch

from earmark.errors import EarmarkError, ModelError, SoundError
from earmark.inference import classifier as classifier_module
from earmark.inference import loading
from earmark.inference.classifier import Classifier, find_model
from earmark.inference.loading import stream_file
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
from earmark.sound.decode import decode
from earmark.sound.synthesis import synthesise

RATE = 16_000
WINDOW = 8_000
LABELS = ("bell", "rain", "voice", "铃 🔔")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder with a random model in it whose answers differ from clip to clip."""
    torch.manual_seed(0)
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=WINDOW,
        front_end={"kind": "mel_statistics"},
        backbone={"name": "mlp", "hidden": [16], "dropout": 0.0, "batch_norm": False, "activation": "relu"},
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        problem_type="single_label_classification",
    )
    model = EarmarkForAudioClassification(config)
    clips = torch.from_numpy(np.stack([make_clip(seed, WINDOW) for seed in range(8)]))
    with torch.no_grad():
        model.standardise.fit([model.encode(clips)])
        model.backbone.layers[-1].weight.mul_(6.0)
    run = tmp_path_factory.mktemp("run")
    model.save_pretrained(run / "model")
    EarmarkFeatureExtractor(sampling_rate=RATE).save_pretrained(run / "model")
    return run / "model"


@pytest.fixture(scope="module")
def classifier(folder):
    return Classifier.from_pretrained(folder, device="cpu")


def make_clip(seed: int, samples: int, sample_rate: int = RATE) -> np.ndarray:
    name = ("bell", "rain", "voice", "engine")[seed % 4]
    return synthesise(name, seed=seed, duration_s=samples / sample_rate + 1, sample_rate=sample_rate)[:samples]


def scores_of(prediction) -> np.ndarray:
    named = {answer["label"]: answer["score"] for answer in prediction}
    return np.array([named[label] for label in LABELS])


def test_a_prediction_is_every_label_once_highest_first(classifier):
    prediction = classifier.classify(make_clip(0, 12_000))
    assert {answer["label"] for answer in prediction} == set(LABELS)
    scores = [answer["score"] for answer in prediction]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0, abs=1e-6)
    assert all(type(answer["score"]) is float for answer in prediction)
    json.dumps(prediction)


def test_top_k_is_the_head_of_the_prediction(classifier):
    clip = make_clip(1, 12_000)
    everything = classifier.classify(clip)
    for top_k in (1, 2, 4, 99):
        assert classifier.classify(clip, top_k=top_k) == everything[:top_k]


def test_path_bytes_and_array_are_one_sound(classifier, tmp_path):
    clip = make_clip(2, 30_000, sample_rate=22_050)
    path = tmp_path / "a b 音.wav"
    soundfile.write(path, clip, 22_050, subtype="FLOAT")
    expected = classifier.score([soxr.resample(clip, 22_050, RATE, quality="HQ")])[0]
    for prediction in (
        classifier.classify(path),
        classifier.classify(str(path)),
        classifier.classify(path.read_bytes()),
        classifier.classify(clip, sample_rate=22_050),
    ):
        np.testing.assert_allclose(scores_of(prediction), expected, atol=1e-5)
    at_the_wrong_rate = scores_of(classifier.classify(clip))
    assert np.abs(at_the_wrong_rate - expected).max() > 1e-3, "the rate must matter for this test to mean anything"


def test_a_list_gives_a_list_in_its_order(classifier, tmp_path):
    clips = [make_clip(seed, 9_000) for seed in range(3)]
    soundfile.write(tmp_path / "0.wav", clips[0], RATE, subtype="FLOAT")
    predictions = classifier.classify([str(tmp_path / "0.wav"), clips[1], clips[2]], top_k=2)
    assert len(predictions) == 3
    for clip, prediction in zip(clips, predictions, strict=True):
        assert prediction[0]["label"] == classifier.classify(clip)[0]["label"]
        assert prediction[0]["score"] == pytest.approx(classifier.classify(clip)[0]["score"], abs=1e-5)
        assert len(prediction) == 2
    assert classifier.classify([]) == []


def test_scores_depend_neither_on_the_neighbours_nor_on_the_order(classifier):
    lengths = [1, 500, 3_000, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW, 100_000, 20_000] * 3
    clips = [make_clip(seed, length) for seed, length in enumerate(lengths)]
    together = classifier.score(clips)
    assert np.ptp(together, axis=0).max() > 0.1
    order = np.random.default_rng(0).permutation(len(clips))
    np.testing.assert_allclose(classifier.score([clips[i] for i in order]), together[order], atol=1e-5)
    for clip, scores in zip(clips, together, strict=True):
        np.testing.assert_allclose(classifier.score([clip])[0], scores, atol=1e-5)


def test_a_long_sound_is_the_mean_of_its_windows_by_their_length(classifier):
    clip = make_clip(3, 2 * WINDOW + WINDOW // 4)
    parts = [clip[:WINDOW], clip[WINDOW : 2 * WINDOW], clip[2 * WINDOW :]]
    expected = sum(len(part) * classifier.score([part])[0] for part in parts) / len(clip)
    np.testing.assert_allclose(classifier.score([clip])[0], expected, atol=1e-6)


@pytest.mark.parametrize("clip", [np.zeros((2, 100), np.float32), np.zeros(0, np.float32)])
def test_what_is_no_mono_waveform_is_refused(classifier, clip):
    with pytest.raises(ModelError, match="must be one row of samples; this one has shape"):
        classifier.classify(clip)


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_a_waveform_that_is_not_finite_is_refused_instead_of_scored_nan(classifier, fault):
    clip = make_clip(0, 4_000).copy()
    clip[7] = fault
    with pytest.raises(ModelError, match="must be finite"):
        classifier.classify(clip)


def test_a_waveform_of_which_resampling_leaves_nothing_is_refused(classifier):
    with pytest.raises(ModelError, match="1 samples at 96000 Hz are less than one at 16000 Hz"):
        classifier.classify(np.zeros(1, np.float32), sample_rate=96_000)


def test_a_bad_file_raises_when_asked_for_alone(classifier, tmp_path):
    (tmp_path / "text.mp3").write_text("this is no sound")
    with pytest.raises(SoundError):
        classifier.classify(tmp_path / "text.mp3")


def write_many(folder, count: int) -> list[str]:
    paths = []
    for i in range(count):
        path = folder / f"{i:03d}.wav"
        soundfile.write(path, make_clip(i, 2_000 + 700 * (i % 13)), RATE)
        paths.append(str(path))
    return paths


def test_files_keep_their_order_and_a_bad_one_becomes_a_reason(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier_module, "FILES_AT_ONCE", 4)  # several rounds of decoding
    paths = write_many(tmp_path, 10)
    (tmp_path / "text.mp3").write_text("this is no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    paths[3:3] = [str(tmp_path / "text.mp3")]
    paths[7:7] = [str(tmp_path / "empty.wav"), str(tmp_path / "missing.wav")]
    answers = list(classifier.classify_files(iter(paths), top_k=2))
    assert [answer.path for answer in answers] == paths
    bad = {str(tmp_path / name) for name in ("text.mp3", "empty.wav", "missing.wav")}
    for answer in answers:
        if answer.path in bad:
            assert answer.prediction is None
            assert answer.reason
            assert "\n" not in answer.reason
        else:
            assert answer.reason == ""
            alone = classifier.classify(answer.path, top_k=2)
            assert [entry["label"] for entry in answer.prediction] == [entry["label"] for entry in alone]
            assert answer.prediction[0]["score"] == pytest.approx(alone[0]["score"], abs=1e-5)


def test_files_are_read_a_bounded_number_ahead(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier_module, "FILES_AT_ONCE", 2)
    monkeypatch.setattr(classifier_module, "count_cores", lambda: 2)
    monkeypatch.setattr(classifier.network, "side_by_side", lambda: nullcontext(2))
    paths = write_many(tmp_path, 9) * 3
    asked = []

    def ask_for_paths():
        for path in paths:
            asked.append(path)
            yield path

    answers = classifier.classify_files(ask_for_paths())
    next(answers)
    assert len(asked) <= 10, "an archive of a million names is not listed before the first answer"
    assert len(list(answers)) == len(paths) - 1


def test_files_are_answered_alike_whatever_the_number_of_threads(classifier, tmp_path, monkeypatch):
    paths = write_many(tmp_path, 40)
    before = torch.get_num_threads()
    expected = [answer.prediction for answer in classifier.classify_files(paths)]
    assert torch.get_num_threads() == before
    for lanes in (1, 3):
        monkeypatch.setattr(classifier.network, "side_by_side", lambda lanes=lanes: nullcontext(lanes))
        assert [answer.prediction for answer in classifier.classify_files(paths)] == expected


def test_a_small_file_that_lasts_is_not_decoded_at_once(classifier, tmp_path, monkeypatch):
    path = tmp_path / "packed.flac"
    soundfile.write(path, np.zeros(200 * RATE), RATE)
    assert path.stat().st_size < 100_000
    read = []
    monkeypatch.setattr(classifier_module, "stream_file", lambda *given: read.append(given) or stream_file(*given))
    (answer,) = classifier.classify_files([str(path)])
    assert len(answer.prediction) == len(LABELS)
    assert [given[0] for given in read] == [str(path)]


# 16,000 Hz is the model's own rate, 44,100 Hz goes through the resampler block by block.
@pytest.mark.parametrize("sample_rate", [RATE, 44_100])
def test_a_file_read_in_blocks_gets_the_answer_it_gets_read_at_once(classifier, tmp_path, monkeypatch, sample_rate):
    # 16 windows of half a second are a block: two blocks, then a third that ends in a part of a window.
    sounds = [make_clip(seed, round(5.9 * sample_rate), sample_rate) for seed in range(3)]
    path = tmp_path / "long.flac"
    soundfile.write(path, np.concatenate(sounds), sample_rate)
    (tmp_path / "long.mp3").write_text("no sound, but long enough to be read in blocks " * 100)
    at_once = classifier.classify(path)
    monkeypatch.setattr(loading, "WHOLE_FILE_BYTES", 1_000)
    whole, bad = classifier.classify_files([str(path), str(tmp_path / "long.mp3")])
    assert [entry["label"] for entry in whole.prediction] == [entry["label"] for entry in at_once]
    np.testing.assert_allclose(scores_of(whole.prediction), scores_of(at_once), atol=1e-4)
    assert bad.prediction is None
    assert bad.reason
    assert len(decode(path, sample_rate=RATE)[0]) > 2 * 16 * WINDOW


def test_a_run_and_its_model_folder_are_one_model(folder):
    assert find_model(folder) == find_model(folder.parent) == str(folder)
    assert Classifier.from_pretrained(folder.parent, device="cpu").labels == LABELS


def copy_of(folder, target):
    target.mkdir()
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    return target


def damage_weights(model) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (damage_weights, "cannot be loaded as an audio-classification model: .*header"),
        (lambda model: (model / "model.safetensors").unlink(), "model.safetensors"),
        (lambda model: (model / "config.json").write_text("{"), "not a valid JSON"),
        (lambda model: (model / "config.json").write_text('{"model_type": "bert"}'), "AudioClassification"),
        (lambda model: (model / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
        (lambda model: (model / "config.json").unlink(), r"holds no model \(no config.json\); give a run"),
    ],
)
def test_a_damaged_model_is_told_in_one_sentence(folder, tmp_path, harm, said):
    model = copy_of(folder, tmp_path / "copy")
    harm(model)
    with pytest.raises(ModelError, match=said) as caught:
        Classifier.from_pretrained(model)
    assert str(model) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_told_in_one_sentence(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "sound.wav").write_bytes(b"RIFF")
    for name, said in (
        (tmp_path / "nothing here", "There is no .*; give the directory of a model, a run, or a Hub id"),
        ("justaname", "There is no justaname; give"),
        ("./one/two", "There is no ./one/two; give"),
        (tmp_path / "sound.wav", "is a file; give the directory"),
        ("my runs/first", "There is no my runs/first; give"),
        ("nobody/nothing", "There is no folder nobody/nothing here, and HF_HUB_OFFLINE forbids"),
    ):
        with pytest.raises(EarmarkError, match=said) as caught:
            Classifier.from_pretrained(name)
        assert type(caught.value) is ModelError
        assert "\n" not in str(caught.value)
