"""Audio models of Transformers: really pretrained, with a new head, trainable on what they can hear."""

import json

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import ASTFeatureExtractor, AutoModelForAudioClassification, BertConfig, BertModel
from transformers.utils import logging

from earmark.errors import ModelError
from earmark.models import EarmarkConfig
from earmark.models.pretrained import load_pretrained_audio, longest_window, prepare_inputs
from earmark.sound.synthesis import synthesise

RATE = 16_000
LABELS = ("bell", "rain", "voice")
SPEECH = ("hubert", "hubert-large", "wav2vec2", "wav2vec2-large", "wavlm", "data2vec", "sew")
FAMILIES = (*SPEECH, "ast", "whisper")
# Where the head weighs the layers, each family of Transformers has its own way to go wrong.
LAYERED = tuple(family for family in FAMILIES if family != "ast")


def load(folder, labels=LABELS, *, multi_label=False, seed=0, **settings):
    torch.manual_seed(seed)
    return load_pretrained_audio(str(folder), labels, multi_label=multi_label, **settings)


def read_encoder(model) -> dict[str, torch.Tensor]:
    """An encoder's weights by their names inside it, whatever it is part of."""
    prefixes = ("model.encoder.", f"{model.base_model_prefix}.", "encoder." if hasattr(model, "projector") else "")
    weights = {}
    for name, value in model.state_dict().items():
        prefix = next((prefix for prefix in prefixes if prefix and name.startswith(prefix)), "")
        weights[name.removeprefix(prefix)] = value
    return weights


def make_clip(name: str, duration_s: float, seed: int = 0) -> np.ndarray:
    return synthesise(name, seed=seed, duration_s=1.5, sample_rate=RATE)[: round(duration_s * RATE)]


@pytest.fixture
def damage(write_native, tmp_path):
    """A function that writes a HuBERT, lets its weights be changed, and gives its folder."""

    def write_and_change(change):
        write_native(tmp_path, "hubert")
        weights = load_file(tmp_path / "model.safetensors")
        change(weights)
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        return tmp_path

    return write_and_change


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_is_the_one_of_the_checkpoint(write_native, tmp_path, family):
    written = read_encoder(write_native(tmp_path, family))
    pretrained = load(tmp_path, multi_label=True)
    heads = ("projector", "classifier", "layer_weights")
    loaded = {name: value for name, value in read_encoder(pretrained.model).items() if not name.startswith(heads)}
    assert len(loaded) > 20
    for name, value in loaded.items():
        torch.testing.assert_close(value, written[name], rtol=0, atol=0)
    assert pretrained.model.config.id2label == dict(enumerate(LABELS))
    assert pretrained.model.config.problem_type == "multi_label_classification"
    assert pretrained.sample_rate == RATE


@pytest.mark.parametrize("family", ["hubert", "wav2vec2", "wavlm", "sew"])
def test_a_checkpoint_of_former_days_is_read(write_native, tmp_path, family):
    # A pickle, weight norm under its old names, and no stand-in for masked frames: what most of them are on the Hub.
    written = write_native(tmp_path, family)
    (tmp_path / "model.safetensors").unlink()
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in written.state_dict().items()
        if "masked_spec_embed" not in name
    }
    assert any(name.endswith("weight_g") for name in old)
    torch.save(old, tmp_path / "pytorch_model.bin")
    model = load(tmp_path).model
    expected, loaded = read_encoder(written), read_encoder(model)
    for name in expected.keys() & loaded.keys() - {"masked_spec_embed"}:
        torch.testing.assert_close(loaded[name], expected[name], rtol=0, atol=0)
    stand_in = loaded["masked_spec_embed"]
    assert 0.0 <= stand_in.min() < stand_in.max() <= 1.0


@pytest.mark.parametrize("family", ["hubert", "ast"])
def test_the_head_hangs_on_the_seed_and_on_nothing_else(write_native, tmp_path, family):
    write_native(tmp_path, family)
    first, same, other = (load(tmp_path, seed=seed).model.state_dict() for seed in (0, 0, 1))
    head = [name for name in first if name.startswith(("projector", "classifier")) and name.endswith("weight")]
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in head)


def test_other_labels_of_the_same_number_do_not_inherit_a_decision(write_native, tmp_path):
    written = write_native(tmp_path, "ast", num_labels=3)
    with torch.no_grad():
        written.classifier.dense.bias.fill_(5.0)
    written.save_pretrained(tmp_path)
    head = load(tmp_path).model.classifier
    assert head.dense.bias.abs().max() == 0.0
    assert not torch.equal(head.dense.weight, written.classifier.dense.weight)


@pytest.mark.parametrize("family", LAYERED)
def test_where_the_head_weighs_the_layers_it_starts_with_equal_weights(write_native, tmp_path, family):
    # Transformers leaves what the memory held in five of these families.
    write_native(tmp_path, family, use_weighted_layer_sum=True)
    assert load(tmp_path).model.layer_weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_a_model_stored_in_half_precision_is_trained_in_whole(write_native, tmp_path):
    write_native(tmp_path, "hubert").half().save_pretrained(tmp_path)
    assert {parameter.dtype for parameter in load(tmp_path).model.parameters()} == {torch.float32}


def test_full_tuning_leaves_the_first_convolutions_only_if_told_to(write_native, tmp_path):
    write_native(tmp_path, "hubert")

    def list_frozen(**settings):
        return {n.split(".")[1] for n, p in load(tmp_path, **settings).model.named_parameters() if not p.requires_grad}

    assert list_frozen() == {"feature_extractor"}
    assert list_frozen(freeze_feature_encoder=False) == set()
    assert load(tmp_path).note is None


def test_whispers_sinusoids_are_never_trained(write_native, tmp_path):
    write_native(tmp_path, "whisper")
    frozen = [name for name, parameter in load(tmp_path).model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["encoder.embed_positions.weight"]


@pytest.mark.parametrize("tuning", ["probe", "lora"])
def test_what_is_tuned_in_part_says_how_much_of_it(write_native, tmp_path, tuning):
    write_native(tmp_path, "hubert")
    pretrained = load(tmp_path, tuning=tuning)
    learning = sum(p.numel() for p in pretrained.model.parameters() if p.requires_grad)
    share = learning / sum(p.numel() for p in pretrained.model.parameters())
    assert f"{share:.2%}" in pretrained.note
    assert f"({tuning})" in pretrained.note


def test_a_waveform_is_normalised_as_the_extractor_has_it_unless_told_otherwise(write_native, tmp_path):
    write_native(tmp_path, "hubert")
    clip = [make_clip("bell", 1.0) + 0.2]
    for normalise, deviation in ((None, 1.0), (True, 1.0), (False, float(clip[0].std()))):
        extractor = load(tmp_path, normalise=normalise).extractor
        assert extractor.do_normalize is (normalise is not False)
        values = prepare_inputs(extractor, clip, sample_rate=RATE)["input_values"]
        assert float(values.std(correction=0)) == pytest.approx(deviation, abs=1e-3)


@pytest.mark.parametrize("family", SPEECH)
def test_clips_of_a_fifth_of_a_second_are_learned(write_native, tmp_path, family):
    write_native(tmp_path, family, mask_time_prob=0.05, layerdrop=0.0)
    pretrained = load(tmp_path, freeze_feature_encoder=False)
    clips = [make_clip(name, 0.2, seed) for seed in (0, 1) for name in LABELS]
    targets = torch.tensor([0, 1, 2] * 2)
    model = pretrained.model.train()
    raw = prepare_inputs(pretrained.extractor, clips, sample_rate=RATE)
    with pytest.raises(ValueError, match="mask_length"):
        model(**raw)  # SpecAugment as it comes
    inputs = prepare_inputs(pretrained.extractor, clips, sample_rate=RATE, shortest=pretrained.shortest)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(**inputs).logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(np.log(3), abs=0.1)
    assert np.median(losses[-10:]) < 0.8 * losses[0]  # now and then a mask hides it all


def test_masks_leave_most_of_a_short_clip_to_be_heard(write_native, tmp_path):
    write_native(tmp_path, "hubert", mask_time_prob=0.05)
    model = load(tmp_path).model.train()
    np.random.seed(0)
    with torch.no_grad():
        # Half a second, a thousand times; two masks of ten frames would hide most of it each time.
        batches = [model.hubert._mask_hidden_states(torch.zeros(1, 24, 16)) for _ in range(1000)]
    hidden = float((torch.cat(batches) != 0).any(-1).float().mean())
    assert hidden == pytest.approx(0.05, abs=0.02)  # mask_time_prob, as promised


@pytest.mark.parametrize("family", ["data2vec", "whisper"])
def test_a_weighted_sum_of_layers_survives_layers_left_out_by_chance(write_native, tmp_path, family):
    write_native(tmp_path, family, use_weighted_layer_sum=True, layerdrop=0.9, encoder_layerdrop=0.9)
    pretrained = load(tmp_path)
    inputs = prepare_inputs(pretrained.extractor, [make_clip("bell", 1.0)], sample_rate=RATE)
    pretrained.model.train()(**inputs).logits.sum().backward()
    assert pretrained.model.layer_weights.grad.isfinite().all()


def test_a_model_hears_as_long_as_its_extractor_lets_it(write_native, tmp_path):
    samples = {}
    for family in ("hubert", "ast", "whisper"):
        write_native(tmp_path / family, family)
        samples[family] = load(tmp_path / family).window
    # 64 frames of 400 samples every 160; one second; half a minute.
    assert samples == {"hubert": 30 * RATE, "ast": 63 * 160 + 400, "whisper": RATE}


def test_asts_window_is_all_it_hears_and_no_more(write_native, tmp_path):
    write_native(tmp_path, "ast")
    extractor = load(tmp_path).extractor
    window = longest_window(extractor)
    clip = make_clip("rain", 1.0)
    whole, longer, shorter = (
        prepare_inputs(extractor, [clip[:samples]], sample_rate=RATE)["input_values"]
        for samples in (window, window + 160, window - 160)
    )
    assert torch.equal(whole, longer)
    assert not torch.equal(whole, shorter)


def test_padding_is_masked_and_nothing_else(write_native, tmp_path):
    write_native(tmp_path, "hubert")  # its extractor gives no mask by itself
    extractor = load(tmp_path).extractor
    long, short = make_clip("bell", 1.0), make_clip("rain", 0.5)
    assert set(prepare_inputs(extractor, [long, long], sample_rate=RATE)) == {"input_values"}
    batch = prepare_inputs(extractor, [long, short], sample_rate=RATE)
    assert batch["attention_mask"].sum(1).tolist() == [16_000, 8_000]
    alone = prepare_inputs(extractor, [short], sample_rate=RATE)["input_values"][0]
    torch.testing.assert_close(batch["input_values"][1, :8_000], alone)
    assert batch["input_values"][1, 8_000:].abs().max() == 0.0


def test_what_is_too_short_is_filled_up_with_zeros(write_native, tmp_path):
    write_native(tmp_path, "hubert")
    extractor = load(tmp_path, normalise=False).extractor
    values = prepare_inputs(extractor, [np.ones(7, np.float32)], sample_rate=RATE, shortest=10)["input_values"]
    assert values.tolist() == [[1.0] * 7 + [0.0] * 3]


@pytest.mark.parametrize(
    ("family", "key", "shape"), [("ast", "input_values", (64, 32)), ("whisper", "input_features", (80, 100))]
)
def test_ast_and_whisper_get_the_one_length_they_know(write_native, tmp_path, family, key, shape):
    write_native(tmp_path, family)
    pretrained = load(tmp_path)
    clips = [make_clip("bell", 0.3), make_clip("rain", 0.9)]
    together = prepare_inputs(pretrained.extractor, clips, sample_rate=RATE)
    assert set(together) == {key}
    assert together[key].shape == (2, *shape)
    for clip, row in zip(clips, together[key], strict=True):
        torch.testing.assert_close(prepare_inputs(pretrained.extractor, [clip], sample_rate=RATE)[key][0], row)


@pytest.mark.parametrize(
    "name", ["encoder.layers.0.attention.q_proj.weight", "feature_extractor.conv_layers.1.conv.weight"]
)
def test_an_encoder_with_a_hole_is_refused_instead_of_trained_from_noise(damage, name):
    folder = damage(lambda weights: weights.pop(name))
    with pytest.raises(ModelError, match=rf"lacks 1 weights of its encoder \(hubert\.{name}"):
        load(folder)


def test_an_encoder_of_another_size_is_refused(damage):
    name = "encoder.layer_norm.weight"
    folder = damage(lambda weights: weights.update({name: torch.ones(17)}))
    with pytest.raises(ModelError, match="or has them in another size"):
        load(folder)


def spoil(folder, kind: str) -> None:
    if kind == "truncated":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif kind == "no weights":
        (folder / "model.safetensors").unlink()
    elif kind == "no extractor":
        (folder / "preprocessor_config.json").unlink()
    elif kind == "text":
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        BertModel(BertConfig(vocab_size=9, **sizes)).save_pretrained(folder)
    elif kind == "ours":
        EarmarkConfig(num_labels=2).save_pretrained(folder)
    elif kind == "not Transformers":
        (folder / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    elif kind == "own code":
        (folder / "config.json").write_text(json.dumps({"model_type": "new", "auto_map": {"AutoConfig": "a.B"}}))
    else:
        (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "cannot be loaded as an audio model"),
        ("no weights", "no file named model.safetensors"),
        ("no extractor", "has no feature extractor .* add the one of the model it was made from"),
        ("text", r"\(bert\) is no audio model"),
        ("ours", "is a model of Earmark"),
        ("not Transformers", "Unrecognized model"),
        ("own code", "custom code"),
        ("no JSON", "not a valid JSON file"),
    ],
)
def test_what_is_no_audio_model_is_refused_in_one_sentence(write_native, tmp_path, kind, words):
    write_native(tmp_path, "hubert")
    spoil(tmp_path, kind)
    with pytest.raises(ModelError, match=words) as refusal:
        load(tmp_path)
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_nothing_is_said_about_what_is_meant_to_be_missing(write_native, tmp_path, caplog, recwarn):
    write_native(tmp_path, "ast", num_mel_bins=128)
    ASTFeatureExtractor(max_length=64).save_pretrained(tmp_path)  # empty mel bands, as in the real one
    recwarn.clear()
    logging.set_verbosity_warning()  # as users have it
    logging.enable_propagation()
    try:
        AutoModelForAudioClassification.from_pretrained(tmp_path, num_labels=3, ignore_mismatched_sizes=True)
        assert "classifier.dense.weight" in caplog.text, "Transformers itself says something"
        caplog.clear()
        load(tmp_path)
        assert logging.get_verbosity() == logging.WARNING
    finally:
        logging.disable_propagation()
        logging.set_verbosity_error()
    assert not caplog.text
    assert not recwarn.list


def test_a_place_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="holds no model"):
        load(tmp_path)
    with pytest.raises(ModelError, match="There is no"):
        load(tmp_path / "nowhere")


def test_a_model_of_the_hub_is_loaded_by_its_id(write_native, tmp_path, hub):
    write_native(tmp_path, "hubert")
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    hub.add("some/hubert", files)
    from_hub, from_disk = load("some/hubert").model.state_dict(), load(tmp_path).model.state_dict()
    assert all(torch.equal(from_hub[name], from_disk[name]) for name in from_disk)


def test_an_id_that_does_not_exist_and_a_hub_out_of_reach_are_told_apart(hub, monkeypatch):
    with pytest.raises(ModelError, match=r"some/hubert .*the Hub knows no model of that name"):
        load("some/hubert")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(ModelError, match=r"some/hubert .*cannot be reached"):
        load("some/hubert")


def test_what_is_saved_is_a_plain_transformers_model(write_native, tmp_path):
    write_native(tmp_path / "base", "hubert")
    model = load(tmp_path / "base").model
    model.save_pretrained(tmp_path / "saved")
    again, loading = AutoModelForAudioClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert type(again).__name__ == "HubertForSequenceClassification"
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert str(tmp_path) not in (tmp_path / "saved" / "config.json").read_text()
