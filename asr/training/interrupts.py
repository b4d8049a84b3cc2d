"""Ctrl-C and SIGTERM: the step at hand is finished and a checkpoint written before the run ends."""

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

    Outside the main thread, which alone may handle signals, they work as ever.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
