"""Batches made on a thread while the model learns from those before."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

# How many are made before they are asked for.
AHEAD = 4


@contextmanager
def prefetched(make: Callable[[Item], Made], items: Iterable[Item], ahead: int = AHEAD) -> Iterator[Iterator[Made]]:
    """Yield an iterator over ``make(item)`` for each item, in order, made on a thread.

    An exception of `make` is raised where its result would have come. Leaving the context ends the thread, which
    finishes at most the item at hand.

    Parameters
    ----------
    make : callable
    items : iterable
    ahead : int
        How many to make before they are asked for.
    """
    made: queue.Queue[tuple[Made | None, BaseException | None] | None] = queue.Queue(maxsize=ahead)
    left = threading.Event()

    def put(entry: tuple[Made | None, BaseException | None] | None) -> None:
        while not left.is_set():
            try:
                made.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                if left.is_set():
                    return
                put((make(item), None))
            put(None)
        except BaseException as error:
            put((None, error))

    def results() -> Iterator[Made]:
        while (entry := made.get()) is not None:
            result, error = entry
            if error is not None:
                raise error
            yield result  # type: ignore[misc]

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        yield results()
    finally:
        left.set()
        thread.join()
