"""Iterative stratification: whole units, even shares, and no label on one side where it could be on both."""

import numpy as np
import pytest

from earmark.data.strata import deal_strata, hold_out_strata


def draw(seed: int, units: int = 400, labels: int = 12) -> np.ndarray:
    """A long tail of labels, one at least for each unit."""
    random = np.random.default_rng(seed)
    has = (random.random((units, labels)) < 0.6 / np.arange(1, labels + 1)).astype(int)
    has[has.sum(axis=1) == 0, 0] = 1
    return has


def test_one_label_each_is_plain_stratification() -> None:
    counts = np.repeat(np.eye(3, dtype=int), [10, 20, 40], axis=0)
    part_of = deal_strata(counts, np.ones(70), np.full(5, 0.2), np.random.default_rng(0))
    for part in range(5):
        assert counts[part_of == part].sum(axis=0).tolist() == [2, 4, 8]


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_divided_more_evenly_than_by_chance(seed: int) -> None:
    counts = draw(seed)
    dealt = deal_strata(counts, np.ones(400), np.full(5, 0.2), np.random.default_rng(seed))
    chance = np.random.default_rng(seed).integers(0, 5, 400)

    def unevenness(part_of: np.ndarray) -> float:
        shares = [counts[part_of == part].sum(axis=0) / counts.sum(axis=0) for part in range(5)]
        return float(np.abs(np.array(shares) - 0.2).mean())

    assert unevenness(dealt) < 0.25 * unevenness(chance)
    assert np.abs(np.bincount(dealt) - 80).max() <= 12


def test_groups_weigh_as_much_as_their_clips() -> None:
    counts = np.array([[8], [4], [4], [1], [1], [1], [1], [4]])
    held = hold_out_strata(counts, counts[:, 0], 0.5, seed=0)
    assert counts[held].sum() == 12


def test_a_label_in_as_many_units_as_parts_is_in_each() -> None:
    counts = np.zeros((100, 2), dtype=int)
    counts[:, 0] = 1
    counts[:3, 1] = 1
    for seed in range(10):
        part_of = deal_strata(counts, np.ones(100), np.array([0.8, 0.1, 0.1]), np.random.default_rng(seed))
        assert sorted(part_of[:3]) == [0, 1, 2]


def test_labels_that_cannot_all_be_on_both_sides_can_all_be_learned() -> None:
    """Each two of three clips share a label: whichever is held out, one label more is only ever learned."""
    counts = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
    held = hold_out_strata(counts, np.ones(3), 0.2, seed=0)
    assert held.sum() == 1
    # With one clip of each label nothing can be held out.
    assert hold_out_strata(np.eye(3, dtype=int), np.ones(3), 0.2, seed=0) is None
