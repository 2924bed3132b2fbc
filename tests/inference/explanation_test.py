"""Why an answer: a beep planted in noise is found where it is, and hiding it costs the score."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from earmark.errors import ModelError
from earmark.inference.class_activation import _find_centres, map_activation
from earmark.inference.classifier import Classifier
from earmark.inference.explanation import Explanation, explain
from earmark.inference.occlusion import Patches, average_over_patches
from earmark.inference.torch_network import TorchNetwork
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
from earmark.models.backbones import SmallCnn, TimmNetwork
from earmark.sound.heat import HeatMap

RATE = 8_000
WINDOW = 8_000
LABELS = ("beep", "buzz", "hiss")
PITCH_HZ = {"beep": 2_400, "buzz": 500}
LENGTH_S = 0.1

LOG_MEL = {"kind": "log_mel", "n_fft": 256, "hop_length": 125, "n_mels": 32}
STATISTICS = {"kind": "mel_statistics", "n_fft": 256, "hop_length": 128, "n_mels": 24}
SMALL_CNN = {"name": "cnn", "widths": [8, 16, 16], "dropout": 0.0}
MLP = {"name": "mlp", "hidden": [24], "dropout": 0.0, "batch_norm": False, "activation": "relu"}
VIT = {"name": "test_vit", "dropout": 0.0}


def make_sound(events: dict[str, float], seed: int, seconds: float = 1.0) -> np.ndarray:
    """Noise with tones of 0.1 s, all of levels of their own: label -> where the tone begins, seconds."""
    random = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE)) / RATE
    sound = random.uniform(0.005, 0.03) * random.normal(0, 1, len(time_s))
    for label, start_s in events.items():
        inside = (time_s >= start_s) & (time_s < start_s + LENGTH_S)
        sound += random.uniform(0.1, 0.4) * np.sin(2 * np.pi * PITCH_HZ[label] * time_s) * inside
    return sound.astype(np.float32)


def make_lesson(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(1)
    sounds, truth = [], []
    for i in range(count):
        label = LABELS[i % 3]
        events = {} if label == "hiss" else {label: random.uniform(0.0, 0.8)}
        sounds.append(make_sound(events, seed=i))
        truth.append(i % 3)
    return torch.from_numpy(np.stack(sounds)), torch.tensor(truth)


def teach(front_end: dict, backbone: dict, *, rounds: int = 60, multi_label: bool = False) -> Classifier:
    torch.manual_seed(0)
    model = EarmarkForAudioClassification(
        EarmarkConfig(
            sampling_rate=RATE,
            window=WINDOW,
            front_end=front_end,
            backbone=backbone,
            id2label=dict(enumerate(LABELS)),
            label2id={label: i for i, label in enumerate(LABELS)},
            problem_type="multi_label_classification" if multi_label else "single_label_classification",
        )
    )
    sounds, truth = make_lesson(192)
    encoded = model.encode(sounds)
    model.standardise.fit([encoded])
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.3)
    targets = torch.nn.functional.one_hot(truth, 3).float()
    model.train()
    for step in range(rounds):
        rows = torch.arange(32) + 32 * (step % 6)
        logits = model.head(type(encoded)(encoded.features[rows], encoded.frames[rows]))
        loss = torch.nn.functional.cross_entropy(logits, truth[rows], label_smoothing=0.1)
        if multi_label:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Classifier(TorchNetwork(model, EarmarkFeatureExtractor(sampling_rate=RATE), device="cpu"))


@pytest.fixture(scope="module")
def cnn() -> Classifier:
    return teach(LOG_MEL, SMALL_CNN)


@pytest.fixture(scope="module")
def mlp() -> Classifier:
    return teach(STATISTICS, MLP, rounds=150)


def assert_found(explanation: Explanation, label: str, start_s: float, *, slack_s: float, low: float, high: float):
    """The heat is highest where the tone is, in time and in frequency."""
    assert explanation.label == label
    time_s, frequency_hz = explanation.heat.highest()
    assert start_s - slack_s <= time_s <= start_s + LENGTH_S + slack_s
    assert low <= frequency_hz <= high
    assert explanation.fidelity is not None
    assert explanation.fidelity.holds, explanation.sentence
    assert explanation.fidelity.marked < explanation.fidelity.elsewhere - 0.15


@pytest.mark.parametrize("start_s", [0.05, 0.4, 0.75])
@pytest.mark.parametrize("label", ["beep", "buzz"])
def test_the_cnn_shows_the_tone_where_it_is(cnn: Classifier, label: str, start_s: float) -> None:
    explanation = explain(cnn, make_sound({label: start_s}, seed=901))
    assert explanation.method == "class activation"
    assert explanation.heat.values.shape == (32, 65)
    pitch_hz = PITCH_HZ[label]
    assert_found(explanation, label, start_s, slack_s=0.05, low=pitch_hz / 5, high=pitch_hz * 1.5)


@pytest.mark.parametrize("start_s", [0.05, 0.4, 0.75])
@pytest.mark.parametrize("label", ["beep", "buzz"])
def test_the_mlp_shows_it_by_what_hiding_costs(mlp: Classifier, label: str, start_s: float) -> None:
    explanation = explain(mlp, make_sound({label: start_s}, seed=902))
    assert explanation.method == "occlusion"
    assert explanation.heat.values.shape == (6, 20)
    assert_found(explanation, label, start_s, slack_s=0.05, low=PITCH_HZ[label] / 2, high=PITCH_HZ[label] * 1.5)


class Halving(torch.nn.Module):
    """A network as timm has them, but one that can be seen through: its map is the mean of what stands out.

    Five halvings with their padding at the left and above, so that cell k looks at pixel 8k, as those of a ResNet do.
    """

    num_features = 1

    def __init__(self) -> None:
        super().__init__()
        self.global_pool = torch.nn.Identity()
        self.classifier = torch.nn.Linear(1, 3, bias=False)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[50.0], [0.0], [0.0]]))

    def get_classifier(self) -> torch.nn.Module:
        return self.classifier

    def forward_features(self, picture: torch.Tensor) -> torch.Tensor:
        x = (picture.mean(1, keepdim=True) - 1.0).relu()
        for _ in range(3):
            x = torch.nn.functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return x

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        return self.classifier(features.mean((-2, -1)))


@pytest.mark.parametrize("start_s", [0.1, 0.45, 0.8])
@pytest.mark.parametrize(
    "picture",
    [{}, {"picture": "repeated", "size_px": 96}, {"picture": "coloured", "size_px": 128}],
    ids=["mel", "repeated", "coloured"],
)
def test_the_map_is_laid_back_where_it_came_from_whatever_the_picture(picture: dict, start_s: float) -> None:
    classifier = teach(LOG_MEL, {"name": "test_resnet", "dropout": 0.0, **picture}, rounds=0)
    network = Halving()
    classifier.network.model.backbone.network = network
    if picture.get("picture") == "coloured":
        # The brightest colours are near 1 in all three channels, those of the noise far below.
        network.forward_features = lambda shown, plain=network.forward_features: plain(shown + 0.9)  # type: ignore
    sound = make_sound({"beep": start_s}, seed=903)
    heat = map_activation(classifier, sound, 0)
    assert heat is not None
    time_s, frequency_hz = heat.highest()
    assert start_s - 0.02 <= time_s <= start_s + LENGTH_S + 0.02
    assert frequency_hz == pytest.approx(2_400, rel=0.25)


@pytest.mark.parametrize(
    ("name", "first"), [("regnetx_002", 0.0), ("test_convnext", 15.5)], ids=["padded", "cut into patches"]
)
def test_cells_of_a_timm_network_lie_where_they_look(name: str, first: float) -> None:
    torch.manual_seed(0)
    network = TimmNetwork(name, 128, 251, 3, dropout=0.0).eval()
    cells = network.map_features(torch.zeros(1, 1, 128, 251), torch.tensor([251])).features.shape[2:]
    rows, columns = _find_centres(network, (1, 128, 251), tuple(cells))
    np.testing.assert_allclose(rows, first + 32 * np.arange(4), atol=2.0)
    np.testing.assert_allclose(columns, first + 32 * np.arange(len(columns)), atol=2.0)


def test_a_transformer_over_patches_is_asked_by_hiding() -> None:
    classifier = teach(LOG_MEL, VIT, rounds=90)
    explanation = explain(classifier, make_sound({"beep": 0.5}, seed=904))
    assert explanation.method == "occlusion"
    assert_found(explanation, "beep", 0.5, slack_s=0.1, low=1_200, high=3_600)


def test_of_two_tones_the_asked_label_has_its_own(cnn: Classifier) -> None:
    both = make_sound({"beep": 0.1, "buzz": 0.7}, seed=905)
    for label, start_s in (("beep", 0.1), ("buzz", 0.7)):
        time_s, _ = explain(cnn, both, label).heat.highest()
        assert start_s - 0.05 <= time_s <= start_s + LENGTH_S + 0.05


def test_over_the_windows_of_a_long_sound_the_one_with_the_tone_is_marked(cnn: Classifier) -> None:
    sound = make_sound({"beep": 2.25}, seed=906, seconds=3.4)
    explanation = explain(cnn, sound, "beep")
    assert explanation.heat.values.shape == (32, 1 + len(sound) // 125)
    assert explanation.heat.time_edges_s[-1] == pytest.approx(3.4)
    time_s, _ = explanation.heat.highest()
    assert 2.2 <= time_s <= 2.45
    others = explanation.heat.at(np.array([0.5, 1.5, 3.2]), np.array([2_400.0]))
    assert others.max() < 0.2


def test_several_labels_are_explained_one_by_one() -> None:
    classifier = teach(LOG_MEL, SMALL_CNN, multi_label=True)
    both = make_sound({"beep": 0.15, "buzz": 0.65}, seed=907)
    for label, start_s in (("beep", 0.15), ("buzz", 0.65)):
        time_s, _ = explain(classifier, both, label).heat.highest()
        assert start_s - 0.05 <= time_s <= start_s + LENGTH_S + 0.05


def test_a_native_model_is_asked_stretch_by_stretch(tmp_path: Path, write_native: Callable) -> None:
    write_native(tmp_path, "ast")
    classifier = Classifier.from_pretrained(tmp_path, device="cpu")
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    explanation = explain(classifier, sound)
    assert explanation.method == "occlusion"
    assert explanation.heat.values.shape == (1, 20)
    assert explanation.score == pytest.approx(classifier.score([sound]).max())


def test_what_is_said_is_what_was_measured(cnn: Classifier) -> None:
    explanation = explain(cnn, make_sound({"beep": 0.4}, seed=908))
    fidelity = explanation.fidelity
    assert fidelity is not None
    assert explanation.sentence == (
        "In colour: where the network found “beep”. With the tenth marked strongest hidden, the score goes from "
        f"{100 * explanation.score:.1f}\u202f% to {100 * fidelity.marked:.1f}\u202f%; with as much hidden "
        f"elsewhere, to {100 * fidelity.elsewhere:.1f}\u202f%."
    )


def test_a_map_that_does_not_bear_the_test_says_so(cnn: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def mark_the_start(classifier: Classifier, waveform: np.ndarray, index: int) -> HeatMap:
        values = np.zeros((4, 10))
        values[:, 0] = 1.0
        return HeatMap(values, np.linspace(0, 1, 11), np.linspace(0, RATE / 2, 5))

    monkeypatch.setattr("earmark.inference.explanation.map_activation", mark_the_start)
    explanation = explain(cnn, make_sound({"beep": 0.7}, seed=909))
    assert explanation.fidelity is not None
    assert not explanation.fidelity.holds
    assert "Do not lean on this map" in explanation.sentence


@pytest.mark.parametrize("samples", [1, 300])
def test_a_sound_too_short_to_hide_parts_of_is_not_put_to_the_test(
    cnn: Classifier, mlp: Classifier, samples: int
) -> None:
    for classifier in (cnn, mlp):
        explanation = explain(classifier, make_sound({}, seed=0)[:samples])
        assert np.isfinite(explanation.heat.values).all()
        assert explanation.score == pytest.approx(classifier.score([make_sound({}, seed=0)[:samples]]).max())


def test_silence_is_explained_without_a_fault(cnn: Classifier, mlp: Classifier) -> None:
    for classifier in (cnn, mlp):
        explanation = explain(classifier, np.zeros(WINDOW, np.float32))
        assert np.isfinite(explanation.heat.values).all()
    assert explanation.sentence.startswith("No part alone spoke for")


def test_what_cannot_be_explained_is_one_sentence(cnn: Classifier) -> None:
    with pytest.raises(ModelError, match=r"does not know 'dog'.*it knows beep, buzz, hiss"):
        explain(cnn, make_sound({}, seed=0), "dog")
    for bad in (np.zeros((2, 100), np.float32), np.zeros(0, np.float32), np.full(100, np.nan, np.float32)):
        with pytest.raises(ModelError, match="one row of finite samples"):
            explain(cnn, bad)


def test_patches_hide_what_they_say_and_nothing_else() -> None:
    time_s = np.arange(RATE) / RATE
    noise = np.random.default_rng(0).normal(0, 0.001, RATE)
    low = 0.5 * np.sin(2 * np.pi * 300 * time_s)
    high = 0.5 * np.sin(2 * np.pi * 3_000 * time_s) * (time_s > 0.55)
    sound = (low + high + noise).astype(np.float32)
    patches = Patches(sound, RATE, bands=6)
    np.testing.assert_allclose(patches.hide(np.zeros(patches.shape, dtype=bool)), sound, atol=1e-6)
    hidden = np.zeros(patches.shape, dtype=bool)
    band = np.searchsorted(patches.band_edges_hz, 3_000) - 1
    hidden[band - 1 : band + 2, 10:] = True
    changed = patches.hide(hidden)
    np.testing.assert_allclose(changed[:3_800], sound[:3_800], atol=1e-6)
    # The tone is gone; what is left there is not silence, but as quiet as the noise was.
    left = changed[4_400:7_600] - low[4_400:7_600]
    assert 0.0002 < np.sqrt(np.mean(left**2)) < 0.002


def test_heat_is_averaged_over_each_patch() -> None:
    patches = Patches(np.ones(RATE, np.float32), RATE, bands=1)
    heat = HeatMap(np.repeat(np.arange(4) / 3, 10)[None], np.linspace(0, 1, 41), np.array([0.0, RATE / 2]))
    np.testing.assert_allclose(average_over_patches(heat, patches)[0], np.repeat(np.arange(4) / 3, 5), atol=1e-9)


def test_cells_lie_where_they_look() -> None:
    torch.manual_seed(0)
    network = SmallCnn(32, 3, widths=[16, 32, 32], dropout=0.0).eval()
    # Two mean pools of 2: cell k covers the frames from 4k to 4k + 3.
    rows, columns = _find_centres(network, (1, 32, 65), (8, 17))
    np.testing.assert_allclose(rows, 4 * np.arange(8) + 1.5, atol=0.7)
    np.testing.assert_allclose(columns, 4 * np.arange(17) + 1.5, atol=0.7)


def test_only_networks_over_time_have_a_map(cnn: Classifier, mlp: Classifier) -> None:
    sound = make_sound({"beep": 0.3}, seed=910)
    assert map_activation(mlp, sound, 0) is None
    heat = map_activation(cnn, sound, 0)
    assert heat is not None
    assert heat.values.max() == 1.0
    assert heat.values.min() >= 0.0
    assert heat.band_edges_hz[0] == 0.0
    assert heat.band_edges_hz[-1] == pytest.approx(RATE / 2)
