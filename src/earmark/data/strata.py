"""Dealing out clips with several labels each, so that every part gets its share of every label."""

import numpy as np

_ATTEMPTS = 20


def deal_strata(
    counts: np.ndarray, sizes: np.ndarray, shares: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Iterative stratification of whole units: single clips, or groups of clips that must stay together.

    The rarest label that is left goes first, its largest unit foremost, to the part that lacks most of that label,
    then to the one that lacks most clips. Where as few units with the label are left as there are parts without it,
    only those parts are asked, so that no part goes without while another has two.

    Args:
        counts: (units, labels), integer: how many clips of each unit have each label; every unit has one at least.
        sizes: (units,), how many clips each unit has.
        shares: (parts,), what each part should get of everything; they add up to 1.
        generator: Decides between equals.

    Returns:
        (units,), integer: the part of each unit.

    Example:
        >>> counts = np.array([[1, 0], [1, 0], [1, 1], [0, 1]])
        >>> parts = deal_strata(counts, np.ones(4), np.array([0.5, 0.5]), np.random.default_rng(0))
        >>> sorted(counts[parts == 0].sum(axis=0).tolist()), sorted(counts[parts == 1].sum(axis=0).tolist())
        ([1, 1], [1, 2])

    Source:
        Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data" (2011), with groups for clips.
    """
    has = counts > 0
    lacking = shares[:, None] * counts.sum(axis=0)
    lacking_clips = shares * sizes.sum()
    units_in = np.zeros(lacking.shape, dtype=int)
    units_left = has.sum(axis=0)
    part_of = np.full(len(counts), -1)
    while units_left.any():
        label = int(np.where(units_left > 0, units_left, len(counts) + 1).argmin())
        members = generator.permutation(np.flatnonzero(has[:, label] & (part_of < 0)))
        for unit in members[np.argsort(-counts[members, label], kind="stable")]:
            without = units_in[:, label] == 0
            asked = np.flatnonzero(without) if 0 < units_left[label] <= without.sum() else np.arange(len(shares))
            part = _choose(asked, lacking[:, label], lacking_clips, generator)
            part_of[unit] = part
            lacking[part] -= counts[unit]
            lacking_clips[part] -= sizes[unit]
            units_in[part] += has[unit]
            units_left -= has[unit]
    return part_of


def _choose(asked: np.ndarray, lacking: np.ndarray, lacking_clips: np.ndarray, generator: np.random.Generator) -> int:
    most = asked[np.isclose(lacking[asked], lacking[asked].max())]
    most = most[np.isclose(lacking_clips[most], lacking_clips[most].max())]
    return int(generator.choice(most))


def hold_out_strata(counts: np.ndarray, sizes: np.ndarray, share: float, seed: int) -> np.ndarray | None:
    """Set a share of the units aside so that every label can be learned from the others and, if it can be, tested.

    Args:
        counts: (units, labels), as `deal_strata` takes them; every label has two units at least.
        sizes: (units,), how many clips each unit has.
        share: What to set aside, 0 to 1.
        seed: Decides between equals.

    Returns:
        (units,), boolean: what is set aside; ``None`` where no label may be without units on the other side.

    Example:
        >>> hold_out_strata(np.array([[1, 1], [1, 1], [0, 1]]), np.ones(3), 0.2, seed=0).sum()
        np.int64(1)
    """
    generator = np.random.default_rng(seed)
    learnable = None
    for _ in range(_ATTEMPTS):  # labels that come together can stand in each other's way: another order may help
        held = deal_strata(counts, sizes, np.array([share, 1 - share]), generator) == 0
        if held.any() and (counts[~held] > 0).any(axis=0).all():
            if (counts[held] > 0).any(axis=0).all():
                return held
            learnable = held if learnable is None else learnable
    return learnable
