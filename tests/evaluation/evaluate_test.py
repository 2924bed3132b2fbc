"""A model asked about clips: the answers are those of `Classifier` for the same files, row by row."""

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from earmark.data.clips import build_clips
from earmark.data.waveforms import ClipWaveforms, load_waveforms
from earmark.errors import ModelError
from earmark.evaluation import evaluate as evaluate_module
from earmark.evaluation.evaluate import Answers, ask_model, load_sound
from earmark.inference.classifier import Classifier
from earmark.inference.torch_network import TorchNetwork
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification

RATE = 8000


def make_classifier(problem_type: str) -> Classifier:
    """Three classes; untrained, which is as good for being asked."""
    torch.manual_seed(0)
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=3000,
        front_end={"kind": "mfcc_mean", "n_fft": 256, "hop_length": 128, "n_mels": 20, "n_mfcc": 8},
        backbone={"name": "mlp", "hidden": [4], "dropout": 0.5, "batch_norm": False, "activation": "relu"},
        id2label={0: "bird", 1: "cat", 2: "owl"},
        label2id={"bird": 0, "cat": 1, "owl": 2},
        problem_type=problem_type,
    )
    return Classifier(
        TorchNetwork(EarmarkForAudioClassification(config), EarmarkFeatureExtractor(sampling_rate=RATE), "cpu")
    )


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """One label a clip, of one class more than the clips have."""
    return make_classifier("single_label_classification")


@pytest.fixture
def tagger() -> Classifier:
    """Any number of labels a clip."""
    return make_classifier("multi_label_classification")


@pytest.fixture
def waveforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClipWaveforms:
    """Seven clips, some longer than the model's window, one of them a part of a file."""
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "cache"))
    rows = []
    for i in range(7):
        samples = np.random.default_rng(i).integers(-9000, 9000, 1500 + 900 * i).astype("<i2")
        path = tmp_path / f"{i}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
        times = {"start_s": 0.25, "end_s": 0.5} if i == 6 else {}
        rows.append({"path": str(path), "label": ("owl", "bird")[i % 2], "group": f"g{i // 2}", "fold": 1, **times})
    return load_waveforms(build_clips(rows), sample_rate=RATE)


@pytest.fixture
def tagged(waveforms: ClipWaveforms) -> ClipWaveforms:
    """The same clips; where there is an owl, there is a cat."""
    rows = [
        {**row, "label": row["label"].replace("owl", "owl;cat")} for row in waveforms.clips.table.to_dict("records")
    ]
    return replace(waveforms, clips=build_clips(rows, multi_label=True))


def test_answers_are_the_classifiers_row_by_row(classifier: Classifier, waveforms: ClipWaveforms) -> None:
    rows = np.array([4, 1, 6])
    answers = ask_model(classifier, waveforms, rows)
    table = answers.table
    assert answers.labels == ("bird", "cat", "owl")
    assert [Path(path).name for path in table["path"]] == ["4.wav", "1.wav", "6.wav"]
    assert table["label"].tolist() == ["owl", "bird", "owl"]
    assert table["group"].tolist() == ["g2", "g0", "g3"]
    for place, row in enumerate(rows):
        sound = np.array(waveforms.read(int(row)))
        said = {entry["label"]: entry["score"] for entry in classifier.classify(sound)}
        np.testing.assert_allclose(answers.probabilities()[place], [said[label] for label in answers.labels], atol=1e-6)
        best = max(said, key=lambda label: said[label])
        assert table["predicted"][place] == best
        assert table["score"][place] == pytest.approx(said[best], abs=1e-6)


def test_many_clips_are_asked_about_in_portions(
    classifier: Classifier, waveforms: ClipWaveforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(7)
    whole = ask_model(classifier, waveforms, rows)
    monkeypatch.setattr(evaluate_module, "CLIPS_AT_ONCE", 3)
    seen: list[tuple[int, int]] = []
    portions = ask_model(classifier, waveforms, rows, lambda done, total: seen.append((done, total)))
    assert seen == [(3, 7), (6, 7), (7, 7)]
    np.testing.assert_allclose(portions.probabilities(), whole.probabilities(), atol=1e-6)


def test_figures_count_classes_in_the_models_order(classifier: Classifier, waveforms: ClipWaveforms) -> None:
    answers = ask_model(classifier, waveforms, np.arange(7))
    metrics = answers.measure(majority_label="owl")
    right = (answers.table["label"] == answers.table["predicted"]).mean()
    assert metrics["accuracy"]["value"] == pytest.approx(right)
    assert metrics["majority_baseline"] == {"label": "owl", "accuracy": pytest.approx(4 / 7)}
    assert [sum(row) for row in metrics["confusion"]] == [3, 0, 4]
    assert "4 groups" in metrics["interval"]


def test_labels_the_model_does_not_know_are_named(classifier: Classifier, waveforms: ClipWaveforms) -> None:
    rows = [
        {**row, "label": "wolf"} if i == 3 else row for i, row in enumerate(waveforms.clips.table.to_dict("records"))
    ]
    stranger = replace(waveforms, clips=build_clips(rows))
    with pytest.raises(ModelError, match=r"does not know \(wolf\); it knows bird, cat, owl\. Rename them"):
        ask_model(classifier, stranger, np.arange(7))
    assert len(ask_model(classifier, stranger, np.array([0, 1, 2])).table) == 3  # where nobody asks about wolves


def test_several_labels_a_clip_need_a_model_that_names_several(
    classifier: Classifier, tagger: Classifier, waveforms: ClipWaveforms, tagged: ClipWaveforms
) -> None:
    with pytest.raises(ModelError, match=r"several labels each.*evaluate a model trained on such clips"):
        ask_model(classifier, tagged, np.arange(7))
    with pytest.raises(ModelError, match=r"the clips name one label each.*`labels` instead of `label`"):
        ask_model(tagger, waveforms, np.arange(7))
    strange = [{**row, "label": f"{row['label']};wolf"} for row in tagged.clips.table.to_dict("records")]
    with pytest.raises(ModelError, match=r"does not know \(wolf\)"):
        ask_model(tagger, replace(tagged, clips=build_clips(strange, multi_label=True)), np.arange(7))


def test_every_label_of_at_least_a_half_is_predicted_and_that_may_be_none(
    tagger: Classifier, tagged: ClipWaveforms
) -> None:
    rows = np.array([5, 0, 6])
    answers = ask_model(tagger, tagged, rows)
    assert answers.multi_label
    assert answers.table["label"].tolist() == ["bird", "owl;cat", "owl;cat"]
    assert answers.truth().tolist() == [[True, False, False], [False, True, True], [False, True, True]]
    for place, row in enumerate(rows):
        said = {entry["label"]: entry["score"] for entry in tagger.classify(np.array(tagged.read(int(row))))}
        np.testing.assert_allclose(answers.probabilities()[place], [said[label] for label in answers.labels], atol=1e-6)
        named = [label for label in answers.labels if said[label] >= 0.5]
        assert answers.table["predicted"][place] == ";".join(named)
        assert answers.table["score"][place] == pytest.approx(max(said.values()), abs=1e-6)
    with torch.no_grad():
        for bias in (-50.0, 50.0):
            last = [layer for layer in tagger.network.model.modules() if isinstance(layer, torch.nn.Linear)][-1]
            last.bias.fill_(bias)
            predicted = ask_model(tagger, tagged, rows).table["predicted"].tolist()
            assert predicted == ["" if bias < 0 else "bird;cat;owl"] * 3


def test_several_labels_a_clip_are_measured_by_their_ranking() -> None:
    table = pd.DataFrame({"path": list("abcd"), "label": ["dog;rain", "rain", "dog", "rain"], "group": list("xxyy")})
    table = table.assign(**{"p:dog": [0.9, 0.6, 0.7, 0.1], "p:rain": [0.8, 0.1, 0.2, 0.7]})
    metrics = Answers(table, ("dog", "rain"), multi_label=True).measure(prior=np.array([0.1, 0.9]))
    assert metrics["primary"] == "map"
    # Of rain's three clips the third is found behind one that has no rain.
    assert metrics["map"]["value"] == pytest.approx((1 + (1 + 1 + 3 / 4) / 3) / 2)
    assert metrics["interval"] == "95 % bootstrap over 2 groups"
    # With rain before dog throughout: 3 of the first 4, then 5 of all 8.
    assert metrics["prior_micro_map"] == pytest.approx((3 * 3 / 4 + 2 * 5 / 8) / 5)


def test_the_sound_of_an_answer_is_the_part_that_was_asked_about(waveforms: ClipWaveforms) -> None:
    for row in (0, 6):
        sound, rate = load_sound(waveforms.clips.table.to_dict("records")[row])
        assert rate == RATE
        np.testing.assert_array_equal(sound, waveforms.read(row))
