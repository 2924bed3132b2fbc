"""A measurement on so many cores, whatever the machine has."""

import os


def use_cores(count: int) -> None:
    """Bind this process, its children and PyTorch's threads to the first ``count`` cores that it may use."""
    # Before PyTorch is imported: it looks for its cores once.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    import torch

    torch.set_num_threads(min(count, torch.get_num_threads()))
