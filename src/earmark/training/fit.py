"""One training, on Transformers' Trainer: a model, some clips to learn from, perhaps some to choose by."""

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.modeling_outputs import SequenceClassifierOutput

from earmark.data.waveforms import ClipWaveforms
from earmark.inference.device import choose_device
from earmark.models import EarmarkForAudioClassification
from earmark.models.front_ends import Encoded
from earmark.models.hub import hide_progress
from earmark.sound.augment import MaskSpectrogram
from earmark.sound.windows import cut_pieces
from earmark.training.batches import (
    BalancedSampler,
    EncodedClips,
    EncodedExamples,
    WaveformExamples,
    class_weights,
    collate_waveforms,
)
from earmark.training.journal import Journal, Record
from earmark.training.losses import measure_loss
from earmark.training.recipe import Recipe
from earmark.training.schedule import one_cycle

STATISTICS_CLIPS = 512  # as many training clips as the standardisation needs to settle
EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Fitted:
    """What a training gave: its record an epoch, the epoch whose weights were kept, and whether it was broken off."""

    history: list[Record]
    kept_epoch: int
    interrupted: bool


class _EncodedHead(nn.Module):
    """The part of a model that learns, for windows that were encoded before."""

    def __init__(self, model: EarmarkForAudioClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, frames: Tensor, owners: Tensor, weights: Tensor) -> SequenceClassifierOutput:
        logits = self.model.head(Encoded(features, frames))
        clips = int(owners[-1]) + 1
        if clips == len(logits):
            return SequenceClassifierOutput(logits=logits)
        # A clip of several windows: the mean probability by how much sound each holds, as in prediction.
        shares = weights / torch.zeros(clips, device=weights.device).index_add_(0, owners, weights)[owners]
        mean = torch.zeros(clips, logits.shape[1], device=logits.device)
        mean.index_add_(0, owners, logits.float().softmax(-1) * shares[:, None])
        return SequenceClassifierOutput(logits=mean.clamp_min(torch.finfo(mean.dtype).tiny).log())


class _ClassificationTrainer(Trainer):
    """Trainer with our loss, our journal, the one-cycle schedule and the balanced sampler."""

    def __init__(self, *, recipe: Recipe, journal: Journal, multi_label: bool, **settings: Any) -> None:
        self.recipe = recipe
        self.journal = journal
        self.multi_label = multi_label
        super().__init__(**settings)
        # Transformers would leave the division under gradient accumulation to models that take any keyword.
        self.model_accepts_loss_kwargs = False
        self.weights: Tensor | None = None
        if recipe.train.balance == "weights":
            self.weights = class_weights(self.train_dataset.targets).to(self.args.device)

    def compute_loss(self, model: nn.Module, inputs: dict, return_outputs: bool = False, **_: Any) -> Any:
        targets = inputs.pop("targets")
        outputs = model(**inputs)
        loss = measure_loss(
            outputs.logits,
            targets,
            multi_label=self.multi_label,
            weights=self.weights,
            label_smoothing=self.recipe.train.label_smoothing,
        )
        if model.training:
            right = (outputs.logits.argmax(-1) == targets.argmax(-1)).sum()
            self.journal.count(loss.detach(), right.detach(), len(targets))
        return (loss, outputs) if return_outputs else loss

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.recipe.train.schedule != "one_cycle":
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:  # type: ignore[has-type]
            self.lr_scheduler = one_cycle(
                optimizer or self.optimizer, num_training_steps, self.recipe.train.learning_rate
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.recipe.train.balance == "sampler":
            return BalancedSampler(self.train_dataset.targets, self.args.seed)
        return super()._get_train_sampler(train_dataset)


class _EpochTeller(TrainerCallback):
    """Tells the examples which epoch it is, since all that is random about them hangs on it."""

    def __init__(self, examples: Any) -> None:
        self.examples = examples

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.examples.epoch = round(state.epoch or 0)


class _Patience(EarlyStoppingCallback):
    """Early stopping that a resumed run takes up where it was, wherever its directory lies now."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **settings: Any) -> None:
        super().on_train_begin(args, state, control, **settings)
        if not state.best_global_step:
            return
        # Transformers counts from nought again, and knows the best checkpoint by the path it had.
        asked = [entry["step"] for entry in state.log_history if "eval_accuracy" in entry]
        self.early_stopping_patience_counter = sum(step > state.best_global_step for step in asked)
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if best.is_dir():
            state.best_model_checkpoint = str(best)


class _Interruption(TrainerCallback):
    """Ends the training after the current step once Ctrl-C was pressed; a second Ctrl-C breaks off at once."""

    def __init__(self) -> None:
        self.asked = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if self.asked:
            control.should_training_stop = True
        return control

    @contextmanager
    def listen(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        previous = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)


def caches_encoding(recipe: Recipe) -> bool:
    """Whether the front end's output never changes in a run: it sums a clip up, and nothing is augmented."""
    augment = recipe.augment
    still = not (augment.mix or augment.roll or augment.gain_db or augment.mask_time_s or augment.mask_mels)
    return still and recipe.front_end.kind != "log_mel"


@torch.no_grad()
def encode_clips(
    model: EarmarkForAudioClassification, waveforms: ClipWaveforms, on_progress: Any = None
) -> EncodedClips:
    """Run the front end once over every window of every clip; folds and epochs differ only after it."""
    window = model.config.window
    spans = [(row, *span) for row, length in enumerate(waveforms.lengths) for span in cut_pieces(int(length), window)]
    lengths = np.array([stop - start for _, start, stop in spans])
    features: list[Any] = [None] * len(spans)
    frames = torch.zeros(len(spans), dtype=torch.long)
    # Windows alike in length go together: little is padded, and eight at a time stay near the processor's cache.
    order = np.argsort(lengths, kind="stable")
    model.eval()
    for begin in range(0, len(order), 8):
        chosen = order[begin : begin + 8]
        batch = collate_waveforms([{"waveform": waveforms.read(*spans[i]), "target": np.zeros(1)} for i in chosen])
        encoded = model.encode(batch["input_values"], batch.get("attention_mask"))
        for place, row in enumerate(chosen):
            features[row] = encoded.features[place]
            frames[row] = encoded.frames[place]
        if on_progress is not None:
            on_progress(begin + len(chosen), len(order))
    owners = np.array([row for row, _, _ in spans])
    first = np.searchsorted(owners, np.arange(len(waveforms) + 1))
    return EncodedClips(Encoded(torch.stack(features), frames), first, torch.from_numpy(lengths))


@torch.no_grad()
def fit_standardisation(
    model: EarmarkForAudioClassification,
    waveforms: ClipWaveforms,
    rows: np.ndarray,
    encoded: EncodedClips | None,
    seed: int,
) -> None:
    """Mean and deviation of the features, from training clips alone."""
    if encoded is not None:
        windows = torch.from_numpy(encoded.windows_of(rows))
        model.standardise.fit([Encoded(encoded.encoded.features[windows], encoded.encoded.frames[windows])])
        return
    chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:STATISTICS_CLIPS])
    batches = []
    for row in chosen:
        waveform = torch.from_numpy(np.array(waveforms.read(int(row), 0, model.config.window)))[None]
        batches.append(model.encode(waveform))
    model.standardise.fit(batches)


def choose_precision(recipe: Recipe, device: torch.device) -> str:
    """``"bf16"`` where the recipe allows it and the hardware computes in it, else ``"fp32"``."""
    if recipe.train.precision != "auto":
        return recipe.train.precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "fp32"


def fit_model(
    model: EarmarkForAudioClassification,
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
) -> Fitted:
    """Train ``model`` in place.

    Args:
        model: Built for the recipe; its standardisation is fitted here.
        waveforms: The clips and their sound.
        recipe: How to train.
        train_rows: Clips to learn from.
        validation_rows: Clips to choose the epoch by; empty if nothing is chosen.
        seed: Decides all that is random.
        encoded: The front end's output, if it was computed before.
        folder: Where ``metrics.jsonl`` and ``checkpoints/`` go; without it nothing is kept on the way.
        resume: Go on from the last checkpoint in ``folder``, if there is one.
        title: What is trained, in the progress line.
    """
    set_seed(seed)
    fit_standardisation(model, waveforms, train_rows, encoded, seed)
    validating = len(validation_rows) > 0
    examples, chooser, trained, collate = _lay_out(model, waveforms, recipe, train_rows, validation_rows, encoded, seed)
    # The best epoch's weights wait somewhere until the end, also where nothing else is kept on the way.
    scratch = tempfile.TemporaryDirectory(prefix="earmark-")
    out = folder / "checkpoints" if folder else Path(scratch.name)
    # A training that keeps nothing on the way is one of many: a line at its end will do in a pipe.
    lines, path = (10, folder / "metrics.jsonl") if folder else (1, None)
    journal = Journal(path, title, validating=validating, plain_lines=lines)
    interruption = _Interruption()
    callbacks: list[TrainerCallback] = [_EpochTeller(examples), journal, interruption]
    if validating:
        callbacks.append(_Patience(early_stopping_patience=recipe.train.patience))
    trainer = _ClassificationTrainer(
        recipe=recipe,
        journal=journal,
        multi_label=waveforms.clips.multi_label,
        model=trained,
        args=_arguments(
            recipe, len(train_rows), validating=validating, saving=validating or folder is not None, seed=seed, out=out
        ),
        data_collator=collate,
        train_dataset=examples,
        eval_dataset=chooser,
        compute_metrics=_measure_accuracy,
        callbacks=callbacks,
    )
    trainer.remove_callback(_printer())
    try:
        threads = _single_thread() if encoded is not None else nullcontext()
        with interruption.listen(), hide_progress(), threads:
            trainer.train(resume_from_checkpoint=_last_checkpoint(folder) if resume else None)
    finally:
        journal.close()
        scratch.cleanup()
    model.disturb = nn.Identity()
    model.eval()
    kept = len(journal.history)
    if validating and journal.history:
        kept = 1 + int(np.argmax([record.get("validation_accuracy", -1.0) for record in journal.history]))
    return Fitted(journal.history, kept, interruption.asked)


@contextmanager
def _single_thread() -> Iterator[None]:
    """One thread for steps of a fraction of a millisecond: two gain nothing, and wait for each other on a busy machine.

    Measured: five folds of ``mfcc-mlp`` take 11 s either way on two idle cores, but 266 s with two threads while
    another process keeps one of them busy.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _lay_out(
    model: EarmarkForAudioClassification,
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
        return examples, chooser, _EncodedHead(model), examples.collate
    augment = recipe.augment
    if augment.mask_time_s or augment.mask_mels:
        frames = round(augment.mask_time_s * recipe.audio.sample_rate / recipe.front_end.hop_length)
        model.disturb = MaskSpectrogram(frames, augment.mask_mels)
    if model.front_end.over_time:
        model.to(memory_format=torch.channels_last)  # halves a CPU's time per step, and a GPU's too
    window = model.config.window
    training = WaveformExamples(waveforms, train_rows, window=window, augment=augment, seed=seed)
    choosing = WaveformExamples(waveforms, validation_rows, window=window) if len(validation_rows) else None
    return training, choosing, model, collate_waveforms


def _arguments(
    recipe: Recipe, clips: int, *, validating: bool, saving: bool, seed: int, out: Path
) -> TrainingArguments:
    train = recipe.train
    device = choose_device()
    return TrainingArguments(
        output_dir=str(out),
        num_train_epochs=train.epochs,
        per_device_train_batch_size=train.batch_size,
        per_device_eval_batch_size=EVALUATION_BATCH,
        # Batch norm cannot normalise one clip by itself.
        dataloader_drop_last=clips > train.batch_size and clips % train.batch_size == 1,
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        lr_scheduler_type="constant" if train.schedule == "constant" else "cosine",
        use_cpu=device.type == "cpu",
        bf16=choose_precision(recipe, device) == "bf16",
        eval_strategy="epoch" if validating else "no",
        save_strategy="epoch" if saving else "no",
        save_total_limit=1,
        load_best_model_at_end=validating,
        metric_for_best_model="accuracy" if validating else None,
        logging_strategy="no",
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


def _measure_accuracy(prediction: Any) -> dict[str, float]:
    logits, targets = prediction
    return {"accuracy": float((logits.argmax(-1) == targets.argmax(-1)).mean())}


def _last_checkpoint(folder: Path | None) -> str | None:
    """The newest checkpoint that is whole: its state is written last, so a run killed before leaves it without."""
    found = folder.glob("checkpoints/checkpoint-*/trainer_state.json") if folder else ()
    steps = {int(path.parent.name.removeprefix("checkpoint-")): str(path.parent) for path in found}
    return steps[max(steps)] if steps else None
