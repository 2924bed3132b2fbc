"""Golden waveforms: a copy is the same model, or it is not."""

import json

import pytest
import torch
from safetensors import safe_open

from earmark.errors import ModelError
from earmark.inference.classifier import Classifier
from earmark.inference.golden import GOLDEN_FILE, GOLDEN_SOUNDS, Verdict, verify_model, write_golden
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification

LABELS = ("狗 bark", "rain")


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    config = EarmarkConfig(
        sampling_rate=16_000,
        window=16_000,
        front_end={"kind": "log_mel"},
        backbone={"name": "cnn", "widths": [4, 8], "dropout": 0.0},
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        problem_type="single_label_classification",
    )
    EarmarkForAudioClassification(config).save_pretrained(tmp_path)
    EarmarkFeatureExtractor(sampling_rate=16_000).save_pretrained(tmp_path)
    write_golden(Classifier.from_pretrained(tmp_path, device="cpu"), tmp_path)
    return tmp_path


def test_a_saved_model_holds(folder):
    verdict = verify_model(Classifier.from_pretrained(folder, device="cpu"), folder)
    assert verdict.holds
    assert len(verdict.differences) == GOLDEN_SOUNDS
    assert max(verdict.differences) < 1e-5


# What changes one weight by one per cent, the features, or what stands between the two must be found out.
@pytest.mark.parametrize(
    "name", ["backbone.classify.weight", "backbone.stem.0.weight", "front_end.mel.filters", "standardise.mean"]
)
def test_a_model_of_which_one_per_cent_was_changed_does_not_hold(folder, name):
    classifier = Classifier.from_pretrained(folder, device="cpu")
    with torch.no_grad():
        tensor = classifier.network.model.state_dict()[name]
        tensor.mul_(1.01) if tensor.any() else tensor.add_(0.5)
    verdict = verify_model(classifier, folder)
    assert not verdict.holds
    assert max(verdict.differences) > verdict.tolerance


def test_a_copy_changed_on_disk_does_not_hold(folder):
    classifier = Classifier.from_pretrained(folder, device="cpu")
    with torch.no_grad():
        classifier.network.model.backbone.classify.weight.mul_(1.01)
    classifier.network.model.save_pretrained(folder)
    assert not verify_model(Classifier.from_pretrained(folder, device="cpu"), folder).holds


def test_the_golden_file_holds_waveforms_logits_and_labels(folder):
    with safe_open(folder / GOLDEN_FILE, "np") as golden:
        assert json.loads(golden.metadata()["labels"]) == list(LABELS)
        lengths = [golden.get_tensor(f"waveform_{i}").shape[0] for i in range(GOLDEN_SOUNDS)]
        assert all(golden.get_tensor(f"logits_{i}").shape == (2,) for i in range(GOLDEN_SOUNDS))
    assert max(lengths) > 16_000, "one is longer than a window, so that averaging is checked"


def test_no_number_is_no_agreement():
    assert Verdict([0.0, 1e-4]).holds
    assert not Verdict([0.0, 2e-3]).holds
    assert not Verdict([0.0, float("nan")]).holds


def test_missing_and_damaged_golden_files_are_one_sentence(folder):
    classifier = Classifier.from_pretrained(folder, device="cpu")
    golden = folder / GOLDEN_FILE
    golden.write_bytes(golden.read_bytes()[:1_000])
    with pytest.raises(ModelError, match=r"golden\.safetensors is damaged \(.*\); copy it again"):
        verify_model(classifier, folder)
    golden.unlink()
    with pytest.raises(ModelError, match=r"holds no golden\.safetensors; only models written by `earmark train`"):
        verify_model(classifier, folder)
