"""What one rank is fed with: the steps of an epoch, and their batches, made on a thread while the model learns."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import numpy as np
import torch

from asr.training.batches import Batch, BatchSource
from asr.training.config import TrainingConfig
from asr.training.distributed import Ranks
from asr.training.plan import PlannedBatch, Steps

Item = TypeVar("Item")
Made = TypeVar("Made")

# How many are made before they are asked for.
AHEAD = 4


class BatchLoader:
    """The training batches of one rank.

    Parameters
    ----------
    source : BatchSource
    config : TrainingConfig
    ranks : Ranks
    device : device
        Where the batches will go.
    """

    def __init__(self, source: BatchSource, config: TrainingConfig, ranks: Ranks, device: torch.device) -> None:
        self.source = source
        self.config = config
        self.ranks = ranks
        self.pinned = device.type == "cuda"

    def steps(self, epoch: int) -> Steps:
        """Return the batches of each step of an epoch; each rank has equally many steps."""
        seed = self.config.seed
        plan = self.source.plan(seed, epoch)
        return Steps(plan, self.config.accumulate, self.ranks, np.random.default_rng((seed, epoch)))

    def load(self, steps: Steps, first: int, epoch: int) -> AbstractContextManager[Iterator[list[Batch]]]:
        """Return an iterator over the batches of the `steps` of an epoch from `first` on, made ahead of time."""

        def make(planned: Sequence[PlannedBatch]) -> list[Batch]:
            seed, views = self.config.seed, self.config.views
            batches = [self.source.batch(one, seed, epoch, views) for one in planned if len(one)]
            return [batch.pin() for batch in batches] if self.pinned else batches

        return prefetched(make, (steps[index] for index in range(first, len(steps))))


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
