"""The CPU cores that this process may use, and the processes that it starts on them."""

import multiprocessing
import os
import signal
import threading


def num_cores() -> int:
    """Return the number of cores: fewer than the machine has, in a container or under ``taskset``."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
