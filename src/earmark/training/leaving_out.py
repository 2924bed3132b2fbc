"""Trials of a model with classes left out, whose clips stand for sounds of no class: trained again, or struck out."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from transformers import set_seed

from earmark.data.clips import Clips
from earmark.data.splits import Split
from earmark.data.strata import deal_strata
from earmark.data.waveforms import ClipWaveforms
from earmark.evaluation.multi_label import THRESHOLD
from earmark.evaluation.rejection import Trial, strike_out, try_without
from earmark.inference.decision import average_windows
from earmark.models.front_ends import Encoded
from earmark.training.batches import EncodedClips
from earmark.training.fit import fit_model
from earmark.training.learners import Learner, build_learner
from earmark.training.recipe import Recipe

ROUNDS = 5  # trainings at most without some of the classes
FEWEST_CLIPS = 20  # held out, to choose thresholds on
FEWEST_TO_LEARN = 8
ONLY_SILENCE = "so with --reject only silence is unknown."


@dataclass(frozen=True, eq=False)
class Trials:
    """What is said of clips of classes that were left out, and of the others.

    Args:
        method: ``"retrained"``, ``"struck out"``, ``"fixed"`` (several labels a clip) or ``"none"``.
        told: How it was done, or why it was not, in words.
        choosing: To choose thresholds by; no test clip is in them.
        testing: Of test clips, where models were trained without the classes.
    """

    method: str
    told: str
    choosing: list[Trial] = field(default_factory=list)
    testing: list[Trial] = field(default_factory=list)


def strike_out_each(clips: Clips, probabilities: np.ndarray, truth: np.ndarray, of_what: str) -> Trials:
    """Trials from answers of models that know all classes, about clips that they did not learn from.

    Args:
        clips: Which classes there are.
        probabilities: (clips, classes).
        truth: (clips,), the class of each.
        of_what: What clips these are, for the report.
    """
    if refused := _refuse_trials(clips):
        return refused
    if len(truth) < FEWEST_CLIPS:
        return Trials(
            "none",
            f"Too few clips were held out to choose thresholds on, {ONLY_SILENCE} Train with "
            "--set train.select=validation to have them chosen.",
        )
    return Trials(
        "struck out",
        "The network was not trained again without a class. Instead a class's output was struck out and the others "
        "made to add up to 1: its clips then stand for sounds of no class. That network did learn the class, which "
        "flatters the figures: foreign sounds get in more often. "
        f"Thresholds were chosen in the same way on {len(truth)} {of_what}.",
        strike_each(probabilities, truth),
    )


def retrain_without(
    waveforms: ClipWaveforms, split: Split, recipe: Recipe, encoded: EncodedClips, temperature: float, seed: int
) -> Trials:
    """Trials of heads trained again without some of the classes, each class left out once.

    Args:
        waveforms: The clips and their sound.
        split: Who played which part. Where none validates, a part of the training clips is held out each time.
        recipe: How to train, as the model was.
        encoded: What never changes, so that a training is cheap.
        temperature: Of the model that is saved; the answers get it too.
        seed: Decides all that is random.
    """
    if refused := _refuse_trials(waveforms.clips):
        return refused
    if len(split.rows("train")) < FEWEST_CLIPS:
        return Trials("none", f"{len(split.rows('train'))} clips are too few to choose thresholds on, {ONLY_SILENCE}")
    truth = waveforms.targets().argmax(1)
    test_rows = split.rows("test")
    labels = waveforms.clips.labels
    choosing: list[Trial] = []
    testing: list[Trial] = []
    rounds = list(_deal_rounds(waveforms, split, truth, min(ROUNDS, len(labels)), seed))
    for number, (left_out, train_rows, known_rows, validation_rows) in enumerate(rounds, start=1):
        set_seed(seed)
        fresh = build_learner(recipe, labels, multi_label=False)
        fitted = fit_model(
            fresh,
            waveforms,
            recipe,
            train_rows=train_rows,
            validation_rows=validation_rows,
            seed=seed,
            encoded=encoded,
            title=f"without some classes, {number}/{len(rounds)}",
        )
        if fitted.interrupted:
            return Trials("none", f"The search for thresholds was broken off by hand, {ONLY_SILENCE}")
        others = np.flatnonzero(np.isin(truth, left_out) & np.isin(split.parts, ("train", "validation")))
        asked_of = [(choosing, np.concatenate([known_rows, others])), *([(testing, test_rows)] * (len(test_rows) > 0))]
        for trials, rows in asked_of:
            probabilities = strike_out(_answer(fresh, encoded, rows, temperature), left_out.tolist())
            known = ~np.isin(truth[rows], left_out)
            trials += [try_without(int(position), probabilities, truth[rows], known) for position in left_out]
    if not choosing:
        return Trials(
            "none", f"Without the largest class too few clips are left to choose thresholds by, {ONLY_SILENCE}"
        )
    by = "validation clips" if len(split.rows("validation")) else "training clips, a part held out each time"
    asked = "; test clips were only asked what they are worth" if len(test_rows) else ""
    told = (
        f"The head was trained again {len(rounds)} times, each class left out once, and was asked about its clips as "
        f"sounds of no class. Thresholds were chosen on {by}{asked}."
    )
    return Trials("retrained", told, choosing, testing)


def strike_each(probabilities: np.ndarray, truth: np.ndarray) -> list[Trial]:
    """A trial for each class, in the answers of a model that knows it."""
    return [
        try_without(position, strike_out(probabilities, [position]), truth, truth != position)
        for position in range(probabilities.shape[1])
    ]


def _refuse_trials(clips: Clips) -> Trials | None:
    """What stands in the place of trials where no class can be left out."""
    if clips.multi_label:
        told = f"A clip may have several labels, so with --reject unknown is what no label reaches {THRESHOLD:.0%} for."
        return Trials("fixed", told)
    if len(clips.labels) < 3:
        return Trials("none", f"With two classes none can be left out to choose thresholds by, {ONLY_SILENCE}")
    return None


def _deal_rounds(
    waveforms: ClipWaveforms, split: Split, truth: np.ndarray, n_rounds: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """For each round the classes left out, and rows to learn from, to ask about (of known classes), to choose by."""
    train_rows, validation_rows = split.rows("train"), split.rows("validation")
    part_of = _deal_parts(waveforms, train_rows, n_rounds, seed)
    for number in range(n_rounds):
        left_out = np.arange(number, len(waveforms.clips.labels), n_rounds)
        stays = ~np.isin(truth, left_out)
        choosing = validation_rows[stays[validation_rows]]
        # Where no part validates, each round holds a part of the training clips back.
        learnt = train_rows if len(validation_rows) else train_rows[part_of != number]
        asked = choosing if len(validation_rows) else train_rows[part_of == number]
        learnt, asked = learnt[stays[learnt]], asked[stays[asked]]
        if len(learnt) >= FEWEST_TO_LEARN and len(asked):
            yield left_out, learnt, asked, choosing


def _deal_parts(waveforms: ClipWaveforms, rows: np.ndarray, n_parts: int, seed: int) -> np.ndarray:
    """(rows,), the part of each: every class in each part alike, whole groups together."""
    table = waveforms.clips.table.iloc[rows]
    group = table["group"].to_numpy(dtype=object) if "group" in table else np.full(len(rows), None, dtype=object)
    names = [f"clip {row}" if pd.isna(name) else f"group {name}" for row, name in zip(rows, group, strict=True)]
    unit, units = pd.factorize(np.array(names, dtype=object))
    targets = waveforms.targets()[rows].astype(int)
    counts = np.zeros((len(units), targets.shape[1]), dtype=int)
    np.add.at(counts, unit, targets)
    shares = np.full(n_parts, 1 / n_parts)
    return deal_strata(counts, np.bincount(unit).astype(float), shares, np.random.default_rng(seed))[unit]


@torch.no_grad()
def _answer(learner: Learner, encoded: EncodedClips, rows: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (clips, classes) of a learner for clips that were encoded before."""
    learner.model.eval()
    windows = torch.from_numpy(encoded.windows_of(rows))
    device = next(learner.model.parameters()).device
    features, frames = (part[windows].to(device) for part in encoded.encoded)
    logits = learner.head(Encoded(features, frames)).float().cpu().numpy() / temperature
    counts = encoded.first[rows + 1] - encoded.first[rows]
    owners = np.repeat(np.arange(len(rows)), counts)
    return average_windows(logits, owners, encoded.weights[windows].numpy(), n_sounds=len(rows))
