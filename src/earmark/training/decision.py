"""After the training, before the model is saved: a temperature, and what it takes to be an answer rather than unknown.

Nothing here is chosen on test clips. They are only asked, at the end, what the choice is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.data.splits import Split
from earmark.data.waveforms import ClipWaveforms
from earmark.evaluation.calibration import FEWEST_CLIPS, fit_temperature, measure_calibration
from earmark.evaluation.evaluate import Answers
from earmark.evaluation.multi_label import THRESHOLD
from earmark.evaluation.rejection import ask_about_noise, choose_thresholds, measure_rejection
from earmark.inference.classifier import Classifier
from earmark.inference.decision import CONFIG_KEY, QUIETEST_DB, Decision, WindowLogits
from earmark.inference.torch_network import TorchNetwork
from earmark.models.last_layer import divide_logits
from earmark.progress import show_progress
from earmark.sound.level import make_noise, measure_level_db
from earmark.training.batches import EncodedClips
from earmark.training.learners import Learner
from earmark.training.leaving_out import Trials, retrain_without, strike_each, strike_out_each
from earmark.training.recipe import Recipe

BELOW_QUIETEST_DB = 10.0
LOUDEST_SILENCE_DB = -60.0
CLIPS_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class Settled:
    """What was settled before the test clips were asked.

    Args:
        decision: As it stands in the model.
        calibrated: How the temperature was found, or why there is none, in words.
        trials: What the thresholds were chosen by.
    """

    decision: Decision
    calibrated: str
    trials: Trials


def settle_decision(
    learner: Learner,
    waveforms: ClipWaveforms,
    split: Split,
    recipe: Recipe,
    *,
    encoded: EncodedClips | None,
    seed: int,
) -> Settled:
    """Calibrate a trained model and find its thresholds, in place: what is saved afterwards has both.

    Args:
        learner: Trained on the clips of ``train``.
        waveforms: The clips and their sound.
        split: Who played which part.
        recipe: How it was trained, to be repeated without some of the classes where that is cheap.
        encoded: What never changes, if it was computed once: then it is cheap.
        seed: Decides all that is random.
    """
    rows = split.rows("validation")
    heard = _hear(learner, waveforms, rows)
    temperature, calibrated = _fit_temperature(learner, waveforms, rows, heard)
    if encoded is None:
        truth = waveforms.targets()[rows].argmax(1)
        answers = heard.average(temperature or 1.0)
        trials = strike_out_each(waveforms.clips, answers, truth, "validation clips")
    else:
        trials = retrain_without(waveforms, split, recipe, encoded, temperature or 1.0, seed)
    return Settled(_write_decision(learner, waveforms, split, trials, temperature), calibrated, trials)


def settle_refit(
    learner: Learner,
    waveforms: ClipWaveforms,
    split: Split,
    recipe: Recipe,
    pooled: Answers,
    temperatures: Sequence[float | None],
    *,
    encoded: EncodedClips | None,
    seed: int,
) -> Settled:
    """`settle_decision` for a model that was trained on all clips after a cross-validation, in place.

    Nothing is held out, so it takes the geometric mean of the temperatures that the folds' models were given on their
    validation clips, and, where a training is not cheap, thresholds chosen on what these models said of clips they did
    not hear.

    Args:
        learner: Trained on all clips.
        waveforms: The clips and their sound.
        split: All train.
        recipe: How it was trained.
        pooled: What the folds' models said.
        temperatures: Theirs, from `calibrate`.
        encoded: What never changes, if it was computed once.
        seed: Decides all that is random.
    """
    fitted = [temperature for temperature in temperatures if temperature is not None]
    mean = float(np.exp(np.mean(np.log(fitted)))) if fitted else None
    temperature = mean if mean is not None and _divide_logits(learner, mean) else None
    told = f"The model to ship has their geometric mean, {temperature:.2f}." if temperature is not None else ""
    if encoded is None:
        truth = pooled.truth().argmax(1)
        trials = strike_out_each(waveforms.clips, pooled.probabilities(), truth, "answers of the folds' models")
    else:
        trials = retrain_without(waveforms, split, recipe, encoded, temperature or 1.0, seed)
    return Settled(_write_decision(learner, waveforms, split, trials, temperature), told, trials)


def calibrate(learner: Learner, waveforms: ClipWaveforms, rows: np.ndarray) -> tuple[float | None, str]:
    """Fit a temperature on clips and divide it into the model's last layer; how it went, in words.

    Args:
        learner: Trained.
        waveforms: The clips and their sound.
        rows: Clips that it did not learn from and that no figure is reported on: the validation part.

    Returns:
        The temperature, or ``None`` and why there is none.
    """
    return _fit_temperature(learner, waveforms, rows, _hear(learner, waveforms, rows))


def describe_folds(pooled: Answers, temperatures: Sequence[float | None], sentences: Sequence[str]) -> dict[str, Any]:
    """The ``calibration`` of a cross-validation, whose models have a temperature each, from what `calibrate` gave."""
    fitted = [temperature for temperature in temperatures if temperature is not None]
    if not fitted:
        return describe_calibration(pooled, None, sentences[0])
    told = ", ".join(f"{temperature:.2f}" for temperature in fitted)
    return describe_calibration(
        pooled, None, f"Each fold's model has a temperature of its own, fitted on its validation clips: {told}."
    )


def describe_calibration(answers: Answers, temperature: float | None, sentence: str) -> dict[str, Any]:
    """The ``calibration`` of a report: how far the answers can be taken at their word, and were before."""
    truth = answers.truth()
    figures = measure_calibration(truth, answers.probabilities(), multi_label=answers.multi_label)
    report = {**figures, "temperature": temperature, "sentence": sentence, "multi_label": answers.multi_label}
    if answers.uncalibrated is not None:
        report["before"] = measure_calibration(truth, answers.uncalibrated, multi_label=answers.multi_label)
    return report


def describe_decision(settled: Settled, classifier: Classifier, answers: Answers) -> dict[str, Any]:
    """The ``calibration`` and the ``rejection`` of a report.

    Args:
        settled: By `settle_decision`.
        classifier: The model as saved.
        answers: Its answers for the test clips.
    """
    decision, trials = settled.decision, settled.trials
    testing = trials.testing
    if trials.method == "struck out":
        testing = strike_each(answers.probabilities(), answers.truth().argmax(1))
    return {
        "calibration": describe_calibration(answers, decision.temperature, settled.calibrated),
        "rejection": describe_thresholds(settled, classifier)
        | (measure_rejection(answers.labels, testing, dict(decision.thresholds)) if testing else {})
        | _count_answered(decision, answers),
    }


def describe_thresholds(settled: Settled, classifier: Classifier) -> dict[str, Any]:
    """The ``rejection`` of a report as far as it needs no test clips: thresholds, and what becomes of noise."""
    decision, trials = settled.decision, settled.trials
    with show_progress("Listening to noise", "sounds") as advance:
        noise = ask_about_noise(classifier, advance)
    return {
        "method": trials.method,
        "sentence": trials.told,
        "thresholds": dict(decision.thresholds),
        "silence_db": decision.silence_db,
        **noise,
    }


def _write_decision(
    learner: Learner, waveforms: ClipWaveforms, split: Split, trials: Trials, temperature: float | None
) -> Decision:
    """Thresholds from trials, into the model's configuration."""
    labels = waveforms.clips.labels
    thresholds = choose_thresholds(labels, trials.choosing) if trials.choosing else {}
    if trials.method == "fixed":
        thresholds = dict.fromkeys(labels, THRESHOLD)
    decision = Decision(thresholds, _find_silence_db(waveforms, split.rows("train")), temperature)
    setattr(learner.model.config, CONFIG_KEY, decision.to_config())
    return decision


def _hear(learner: Learner, waveforms: ClipWaveforms, rows: np.ndarray) -> WindowLogits:
    """What the trained model says of clips, as `Classifier` will ask it."""
    classifier = Classifier(TorchNetwork(learner.model.float(), learner.extractor))
    parts = []
    with show_progress("Listening to what was held out", "clips") as advance:
        for begin in range(0, len(rows), CLIPS_AT_ONCE):
            chosen = rows[begin : begin + CLIPS_AT_ONCE]
            parts.append(classifier.hear([waveforms.read(int(row)) for row in chosen]))
            advance(begin + len(chosen), len(rows))
    owners = [begin * CLIPS_AT_ONCE + part.owners for begin, part in enumerate(parts)]
    return WindowLogits(
        np.concatenate([part.logits for part in parts] or [np.zeros((0, len(classifier.labels)))]),
        np.concatenate(owners or [np.zeros(0, dtype=np.int64)]),
        np.concatenate([part.lengths for part in parts] or [np.zeros(0, dtype=np.int64)]),
        len(rows),
        classifier.multi_label,
    )


def _fit_temperature(
    learner: Learner, waveforms: ClipWaveforms, rows: np.ndarray, heard: WindowLogits
) -> tuple[float | None, str]:
    if not len(rows):
        return None, (
            "No clip was held out to fit a temperature on, so none was fitted: the probabilities are the network's own."
        )
    if len(rows) < FEWEST_CLIPS:
        return None, f"{len(rows)} validation clips are too few to fit a temperature on; none was fitted."
    temperature = fit_temperature(
        waveforms.targets()[rows],
        heard.logits,
        owners=heard.owners,
        lengths=heard.lengths,
        multi_label=heard.multi_label,
    )
    if not _divide_logits(learner, temperature):
        return None, (
            "The network ends in more than a linear layer, which a temperature could be divided into, so none was "
            "fitted: the probabilities are the network's own."
        )
    return temperature, (
        f"A temperature of {temperature:.2f} was fitted on the answers to {len(rows)} validation clips, the mean over "
        "their windows, and divided into the last layer: every program that opens the model gets these probabilities."
    )


def _divide_logits(learner: Learner, temperature: float) -> bool:
    """Put a temperature into a learner's model; whether it could be done."""
    network = TorchNetwork(learner.model.float(), learner.extractor)
    sound = make_noise("pink", min(network.window, network.sample_rate), level_db=-30.0, seed=0)
    done = divide_logits(learner.model, network.prepare([sound]), temperature)
    if done:
        setattr(learner.model.config, CONFIG_KEY, Decision(temperature=temperature).to_config())
    return done


def _count_answered(decision: Decision, answers: Answers) -> dict[str, Any]:
    """Of the test clips, all of known classes: the share that gets an answer, and how often that is right."""
    if answers.levels_db is None:
        return {}
    probabilities = answers.probabilities()
    accepted = decision.accepts(answers.labels, probabilities, answers.levels_db, multi_label=answers.multi_label)
    told: dict[str, Any] = {"answered": float(accepted.mean())}
    if not answers.multi_label and accepted.any():
        right = answers.truth()[np.arange(len(probabilities)), probabilities.argmax(1)]
        told["answered_accuracy"] = float(right[accepted].mean())
    return told


def _find_silence_db(waveforms: ClipWaveforms, rows: np.ndarray) -> float:
    """Well below the quietest clip that was learnt from, and never above what a microphone's own noise may reach."""
    quietest_db = min(measure_level_db(waveforms.read(int(row))) for row in rows)
    return round(min(max(quietest_db - BELOW_QUIETEST_DB, QUIETEST_DB), LOUDEST_SILENCE_DB), 1)
