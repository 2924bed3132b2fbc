"""Scores become answers: windows averaged as everywhere, thresholds kept, silence never a class."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from earmark.inference.classifier import Classifier
from earmark.inference.decision import Decision, WindowLogits, average_windows
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
from earmark.sound.level import make_noise, measure_level_db

LABELS = ("bell", "rain", "voice")
RATE = 8000


def test_windows_are_averaged_by_how_much_sound_they_hold():
    logits = np.random.default_rng(0).normal(0, 3, (4, 3))
    owners, lengths = np.array([0, 1, 1, 2]), np.array([5, 30, 10, 7])
    given = average_windows(logits, owners, lengths, n_sounds=3)
    each = softmax(logits, axis=1)
    np.testing.assert_allclose(given, [each[0], 0.75 * each[1] + 0.25 * each[2], each[3]])
    several = average_windows(logits, owners, lengths, n_sounds=3, multi_label=True)
    np.testing.assert_allclose(several[1], 0.75 * expit(logits[1]) + 0.25 * expit(logits[2]))


def test_huge_logits_are_certain_not_broken():
    logits, one = np.array([[2000.0, -2000.0]]), np.array([1])
    np.testing.assert_array_equal(average_windows(logits, np.array([0]), one, n_sounds=1), [[1.0, 0.0]])
    several = average_windows(logits, np.array([0]), one, n_sounds=1, multi_label=True)
    np.testing.assert_array_equal(several, [[1.0, 0.0]])


def test_a_temperature_divides_the_logits_of_each_window():
    heard = WindowLogits(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([0, 0]), np.array([1, 1]), 1, False)
    halves = softmax([[1.0, 0.0], [0.0, 2.0]], axis=1).mean(0)
    np.testing.assert_allclose(heard.average(2.0), [halves])


@pytest.mark.parametrize(
    ("scores", "level_db", "accepted"),
    [
        ([0.7, 0.2, 0.1], -20.0, True),
        ([0.5, 0.45, 0.05], -20.0, False),  # the second clears its own threshold, but is not the answer
        ([0.4, 0.6, 0.0], -20.0, True),
        ([0.2, 0.2, 0.6], -20.0, True),  # a class without a threshold always is an answer
        ([0.9, 0.1, 0.0], -60.1, False),
        ([0.9, 0.1, 0.0], -60.0, True),
    ],
)
def test_the_surest_class_must_clear_its_own_threshold(scores, level_db, accepted):
    decision = Decision({"bell": 0.6, "rain": 0.4}, silence_db=-60.0)
    assert decision.accepts(LABELS, np.array([scores]), np.array([level_db])).tolist() == [accepted]


def test_of_several_labels_any_may_clear_its_threshold():
    decision = Decision({"bell": 0.9, "rain": 0.4, "voice": 0.9})
    scores, levels_db = np.array([[0.8, 0.5, 0.0], [0.8, 0.3, 0.0]]), np.array([-20.0, -20.0])
    assert decision.accepts(LABELS, scores, levels_db, multi_label=True).tolist() == [True, False]


def test_the_configuration_gives_back_what_was_put_in():
    decision = Decision({"bell": 0.6}, silence_db=-70.0, temperature=1.5)
    config = EarmarkConfig(num_labels=2, earmark_decision=decision.to_config())
    assert Decision.from_config(config) == decision
    later = EarmarkConfig(num_labels=2, earmark_decision={**decision.to_config(), "of_a_later_version": 1})
    assert Decision.from_config(later) == decision
    assert Decision.from_config(EarmarkConfig(num_labels=2)) == Decision()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved model that says "rain", 70 % sure, whatever it hears."""
    decision = Decision(dict.fromkeys(LABELS, 0.75), silence_db=-60.0)
    backbone = {"name": "mlp", "hidden": [4], "dropout": 0.0, "batch_norm": False, "activation": "relu"}
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=RATE,
        front_end={"kind": "mel_statistics"},
        backbone=backbone,
        id2label=dict(enumerate(LABELS)),
        problem_type="single_label_classification",
        earmark_decision=decision.to_config(),
    )
    model = EarmarkForAudioClassification(config)
    with torch.no_grad():
        model.backbone.layers[-1].weight.zero_()
        model.backbone.layers[-1].bias.copy_(torch.tensor([0.2, 0.7, 0.1]).log())
    place = tmp_path_factory.mktemp("model")
    model.save_pretrained(place)
    EarmarkFeatureExtractor(sampling_rate=RATE).save_pretrained(place)
    return place


def test_only_with_reject_is_an_answer_unknown(folder):
    classifier = Classifier.from_pretrained(folder, device="cpu")
    sound = make_noise("white", RATE, level_db=-20.0, seed=0)
    plain = classifier.classify(sound)
    assert [entry["label"] for entry in plain] == ["rain", "bell", "voice"]
    assert not plain.rejected
    rejected = classifier.classify(sound, reject=True)
    assert rejected == [{"label": "unknown", "score": pytest.approx(0.3, abs=1e-6)}, *plain]
    assert rejected.rejected
    assert [entry["label"] for entry in classifier.classify(sound, reject=True, top_k=2)] == ["unknown", "rain"]


def test_silence_is_unknown_however_sure_the_model_is(folder):
    classifier = Classifier.from_pretrained(folder, device="cpu")
    classifier.decision = Decision()  # as of a model without a word on it
    hiss = make_noise("white", RATE, level_db=-50.0, seed=0)
    answers = classifier.classify([np.zeros(3 * RATE, np.float32), hiss, np.zeros(10, np.float32)], reject=True)
    assert [answer[0]["label"] for answer in answers] == ["unknown", "rain", "unknown"]
    assert measure_level_db(np.zeros(10, np.float32)) < classifier.decision.silence_db


def test_a_long_file_is_silence_only_if_all_of_it_is(folder, tmp_path, monkeypatch):
    import soundfile

    from earmark.inference import loading

    monkeypatch.setattr(loading, "WHOLE_FILE_BYTES", 100)
    classifier = Classifier.from_pretrained(folder, device="cpu")
    classifier.decision = Decision(silence_db=-60.0)
    beep = np.concatenate([np.zeros(40 * RATE), 0.1 * np.sin(np.arange(RATE))])
    for name, sound in (("silent.wav", np.zeros(40 * RATE)), ("beep.wav", beep)):
        soundfile.write(tmp_path / name, sound, RATE)
    paths = [str(tmp_path / name) for name in ("silent.wav", "beep.wav")]
    answers = list(classifier.classify_files(paths, reject=True))
    assert [answer.prediction.rejected for answer in answers] == [True, False]
    assert [answer.prediction[0]["label"] for answer in classifier.classify_files(paths)] == ["rain", "rain"]
