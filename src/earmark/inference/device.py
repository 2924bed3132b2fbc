"""Where models compute, and on how many threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from earmark.cores import count_cores


def choose_device() -> torch.device:
    """The fastest device there is: CUDA, Apple's MPS, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def count_threads() -> int:
    """How many threads of the CPU PyTorch should compute on: as ``OMP_NUM_THREADS`` says, else one a core at most.

    PyTorch does not see a container's quota: threads of all the machine's cores would wait for each other.

    Example:
        >>> 1 <= count_threads() <= torch.get_num_threads()
        True
    """
    found = torch.get_num_threads()
    return found if "OMP_NUM_THREADS" in os.environ else min(found, count_cores())


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """PyTorch computes on so many threads of the CPU; afterwards on as many as before.

    Example:
        >>> with use_threads(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
