"""The model to ship after a cross-validation: trained on all clips, as the folds' models were on most of them."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from transformers import set_seed

from earmark.data.splits import Split
from earmark.data.waveforms import ClipWaveforms
from earmark.evaluation.repeats import pool_answers
from earmark.files import write_text_whole
from earmark.training.build import save_model
from earmark.training.card import write_card
from earmark.training.decision import describe_thresholds, settle_refit
from earmark.training.folds import PIECES, Features, Piece, fit_resumably
from earmark.training.learners import build_learner
from earmark.training.recipe import Recipe

REFIT = "refit"


def plan_refit(recipe: Recipe, pieces: Sequence[Piece], n_clips: int) -> tuple[Recipe, str]:
    """The recipe that trains on all clips with nothing held out, and a sentence that says so.

    Where the folds' epochs were chosen on validation, the median of the chosen ones becomes the number of epochs, and
    the schedule of the learning rate runs its whole course in it.

    Args:
        recipe: Of the folds.
        pieces: The folds.
        n_clips: How many clips there are.
    """
    if recipe.train.select == "validation":
        epochs = max(1, int(median(piece.told["kept_epoch"] for piece in pieces) + 0.5))
        train = replace(recipe.train, select="last", epochs=epochs, max_steps=0)
        length = f"{epochs} epoch{'s' * (epochs > 1)}, the median of those chosen in the folds"
    else:
        train, length = recipe.train, "as long as the folds' models were"
    sentence = (
        f"The model to ship was then trained on all {n_clips} clips, {length}; nothing was held out and nothing tests "
        "it, so the figures are those of the folds' models, which learned from fewer clips by the same recipe."
    )
    return replace(recipe, train=train), sentence


def refit_model(
    folder: Path,
    waveforms: ClipWaveforms,
    recipe: Recipe,
    report: dict[str, Any],
    pieces: Sequence[Piece],
    features: Features,
    *,
    seed: int,
) -> None:
    """Train on all clips and write ``model/``, whose card has the cross-validated figures.

    Args:
        folder: The run.
        waveforms: The clips and their sound.
        recipe: Of the folds.
        report: With its ``metrics``; ``protocol``, ``timing`` and ``refit`` are told here.
        pieces: The folds.
        features: What folds share.
        seed: Of the training.
    """
    clips = waveforms.clips
    refit_recipe, sentence = plan_refit(recipe, pieces, len(waveforms))
    split = Split(np.full(len(waveforms), "train", dtype=object), sentence)
    set_seed(seed)
    learner = build_learner(refit_recipe, clips.labels, multi_label=clips.multi_label)
    began = time.perf_counter()
    title = f"{recipe.name}, all clips"
    place = folder / PIECES / REFIT
    fitted = fit_resumably(folder, place, learner, waveforms, refit_recipe, features, split, seed=seed, title=title)
    report["timing"]["refit_s"] = round(time.perf_counter() - began, 2)
    report["protocol"] += f" {sentence}"
    report["refit"] = {"epochs": len(fitted.history), "history": fitted.history}
    encoded = features.encode(learner)
    pooled, temperatures = pool_answers([piece.answers for piece in pieces]), [p.told["temperature"] for p in pieces]
    settled = settle_refit(learner, waveforms, split, refit_recipe, pooled, temperatures, encoded=encoded, seed=seed)
    card = write_card(refit_recipe, report)
    classifier = save_model(learner, folder / "model", card=card, waveforms=waveforms, rows=split.rows("train"))
    report["rejection"] = describe_thresholds(settled, classifier)
    report["calibration"]["sentence"] += f" {settled.calibrated}" * bool(settled.calibrated)
    write_text_whole(folder / "model" / "README.md", write_card(refit_recipe, report))
