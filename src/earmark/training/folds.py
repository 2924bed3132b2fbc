"""The folds of a cross-validation: one training after the other, each kept as a piece that a later start finds."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from transformers import set_seed

from earmark.data.splits import Split, split_clips
from earmark.data.waveforms import ClipWaveforms
from earmark.evaluation.evaluate import Answers, arrange_answers, ask_model
from earmark.evaluation.repeats import SEED
from earmark.files import replace_whole, write_text_whole
from earmark.inference.classifier import Classifier
from earmark.inference.torch_network import TorchNetwork
from earmark.pages.layout import span
from earmark.progress import say
from earmark.training.batches import EncodedClips
from earmark.training.decision import calibrate
from earmark.training.fit import Fitted, fit_model
from earmark.training.journal import Record
from earmark.training.learners import Learner, build_learner
from earmark.training.recipe import Recipe
from earmark.training.record import describe_model
from earmark.training.run import encode_once
from earmark.training.trackers import Trackers

PIECES = "folds"
"""The folder of the pieces inside a run that is not finished."""

TOLD_FILE, ANSWERS_FILE = "piece.json", "answers.npz"


@dataclass(frozen=True, eq=False)
class Piece:
    """What is left of one fold: its answers, and what is told of its training.

    Args:
        seed: Of the training.
        fold: The tested fold.
        answers: About the clips of the fold.
        told: ``history``, ``kept_epoch``, ``train_s``, ``model``, ``note``, ``temperature``, ``calibrated``.
    """

    seed: int
    fold: int
    answers: Answers
    told: dict[str, Any]

    def summarise(self) -> dict[str, Any]:
        """A row of the table of folds."""
        metrics = self.answers.measure(seed=self.seed)
        figures = {name: metrics[name]["value"] for name in (metrics["primary"], "macro_f1")}
        return {"seed": self.seed, "fold": self.fold, "clips": len(self.answers.table), **figures}

    def tell_history(self, *, validation: bool) -> dict[str, Any]:
        """The epochs of the training, with the one that was chosen if one was."""
        chosen = {"chosen_epoch": self.told["kept_epoch"]} if validation else {}
        return {"seed": self.seed, "fold": self.fold, **chosen, "history": self.told["history"]}


class Features:
    """What never changes in a run, computed for the first learner that asks; folds and seeds differ only after it."""

    def __init__(self, waveforms: ClipWaveforms) -> None:
        self._waveforms = waveforms
        self._encoded: EncodedClips | None = None

    def encode(self, learner: Learner) -> EncodedClips | None:
        """The clips as the learner's head takes them, or nothing where all of it learns."""
        if self._encoded is None:
            self._encoded = encode_once(learner, self._waveforms)
        return self._encoded


def answer_folds(
    folder: Path,
    waveforms: ClipWaveforms,
    recipe: Recipe,
    features: Features,
    trackers: Trackers,
    *,
    seeds: Sequence[int],
    validation: bool,
) -> list[Piece]:
    """What is said about every clip by a model that did not hear it, once a seed.

    Args:
        folder: The run. A fold that it holds a piece of is not trained again.
        waveforms: The clips, with their folds, and their sound.
        recipe: How to train.
        features: What folds share.
        trackers: Told every epoch, also those of pieces that were there.
        seeds: Of the trainings; the folds are the same for all.
        validation: Whether the fold after the tested one chooses the epoch.
    """
    folds = sorted(int(fold) for fold in waveforms.clips.table["fold"].unique())
    plan = [(seed, fold) for seed in seeds for fold in folds]
    pieces: list[Piece] = []
    began, trained = time.perf_counter(), 0
    for number, (seed, fold) in enumerate(plan, start=1):
        place = f"fold {folds.index(fold) + 1} of {len(folds)}"
        title = f"seed {seed}, {place}" if len(seeds) > 1 else place
        log = partial(_log_epoch, trackers, f"{fold}_seed_{seed}" if len(seeds) > 1 else fold)
        piece = read_piece(folder, waveforms, seed, fold)
        if piece is None:
            split = split_clips(waveforms.clips, validation=validation, test_fold=fold, seed=seed)
            with_title = f"{recipe.name}, {title}"
            piece = _train_fold(folder, waveforms, recipe, features, split, log, title=with_title, seed=seed, fold=fold)
            trained += 1
            left_s = (time.perf_counter() - began) / trained * (len(plan) - number)
            _tell_fold(piece, title, left_s)
        else:
            for record in piece.told["history"]:
                log(record)
        pieces.append(piece)
    return pieces


def read_piece(folder: Path, waveforms: ClipWaveforms, seed: int, fold: int) -> Piece | None:
    """A fold that was finished before, if it was."""
    place = _find_place(folder, seed, fold)
    if not (place / TOLD_FILE).is_file():
        return None
    told = json.loads((place / TOLD_FILE).read_text(encoding="utf-8"))
    with np.load(place / ANSWERS_FILE, allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    clips = waveforms.clips
    rows = np.flatnonzero(clips.table["fold"].to_numpy(dtype=int) == fold)
    table = arrange_answers(clips, rows, kept["probabilities"], clips.labels)
    table.insert(list(table.columns).index("predicted"), SEED, seed)
    answers = Answers(table, clips.labels, clips.multi_label, kept.get("uncalibrated"), kept.get("levels_db"))
    return Piece(seed, fold, answers, told)


def _find_place(folder: Path, seed: int, fold: int) -> Path:
    return folder / PIECES / f"{seed}-{fold}"


def _write_piece(folder: Path, piece: Piece) -> None:
    """A piece is there once its last file is: ``piece.json``."""
    place = _find_place(folder, piece.seed, piece.fold)
    answers = piece.answers
    arrays = {
        "probabilities": answers.probabilities(),
        "uncalibrated": answers.uncalibrated,
        "levels_db": answers.levels_db,
    }
    with replace_whole(place / ANSWERS_FILE) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: array for name, array in arrays.items() if array is not None})
    write_text_whole(place / TOLD_FILE, json.dumps(piece.told, ensure_ascii=False))
    shutil.rmtree(place / "checkpoints", ignore_errors=True)


def _train_fold(
    folder: Path,
    waveforms: ClipWaveforms,
    recipe: Recipe,
    features: Features,
    split: Split,
    log: Any,
    *,
    title: str,
    seed: int,
    fold: int,
) -> Piece:
    """Learn from the other folds, ask about this one, and keep what came of it."""
    set_seed(seed)
    learner = build_learner(recipe, waveforms.clips.labels, multi_label=waveforms.clips.multi_label)
    began = time.perf_counter()
    fitted = fit_resumably(
        folder,
        _find_place(folder, seed, fold),
        learner,
        waveforms,
        recipe,
        features,
        split,
        seed=seed,
        title=title,
        log=log,
    )
    seconds = time.perf_counter() - began
    temperature, calibrated = calibrate(learner, waveforms, split.rows("validation"))
    told = {
        "history": fitted.history,
        "kept_epoch": fitted.kept_epoch,
        "train_s": round(seconds, 2),
        "model": describe_model(learner, recipe),
        "note": learner.note,
        "temperature": temperature,
        "calibrated": calibrated,
    }
    answers = ask_model(
        Classifier(TorchNetwork(learner.model.float(), learner.extractor)), waveforms, split.rows("test")
    )
    _write_piece(folder, Piece(seed, fold, answers, told))
    piece = read_piece(folder, waveforms, seed, fold)
    assert piece is not None
    return piece


def fit_resumably(
    run: Path,
    place: Path,
    learner: Learner,
    waveforms: ClipWaveforms,
    recipe: Recipe,
    features: Features,
    split: Split,
    *,
    seed: int,
    title: str,
    log: Any = None,
) -> Fitted:
    """Train; where that takes long, go on from the last epoch in ``place`` if there is one, and keep each there.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed. What was learnt in ``place`` is dropped: an epoch cut short is no epoch.
    """
    encoded = features.encode(learner)
    # A head that learns from encoded clips is sooner trained again than its every epoch is kept.
    kept = place if encoded is None else None
    fitted = fit_model(
        learner,
        waveforms,
        recipe,
        train_rows=split.rows("train"),
        validation_rows=split.rows("validation"),
        seed=seed,
        encoded=encoded,
        folder=kept,
        resume=kept is not None,
        title=title,
        on_record=log,
    )
    if fitted.interrupted:
        shutil.rmtree(place, ignore_errors=True)
        say(f"Finished folds are kept: `earmark crossval --resume {run}` goes on after them.")
        raise KeyboardInterrupt
    return fitted


def _log_epoch(trackers: Trackers, fold: int | str, record: Record) -> None:
    trackers.log_epoch({**record, "fold": fold})


def _tell_fold(piece: Piece, title: str, left_s: float) -> None:
    row = piece.summarise()
    name, value = ("mAP", row["map"]) if "map" in row else ("accuracy", row["accuracy"])
    figure = f"{name} {100 * value:.1f} % on {row['clips']} clips"
    left = f"; about {span(left_s)} left" if left_s > 0 else ""
    say(f"{title[0].upper()}{title[1:]}: {figure}, {span(piece.told['train_s'])}{left}")
