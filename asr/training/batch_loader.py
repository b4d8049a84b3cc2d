"""What one rank is fed with: the steps of an epoch, and their batches, made on a thread while the model learns."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch

from asr.training.batches import Batch, BatchSource, PlannedBatch
from asr.training.config import TrainingConfig
from asr.training.distributed import Ranks, deal
from asr.training.prefetch import prefetched


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

    def steps(self, epoch: int) -> list[list[PlannedBatch]]:
        """Return the batches of each step of an epoch; each rank has equally many steps."""
        seed = self.config.seed
        plan = deal(self.source.plan(seed, epoch), self.ranks, np.random.default_rng((seed, epoch)))
        size = self.config.accumulate
        return [plan[first : first + size] for first in range(0, len(plan), size)]

    def load(
        self, steps: Sequence[Sequence[PlannedBatch]], epoch: int
    ) -> AbstractContextManager[Iterator[list[Batch]]]:
        """Return an iterator over the batches of some `steps` of an epoch, in order, made ahead of time."""

        def make(planned: Sequence[PlannedBatch]) -> list[Batch]:
            seed, views = self.config.seed, self.config.views
            batches = [self.source.batch(one, seed, epoch, views) for one in planned if len(one)]
            return [batch.pin() for batch in batches] if self.pinned else batches

        return prefetched(make, steps)
