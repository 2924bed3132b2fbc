"""What happens between the steps of a training: whose turn it is, when to stop, which weights are kept."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, TrainerCallback

from earmark.training.journal import Journal
from earmark.training.processes import count_processes
from earmark.training.schedule import PlateauFactor

SAVE_EVERY_S = 30.0  # what a kill costs at most, beside the epoch it falls into
SAVE_PAUSE = 20  # times what a checkpoint takes, before the next
RAW_WEIGHTS_FILE = "raw_weights.safetensors"


class EpochTeller(TrainerCallback):
    """Tells the examples which epoch it is, since all that is random about them hangs on it; and the model to train."""

    def __init__(self, examples: Any) -> None:
        self.examples = examples

    def on_epoch_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.examples.epoch = round(state.epoch or 0)
        model.train()


class Patience(EarlyStoppingCallback):
    """Early stopping that a resumed run takes up where it was, wherever its directory lies now."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **settings: Any) -> None:
        # Not Transformers' own, which warns wherever the best epoch's weights are not wanted back.
        if not state.best_global_step:
            return
        # Transformers counts from nought again, and knows the best checkpoint by the path it had.
        figure = f"eval_{args.metric_for_best_model}"
        asked = [entry["step"] for entry in state.log_history if figure in entry]
        self.early_stopping_patience_counter = sum(step > state.best_global_step for step in asked)
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if best.is_dir():
            state.best_model_checkpoint = str(best)


class Interruption(TrainerCallback):
    """Ends the training after the current step once Ctrl-C was pressed; a second Ctrl-C breaks off at once."""

    def __init__(self) -> None:
        self.asked = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if self.asked:
            control.should_training_stop = True
        return control

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Take Ctrl-C while a training goes on."""
        if threading.current_thread() is not threading.main_thread() or count_processes() > 1:
            # Several processes would each stop at a step of their own and wait for the others; the launcher ends them.
            yield
            return

        def ask(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        previous = signal.signal(signal.SIGINT, ask)
        try:
            yield
        except Exception as error:
            # What became of a look at half an epoch does not matter to one who wants to leave.
            if self.asked:
                raise KeyboardInterrupt from error
            raise
        finally:
            signal.signal(signal.SIGINT, previous)


class SparingSaves(TrainerCallback):
    """A checkpoint no oftener than it is worth: at most a twentieth of the time goes into them.

    One after every epoch would be half of an epoch of a few milliseconds, and a gigabyte for each of a large network.
    For trainings that keep the last epoch: where one is chosen, the best must have been saved. Comes before the
    journal, which writes with every checkpoint.
    """

    def __init__(self) -> None:
        self._saved_at = self._begun_at = time.monotonic()
        self._cost_s = 0.0

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        self._begun_at = time.monotonic()
        if self._begun_at - self._saved_at < max(SAVE_EVERY_S, SAVE_PAUSE * self._cost_s):
            control.should_save = False
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved_at = time.monotonic()
        self._cost_s = self._saved_at - self._begun_at


class PlateauJudge(TrainerCallback):
    """Tells a `PlateauFactor` the training accuracy of each epoch; comes after the journal, which counts it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def on_epoch_end(self, args: Any, state: Any, control: Any, lr_scheduler: Any = None, **_: Any) -> None:
        factor = lr_scheduler.lr_lambdas[0]
        assert isinstance(factor, PlateauFactor)
        factor.judge(self.journal.history[-1]["accuracy"])


class WeightAverage(TrainerCallback):
    """A moving average of the weights, which is what is asked and kept after every epoch.

    The weights that learn come back when the next epoch begins. A checkpoint holds both, so that a resumed run goes on
    with the ones and the other.

    Args:
        module: What learns.
        decay: How much of the average stays at each step, 0 to 1; less at the start, where there is little to average.
        resumed_from: The checkpoint the training goes on from, if it does.

    Source:
        Polyak averaging with an exponential window, with the warm-up of ``tf.train.ExponentialMovingAverage``.
    """

    def __init__(self, module: nn.Module, decay: float, resumed_from: str | None) -> None:
        self.module = module
        self.decay = decay
        self.resumed_from = resumed_from
        self.average: dict[str, Tensor] = {}
        self.raw: dict[str, Tensor] = {}

    @torch.no_grad()
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.average = _copy(self.module)
        if self.resumed_from is not None:
            from safetensors.torch import load_file

            self.raw = load_file(Path(self.resumed_from) / RAW_WEIGHTS_FILE)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.raw:
            _put(self.module, self.raw)
            self.raw = {}

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        kept = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        for name, value in _weights(self.module).items():
            if value.is_floating_point():
                self.average[name].lerp_(value.float(), 1.0 - kept)
            else:
                self.average[name].copy_(value)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.raw = _copy(self.module)
        _put(self.module, self.average)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        from safetensors.torch import save_file

        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        save_file({name: value.contiguous() for name, value in self.raw.items()}, folder / RAW_WEIGHTS_FILE)


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters that learn, and the buffers that follow them."""
    learning = {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}
    return learning | dict(module.named_buffers())


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in _weights(module).items()}


@torch.no_grad()
def _put(module: nn.Module, weights: dict[str, Tensor]) -> None:
    for name, value in _weights(module).items():
        value.copy_(weights[name])
