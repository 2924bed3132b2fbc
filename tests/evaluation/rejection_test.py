"""Sounds of no class: AUROC and false alarms by hand and as scikit-learn has them, thresholds, noise."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from earmark.evaluation.rejection import (
    Scored,
    Trial,
    ask_about_noise,
    choose_thresholds,
    measure_detection,
    measure_rejection,
    strike_out,
    tell_rejection,
    try_without,
)
from earmark.inference.classifier import Classifier
from earmark.inference.decision import Decision
from earmark.inference.torch_network import TorchNetwork
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification


def scored(guess, score, *, right=True):
    return Scored(np.array(guess), np.array(score, dtype=float), np.full(len(guess), right))


def test_auroc_and_false_alarms_are_scikit_learns():
    random = np.random.default_rng(0)
    known, unknown = random.normal(1, 1, 200).round(1), random.normal(0, 1, 80).round(1)
    figures = measure_detection(known, unknown)
    truth = np.repeat([1, 0], [200, 80])
    alarms, kept, _ = roc_curve(truth, np.concatenate([known, unknown]), drop_intermediate=False)
    assert figures["auroc"] == roc_auc_score(truth, np.concatenate([known, unknown]))
    assert figures["fpr95"] == pytest.approx(alarms[kept >= 0.95].min())


def test_what_cannot_be_told_apart_is_a_coin():
    assert measure_detection(np.full(4, 0.5), np.full(3, 0.5)) == {"auroc": 0.5, "fpr95": 1.0}


def test_struck_out_is_the_softmax_of_the_others():
    logits = np.array([[1.0, 2.0, 3.0]])
    others = np.exp([[1.0, 3.0]]) / np.exp([1.0, 3.0]).sum()
    struck = strike_out(np.exp(logits) / np.exp(logits).sum(), [1])
    np.testing.assert_allclose(struck, [[others[0, 0], 0.0, others[0, 1]]])
    assert np.isfinite(strike_out(np.array([[1.0, 0.0, 0.0]]), [0])).all()


def test_a_trial_parts_the_clips():
    probabilities = np.array([[0.0, 0.9, 0.1], [0.0, 0.2, 0.8], [0.0, 0.6, 0.4]])
    trial = try_without(0, probabilities, np.array([1, 1, 0]), np.array([True, True, False]))
    assert trial.known.guess.tolist() == [1, 2]
    assert trial.known.right.tolist() == [True, False]
    assert trial.unknown.guess.tolist() == [1]
    assert trial.unknown.score.tolist() == [0.6]


def test_each_class_gets_the_line_between_its_own_clips_and_strangers():
    known = scored([0] * 5 + [1] * 5, [0.9, 0.85, 0.8, 0.95, 0.9, 0.6, 0.55, 0.5, 0.65, 0.7])
    unknown = scored([0] * 5 + [1] * 5, [0.7, 0.6, 0.5, 0.4, 0.7, 0.3, 0.35, 0.2, 0.4, 0.3])
    thresholds = choose_thresholds(["dog", "rain", "rare"], [Trial(2, known, unknown)])
    assert thresholds["dog"] == pytest.approx(0.75)
    assert thresholds["rain"] == pytest.approx(0.45)
    # Nothing was taken for it: the line of all together, which four fifths of the right answers must clear.
    assert thresholds["rare"] == pytest.approx(0.45)


def test_a_threshold_costs_a_fifth_of_the_right_answers_at_most():
    known = scored([0] * 10, np.linspace(0.1, 1.0, 10))
    unknown = scored([0] * 10, np.full(10, 0.75))
    threshold = choose_thresholds(["dog"], [Trial(1, known, unknown)])["dog"]
    assert (known.score >= threshold).mean() >= 0.8


def test_wrong_answers_on_known_clips_have_no_say():
    known, unknown = scored([0] * 5, [0.9] * 5), scored([0] * 5, [0.3] * 5)
    wrong = scored([0] * 50, [0.1] * 50, right=False)
    both = Scored(*(np.concatenate(columns) for columns in zip(known, wrong, strict=True)))
    assert choose_thresholds(["dog"], [Trial(1, both, unknown)]) == {"dog": 0.6}


def test_left_out_classes_count_alike_and_one_without_clips_does_not_count():
    sure, known = scored([0], [0.95]), scored([0, 0, 1], [0.9, 0.8, 0.7])
    trials = [Trial(1, known, sure), Trial(2, known, scored([0] * 9, [0.1] * 9)), Trial(0, known, scored([], []))]
    figures = measure_rejection(["dog", "rain", "bell"], trials, {"dog": 0.85, "rain": 0.6, "bell": 0.5})
    assert [row["label"] for row in figures["classes"]] == ["rain", "bell"]
    assert figures["auroc"] == 0.5
    assert figures["fpr95"] == 0.5
    assert figures["known_accepted"] == pytest.approx(2 / 3)
    assert figures["unknown_accepted"] == 0.5


@pytest.fixture(scope="module")
def deaf():
    """A model that hears nothing and says the third class, 70 % sure, whatever the sound."""
    backbone = {"name": "mlp", "hidden": [4], "dropout": 0.0, "batch_norm": False, "activation": "relu"}
    labels = {0: "bell", 1: "rain", 2: "voice"}
    config = EarmarkConfig(
        sampling_rate=8000, window=8000, front_end={"kind": "mel_statistics"}, backbone=backbone, id2label=labels
    )
    model = EarmarkForAudioClassification(config)
    with torch.no_grad():
        model.backbone.layers[-1].weight.zero_()
        model.backbone.layers[-1].bias.copy_(torch.tensor([0.15, 0.15, 0.7]).log())
    return Classifier(TorchNetwork(model, EarmarkFeatureExtractor(sampling_rate=8000), device="cpu"))


def test_noise_that_is_taken_for_a_class_is_named(deaf):
    deaf.decision = Decision({"voice": 0.6}, silence_db=-45.0)
    calls = []
    told = ask_about_noise(deaf, lambda done, total: calls.append((done, total)))
    assert [(row["colour"], row["level_db"]) for row in told["noise"][:3]] == [
        ("white", level) for level in (-60, -50, -40)
    ]
    # What lies below the model's silence gets no answer, all else does.
    assert [row["accepted"] for row in told["noise"]] == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0] * 2
    assert {row["label"] for row in told["noise"]} == {"voice"}
    assert told["sure_on_noise"] == [{"label": "voice", "sounds": 24, "score": pytest.approx(0.7)}]
    assert calls[-1] == (36, 36)


def test_noise_stays_outside_where_the_threshold_is_higher(deaf):
    deaf.decision = Decision({"voice": 0.8})
    told = ask_about_noise(deaf)
    assert told["sure_on_noise"] == []
    assert {row["accepted"] for row in told["noise"]} == {0.0}


def test_the_card_says_what_becomes_of_strange_sounds():
    assert tell_rejection({}) == []
    rejection = {
        "thresholds": {"dog": 0.5},
        "sentence": "Chosen so.",
        "unknown_accepted": 0.25,
        "known_accepted": 0.9,
        "auroc": 0.81,
        "fpr95": 0.4,
        "sure_on_noise": [{"label": "rain", "sounds": 3, "score": 0.97}],
    }
    told = " ".join(tell_rejection(rejection))
    assert "Chosen so." in told
    assert "25% of the clips of a class that was left out" in told
    assert "rain (97% sure)" in told
