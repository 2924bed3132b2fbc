"""Audio models of Transformers under the same verbs as our own: tuned whole, as a probe, with adapters."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, HubertForSequenceClassification

from earmark.data.clips import Clips
from earmark.errors import ModelError, RecipeError
from earmark.inference.classifier import Classifier
from earmark.training.crossval import crossval
from earmark.training.learners import NativeLearner
from earmark.training.recipe import load_recipe
from earmark.training.run import Run, resume, train

RATE = 16_000


@pytest.fixture(scope="module")
def hubert(write_native, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hubert")
    write_native(folder, "hubert")
    return folder


def tune(clips: Clips, place: Path, out: Path, *overrides: str, recipe: str = "distilhubert") -> Run:
    settings = [f'model.name="{place}"', "train.epochs=2", "train.batch_size=4", "train.accumulate=2", *overrides]
    return train(clips, recipe, out=out, overrides=settings)


@pytest.mark.parametrize("tuning", ["full", "probe", "lora"])
def test_what_is_tuned_opens_without_us_and_answers_the_same(
    clips: Clips, hubert: Path, tmp_path: Path, tuning: str
) -> None:
    run = tune(clips, hubert, tmp_path / "run", f"model.tuning={tuning}", "augment.gain_db=0")
    model = AutoModelForAudioClassification.from_pretrained(run.model_folder).eval()
    assert type(model) is HubertForSequenceClassification
    assert model.config.id2label == {0: "beep", 1: "hiss", 2: "hum"}
    before, after = load_file(hubert / "model.safetensors"), load_file(run.model_folder / "model.safetensors")
    moved = {name for name, value in before.items() if not torch.equal(value, after[f"hubert.{name}"])}
    if tuning == "probe":
        assert moved == set()
    if tuning == "lora":
        assert moved
        assert all("q_proj" in name or "v_proj" in name for name in moved)
    if tuning == "full":
        assert moved
        assert not any(name.startswith("feature_extractor") for name in moved)
    waveform = np.sin(np.linspace(0, 3000, RATE)).astype(np.float32)
    inputs = AutoFeatureExtractor.from_pretrained(run.model_folder)(waveform, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**inputs).logits.softmax(-1)[0].numpy()
    np.testing.assert_allclose(run.load_classifier().score([waveform])[0], theirs, atol=1e-5)


def test_all_may_be_tuned(clips: Clips, hubert: Path, tmp_path: Path) -> None:
    run = tune(clips, hubert, tmp_path / "run", "model.freeze_convolutions=false")
    before, after = load_file(hubert / "model.safetensors"), load_file(run.model_folder / "model.safetensors")
    name = "feature_extractor.conv_layers.0.conv.weight"
    assert not torch.equal(before[name], after[f"hubert.{name}"])


@pytest.mark.parametrize("family", ["ast", "whisper", "wavlm"])
def test_other_families_train_too(write_native, clips: Clips, tmp_path: Path, family: str) -> None:
    write_native(tmp_path / "base", family)
    run = tune(clips, tmp_path / "base", tmp_path / "run", "train.epochs=1")
    assert 0 <= run.accuracy <= 1
    assert run.report["model"]["sample_rate"] == RATE


def test_a_model_remembers_the_window_it_learnt_from(clips: Clips, hubert: Path, tmp_path: Path) -> None:
    """Half-second clips in windows of 0.2 s: in training one at random, in answers all, averaged."""
    run = tune(clips, hubert, tmp_path / "run", "audio.window_s=0.2", "train.epochs=1")
    classifier = run.load_classifier()
    assert classifier.window == 3200
    waveform = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    parts = classifier.score([waveform[:3200], waveform[3200:6400], waveform[6400:]])
    np.testing.assert_allclose(classifier.score([waveform])[0], np.average(parts, 0, [3200, 3200, 1600]), atol=1e-5)


@pytest.mark.parametrize("tuning", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_killed_tuning_is_continued_to_the_same_end(
    clips: Clips, hubert: Path, tmp_path: Path, tuning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earmark.training.callbacks import EpochTeller

    settings = (f"model.tuning={tuning}", "train.select=last")
    whole = tune(clips, hubert, tmp_path / "whole", *settings)
    begin = EpochTeller.on_epoch_begin

    def begin_and_die(self, args, state, control, **rest) -> None:
        begin(self, args, state, control, **rest)
        if round(state.epoch or 0) == 1:
            raise InterruptedError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(EpochTeller, "on_epoch_begin", begin_and_die)
        with pytest.raises(InterruptedError):
            tune(clips, hubert, tmp_path / "killed", *settings)
    run = resume(tmp_path / "killed")
    ours, theirs = (load_file(path / "model" / "model.safetensors") for path in (whole.folder, run.folder))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_probe_hears_each_clip_once_whatever_the_folds(
    clips: Clips, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    encode = NativeLearner.encode
    monkeypatch.setattr(NativeLearner, "encode", lambda self, waves: (heard.append(len(waves)), encode(self, waves))[1])
    overrides = [f'model.name="{hubert}"', "model.tuning=probe", "augment.gain_db=0", "train.epochs=2"]
    run = crossval(clips, "distilhubert", out=tmp_path / "run", overrides=overrides, folds=3)
    assert sum(heard) == len(clips)
    assert len(run.report["folds"]) == 3


def test_the_tutorial_stops_after_its_steps(clips: Clips, hubert: Path, tmp_path: Path) -> None:
    run = tune(clips, hubert, tmp_path / "run", "train.max_steps=3", recipe="tutorial-distilhubert")
    assert run.report["seed"] == 42
    assert "random" in run.report["protocol"]
    assert run.report["history"][-1]["epoch"] == 1
    assert run.report["model"]["precision"] in ("fp32", "fp16")


def test_what_does_not_fit_is_one_sentence(clips: Clips, hubert: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for error, overrides, words in (
        (RecipeError, ["audio.sample_rate=8000"], "hears 16000 Hz, not audio.sample_rate = 8000"),
        (RecipeError, ["model.tuning=probe"], "computes each clip once, so nothing of it can be augmented"),
        (RecipeError, ["front_end.n_mels=64"], "brings its own features; leave it out"),
        (RecipeError, ["augment.mask_mels=4"], "augment.mask_mels changes mel spectrograms"),
        (ModelError, [f'model.name="{tmp_path}/none/there"'], "There is no .*none/there"),
    ):
        with pytest.raises(error, match=words) as caught:
            tune(clips, hubert, out, *overrides)
        assert "\n" not in str(caught.value)
    with pytest.raises(RecipeError, match=r"model.tuning = 'lora' is for audio models of Transformers"):
        load_recipe("cnn", ["model.tuning=lora"])
    assert not out.exists()


def test_a_tuned_model_is_asked_by_its_directory(clips: Clips, hubert: Path, tmp_path: Path) -> None:
    run = tune(clips, hubert, tmp_path / "run", "train.epochs=1")
    prediction = Classifier.from_pretrained(run.folder).classify(clips.table["path"].iloc[0])
    assert sorted(entry["label"] for entry in prediction) == ["beep", "hiss", "hum"]
    assert "training_data.json" in {path.name for path in run.model_folder.iterdir()}
