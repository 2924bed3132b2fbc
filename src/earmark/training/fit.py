"""One training, on Transformers' Trainer: a learner, some clips to learn from, perhaps some to choose by."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import TrainerCallback, TrainingArguments, set_seed

from earmark.data.waveforms import ClipWaveforms
from earmark.inference.device import choose_device
from earmark.models.front_ends import Encoded
from earmark.models.hub import hide_progress
from earmark.sound.windows import cut_pieces
from earmark.training.batches import EncodedClips, EncodedExamples, WaveformExamples
from earmark.training.callbacks import (
    RAW_WEIGHTS_FILE,
    EpochTeller,
    Interruption,
    Patience,
    PlateauJudge,
    SparingSaves,
    WeightAverage,
)
from earmark.training.choices import choose_precision, leaves_one_out
from earmark.training.journal import Journal, OnRecord, Record
from earmark.training.learners import EncodedHead, Learner
from earmark.training.processes import count_processes, share_batch
from earmark.training.recipe import Recipe
from earmark.training.surroundings import prepare_process
from earmark.training.trainer import ClassificationTrainer, measure_accuracy, measure_map

EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Fitted:
    """What a training gave: its record an epoch, the epoch whose weights were kept, and whether it was broken off."""

    history: list[Record]
    kept_epoch: int
    interrupted: bool


@torch.no_grad()
def encode_clips(learner: Learner, waveforms: ClipWaveforms, on_progress: Any = None) -> EncodedClips:
    """Compute once, for every window of every clip, what never changes; folds and epochs differ only after it."""
    spans = [
        (row, *span) for row, length in enumerate(waveforms.lengths) for span in cut_pieces(int(length), learner.window)
    ]
    lengths = np.array([stop - start for _, start, stop in spans])
    features: list[Any] = [None] * len(spans)
    frames = torch.zeros(len(spans), dtype=torch.long)
    # Windows alike in length go together: little is padded, and eight at a time stay near the processor's cache.
    order = np.argsort(lengths, kind="stable")
    learner.model.eval()
    for begin in range(0, len(order), 8):
        chosen = order[begin : begin + 8]
        encoded = learner.encode([waveforms.read(*spans[i]) for i in chosen])
        for place, row in enumerate(chosen):
            features[row] = encoded.features[place]
            frames[row] = encoded.frames[place]
        if on_progress is not None:
            on_progress(begin + len(chosen), len(order))
    owners = np.array([row for row, _, _ in spans])
    first = np.searchsorted(owners, np.arange(len(waveforms) + 1))
    return EncodedClips(Encoded(torch.stack(features), frames), first, torch.from_numpy(lengths))


def fit_model(
    learner: Learner,
    waveforms: ClipWaveforms,
    recipe: Recipe,
    *,
    train_rows: np.ndarray,
    validation_rows: np.ndarray,
    seed: int,
    encoded: EncodedClips | None = None,
    folder: Path | None = None,
    resume: bool = False,
    title: str = "model",
    on_record: OnRecord | None = None,
    keeps_best: bool = True,
) -> Fitted:
    """Train a learner's model in place.

    Args:
        learner: Built for the recipe; what it takes from the training clips is fitted here.
        waveforms: The clips and their sound.
        recipe: How to train.
        train_rows: Clips to learn from.
        validation_rows: Clips to choose the epoch by; empty if nothing is chosen.
        seed: Decides all that is random.
        encoded: What never changes, if it was computed before.
        folder: Where ``metrics.jsonl`` and ``checkpoints/`` go; without it nothing is kept on the way.
        resume: Go on from the last checkpoint in ``folder``, if there is one.
        title: What is trained, in the progress line.
        on_record: Told the record of every epoch.
        keeps_best: Where clips are there to choose by, the model ends with the weights of the best epoch; without, with
            those of the last, and no epoch's weights are written anywhere: for those who want the figures alone.
    """
    set_seed(seed)
    learner.begin(waveforms, train_rows, encoded, seed)
    validating = len(validation_rows) > 0
    examples, chooser, trained, collate = _lay_out(
        learner, waveforms, recipe, train_rows, validation_rows, encoded, seed
    )
    # The best epoch's weights wait somewhere until the end, also where nothing else is kept on the way.
    scratch = tempfile.TemporaryDirectory(prefix="earmark-")
    out = folder / "checkpoints" if folder else Path(scratch.name)
    checkpoint = _last_checkpoint(folder, recipe) if resume else None
    # A training that keeps nothing on the way is one of many: a line at its end will do in a pipe.
    lines, path = (10, folder / "metrics.jsonl") if folder else (1, None)
    journal = Journal(path, title, validating=validating, plain_lines=lines, on_record=on_record)
    interruption = Interruption()
    multi_label = waveforms.clips.multi_label
    figure = ("map" if multi_label else "accuracy") if validating else None
    trainer = ClassificationTrainer(
        recipe=recipe,
        journal=journal,
        multi_label=multi_label,
        model=trained,
        args=_arguments(
            recipe,
            len(train_rows),
            figure=figure,
            keeps_best=keeps_best and validating,
            saving=folder is not None,
            seed=seed,
            out=out,
        ),
        data_collator=collate,
        train_dataset=examples,
        eval_dataset=chooser,
        compute_metrics=measure_map if multi_label else measure_accuracy,
        callbacks=[
            EpochTeller(examples),
            # Several processes must save after the same epochs, and their clocks differ.
            *([] if validating or count_processes() > 1 else [SparingSaves()]),
            journal,
            interruption,
            *_choose_callbacks(recipe, journal, trained, checkpoint, validating=validating),
        ],
    )
    trainer.remove_callback(_printer())
    try:
        with interruption.listen(), hide_progress(), prepare_process(recipe, trained, encoded=encoded is not None):
            trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        journal.close()
        scratch.cleanup()
    learner.finish()
    return Fitted(journal.history, journal.find_best_epoch(), interruption.asked)


def _choose_callbacks(
    recipe: Recipe, journal: Journal, trained: nn.Module, checkpoint: str | None, *, validating: bool
) -> list[TrainerCallback]:
    chosen: list[TrainerCallback] = []
    if recipe.train.schedule == "plateau":
        chosen.append(PlateauJudge(journal))
    if recipe.train.average:
        chosen.append(WeightAverage(trained, recipe.train.average, checkpoint))
    if validating:
        chosen.append(Patience(early_stopping_patience=recipe.train.patience))
    return chosen


def _lay_out(
    learner: Learner,
    waveforms: ClipWaveforms,
    recipe: Recipe,
    train_rows: np.ndarray,
    validation_rows: np.ndarray,
    encoded: EncodedClips | None,
    seed: int,
) -> tuple[Any, Any, nn.Module, Any]:
    """Examples to learn from, examples to choose by, the module that learns, and how a batch is put together."""
    if encoded is not None:
        examples = EncodedExamples(waveforms, encoded, train_rows, training=True, seed=seed)
        chooser = EncodedExamples(waveforms, encoded, validation_rows, training=False) if len(validation_rows) else None
        return examples, chooser, EncodedHead(learner), examples.collate
    window = learner.window
    training = WaveformExamples(waveforms, train_rows, window=window, augment=recipe.augment, seed=seed)
    choosing = WaveformExamples(waveforms, validation_rows, window=window) if len(validation_rows) else None
    return training, choosing, learner.trained(), learner.collate


def _arguments(
    recipe: Recipe, clips: int, *, figure: str | None, keeps_best: bool, saving: bool, seed: int, out: Path
) -> TrainingArguments:
    """How Transformers is to train ``clips`` clips; the epoch with the best ``figure`` is kept, or the last."""
    train = recipe.train
    device = choose_device()
    precision = choose_precision(recipe, device)
    return TrainingArguments(
        output_dir=str(out),
        num_train_epochs=train.epochs,
        max_steps=train.max_steps or -1,
        per_device_train_batch_size=share_batch(train.batch_size),
        # A large audio model cannot be asked about more sound at once than it can learn from.
        per_device_eval_batch_size=train.batch_size if recipe.brings_features else EVALUATION_BATCH,
        gradient_accumulation_steps=train.accumulate,
        dataloader_drop_last=leaves_one_out(train.batch_size, clips),
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        use_cpu=device.type == "cpu",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        eval_strategy="epoch" if figure else "no",
        save_strategy="epoch" if keeps_best or saving else "no",
        save_total_limit=1,
        save_only_model=not saving,  # nobody goes on from what lies in a scratch folder
        load_best_model_at_end=keeps_best,
        metric_for_best_model=figure,
        greater_is_better=True if figure else None,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
        dataloader_pin_memory=device.type == "cuda",
        dataloader_num_workers=4 if device.type == "cuda" else 0,
        remove_unused_columns=False,
        label_names=["targets"],
    )


def _printer() -> type[TrainerCallback]:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def _last_checkpoint(folder: Path | None, recipe: Recipe) -> str | None:
    """The newest checkpoint that is whole: the file written last is there, so a run killed before is without it."""
    last_file = RAW_WEIGHTS_FILE if recipe.train.average else "trainer_state.json"
    found = folder.glob(f"checkpoints/checkpoint-*/{last_file}") if folder else ()
    steps = {int(path.parent.name.removeprefix("checkpoint-")): str(path.parent) for path in found}
    return steps[max(steps)] if steps else None
