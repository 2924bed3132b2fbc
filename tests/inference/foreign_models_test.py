"""Classifier on models that are not ours: Transformers' own classes, unwrapped."""

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertForSequenceClassification, Wav2Vec2FeatureExtractor

from earmark.errors import ModelError
from earmark.inference.classifier import Classifier
from earmark.models.pretrained import load_pretrained_audio, prepare_inputs
from earmark.sound.synthesis import synthesise

RATE = 16_000
LABELS = ("bell", "rain", "voice")


@pytest.fixture(scope="module", params=["group", "layer"])
def hubert(request, tmp_path_factory):
    """A tiny random HuBERT: "group" is built like the base models (no mask), "layer" like the large ones (a mask)."""
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8, 8, 8, 8, 8, 8),
        feat_extract_norm=request.param,
        do_stable_layer_norm=request.param == "layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )
    model = HubertForSequenceClassification(config)
    with torch.no_grad():
        # Random networks say nearly the same of everything; a steep, centred last layer makes differences show.
        model.eval().classifier.weight.mul_(1_000.0)
        heard = [model(torch.from_numpy(clip)[None]).logits for clip in make_clips(1.0, 1.0, 1.0, 1.0)]
        spread, mean = torch.cat(heard).std(0).mean(), torch.cat(heard).mean(0)
        model.classifier.weight.div_(spread)
        model.classifier.bias.copy_(-mean / spread)
    folder = tmp_path_factory.mktemp("hubert")
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=request.param == "layer").save_pretrained(folder)
    return Classifier.from_pretrained(folder, device="cpu")


def make_clips(*durations_s: float) -> list[np.ndarray]:
    names = ("bell", "rain", "voice", "drums")
    return [
        synthesise(names[i % 4], seed=i, duration_s=1.5, sample_rate=RATE)[: round(duration_s * RATE)]
        for i, duration_s in enumerate(durations_s)
    ]


@torch.inference_mode()
def ask_transformers(classifier: Classifier, clip: np.ndarray) -> np.ndarray:
    inputs = classifier.network.extractor(clip, sampling_rate=RATE, return_tensors="pt")
    return classifier.network.model(**inputs).logits.softmax(-1)[0].numpy()


def test_a_hubert_answers_as_transformers_has_it(hubert):
    (clip,) = make_clips(1.1)
    prediction = hubert.classify(clip)
    named = {answer["label"]: answer["score"] for answer in prediction}
    np.testing.assert_allclose([named[label] for label in LABELS], ask_transformers(hubert, clip), atol=1e-5)


def test_a_hubert_gives_a_clip_the_same_answer_alone_and_in_a_batch(hubert):
    # Base models normalise over time and take no mask: a padded neighbour would move their answers by tenths.
    clips = make_clips(1.0, 0.4, 0.7, 0.4, 0.25, 1.0, 0.02)
    together = hubert.score(clips)
    assert np.ptp(together, axis=0).max() > 0.05, "a model that says the same of everything proves nothing"
    for clip, scores in zip(clips, together, strict=True):
        np.testing.assert_allclose(hubert.score([clip])[0], scores, atol=1e-5)


def test_a_sound_shorter_than_the_first_convolutions_is_answered(hubert):
    for samples in (1, 16, 399):
        scores = hubert.score([np.full(samples, 0.1, np.float32)])[0]
        assert np.isfinite(scores).all()
        assert scores.sum() == pytest.approx(1.0, abs=1e-5)


def test_a_tail_of_a_few_samples_after_the_last_window_counts_as_little_as_it_lasts(hubert):
    hubert_window, hubert.window = hubert.window, RATE
    try:
        (clip,) = make_clips(1.0)
        with_tail = np.concatenate([clip, clip[:16]])
        np.testing.assert_allclose(hubert.score([with_tail])[0], hubert.score([clip])[0], atol=2e-3)
    finally:
        hubert.window = hubert_window


def test_a_model_without_a_trained_head_is_refused_instead_of_guessing(hubert, tmp_path):
    hubert.network.model.hubert.save_pretrained(tmp_path)  # what a pretrained-only checkpoint holds
    hubert.network.extractor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="holds no trained classifier"):
        Classifier.from_pretrained(tmp_path)


FAMILIES = ("hubert", "hubert-large", "wav2vec2-large", "wavlm", "data2vec", "sew", "ast", "whisper")


@pytest.fixture
def load_foreign(write_native, tmp_path):
    """A tiny model of a family as a Classifier that tells sounds apart, random as it is."""

    def write_and_load(family: str) -> Classifier:
        write_native(tmp_path / "base", family)
        torch.manual_seed(0)
        native = load_pretrained_audio(str(tmp_path / "base"), LABELS, multi_label=False)
        clips = make_clips(0.5, 0.5, 0.5, 0.5)
        inputs = prepare_inputs(native.extractor, clips, sample_rate=RATE)
        last = getattr(native.model.classifier, "dense", native.model.classifier)
        with torch.no_grad():
            logits = native.model.eval()(**inputs).logits
            last.weight.div_(logits.std(0).mean())
            last.bias.copy_(-logits.mean(0) / logits.std(0).mean())
        native.model.save_pretrained(tmp_path / "tuned")
        native.extractor.save_pretrained(tmp_path / "tuned")
        return Classifier.from_pretrained(tmp_path / "tuned", device="cpu")

    return write_and_load


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_as_transformers_has_it(load_foreign, family):
    classifier = load_foreign(family)
    (clip,) = make_clips(0.5)
    np.testing.assert_allclose(classifier.score([clip])[0], ask_transformers(classifier, clip), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_a_clip_the_same_answer_alone_and_in_a_batch(load_foreign, family):
    # Some leave padding out, some know one length only, and with the rest nothing may be padded at all.
    classifier = load_foreign(family)
    clips = make_clips(0.6, 0.3, 0.5, 0.3, 0.2)
    together = classifier.score(clips)
    assert np.ptp(together, axis=0).max() > 0.05, "a model that says the same of everything proves nothing"
    for clip, scores in zip(clips, together, strict=True):
        np.testing.assert_allclose(classifier.score([clip])[0], scores, atol=2e-5)


@pytest.mark.parametrize("family", ["ast", "whisper"])
def test_a_model_that_hears_little_at_once_hears_a_long_sound_to_its_end(load_foreign, family):
    classifier = load_foreign(family)
    bell, drums = (np.tile(clip, 3)[: 3 * classifier.window] for clip in make_clips(1.2, 1.2, 1.2, 1.2)[::3])
    changed = np.concatenate([bell[: 2 * classifier.window], drums[: classifier.window]])
    windows = [ask_transformers(classifier, piece) for piece in np.split(changed, 3)]
    assert np.abs(windows[2] - ask_transformers(classifier, bell[-classifier.window :])).max() > 0.1
    np.testing.assert_allclose(classifier.score([changed])[0], np.mean(windows, axis=0), atol=1e-5)
    assert np.abs(classifier.score([changed]) - classifier.score([bell])).max() > 0.03


def test_a_model_trained_on_short_windows_hears_windows_as_long(load_foreign, tmp_path):
    classifier = load_foreign("hubert")
    classifier.network.model.config.window = RATE // 2
    classifier.network.model.save_pretrained(tmp_path / "tuned")
    again = Classifier.from_pretrained(tmp_path / "tuned", device="cpu")
    assert (classifier.window, again.window) == (30 * RATE, RATE // 2)


def test_a_model_stored_in_half_precision_answers(load_foreign, tmp_path):
    classifier = load_foreign("hubert")
    (clip,) = make_clips(0.5)
    expected = classifier.score([clip])
    classifier.network.model.half().save_pretrained(tmp_path / "tuned")
    scores = Classifier.from_pretrained(tmp_path / "tuned", device="cpu").score([clip])
    np.testing.assert_allclose(scores, expected, atol=0.02)
