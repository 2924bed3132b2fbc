"""Logits divided for good, in any network; or refused, and nothing changed."""

import copy

import pytest
import torch

from earmark.models import EarmarkConfig, EarmarkForAudioClassification
from earmark.models.last_layer import divide_logits
from earmark.models.lora import merge_lora
from earmark.models.pretrained import load_pretrained_audio, prepare_inputs
from earmark.sound.level import make_noise

RATE = 8000
SOUND = torch.from_numpy(make_noise("pink", RATE, level_db=-20.0, seed=0))[None]
MLP = {"name": "mlp", "hidden": [3, 8], "dropout": 0.1, "batch_norm": True, "activation": "relu"}
CNN = {"name": "cnn", "widths": [4, 8], "dropout": 0.1}
LABELS = ("bell", "rain", "voice")


def build(backbone, front_end, *, multi_label=False):
    torch.manual_seed(0)
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=RATE,
        front_end=front_end,
        backbone=backbone,
        num_labels=3,
        problem_type="multi_label_classification" if multi_label else "single_label_classification",
    )
    return EarmarkForAudioClassification(config).eval()


def build_timm(name, **settings):
    backbone = {"name": name, "dropout": 0.0, **settings}
    return build(backbone, {"kind": "log_mel", "n_mels": 32, "n_fft": 512, "hop_length": 256})


@torch.no_grad()
def check_division(model, inputs, *, temperature=1.7):
    """Divide, see that the logits follow, and give the names of the weights that changed."""
    before = model(**inputs).logits
    untouched = copy.deepcopy(model.state_dict())
    assert divide_logits(model, inputs, temperature)
    torch.testing.assert_close(model(**inputs).logits, before / temperature, rtol=1e-4, atol=1e-6)
    return [name for name, value in model.state_dict().items() if not torch.equal(value, untouched[name])]


def test_an_mlp_is_divided_in_its_last_layer_also_where_a_hidden_one_is_as_wide_as_there_are_classes():
    changed = check_division(build(MLP, {"kind": "mel_statistics"}), {"input_values": SOUND})
    assert changed == ["backbone.layers.8.weight", "backbone.layers.8.bias"]


def test_a_small_cnn_with_several_labels():
    front_end = {"kind": "log_mel", "n_mels": 16, "n_fft": 256, "hop_length": 160}
    changed = check_division(build(CNN, front_end, multi_label=True), {"input_values": SOUND})
    assert changed == ["backbone.classify.weight", "backbone.classify.bias"]


@pytest.mark.parametrize(
    "name",
    [
        "resnet10t",
        "test_vit",
        "test_convnext",
        "test_efficientnet",
        "mobilenetv3_small_050",
        "deit_tiny_distilled_patch16_224",
    ],
)
def test_networks_of_timm(name):
    settings = {"picture": "repeated", "size_px": 224} if name.startswith("deit") else {}
    check_division(build_timm(name, **settings), {"input_values": SOUND})


@pytest.mark.parametrize("family", ["hubert", "wav2vec2", "wavlm", "data2vec", "sew", "ast", "whisper"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_models_of_transformers(family, multi_label, write_native, tmp_path):
    write_native(tmp_path, family)
    pretrained = load_pretrained_audio(str(tmp_path), LABELS, multi_label=multi_label)
    model = pretrained.model.eval()
    with torch.no_grad():
        getattr(model.classifier, "dense", model.classifier).bias.copy_(torch.tensor([1.0, -2.0, 0.5]))
    sound = make_noise("pink", 16_000, level_db=-20.0, seed=0)
    changed = check_division(model, prepare_inputs(pretrained.extractor, [sound], sample_rate=16_000))
    assert all(name.startswith("classifier.") for name in changed)


def test_adapters_that_are_merged(write_native, tmp_path):
    write_native(tmp_path, "hubert")
    pretrained = load_pretrained_audio(str(tmp_path), LABELS, multi_label=False, tuning="lora")
    merge_lora(pretrained.model)
    with torch.no_grad():
        pretrained.model.classifier.bias.copy_(torch.tensor([1.0, -2.0, 0.5]))
    sound = make_noise("pink", 16_000, level_db=-20.0, seed=0)
    inputs = prepare_inputs(pretrained.extractor, [sound], sample_rate=16_000)
    assert check_division(pretrained.model.eval(), inputs) == ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_what_bends_the_logits_is_refused_and_left_as_it_was(activation, scale):
    model = build({**MLP, "output_activation": activation}, {"kind": "mel_statistics"})
    with torch.no_grad():
        model.backbone.layers[-2].weight.mul_(scale)
        model.backbone.layers[-2].bias.mul_(scale)
    before = copy.deepcopy(model.state_dict())
    assert not divide_logits(model, {"input_values": SOUND}, 2.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
