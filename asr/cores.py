"""How many CPU cores this process may use: fewer than the machine has, in a container or under ``taskset``."""

import os


def num_cores() -> int:
    """Return the number of cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
