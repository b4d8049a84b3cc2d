"""The CPU cores that this process may use, and the processes that it starts on them."""

import math
import multiprocessing
import os
import signal
import threading
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")


def num_cores(*, physical: bool = False) -> int:
    """Return the number of cores: fewer than the machine has, in a container or under ``taskset``.

    Parameters
    ----------
    physical : bool
        Whether the two hardware threads of a core count as one, where the system (Linux) tells.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    cores = {_siblings(cpu) for cpu in allowed} if physical else allowed
    return max(1, math.ceil(min(len(cores), _quota())))


def _siblings(cpu: int) -> str:
    """Return what names the core that a hardware thread is of."""
    try:
        return (CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quota() -> float:
    """Return the processor time that a container's limits (cgroups 2 and 1) grant, in cores; infinite for no limit."""
    try:
        quota, period = (CGROUPS / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((CGROUPS / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return math.inf
    try:
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    except (ValueError, ZeroDivisionError):
        return math.inf


def start_worker(on_interrupt: signal.Handlers) -> None:
    """Prepare a process of a pool: it ends when its parent does, however that ends.

    Parameters
    ----------
    on_interrupt : signal.Handlers
        What Ctrl-C does: ``signal.SIG_IGN`` leaves it to the parent, ``signal.SIG_DFL`` ends the process.
    """
    signal.signal(signal.SIGINT, on_interrupt)
    if parent := multiprocessing.parent_process():

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
