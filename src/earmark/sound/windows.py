"""Long sound as windows: where they lie, and how their answers become one."""

from collections.abc import Iterator

import numpy as np


def cut_pieces(length: int, piece: int) -> list[tuple[int, int]]:
    """Consecutive pieces of at most ``piece`` samples that cover ``length`` samples.

    Example:
        >>> cut_pieces(10, 4)
        [(0, 4), (4, 8), (8, 10)]
    """
    return [(start, min(start + piece, length)) for start in range(0, length, piece)]


def average_pieces(probabilities: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The mean probability over a sound's pieces, each counting as long as it lasts.

    Args:
        probabilities: (pieces, classes).
        lengths: (pieces,), samples.

    Returns:
        (classes,).

    Example:
        >>> average_pieces(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([3, 1])).tolist()
        [0.75, 0.25]
    """
    weights = lengths / lengths.sum()
    return weights @ probabilities


def group_by_length(
    lengths: np.ndarray, *, max_items: int, max_samples: int, only_equal: bool = False
) -> Iterator[np.ndarray]:
    """Batches of positions, alike in length, so that little is padded: longest first, bounded in items and samples.

    With ``only_equal`` nothing is padded: each batch holds one length.

    Example:
        >>> [batch.tolist() for batch in group_by_length(np.array([5, 9, 5]), max_items=2, max_samples=100)]
        [[1, 0], [2]]
    """
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        fitting = max(1, min(max_items, int(max_samples // max(int(lengths[order[begin]]), 1))))
        if only_equal:
            fitting = int((lengths[order[begin : begin + fitting]] == lengths[order[begin]]).sum())
        yield order[begin : begin + fitting]
        begin += fitting
