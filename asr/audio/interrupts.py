"""Ctrl-C while a library reads: it waits until the library is back."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back while C code calls Python functions, through which no exception can pass.

    A KeyboardInterrupt raised there is printed as ignored, and lost: the program would go on. What was held back is
    raised at the end. In other threads than the main one, and where SIGINT is not handled by Python, nothing is done.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
