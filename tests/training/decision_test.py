"""Temperature and thresholds: found without the test clips, kept in the model, alike for all that open it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import log_loss, roc_auc_score
from tests.training.conftest import RATE, TINY_CNN, TINY_QUICK, make_sound, write_sound
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from earmark.data.clips import Clips
from earmark.data.layouts import read_clips
from earmark.data.splits import Split
from earmark.data.waveforms import load_waveforms
from earmark.evaluation.calibration import fit_temperature
from earmark.inference.golden import verify_model
from earmark.training.assess import evaluate
from earmark.training.crossval import crossval
from earmark.training.leaving_out import _deal_rounds
from earmark.training.run import Run, train

CHOOSING = "train.select=validation"
PARTS = ("train", "validation", "test")
TAKES = 8  # of each class in each part


def write_table(folder: Path, *, swap_test: bool = False, labels: tuple[str, ...] = ("beep", "hiss", "hum")) -> Clips:
    """Clips with a published split; with ``swap_test`` the same sounds, but the test's labels are all wrong."""
    rows = []
    for label in labels:
        for number in range(TAKES * len(PARTS)):
            part = PARTS[number // TAKES]
            path = folder / f"{label} {number}.wav"
            if not path.exists():
                write_sound(path, make_sound(label, number, seconds=0.75))
            wrong = labels[(labels.index(label) + 1) % len(labels)]
            rows.append({"path": path.name, "label": wrong if swap_test and part == "test" else label, "split": part})
    name = folder / f"clips {swap_test}.csv"
    pd.DataFrame(rows).to_csv(name, index=False)
    return read_clips(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sounds")


@pytest.fixture(scope="module")
def published(folder: Path) -> Clips:
    return write_table(folder)


@pytest.fixture(scope="module")
def quick(published: Clips, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Chosen on validation; each clip is of two windows, one half as long as the other."""
    out = tmp_path_factory.mktemp("runs") / "quick"
    return train(published, "quick", out=out, overrides=[*TINY_QUICK, CHOOSING, "audio.window_s=0.5"])


@pytest.fixture(scope="module")
def cnn(published: Clips, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "cnn"
    return train(published, "cnn", out=out, overrides=[*TINY_CNN, CHOOSING])


def read_decision(run: Run) -> dict:
    return json.loads((run.model_folder / "config.json").read_text(encoding="utf-8"))["earmark_decision"]


def read_probabilities(answers: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """(clips, classes); six digits were written, so they add up to nearly 1."""
    written = answers[[f"p:{label}" for label in labels]].to_numpy()
    return written / written.sum(1, keepdims=True)


def fit_again(run: Run, clips: Clips) -> float:
    """The temperature that the saved model still asks for on its validation clips."""
    chosen = np.flatnonzero(clips.table["split"] == "validation")
    waveforms = load_waveforms(clips, sample_rate=run.report["model"]["sample_rate"])
    heard = run.load_classifier().hear([waveforms.read(row) for row in chosen])
    truth = waveforms.targets()[chosen]
    return fit_temperature(
        truth, heard.logits, owners=heard.owners, lengths=heard.lengths, multi_label=heard.multi_label
    )


@pytest.mark.parametrize("name", ["quick", "cnn"])
def test_the_saved_model_leaves_nothing_to_fit(name: str, published: Clips, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    temperature = run.report["calibration"]["temperature"]
    assert abs(np.log(temperature)) > 0.02
    assert fit_again(run, published) == pytest.approx(1.0, abs=1e-3)
    assert read_decision(run)["temperature"] == temperature
    assert (
        f"{temperature:.2f} was fitted on the answers to 24 validation clips" in run.report["calibration"]["sentence"]
    )


def test_the_figures_are_those_of_the_predictions(quick: Run) -> None:
    answers = pd.read_csv(quick.folder / "predictions.csv")
    labels = quick.report["data"]["labels"]
    probabilities = read_probabilities(answers, labels)
    truth = [labels.index(label) for label in answers["label"]]
    assert quick.report["calibration"]["nll"] == pytest.approx(log_loss(truth, probabilities), abs=1e-4)
    assert sum(row["clips"] for row in quick.report["calibration"]["bins"]) == len(answers)


def test_before_is_the_same_model_without_the_temperature(published: Clips, quick: Run) -> None:
    calibration = quick.report["calibration"]
    tested = np.flatnonzero(published.table["split"] == "test")
    waveforms = load_waveforms(published, sample_rate=RATE)
    heard = quick.load_classifier().hear([waveforms.read(row) for row in tested])
    truth = waveforms.targets()[tested].argmax(1)
    before = heard.average(1 / calibration["temperature"])
    assert calibration["before"]["nll"] == pytest.approx(log_loss(truth, before), abs=1e-6)
    assert calibration["before"]["nll"] != calibration["nll"]


def test_every_program_gets_the_calibrated_scores(quick: Run) -> None:
    model = AutoModelForAudioClassification.from_pretrained(quick.model_folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(quick.model_folder)
    waveform = make_sound("hum", 99).astype(np.float32)
    with torch.inference_mode():
        logits = model(**extractor(waveform, sampling_rate=RATE, return_tensors="pt")).logits
    ours = quick.load_classifier().score([waveform])[0]
    np.testing.assert_allclose(logits.softmax(-1)[0].numpy(), ours, atol=1e-6)
    assert verify_model(quick.load_classifier(), quick.model_folder).holds


def test_where_nothing_was_held_out_no_temperature_is_fitted(published: Clips, tmp_path: Path) -> None:
    run = train(published, "cnn", out=tmp_path / "run", overrides=TINY_CNN)
    assert run.report["calibration"]["temperature"] is None
    assert "No clip was held out to fit a temperature on" in run.report["calibration"]["sentence"]
    assert "before" not in run.report["calibration"]
    assert run.report["rejection"]["method"] == "none"
    assert "train.select=validation" in run.report["rejection"]["sentence"]
    decision = read_decision(run)
    assert decision["thresholds"] == {}
    # Silence is unknown all the same.
    answer = run.load_classifier().classify(np.zeros(RATE, np.float32), reject=True)
    assert answer[0]["label"] == "unknown"


def test_a_network_that_bends_its_logits_keeps_them(published: Clips, tmp_path: Path) -> None:
    overrides = [*TINY_QUICK, CHOOSING, "model.output_activation=tanh"]
    run = train(published, "quick", out=tmp_path / "run", overrides=overrides)
    assert run.report["calibration"]["temperature"] is None
    assert "ends in more than a linear layer" in run.report["calibration"]["sentence"]


@pytest.mark.parametrize("name", ["quick", "cnn"])
def test_nothing_is_chosen_on_the_test_clips(
    name: str, folder: Path, published: Clips, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: Run = request.getfixturevalue(name)
    swapped = train(write_table(folder, swap_test=True), str(run.folder / "recipe.toml"), out=tmp_path / "run")
    assert swapped.report["calibration"]["nll"] != run.report["calibration"]["nll"]
    assert read_decision(swapped) == read_decision(run)


def test_a_head_is_trained_again_without_each_class(quick: Run) -> None:
    rejection = quick.report["rejection"]
    assert rejection["method"] == "retrained"
    assert {row["label"] for row in rejection["classes"]} == {"beep", "hiss", "hum"}
    assert {row["clips"] for row in rejection["classes"]} == {TAKES}
    assert read_decision(quick)["thresholds"] == rejection["thresholds"]
    assert 0 <= rejection["unknown_accepted"] <= 1
    assert rejection["auroc"] == pytest.approx(np.mean([row["auroc"] for row in rejection["classes"]]))


def test_a_network_that_costs_more_has_the_class_struck_out(cnn: Run) -> None:
    rejection = cnn.report["rejection"]
    assert rejection["method"] == "struck out"
    assert "flatters" in rejection["sentence"]
    # The figures are those of the predictions: without beep, the surest of hiss and hum.
    answers = pd.read_csv(cnn.folder / "predictions.csv")
    others = answers[["p:hiss", "p:hum"]].to_numpy()
    score = others.max(1) / others.sum(1)
    expected = roc_auc_score(answers["label"] != "beep", score)
    found = next(row["auroc"] for row in rejection["classes"] if row["label"] == "beep")
    assert found == pytest.approx(expected, abs=1e-6)


def test_what_the_report_promises_of_reject_is_what_reject_does(published: Clips, quick: Run) -> None:
    tested = published.table[published.table["split"] == "test"]
    answers = quick.load_classifier().classify(tested["path"].tolist(), reject=True)
    named = [answer[0]["label"] != "unknown" for answer in answers]
    assert np.mean(named) == pytest.approx(quick.report["rejection"]["answered"])
    right = [answer[0]["label"] == label for answer, label in zip(answers, tested["label"], strict=True)]
    if any(named):
        assert np.mean(np.array(right)[named]) == pytest.approx(quick.report["rejection"]["answered_accuracy"])


def test_the_page_shows_it(quick: Run) -> None:
    page = (quick.folder / "report.html").read_text(encoding="utf-8")
    assert "Reliability diagram, expected calibration error" in page
    assert "before the temperature" in page
    assert quick.report["rejection"]["sentence"].split(".")[0] in page
    assert "By colour and level" in page


def test_a_round_never_learns_from_what_it_is_asked_about(tmp_path: Path) -> None:
    labels = ("beep", "hiss", "hum")
    rows = [
        {
            "path": write_sound(tmp_path / f"{label}{i}.wav", make_sound(label, i)),
            "label": label,
            "group": f"{label}{i // 3}",
        }
        for label in labels
        for i in range(12)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    waveforms = load_waveforms(read_clips(tmp_path / "clips.csv"), sample_rate=RATE)
    parts = np.where(np.arange(36) % 12 >= 9, "test", "train").astype(object)
    truth = waveforms.targets().argmax(1)
    groups = waveforms.clips.table["group"].to_numpy()
    left = []
    for left_out, learnt, asked, choosing in _deal_rounds(waveforms, Split(parts, ""), truth, 3, seed=0):
        left += left_out.tolist()
        assert not np.isin(truth[learnt], left_out).any()
        assert not np.isin(truth[asked], left_out).any()
        assert not set(groups[learnt]) & set(groups[asked])
        assert set(parts[learnt]) | set(parts[asked]) == {"train"}
        assert len(choosing) == 0
    assert sorted(left) == [0, 1, 2]


def test_with_two_classes_none_can_be_left_out(tmp_path: Path) -> None:
    clips = write_table(tmp_path, labels=("beep", "hum"))
    run = train(clips, "quick", out=tmp_path / "run", overrides=TINY_QUICK)
    assert run.report["rejection"]["method"] == "none"
    assert "With two classes" in run.report["rejection"]["sentence"]


def test_several_labels_share_a_temperature_and_are_unknown_where_none_is_named(tmp_path: Path) -> None:
    rows = []
    for take in range(20):
        for labels in (["beep"], ["hum"], ["beep", "hum"], ["hiss", "hum"]):
            sound = np.sum([make_sound(label, take) for label in labels], axis=0) / 2
            name = f"{'-'.join(labels)}-{take}.wav"
            write_sound(tmp_path / name, sound)
            part = ("train", "train", "validation", "test")[take % 4]
            rows.append({"path": name, "labels": ";".join(labels), "split": part})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    clips = read_clips(tmp_path / "clips.csv")
    run = train(clips, "quick", out=tmp_path / "run", overrides=[*TINY_QUICK, CHOOSING])
    assert run.report["calibration"]["temperature"] is not None
    assert fit_again(run, clips) == pytest.approx(1.0, abs=1e-3)
    assert run.report["rejection"]["thresholds"] == {"beep": 0.5, "hiss": 0.5, "hum": 0.5}
    answers = pd.read_csv(run.folder / "predictions.csv", keep_default_na=False)
    assert run.report["rejection"]["answered"] == pytest.approx((answers["predicted"] != "").mean())


def test_a_model_of_transformers_is_calibrated_in_its_own_head(write_native, published: Clips, tmp_path: Path) -> None:
    write_native(tmp_path / "base", "hubert")
    overrides = [f'model.name="{tmp_path / "base"}"', "train.epochs=2", "train.batch_size=8", "train.accumulate=1"]
    run = train(published, "distilhubert", out=tmp_path / "run", overrides=overrides)
    calibration = run.report["calibration"]
    model = AutoModelForAudioClassification.from_pretrained(run.model_folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(run.model_folder)
    tested = np.flatnonzero(published.table["split"] == "test")
    waveforms = load_waveforms(published, sample_rate=extractor.sampling_rate)
    sounds = [np.array(waveforms.read(row)) for row in tested]
    with torch.inference_mode():
        logits = model(**extractor(sounds, sampling_rate=extractor.sampling_rate, return_tensors="pt")).logits.numpy()
    truth = waveforms.targets()[tested].argmax(1)
    assert log_loss(truth, softmax(logits, axis=1)) == pytest.approx(calibration["nll"], abs=1e-5)
    before = softmax(logits * calibration["temperature"], axis=1)
    assert log_loss(truth, before) == pytest.approx(calibration["before"]["nll"], abs=1e-4)
    assert verify_model(run.load_classifier(), run.model_folder).holds


def test_an_evaluation_is_measured_with_and_without_the_models_temperature(
    published: Clips, quick: Run, tmp_path: Path
) -> None:
    again = evaluate(quick.model_folder, published, out=tmp_path / "again", split="test", allow_leak=True)
    for key in ("nll", "brier", "ece"):
        assert again.report["calibration"][key] == pytest.approx(quick.report["calibration"][key], abs=1e-9)
    assert again.report["calibration"]["before"]["nll"] == pytest.approx(quick.report["calibration"]["before"]["nll"])


def test_a_cross_validation_and_the_model_to_ship(clips: Clips, tmp_path: Path) -> None:
    run = crossval(clips, "quick", out=tmp_path / "run", overrides=TINY_QUICK, folds=3, refit=True)
    answers = pd.read_csv(run.folder / "predictions.csv")
    probabilities = read_probabilities(answers, clips.labels)
    truth = [clips.labels.index(label) for label in answers["label"]]
    assert run.report["calibration"]["nll"] == pytest.approx(log_loss(truth, probabilities), abs=1e-4)
    assert run.report["calibration"]["temperature"] is None
    assert run.report["rejection"]["method"] == "retrained"
    assert read_decision(run)["thresholds"] == run.report["rejection"]["thresholds"]
    assert set(run.report["rejection"]["thresholds"]) == set(clips.labels)
