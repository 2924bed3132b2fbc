"""One training: repeatable bit for bit, also when killed and resumed; it learns from the training clips alone."""

import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import set_seed

from earmark.data.splits import split_clips
from earmark.data.waveforms import ClipWaveforms
from earmark.models import EarmarkForAudioClassification
from earmark.training import callbacks, trainer
from earmark.training import fit as fit_module
from earmark.training.batches import class_weights
from earmark.training.build import fit_window
from earmark.training.fit import Fitted, choose_precision, encode_clips, fit_model
from earmark.training.journal import Journal, read_history
from earmark.training.learners import OwnLearner, build_learner
from earmark.training.recipe import Recipe


def train(
    waveforms: ClipWaveforms,
    recipe: Recipe,
    *,
    folder: Path | None = None,
    resume: bool = False,
    rows: np.ndarray | None = None,
    seed: int = 3,
    keeps_best: bool = True,
) -> tuple[EarmarkForAudioClassification, Fitted]:
    """What a run does, without its files: split, build, encode where possible, fit."""
    recipe = fit_window(recipe, waveforms)
    split = split_clips(waveforms.clips, validation=recipe.train.select == "validation", seed=0)
    set_seed(seed)
    learner = build_learner(recipe, waveforms.clips.labels, multi_label=False)
    encoded = encode_clips(learner, waveforms) if learner.encodes_once else None
    fitted = fit_model(
        learner,
        waveforms,
        recipe,
        train_rows=split.rows("train") if rows is None else rows,
        validation_rows=split.rows("validation"),
        seed=seed,
        encoded=encoded,
        folder=folder,
        resume=resume,
        keeps_best=keeps_best,
    )
    return learner.model, fitted


def adjust(recipe: Recipe, **settings: Any) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **settings))


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def at_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int, act: Any) -> None:
    """Do something when ``epoch`` (from 0) begins."""
    begin = callbacks.EpochTeller.on_epoch_begin

    def begin_and_act(self: Any, args: Any, state: Any, control: Any, **settings: Any) -> None:
        begin(self, args, state, control, **settings)
        if round(state.epoch or 0) == epoch:
            act()

    monkeypatch.setattr(callbacks.EpochTeller, "on_epoch_begin", begin_and_act)


class Killed(Exception):  # noqa: N818 - it stands for a power cut, not for an error
    pass


def kill() -> None:
    raise Killed


@pytest.fixture(params=["quick", "cnn", "quick, validation", "cnn, validation"])
def recipe(request: pytest.FixtureRequest, tiny_quick: Recipe, tiny_cnn: Recipe) -> Recipe:
    """The encoded path and the waveform path, with and without an epoch being chosen."""
    name, _, select = request.param.partition(", ")
    return adjust({"quick": tiny_quick, "cnn": tiny_cnn}[name], select=select or "last")


def test_the_same_seed_gives_the_same_weights_and_another_others(waveforms: ClipWaveforms, recipe: Recipe) -> None:
    model, fitted = train(waveforms, recipe)
    again, refitted = train(waveforms, recipe)
    assert same_weights(model, again)
    assert fitted == refitted
    assert not same_weights(model, train(waveforms, recipe, seed=4)[0])


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(
    waveforms: ClipWaveforms, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, fitted = train(waveforms, recipe, folder=tmp_path / "whole")
    with monkeypatch.context() as patch:
        at_epoch(patch, 2, kill)
        with pytest.raises(Killed):
            train(waveforms, recipe, folder=tmp_path / "killed")
    assert len(read_history(tmp_path / "killed" / "metrics.jsonl")) == 2
    # The resumed run lives through the last two epochs only.
    lived: list[int] = []
    count = Journal.on_epoch_end

    def note_epoch(self: Any, args: Any, state: Any, control: Any, **settings: Any) -> None:
        count(self, args, state, control, **settings)
        lived.append(self.history[-1]["epoch"])

    monkeypatch.setattr(Journal, "on_epoch_end", note_epoch)
    resumed, refitted = train(waveforms, recipe, folder=tmp_path / "killed", resume=True)
    assert lived == [3, 4]
    assert same_weights(model, resumed)
    assert fitted == refitted
    assert read_history(tmp_path / "killed" / "metrics.jsonl") == fitted.history


def test_checkpoints_take_no_more_than_a_twentieth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of one second, checkpoints of half a second: the first after two seconds, the next ten after it."""
    clock = [0.0]
    monkeypatch.setattr(callbacks, "SAVE_EVERY_S", 2.0)
    monkeypatch.setattr(callbacks, "SAVE_PAUSE", 20)
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: clock[0])
    sparing, saved = callbacks.SparingSaves(), []
    for epoch in range(1, 16):
        clock[0] += 1.0
        control = SimpleNamespace(should_save=True)
        sparing.on_epoch_end(None, None, control)
        if control.should_save:
            clock[0] += 0.5
            saved.append(epoch)
            sparing.on_save(None, None, control)
    assert saved == [2, 12]


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    waveforms: ClipWaveforms, tiny_quick: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at_epoch(patch, 0, kill)
        with pytest.raises(Killed):
            train(waveforms, tiny_quick, folder=tmp_path)
    assert same_weights(train(waveforms, tiny_quick)[0], train(waveforms, tiny_quick, folder=tmp_path, resume=True)[0])


def test_a_checkpoint_that_was_cut_off_is_passed_over(
    waveforms: ClipWaveforms, tiny_quick: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run killed while it saves leaves the newest checkpoint without its state; the one before is still there."""
    with monkeypatch.context() as patch:
        at_epoch(patch, 2, kill)
        with pytest.raises(Killed):
            train(waveforms, tiny_quick, folder=tmp_path)
    (whole,) = (tmp_path / "checkpoints").glob("checkpoint-*")
    part = shutil.copytree(whole, tmp_path / "checkpoints" / "checkpoint-9999")
    (part / "trainer_state.json").unlink()
    (part / "model.safetensors").write_bytes(b"half a file")
    resumed, _ = train(waveforms, tiny_quick, folder=tmp_path, resume=True)
    assert same_weights(train(waveforms, tiny_quick)[0], resumed)


def test_a_resumed_run_is_as_patient_as_an_uninterrupted_one(
    waveforms: ClipWaveforms, tiny_quick: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too slow to get better, it stops three epochs after the first; also when resumed, and from another place."""
    recipe = adjust(tiny_quick, select="validation", epochs=12, patience=3, learning_rate=1e-6, schedule="constant")
    model, fitted = train(waveforms, recipe, folder=tmp_path / "whole")
    assert len(fitted.history) == 4
    assert fitted.kept_epoch == 1
    with monkeypatch.context() as patch:
        at_epoch(patch, 3, kill)
        with pytest.raises(Killed):
            train(waveforms, recipe, folder=tmp_path / "killed")
    shutil.move(tmp_path / "killed", tmp_path / "moved")
    resumed, refitted = train(waveforms, recipe, folder=tmp_path / "moved", resume=True)
    assert fitted == refitted
    assert same_weights(model, resumed)


def test_the_best_weights_are_found_wherever_the_run_lies_now(
    waveforms: ClipWaveforms, tiny_quick: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when all epochs were done, just before the best one's weights were fetched, and moved since."""
    recipe = adjust(tiny_quick, select="validation", learning_rate=1e-6, schedule="constant")
    model, fitted = train(waveforms, recipe)
    assert fitted.kept_epoch == 1
    with monkeypatch.context() as patch:
        patch.setattr(trainer.ClassificationTrainer, "_load_best_model", lambda _: kill())
        with pytest.raises(Killed):
            train(waveforms, recipe, folder=tmp_path / "killed")
    shutil.move(tmp_path / "killed", tmp_path / "moved")
    assert same_weights(model, train(waveforms, recipe, folder=tmp_path / "moved", resume=True)[0])


def test_the_best_epochs_weights_are_kept(
    waveforms: ClipWaveforms, tiny_quick: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = adjust(tiny_quick, select="validation", epochs=8, learning_rate=0.03, schedule="constant")
    weights: list[dict[str, Tensor]] = []
    count = Journal.on_epoch_end

    def copy_weights(self: Any, args: Any, state: Any, control: Any, model: Any = None, **settings: Any) -> None:
        count(self, args, state, control, **settings)
        weights.append({name: value.clone() for name, value in model.model.state_dict().items()})

    monkeypatch.setattr(Journal, "on_epoch_end", copy_weights)
    model, fitted = train(waveforms, recipe)
    accuracies = [record["validation_accuracy"] for record in fitted.history]
    assert fitted.kept_epoch == 1 + accuracies.index(max(accuracies))
    assert 1 < fitted.kept_epoch < 8  # else the test could not tell the best from the last
    kept = model.state_dict()
    for epoch, snapshot in enumerate(weights, start=1):
        assert all(torch.equal(kept[name], snapshot[name]) for name in kept) == (epoch == fitted.kept_epoch)


@pytest.mark.skipif(os.name == "nt", reason="a signal cannot be sent to oneself on Windows")
def test_for_the_figures_alone_no_weights_are_written_and_patience_is_the_same(
    waveforms: ClipWaveforms, tiny_quick: Recipe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = adjust(tiny_quick, select="validation", epochs=12, patience=3, learning_rate=1e-6, schedule="constant")
    _, expected = train(waveforms, recipe)
    assert len(expected.history) < 12

    def save(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were written")

    monkeypatch.setattr(trainer.ClassificationTrainer, "_save_checkpoint", save)
    _, fitted = train(waveforms, recipe, keeps_best=False)
    assert [record["validation_accuracy"] for record in fitted.history] == [
        record["validation_accuracy"] for record in expected.history
    ]
    assert not caplog.records


def test_ctrl_c_ends_after_the_step_and_keeps_what_was_learned(
    waveforms: ClipWaveforms, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    at_epoch(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    model, fitted = train(waveforms, recipe)
    assert fitted.interrupted
    assert [record["epoch"] for record in fitted.history] == [1, 2, 3]
    assert 1 <= fitted.kept_epoch <= 3
    with torch.inference_mode():
        assert torch.isfinite(model(torch.from_numpy(np.array(waveforms.read(0)))[None]).logits).all()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name == "nt", reason="a signal cannot be sent to oneself on Windows")
def test_a_second_ctrl_c_breaks_off_at_once(
    waveforms: ClipWaveforms, tiny_quick: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def press_twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    at_epoch(monkeypatch, 1, press_twice)
    with pytest.raises(KeyboardInterrupt):
        train(waveforms, tiny_quick)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name == "nt", reason="a signal cannot be sent to oneself on Windows")
def test_ctrl_c_counts_more_than_what_is_raised_after_it(
    waveforms: ClipWaveforms, tiny_quick: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a search gives up a trial whose last epoch was broken off: it must end, not begin the next one."""

    def press_and_raise() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise RuntimeError("hopeless")

    at_epoch(monkeypatch, 1, press_and_raise)
    with pytest.raises(KeyboardInterrupt):
        train(waveforms, tiny_quick)


def test_training_works_outside_the_main_thread(waveforms: ClipWaveforms, tiny_quick: Recipe) -> None:
    """A notebook or a service may call from anywhere, where no signal can be listened for."""
    results: list[Fitted] = []
    thread = threading.Thread(target=lambda: results.append(train(waveforms, tiny_quick)[1]))
    thread.start()
    thread.join()
    assert len(results[0].history) == 4


def test_standardisation_knows_training_clips_only(
    waveforms: ClipWaveforms, tiny_quick: Recipe, tiny_cnn: Recipe
) -> None:
    rows = np.array([0, 1, 13, 14, 25, 26, 30])
    for recipe in (adjust(tiny_quick, epochs=1), adjust(tiny_cnn, epochs=1)):
        model, _ = train(waveforms, recipe, rows=rows)
        with torch.no_grad():
            encoded = [model.encode(torch.from_numpy(np.array(waveforms.read(int(row))))[None]) for row in rows]
        if model.front_end.over_time:
            frames = torch.cat([one.features[0, :, : int(one.frames)] for one in encoded], dim=1).T.double()
        else:
            frames = torch.cat([one.features for one in encoded]).double()
        np.testing.assert_allclose(model.standardise.mean, frames.mean(0), rtol=1e-4, atol=1e-4)
        deviation = frames.std(0, correction=0)
        np.testing.assert_allclose(
            model.standardise.deviation, torch.where(deviation > 1e-6, deviation, 1.0), rtol=1e-3, atol=1e-4
        )


def test_classes_are_balanced_by_weights_or_by_drawing(
    waveforms: ClipWaveforms, tiny_quick: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.array([*range(12), *range(12, 15), *range(24, 27)])
    targets = waveforms.targets()[rows]
    learned: dict[str, list[Tensor]] = {"none": [], "weights": [], "sampler": []}
    weighed: dict[str, Any] = {}
    models = {}
    measure = trainer.measure_loss
    for balance, batches in learned.items():

        def note(logits: Tensor, targets: Tensor, batches: Any = batches, balance: Any = balance, **settings: Any):
            batches.append(targets)
            weighed[balance] = settings["weights"]
            return measure(logits, targets, **settings)

        monkeypatch.setattr(trainer, "measure_loss", note)
        models[balance] = train(waveforms, adjust(tiny_quick, balance=balance, epochs=20), rows=rows)[0]
    assert torch.cat(learned["none"]).sum(0).tolist() == [240, 60, 60]
    assert torch.cat(learned["weights"]).sum(0).tolist() == [240, 60, 60]
    assert all(80 < count < 160 for count in torch.cat(learned["sampler"]).sum(0).tolist())
    assert weighed["none"] is None
    assert weighed["sampler"] is None
    torch.testing.assert_close(weighed["weights"], class_weights(targets))
    # Every epoch is drawn anew.
    epochs = torch.cat(learned["sampler"]).argmax(1).reshape(20, len(rows)).tolist()
    assert len({tuple(epoch) for epoch in epochs}) == 20
    assert not same_weights(models["none"], models["weights"])
    assert not same_weights(models["none"], models["sampler"])


def test_examples_know_their_epoch(
    waveforms: ClipWaveforms, tiny_quick: Recipe, tiny_cnn: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every epoch would hear the same windows, mixtures and gains."""
    for recipe, kind in ((tiny_quick, "EncodedExamples"), (tiny_cnn, "WaveformExamples")):
        epochs: list[int] = []

        class Noting(getattr(fit_module, kind)):  # type: ignore[misc]
            def __getitem__(self, item: int, epochs: list[int] = epochs) -> Any:
                epochs.append(self.epoch)
                return super().__getitem__(item)

        monkeypatch.setattr(fit_module, kind, Noting)
        train(waveforms, adjust(recipe, epochs=3), rows=np.arange(16))
        assert epochs == [0] * 16 + [1] * 16 + [2] * 16


def test_a_last_batch_of_one_clip_does_not_stop_batch_norm(waveforms: ClipWaveforms, tiny_quick: Recipe) -> None:
    _, fitted = train(waveforms, tiny_quick, rows=np.arange(3, 12))  # nine clips in batches of eight
    assert len(fitted.history) == 4


def test_every_validation_clip_is_asked_even_where_a_training_clip_is_dropped(
    waveforms: ClipWaveforms, tiny_quick: Recipe
) -> None:
    """Regression: Trainer drops the last batch of both or of neither, and six clips were never a whole batch."""
    _, fitted = train(waveforms, adjust(tiny_quick, select="validation"), rows=np.arange(3, 12))
    assert all("validation_accuracy" in record for record in fitted.history)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_the_schedule_is_the_recipes(waveforms: ClipWaveforms, tiny_quick: Recipe, schedule: str) -> None:
    _, fitted = train(waveforms, adjust(tiny_quick, schedule=schedule, learning_rate=0.01))
    rates = [record["learning_rate"] for record in fitted.history]
    if schedule == "constant":
        assert rates == [0.01] * 4
    else:
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] < 0.001


def test_bf16_trains_too(waveforms: ClipWaveforms, tiny_cnn: Recipe) -> None:
    model, fitted = train(waveforms, adjust(tiny_cnn, precision="bf16", epochs=1))
    assert np.isfinite(fitted.history[0]["loss"])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert choose_precision(adjust(tiny_cnn, precision="bf16"), torch.device("cpu")) == "bf16"


def test_only_what_never_changes_is_encoded_once(tiny_quick: Recipe, tiny_cnn: Recipe) -> None:
    def encodes_once(recipe: Recipe) -> bool:
        settled = replace(recipe, audio=replace(recipe.audio, window_s=0.5))
        return OwnLearner(settled, ("a", "b"), multi_label=False).encodes_once

    assert encodes_once(tiny_quick)
    assert not encodes_once(tiny_cnn)
    assert not encodes_once(replace(tiny_quick, augment=replace(tiny_quick.augment, gain_db=3.0)))


def test_encoded_windows_are_what_the_model_encodes(waveforms: ClipWaveforms, tiny_quick: Recipe) -> None:
    """Windows shorter than the clips: each clip has two, the second half as long."""
    recipe = replace(tiny_quick, audio=replace(tiny_quick.audio, window_s=0.35))
    learner = OwnLearner(recipe, waveforms.clips.labels, multi_label=False)
    encoded = encode_clips(learner, waveforms)
    model, window = learner.model, learner.window
    assert np.diff(encoded.first).tolist() == [2] * len(waveforms)
    assert encoded.weights.tolist() == [window, 4000 - window] * len(waveforms)
    for row in (0, 20):
        for number in range(2):
            piece = torch.from_numpy(np.array(waveforms.read(row, number * window, (number + 1) * window)))[None]
            with torch.no_grad():
                expected = model.encode(piece).features[0]
            torch.testing.assert_close(encoded.encoded.features[encoded.first[row] + number], expected)


def test_what_is_kept_is_the_average_of_the_weights(waveforms: ClipWaveforms, tiny_cnn: Recipe) -> None:
    """Steps of one epoch each, followed by hand."""
    recipe = adjust(tiny_cnn, average=0.5, epochs=3, batch_size=24, schedule="constant", select="last")
    rows = np.arange(24)
    weights = [
        train(waveforms, adjust(recipe, average=0.0, epochs=epochs), rows=rows)[0].state_dict() for epochs in (1, 2, 3)
    ]
    expected = None
    name = "backbone.classify.weight"
    torch.manual_seed(0)
    set_seed(3)
    settled = fit_window(recipe, waveforms)
    expected = build_learner(settled, waveforms.clips.labels, multi_label=False).model.state_dict()[name].clone()
    for step, state in enumerate(weights, start=1):
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * state[name]
    averaged, _ = train(waveforms, recipe, rows=rows)
    torch.testing.assert_close(averaged.state_dict()[name], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("select", ["last", "validation"])
def test_a_killed_training_with_averaged_weights_is_continued_to_the_same_end(
    waveforms: ClipWaveforms, tiny_cnn: Recipe, tmp_path: Path, select: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = adjust(tiny_cnn, average=0.9, schedule="plateau", plateau_patience=0, optimizer="adam", select=select)
    whole, fitted = train(waveforms, recipe, folder=tmp_path / "whole")

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        at_epoch(patch, 2, kill)
        with pytest.raises(Killed):
            train(waveforms, recipe, folder=tmp_path / "killed")
    again, refitted = train(waveforms, recipe, folder=tmp_path / "killed", resume=True)
    assert refitted.history == fitted.history
    assert same_weights(whole, again)


def test_adam_is_plain(waveforms: ClipWaveforms, tiny_quick: Recipe) -> None:
    optimizers: list[Any] = []

    class Watcher(callbacks.EpochTeller):
        def on_train_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
            optimizers.append(optimizer.optimizer if hasattr(optimizer, "optimizer") else optimizer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "EpochTeller", Watcher)
        train(waveforms, adjust(tiny_quick, optimizer="adam", weight_decay=0.02, epochs=1))
        train(waveforms, adjust(tiny_quick, epochs=1))
    assert [type(optimizer) for optimizer in optimizers] == [torch.optim.Adam, torch.optim.AdamW]
    assert [group["weight_decay"] for group in optimizers[0].param_groups] == [0]


def test_steps_may_be_counted_instead_of_epochs(waveforms: ClipWaveforms, tiny_quick: Recipe) -> None:
    _, fitted = train(waveforms, adjust(tiny_quick, max_steps=5, epochs=50), rows=np.arange(24))  # three a epoch
    assert [record["epoch"] for record in fitted.history] == [1, 2]
