"""The one-cycle schedule: up over a quarter, down to nothing along a cosine."""

import math

import pytest
import torch

from earmark.training.schedule import PlateauFactor, build_schedule, one_cycle
from earmark.training.sections import TrainSection


def follow(steps: int, peak: float) -> tuple[list[float], list[tuple[float, float]]]:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=1.0)
    schedule = one_cycle(optimizer, steps, peak)
    rates, betas = [], []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        betas.append(optimizer.param_groups[0]["betas"])
        optimizer.step()
        schedule.step()
    return rates, betas


def test_the_rate_rises_over_a_quarter_and_falls_along_a_cosine() -> None:
    steps, peak = 100, 0.02
    rates, betas = follow(steps, peak)
    top = rates.index(max(rates))
    assert top == 24
    assert max(rates) == pytest.approx(peak, rel=1e-3)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    halfway = (0.25 * steps - 1 + steps - 1) / 2
    assert rates[round(halfway)] == pytest.approx(peak / 2, rel=0.05)
    assert rates[-1] < peak * 1e-4
    share = (60 - (0.25 * steps - 1)) / (0.75 * steps)
    assert rates[60] == pytest.approx(peak * (1 + math.cos(math.pi * share)) / 2, rel=1e-3)
    assert set(betas) == {(0.9, 0.999)}


@pytest.mark.parametrize("steps", range(1, 10))
def test_few_steps_are_no_error(steps: int) -> None:
    """Four once were: torch divides by the length of the rise, which was nothing."""
    rates, _ = follow(steps, 0.1)
    assert len(rates) == steps
    assert all(0 < rate <= 0.1 for rate in rates)


def steps_of(train: TrainSection, steps: int, steps_per_epoch: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=train.learning_rate)
    schedule = build_schedule(optimizer, train, steps=steps, steps_per_epoch=steps_per_epoch)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_steps_follow_a_warm_up_of_epochs() -> None:
    """The tutorial's: five epochs up, then a tenth every ten; the first drop falls at epoch 15."""
    train = TrainSection(epochs=30, learning_rate=1e-4, schedule="step", warm_up=0.1667)
    rates = steps_of(train, steps=60, steps_per_epoch=2)[::2]
    assert rates[:5] == pytest.approx([2e-5, 4e-5, 6e-5, 8e-5, 1e-4])
    assert rates[5:15] == pytest.approx([1e-4] * 10)
    assert rates[15:25] == pytest.approx([1e-5] * 10)
    assert rates[25:] == pytest.approx([1e-6] * 5)


def test_linear_rises_and_falls_to_nothing() -> None:
    rates = steps_of(TrainSection(learning_rate=1.0, schedule="linear", warm_up=0.1), steps=100, steps_per_epoch=10)
    assert rates[0] == 0.0
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(1 / 90)


def test_a_plateau_is_judged_as_torch_judges_it() -> None:
    accuracies = [0.1, 0.3, 0.3, 0.2, 0.3, 0.3, 0.5, 0.5, 0.5, 0.4, 0.5, 0.5, 0.5, 0.6]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.3, patience=3)
    ours = PlateauFactor(0.3, patience=3)
    for accuracy in accuracies:
        theirs.step(accuracy)
        ours.judge(accuracy)
        assert ours(0) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert ours(0) < 1.0
