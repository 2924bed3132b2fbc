"""Learning-rate schedules, one for every word that ``train.schedule`` takes."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from earmark.training.sections import TrainSection

WARM_UP_SHARE = 0.25


def build_schedule(optimizer: Optimizer, train: TrainSection, *, steps: int, steps_per_epoch: int) -> LRScheduler:
    """The schedule of a recipe, to be stepped once an optimisation step.

    ``"linear"`` and ``"cosine"`` rise over ``warm_up`` of the steps and fall to nothing. ``"step"`` counts in epochs:
    it climbs in equal steps over the warm-up's epochs, then multiplies by ``step_factor`` every ``step_epochs``.
    ``"plateau"`` waits to be told the accuracies, see `PlateauFactor`.

    Args:
        optimizer: What is scheduled; its rate is the highest.
        train: The recipe's section.
        steps: Optimisation steps of the whole training.
        steps_per_epoch: Optimisation steps an epoch.
    """
    from transformers import get_scheduler

    if train.schedule == "one_cycle":
        return one_cycle(optimizer, steps, train.learning_rate)
    if train.schedule == "step":
        warm_up_epochs = round(train.warm_up * train.epochs)
        factor = StepFactor(steps_per_epoch, warm_up_epochs, train.step_epochs, train.step_factor)
        return LambdaLR(optimizer, factor)
    if train.schedule == "plateau":
        return LambdaLR(optimizer, PlateauFactor(train.plateau_factor, train.plateau_patience))
    rise = round(train.warm_up * steps)
    return get_scheduler(train.schedule, optimizer, num_warmup_steps=rise, num_training_steps=steps)


def one_cycle(optimizer: Optimizer, steps: int, learning_rate: float) -> LRScheduler:
    """Rise to ``learning_rate`` over a quarter of ``steps``, then fall to nothing along a cosine.

    Momentum is left alone: cycling it gains nothing with AdamW.

    Source:
        Smith and Topin, "Super-Convergence" (2018), as `torch.optim.lr_scheduler.OneCycleLR`.
    """
    total = max(steps, 2)
    # Torch divides by the length of the rise less one step, which is nothing where a quarter is a single step.
    share = WARM_UP_SHARE if WARM_UP_SHARE * total != 1 else 0.3
    return OneCycleLR(optimizer, max_lr=learning_rate, total_steps=total, pct_start=share, cycle_momentum=False)


class StepFactor:
    """Step -> factor: up in equal steps over the first epochs, then down by ``factor`` every ``step_epochs``.

    Example:
        >>> factor = StepFactor(steps_per_epoch=2, warm_up_epochs=2, step_epochs=3, factor=0.1)
        >>> [factor(2 * epoch) for epoch in range(6)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 0.1]

    Source:
        `torch.optim.lr_scheduler.StepLR` after a warm-up by the epoch.
    """

    def __init__(self, steps_per_epoch: int, warm_up_epochs: int, step_epochs: int, factor: float) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.warm_up_epochs = warm_up_epochs
        self.step_epochs = step_epochs
        self.factor = factor

    def __call__(self, step: int) -> float:
        epoch = step // self.steps_per_epoch
        if epoch < self.warm_up_epochs:
            return (epoch + 1) / self.warm_up_epochs
        return self.factor ** ((epoch - self.warm_up_epochs) // self.step_epochs)


class PlateauFactor:
    """A factor that falls once what it is told has not risen for ``patience`` epochs; saved with a checkpoint.

    Example:
        >>> factor = PlateauFactor(0.3, patience=1)
        >>> for accuracy in (0.5, 0.5, 0.5): factor.judge(accuracy)
        >>> factor(0)
        0.3

    Source:
        `torch.optim.lr_scheduler.ReduceLROnPlateau` with mode ``"max"`` and its threshold of a ten-thousandth.
    """

    THRESHOLD = 1e-4

    def __init__(self, factor: float, patience: int) -> None:
        self.factor = factor
        self.patience = patience
        self.current = 1.0
        self.best = float("-inf")
        self.waited = 0

    def judge(self, accuracy: float) -> None:
        """Take note of one epoch's accuracy, 0 to 1."""
        if accuracy > self.best + abs(self.best) * self.THRESHOLD or self.best == float("-inf"):
            self.best, self.waited = accuracy, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.current *= self.factor
            self.waited = 0

    def __call__(self, step: int) -> float:
        return self.current
