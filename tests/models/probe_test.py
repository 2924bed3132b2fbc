"""Probes: what is kept of a window, and the head on it, are the model itself."""

import pytest
import torch

from earmark.models.pretrained import load_pretrained_audio, prepare_inputs
from earmark.models.probe import apply_head, encode_window
from earmark.sound.synthesis import synthesise

RATE = 16_000
LABELS = ("bell", "rain", "voice")
FAMILIES = ("hubert", "hubert-large", "wav2vec2", "wav2vec2-large", "wavlm", "data2vec", "sew", "ast", "whisper")
CASES = [(family, layered) for family in FAMILIES for layered in (False, True) if not (layered and family == "ast")]


@pytest.fixture
def load_probe(write_native, tmp_path):
    def write_and_load(family, *, layered=False):
        write_native(tmp_path, family, **({"use_weighted_layer_sum": True} if layered else {}))
        torch.manual_seed(0)
        pretrained = load_pretrained_audio(str(tmp_path), LABELS, multi_label=False, tuning="probe")
        if layered:
            with torch.no_grad():
                pretrained.model.layer_weights.copy_(torch.tensor([1.0, -1.0, 0.5]))
        return pretrained

    return write_and_load


def prepare(pretrained, *durations_s):
    clips = [
        synthesise(name, seed=1, duration_s=1.0, sample_rate=RATE)[: round(duration_s * RATE)]
        for name, duration_s in zip(("drums", "rain", "bell"), durations_s, strict=True)
    ]
    return prepare_inputs(pretrained.extractor, clips, sample_rate=RATE)


@torch.no_grad()
def steepen(model, inputs):
    """Make the last layer's logits differ by about one, so that a tolerance means something."""
    logits = model.eval()(**inputs).logits
    last = getattr(model.classifier, "dense", model.classifier)
    last.weight.div_(logits.std(0).mean())


@pytest.mark.parametrize(("family", "layered"), CASES)
@pytest.mark.parametrize("durations_s", [(0.6, 0.6, 0.6), (0.6, 0.25, 0.45)], ids=["equal", "padded"])
def test_the_head_on_what_was_kept_is_the_model(load_probe, family, layered, durations_s):
    pretrained = load_probe(family, layered=layered)
    model, inputs = pretrained.model, prepare(pretrained, *durations_s)
    steepen(model, inputs)
    features = encode_window(model, inputs)
    assert features.shape == ((3, 3, 16) if layered else (3, 16))
    with torch.no_grad():
        expected = model(**inputs).logits
    assert expected.std(0).mean() > 0.5
    torch.testing.assert_close(apply_head(model, features), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("family", "layered"), CASES)
def test_only_the_head_learns_and_the_encoder_gives_the_same_afterwards(load_probe, family, layered):
    pretrained = load_probe(family, layered=layered)
    model, inputs = pretrained.model, prepare(pretrained, 0.5, 0.5, 0.5)
    features = encode_window(model, inputs)
    assert not features.requires_grad
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    expected = {"classifier"} if family == "ast" else {"projector", "classifier"}
    assert {name.split(".")[0] for name in learning} == expected | ({"layer_weights"} if layered else set())
    optimiser = torch.optim.Adam(learning.values(), 0.05)
    before = torch.nn.functional.cross_entropy(apply_head(model, features), torch.arange(3))
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(apply_head(model, features), torch.arange(3))
        loss.backward()
        optimiser.step()
    assert all(parameter.grad is not None for parameter in learning.values())
    assert float(loss.detach()) < 0.8 * float(before.detach())
    torch.testing.assert_close(encode_window(model, inputs), features, atol=0, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, apply_head(model, features), atol=1e-4, rtol=0)


def test_windows_are_heard_without_dropout_and_masks_also_in_the_midst_of_training(load_probe):
    pretrained = load_probe("hubert")
    inputs = prepare(pretrained, 0.5, 0.5, 0.5)
    still = encode_window(pretrained.model.eval(), inputs)
    torch.testing.assert_close(encode_window(pretrained.model.train(), inputs), still, atol=0, rtol=0)


def test_a_probe_needs_no_more_of_a_clip_than_its_convolutions(load_probe):
    assert load_probe("hubert").shortest == round(0.1 * RATE)
