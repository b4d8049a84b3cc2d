"""What one rank is fed with: the steps of an epoch, and their batches, made on threads while the model learns."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import numpy as np
import torch

from asr.cores import num_cores
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
        # On a CPU the model needs the cores itself.
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self.threads = min(AHEAD, max(1, num_cores() // here)) if self.pinned else 1

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

        return prefetched(make, (steps[index] for index in range(first, len(steps))), threads=self.threads)


@contextmanager
def prefetched(
    make: Callable[[Item], Made], items: Iterable[Item], ahead: int = AHEAD, threads: int = 1
) -> Iterator[Iterator[Made]]:
    """Yield an iterator over ``make(item)`` for each item, in order, made on threads.

    An exception of `make` is raised where its result would have come. Leaving the context ends the threads, which
    finish at most their current items.

    Parameters
    ----------
    make : callable
    items : iterable
    ahead : int
        How many to make before they are asked for.
    threads : int
    """
    pool = ThreadPoolExecutor(threads, "batches")

    def results() -> Iterator[Made]:
        made: deque[Future[Made]] = deque()
        for item in items:
            made.append(pool.submit(make, item))
            if len(made) > ahead:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()

    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)
