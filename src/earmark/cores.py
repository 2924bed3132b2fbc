"""How many processor cores this process may use."""

import os


def count_cores() -> int:
    """Those it is bound to (`taskset`, a job scheduler), where the system tells; else those of the machine.

    Example:
        >>> 1 <= count_cores() <= os.cpu_count()
        True
    """
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
