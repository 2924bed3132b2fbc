"""Learning-rate schedules that Transformers lacks."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

WARM_UP_SHARE = 0.25


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
