"""Ctrl-C and SIGTERM wait until work that must not be cut short is done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# 128 + SIGTERM, as shells have it.
TERMINATED = 143


class StopRequest:
    """Whether the run was asked to end.

    Attributes
    ----------
    signal : int or None
        The signal that asked; None where none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def leave(self) -> NoReturn:
        """End the process as the signal would have: by KeyboardInterrupt, or with status 143."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(TERMINATED)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Take note of Ctrl-C and SIGTERM instead of ending at once; a second Ctrl-C ends at once.

    Where one of them is ignored, as in a rank whose parent takes care of Ctrl-C, it goes on being ignored.
    Outside the main thread, which alone may handle signals, they work as ever.
    """
    request = StopRequest()

    def note(number: int, _frame: FrameType | None) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    signals = [x for x in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(x) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
