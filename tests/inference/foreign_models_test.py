"""Classifier on models that are not ours: Transformers' own classes, unwrapped."""

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertForSequenceClassification, Wav2Vec2FeatureExtractor

from earmark.errors import ModelError
from earmark.inference.classifier import Classifier
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
    inputs = classifier.extractor(clip, sampling_rate=RATE, return_tensors="pt")
    return classifier.model(**inputs).logits.softmax(-1)[0].numpy()


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
    hubert.model.hubert.save_pretrained(tmp_path)  # what a pretrained-only checkpoint holds
    hubert.extractor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="holds no trained classifier"):
        Classifier.from_pretrained(tmp_path)
