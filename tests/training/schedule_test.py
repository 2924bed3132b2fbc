"""The one-cycle schedule: up over a quarter, down to nothing along a cosine."""

import math

import pytest
import torch

from earmark.training.schedule import one_cycle


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
