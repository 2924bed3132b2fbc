"""A sound heard again with a stretch changed: the same answers as hearing all of it anew."""

import numpy as np
import pytest
import torch

from earmark.inference.classifier import Classifier
from earmark.inference.occlusion import Patches, score_hidden
from earmark.inference.rehearing import Change, Rehearing, can_rehear
from earmark.inference.torch_network import TorchNetwork
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification

RATE = 8_000
WINDOW = 8_000
FRONT_ENDS = {
    "statistics": {"kind": "mel_statistics", "n_fft": 256, "hop_length": 100, "n_mels": 24},
    "mfcc": {"kind": "mfcc_mean", "n_fft": 512, "hop_length": 128, "n_mels": 24, "n_mfcc": 12},
    "long hops": {"kind": "mel_statistics", "n_fft": 256, "hop_length": 400, "n_mels": 24},
    "log mel": {"kind": "log_mel", "n_fft": 256, "hop_length": 125, "n_mels": 32},
}
CNN = {"name": "cnn", "widths": [4, 8], "dropout": 0.0}
MLP = {"name": "mlp", "hidden": [8], "dropout": 0.0, "batch_norm": False, "activation": "relu"}


def build(front_end: str, *, multi_label: bool = False) -> Classifier:
    torch.manual_seed(0)
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=WINDOW,
        num_labels=3,
        front_end=FRONT_ENDS[front_end],
        backbone=CNN if front_end == "log mel" else MLP,
        problem_type="multi_label_classification" if multi_label else "single_label_classification",
    )
    model = EarmarkForAudioClassification(config).eval()
    return Classifier(TorchNetwork(model, EarmarkFeatureExtractor(sampling_rate=RATE), device="cpu"))


def make_sound(length: int) -> np.ndarray:
    random = np.random.default_rng(length)
    return (random.standard_normal(length) * np.linspace(0.02, 0.3, length)).astype(np.float32)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("length", [WINDOW, WINDOW - 37, 900, 130])
@pytest.mark.parametrize("front_end", ["statistics", "mfcc", "long hops"])
def test_the_answers_are_those_to_the_whole_sound(front_end: str, length: int, multi_label: bool) -> None:
    classifier, sound = build(front_end, multi_label=multi_label), make_sound(length)
    random = np.random.default_rng(1)
    spans = [(0, 40), (length - 30, length), (length // 2, length // 2 + 60), (0, length), (10, 10)]
    changes = [Change(begin, random.normal(0, 0.5, end - begin).astype(np.float32)) for begin, end in spans]
    changed = [np.concatenate([sound[: one.begin], one.samples, sound[one.end :]]) for one in changes]
    assert can_rehear(classifier, length)
    rehearing = Rehearing(classifier, sound)
    np.testing.assert_allclose(rehearing.score(changes), classifier.score(changed), atol=1e-6)
    for change, whole in zip(changes, changed, strict=True):
        np.testing.assert_allclose(rehearing.score([change]), classifier.score([whole]), atol=1e-6)


def test_what_a_model_says_of_hidden_patches_does_not_hang_on_how_it_is_asked() -> None:
    classifier, sound = build("statistics"), make_sound(WINDOW)
    patches = Patches(sound, RATE)
    masks = np.random.default_rng(0).random((20, *patches.shape)) < 0.1
    expected = classifier.score([patches.hide(mask) for mask in masks])[:, 1]
    np.testing.assert_allclose(score_hidden(classifier, patches, masks, 1), expected, atol=1e-6)


def test_only_one_window_to_a_model_that_sums_up_is_heard_so() -> None:
    assert not can_rehear(build("statistics"), WINDOW + 1)
    assert not can_rehear(build("log mel"), WINDOW)
