"""LoRA: small adapters that are heard, and nothing left of them in what is saved."""

import sys

import pytest
import torch
from transformers import AutoModelForAudioClassification

from earmark.errors import ModelError
from earmark.models.lora import add_lora, measure_trainable_share, merge_lora
from earmark.models.pretrained import load_pretrained_audio, prepare_inputs
from earmark.models.probe import is_head
from earmark.sound.synthesis import synthesise

pytest.importorskip("peft")

RATE = 16_000
LABELS = ("drums", "rain", "bell")
FAMILIES = ("hubert", "hubert-large", "wav2vec2", "wavlm", "data2vec", "sew", "ast", "whisper")


@pytest.fixture
def load_adapted(write_native, tmp_path):
    """A model with adapters, and three sounds for it."""

    def write_and_load(family):
        layers_stay = {} if family in ("ast", "whisper") else {"layerdrop": 0.0}
        write_native(tmp_path / "base", family, **layers_stay)
        torch.manual_seed(0)
        pretrained = load_pretrained_audio(str(tmp_path / "base"), LABELS, multi_label=False, tuning="lora")
        clips = [synthesise(name, seed=1, duration_s=0.6, sample_rate=RATE) for name in LABELS]
        inputs = prepare_inputs(pretrained.extractor, clips, sample_rate=RATE)
        with torch.no_grad():
            last = getattr(pretrained.model.classifier, "dense", pretrained.model.classifier)
            last.weight.div_(pretrained.model.eval()(**inputs).logits.std(0).mean())
        return pretrained.model, inputs

    return write_and_load


def train(model, inputs, *, steps: int, only=lambda name: True) -> None:
    learning = [p for name, p in model.named_parameters() if p.requires_grad and only(name)]
    optimiser = torch.optim.Adam(learning, 0.05)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(**inputs).logits, torch.arange(3)).backward()
        optimiser.step()
    model.eval()


@torch.no_grad()
def ask(model, inputs) -> torch.Tensor:
    return model.eval()(**inputs).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_and_head_learn_and_nothing_else(load_adapted, family):
    model, inputs = load_adapted(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, inputs, steps=3)
    after = model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert all("lora_" in name or is_head(name) for name in changed)
    adapters = {name for name in after if "lora_" in name}
    assert len(adapters) == 8  # two layers, two projections, two matrices each
    assert adapters <= changed, "an adapter without a gradient is one that nobody hears"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_saved_opens_without_adapters_and_answers_alike(load_adapted, tmp_path, family):
    model, inputs = load_adapted(family)
    untrained = ask(model, inputs)
    train(model, inputs, steps=10, only=lambda name: "lora_" in name)
    trained = ask(model, inputs)
    assert (trained - untrained).abs().max() > 1e-3, "adapters that change nothing prove nothing"
    merge_lora(model)
    torch.testing.assert_close(ask(model, inputs), trained, atol=1e-4, rtol=1e-5)
    model.save_pretrained(tmp_path / "saved")
    again, loading = AutoModelForAudioClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert type(again) is type(model)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    torch.testing.assert_close(ask(again, inputs), trained, atol=1e-4, rtol=1e-5)


def test_a_checkpoint_with_adapters_is_taken_up_again(load_adapted):
    model, inputs = load_adapted("hubert")
    train(model, inputs, steps=5)
    expected, kept = ask(model, inputs), {name: value.clone() for name, value in model.state_dict().items()}
    other, _ = load_adapted("hubert")
    other.load_state_dict(kept)
    torch.testing.assert_close(ask(other, inputs), expected, atol=0, rtol=0)


def test_the_share_that_learns_is_counted(load_adapted):
    model, _ = load_adapted("hubert")
    adapters = 2 * 2 * 2 * 8 * 16  # layers, projections, matrices, rank, width
    head = 16 * 8 + 8 + 8 * 3 + 3
    assert measure_trainable_share(model) * sum(p.numel() for p in model.parameters()) == pytest.approx(adapters + head)


def test_a_model_that_ran_away_is_not_merged_in_silence(load_adapted):
    model, _ = load_adapted("hubert")
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B" in name).fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN or infinity"):
        merge_lora(model)


def test_a_missing_peft_names_the_extra(write_native, tmp_path, monkeypatch):
    write_native(tmp_path, "hubert")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r'pip install "earmark\[peft\]"'):
        load_pretrained_audio(str(tmp_path), LABELS, multi_label=False, tuning="lora")


def test_a_model_without_attention_is_refused(write_native, tmp_path):
    write_native(tmp_path, "hubert")
    model = load_pretrained_audio(str(tmp_path), LABELS, multi_label=False).model
    model.hubert.encoder.layers = torch.nn.ModuleList()
    with pytest.raises(ModelError, match="hubert has no attention layers that LoRA knows"):
        add_lora(model)
