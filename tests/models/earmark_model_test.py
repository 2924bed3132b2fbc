"""Our models through Transformers: one answer whatever stands beside a clip, and the same after saving and loading."""

import copy

import numpy as np
import pytest
import soxr
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

from earmark.errors import ModelError
from earmark.inference.classifier import Classifier
from earmark.inference.torch_network import TorchNetwork
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
from earmark.sound.synthesis import synthesise

RATE = 16_000
WINDOW = 8_000
LABELS = ("bell", "rain", "voice")
MLP = {"name": "mlp", "hidden": [8], "dropout": 0.1, "batch_norm": True, "activation": "relu"}
KINDS = {
    "mel_statistics+mlp": ({"kind": "mel_statistics"}, MLP),
    "mfcc_mean+mlp": ({"kind": "mfcc_mean"}, MLP),
    "log_mel+cnn": ({"kind": "log_mel", "hop_length": 160}, {"name": "cnn", "widths": [4, 8, 8], "dropout": 0.1}),
    "log_mel max+cnn": (
        {"kind": "log_mel", "reference": "max", "top_db": 80.0},
        {"name": "cnn", "widths": [4, 8], "dropout": 0.1},
    ),
    "log_mel+resnet18": ({"kind": "log_mel"}, {"name": "resnet18", "dropout": 0.0}),
    "log_mel+convnext_atto": ({"kind": "log_mel", "hop_length": 160}, {"name": "convnext_atto", "dropout": 0.0}),
}
# Shorter than, equal to and longer than the window; one window and a sample; whole windows; a single sample.
LENGTHS = (3_000, WINDOW, 11_111, WINDOW + 1, 3 * WINDOW, 7_999, 1)


def make_model(kind: str, **settings) -> EarmarkForAudioClassification:
    """A random model whose statistics are fitted and whose answers differ from clip to clip."""
    torch.manual_seed(0)
    front_end, backbone = KINDS[kind]
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=WINDOW,
        front_end=front_end,
        backbone=backbone,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        **{"problem_type": "single_label_classification", **settings},
    )
    model = EarmarkForAudioClassification(config)
    clips = torch.from_numpy(np.stack(make_clips([WINDOW] * 8)))
    with torch.no_grad():
        encoded = model.encode(clips)
        model.standardise.fit([encoded])
        model.train()
        for _ in range(20):  # settles the running statistics of the batch norms
            model.head(encoded)
        model.eval()
        # Random networks say nearly the same of everything; a steeper last layer makes differences show.
        spread = model.head(encoded).std(0).mean()
        last = [layer for layer in model.backbone.modules() if isinstance(layer, torch.nn.Linear)][-1]
        last.weight *= 1.0 / spread
        last.bias -= model.head(encoded).mean(0)
    return model


def make_clips(lengths) -> list[np.ndarray]:
    names = ("bell", "rain", "voice", "engine")
    return [
        synthesise(names[i % 4], seed=i, duration_s=2.0, sample_rate=RATE)[:length] for i, length in enumerate(lengths)
    ]


@torch.inference_mode()
def ask(model, clips: list[np.ndarray]) -> np.ndarray:
    inputs = EarmarkFeatureExtractor(sampling_rate=RATE)(clips, sampling_rate=RATE, return_tensors="pt")
    logits = model(**inputs).logits
    multi_label = model.config.problem_type == "multi_label_classification"
    return (logits.sigmoid() if multi_label else logits.softmax(-1)).numpy()


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return make_model(request.param)


def test_a_clip_gets_the_same_answer_alone_and_beside_longer_ones(model):
    clips = make_clips(LENGTHS)
    together = ask(model, clips)
    assert np.ptp(together, axis=0).max() > 0.05, "a model that says the same of everything proves nothing"
    for clip, answer in zip(clips, together, strict=True):
        np.testing.assert_allclose(ask(model, [clip])[0], answer, atol=1e-5)


def test_the_answer_to_a_long_clip_is_the_mean_over_its_windows_by_their_length(model):
    (clip,) = make_clips([int(2.3 * WINDOW)])
    windows = [clip[:WINDOW], clip[WINDOW : 2 * WINDOW], clip[2 * WINDOW :]]
    answers = np.stack([ask(model, [window])[0] for window in windows])
    expected = sum(len(window) * answer for window, answer in zip(windows, answers, strict=True)) / len(clip)
    np.testing.assert_allclose(ask(model, [clip])[0], expected, atol=1e-5)
    network = TorchNetwork(copy.deepcopy(model), EarmarkFeatureExtractor(sampling_rate=RATE), device="cpu")
    classifier = Classifier(network)
    np.testing.assert_allclose(classifier.score([clip])[0], expected, atol=1e-5)


def test_without_a_mask_all_is_sound(model):
    clips = torch.from_numpy(np.stack(make_clips([WINDOW, WINDOW])))
    with torch.inference_mode():
        torch.testing.assert_close(model(clips).logits, model(clips, torch.ones_like(clips)).logits)


def test_encode_and_head_are_the_model(model):
    clips = torch.from_numpy(np.stack(make_clips([WINDOW, WINDOW])))
    with torch.inference_mode():
        assert torch.equal(model.head(model.encode(clips)), model(clips).logits)


def test_saving_and_loading_keeps_every_bit(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert type(loaded) is EarmarkForAudioClassification
    kept, back = dict(model.named_parameters()), dict(loaded.named_parameters())
    kept.update(model.named_buffers())
    back.update(loaded.named_buffers())
    assert kept.keys() == back.keys()
    assert {"front_end.mel.window", "front_end.mel.filters", "standardise.mean", "standardise.deviation"} <= kept.keys()
    assert all(torch.equal(kept[name], back[name]) and kept[name].dtype == back[name].dtype for name in kept)
    assert not loaded.training
    clips = make_clips(LENGTHS)
    assert np.array_equal(ask(loaded, clips), ask(model, clips))


def test_multi_label_windows_average_probabilities_a_class_at_a_time():
    model = make_model("mel_statistics+mlp", problem_type="multi_label_classification")
    clips = make_clips([int(1.5 * WINDOW), 3_000])
    answers = ask(model, clips)
    first, rest = ask(model, [clips[0][:WINDOW]])[0], ask(model, [clips[0][WINDOW:]])[0]
    np.testing.assert_allclose(answers[0], (2 * first + rest) / 3, atol=1e-5)
    np.testing.assert_allclose(answers[1], ask(model, [clips[1]])[0], atol=1e-5)
    assert not np.allclose(answers.sum(1), 1.0), "classes do not compete"


def test_the_configuration_survives_and_names_the_labels(tmp_path):
    make_model("mfcc_mean+mlp").save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is EarmarkConfig
    assert (config.sampling_rate, config.window, config.num_labels) == (RATE, WINDOW, 3)
    assert config.id2label == dict(enumerate(LABELS))
    assert config.front_end == {"kind": "mfcc_mean"}
    assert config.backbone == MLP


def test_a_configuration_without_parts_is_refused():
    with pytest.raises(ModelError, match=r"needs a front_end and a backbone; `earmark train` writes both"):
        EarmarkForAudioClassification(EarmarkConfig())


def test_models_of_a_kind_can_be_built_after_one_was_loaded(tmp_path):
    # Loading builds on the meta device; what the features keep between calls must not come from there.
    from earmark.sound import features

    make_model("mfcc_mean+mlp").save_pretrained(tmp_path)
    features.dct_matrix.cache_clear()
    features.mel_filters.cache_clear()
    AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert np.isfinite(ask(make_model("mfcc_mean+mlp"), make_clips([WINDOW]))).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_model("log_mel+cnn").save_pretrained(folder)
    EarmarkFeatureExtractor(sampling_rate=RATE).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("length", LENGTHS)
def test_transformers_pipeline_gives_the_scores_of_our_classifier(folder, length):
    (clip,) = make_clips([length])
    answers = pipeline("audio-classification", model=str(folder), device="cpu")(clip, top_k=None)
    expected = Classifier.from_pretrained(folder, device="cpu").classify(clip)
    assert [answer["label"] for answer in answers] == [answer["label"] for answer in expected]
    np.testing.assert_allclose(
        [answer["score"] for answer in answers], [answer["score"] for answer in expected], atol=1e-5
    )


def test_the_pipeline_opens_files_bytes_and_arrays_at_any_rate(folder, tmp_path):
    import soundfile

    clip = synthesise("voice", seed=5, duration_s=1.2, sample_rate=22_050)
    path = tmp_path / "声 音.flac"
    soundfile.write(path, clip, 22_050)
    expected = Classifier.from_pretrained(folder, device="cpu").classify(path)
    ask_pipeline = pipeline("audio-classification", model=str(folder), device="cpu")
    for source in (str(path), path.read_bytes(), {"array": clip, "sampling_rate": 22_050}):
        answers = ask_pipeline(source, top_k=None)
        assert [answer["label"] for answer in answers] == [answer["label"] for answer in expected]
        # flac keeps 16 bits, the array all of them.
        np.testing.assert_allclose([a["score"] for a in answers], [a["score"] for a in expected], atol=2e-3)


def test_the_extractor_is_found_by_its_auto_class(folder):
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    assert type(extractor) is EarmarkFeatureExtractor
    assert extractor.sampling_rate == RATE
    assert extractor.model_input_names == ["input_values", "attention_mask"]


def test_the_extractor_pads_with_zeros_and_masks_what_it_padded():
    extractor = EarmarkFeatureExtractor(sampling_rate=RATE)
    clips = [np.full(3, 0.5, np.float32), np.full(5, 0.25, np.float32)]
    batch = extractor(clips, sampling_rate=RATE, return_tensors="np")
    assert batch["input_values"].tolist() == [[0.5, 0.5, 0.5, 0.0, 0.0], [0.25] * 5]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert batch["input_values"].dtype == np.float32


def test_the_extractor_resamples_to_the_models_rate():
    clip = synthesise("siren", seed=0, duration_s=0.5, sample_rate=44_100)
    batch = EarmarkFeatureExtractor(sampling_rate=RATE)(clip, sampling_rate=44_100, return_tensors="np")
    np.testing.assert_array_equal(batch["input_values"][0], soxr.resample(clip, 44_100, RATE, quality="HQ"))
    assert batch["attention_mask"].sum() == round(0.5 * RATE)


@pytest.mark.parametrize("form", [np.asarray, torch.tensor, list])
def test_the_extractor_takes_one_clip_in_any_form(form):
    batch = EarmarkFeatureExtractor(sampling_rate=RATE)(form([0.5, -0.5, 0.25]), return_tensors="pt")
    assert batch["input_values"].tolist() == [[0.5, -0.5, 0.25]]


@pytest.mark.parametrize("clip", [np.zeros((2, 100)), np.zeros((100, 1)), np.zeros(0)])
def test_the_extractor_refuses_what_is_no_mono_waveform(clip):
    extractor = EarmarkFeatureExtractor(sampling_rate=RATE)
    for given in (clip, [np.zeros(100), clip]):
        with pytest.raises(ModelError, match="must be one row of samples; this one has shape"):
            extractor(given, sampling_rate=RATE)


def test_the_extractor_refuses_a_clip_of_which_resampling_leaves_nothing():
    with pytest.raises(ModelError, match="shorter than one sample at 16000 Hz"):
        EarmarkFeatureExtractor(sampling_rate=RATE)(np.zeros(1), sampling_rate=96_000)
