"""Several processes that train one model together; a process alone is one rank of one."""

import torch
from torch import Tensor


class Ranks:
    """A process among those that train together."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> None:
        """Replace `values` by their sum over all ranks."""
        if self.count > 1:
            torch.distributed.all_reduce(values)

    def merge(self, texts: dict[str, str]) -> dict[str, str]:
        """Return the texts of all ranks: for each key the one that is not empty, if any is."""
        if self.count == 1:
            return texts
        gathered: list[dict[str, str]] = [{}] * self.count
        torch.distributed.all_gather_object(gathered, texts)
        return {key: max((part[key] for part in gathered), key=len) for key in texts}
