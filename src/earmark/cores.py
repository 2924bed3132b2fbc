"""How many processor cores this process may use."""

import math
import os
from pathlib import Path

QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")  # microseconds of processor time, and in how many; Linux, control groups v2


def count_cores() -> int:
    """Those it is bound to (`taskset`, a job scheduler), where the system tells; else those of the machine.

    A container that is allowed the time of fewer (``docker run --cpus 2``) counts as many as that time fills.

    Example:
        >>> 1 <= count_cores() <= os.cpu_count()
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _read_quota(cores))


def _read_quota(cores: int) -> int:
    try:
        allowed, period = QUOTA_FILE.read_text(encoding="ascii").split()
        return max(1, math.ceil(int(allowed) / int(period)))
    except (OSError, ValueError):  # no control groups, or "max"
        return cores
