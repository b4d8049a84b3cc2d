"""Several processes that train one model together, as torchrun starts them; a process alone is one rank of one.

Gradients are added up over the ranks as one vector. That is all that data-parallel training is, and unlike the
mean over ranks that torch's own wrapper takes, it lets ranks differ in their number of utterances.
"""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from asr.errors import AsrError, UsageError, first_line

# A rank that is silent for so long is taken for lost.
TIMEOUT = timedelta(minutes=10)
# Preparation of a large corpus may keep the first rank busy for days.
PATIENCE = timedelta(days=14)


class LostRankError(AsrError):
    """Another rank has ended, or does not answer."""


class Ranks:
    """A process among those that train together.

    Parameters
    ----------
    rank : int
        From 0; the first is the one that writes files and speaks.
    count : int
        How many there are.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count
        # How many times the others have had to wait for the first.
        self._works = 0

    @classmethod
    def join(cls, timeout: timedelta = TIMEOUT) -> Self:
        """Return this process's rank among those that torchrun started; a second call finds them joined already.

        Sums of tensors on a GPU go through NCCL, all others through gloo.

        Raises
        ------
        UsageError
            If the environment is not one that torchrun makes.
        LostRankError
            If the others do not come.
        """
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise UsageError(
                f"WORLD_SIZE is {count}, but {', '.join(missing)} is not set; expected what torchrun sets: start with "
                "torchrun --nproc-per-node N, or unset WORLD_SIZE to train alone"
            )
        ranks = cls(int(os.environ["RANK"]), count)
        if not dist.is_initialized():
            backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            with ranks._explained():
                dist.init_process_group(backends, timeout=timeout)
            atexit.register(_leave)
        return ranks

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> None:
        """Replace `values` by their sum over all ranks.

        Raises
        ------
        LostRankError
            If a rank is lost, here as in all methods that speak to the others.
        """
        if self.count > 1:
            with self._explained():
                dist.all_reduce(values)

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is set on any rank."""
        if self.count == 1:
            return flag
        flags = torch.tensor([float(flag)])
        self.add_up(flags)
        return bool(flags)

    def merge(self, texts: dict[str, str]) -> dict[str, str]:
        """Return the texts of all ranks: for each key the one that is not empty, if any is."""
        if self.count == 1:
            return texts
        gathered: list[dict[str, str]] = [{}] * self.count
        with self._explained():
            dist.all_gather_object(gathered, texts)
        return {key: max((part[key] for part in gathered), key=len) for key in texts}

    def share_weights(self, model: nn.Module) -> None:
        """Give the model of each rank the weights of the first rank's."""
        if self.count > 1:
            with self._explained():
                for value in model.state_dict().values():
                    dist.broadcast(value, src=0)

    def first_does(self, work: Callable[[], None]) -> None:
        """Call `work` on the first rank; the others wait until it is done, however long it takes."""
        if self.count == 1:
            work()
            return
        store = dist.distributed_c10d._get_default_store()
        self._works += 1
        key = f"asr/work/{self._works}"
        if self.first:
            work()
            store.set(key, "done")
        else:
            with self._explained():
                store.wait([key], PATIENCE)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what gloo, NCCL and the rendezvous raise into one error that says what happened."""
        try:
            yield
        except RuntimeError as error:
            raise LostRankError(
                f"rank {self.rank} of {self.count} has lost another rank ({first_line(error)}): see that rank's output "
                "for the reason; start all of them again to resume from the last checkpoint"
            ) from None


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
