"""The batches and the steps of an epoch, and the part of each step that a rank gets.

A step has the same utterances whatever the number of ranks, so that a run does not depend on the machine, and one of
four ranks can go on with two. An epoch of ten million utterances is a few arrays: its batches are cut when they are
asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from asr.training.distributed import Ranks
from asr.training.draws import Lengths


@dataclass(frozen=True)
class PlannedBatch:
    """The content of a batch.

    Parameters
    ----------
    indices : ndarray, shape (B,), int32
        Into the store; those beyond its end are utterances of noise.
    lengths : Lengths
        Of each, once augmented.
    copies : ndarray, shape (B,), int32
        How often each has come before in the epoch: its copies are augmented differently.
    """

    indices: NDArray[np.int32]
    lengths: Lengths
    copies: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, part: slice | NDArray[np.integer[Any]]) -> "PlannedBatch":
        return PlannedBatch(self.indices[part], self.lengths[part], self.copies[part])


class Plan(Sequence[PlannedBatch]):
    """The batches of an epoch.

    Parameters
    ----------
    drawn : PlannedBatch
        All utterances of the epoch.
    places : ndarray, shape (N,), int32
        Into `drawn`; those of a batch side by side.
    starts : ndarray, shape (M,), int32
        Where in `places` each batch begins.
    order : ndarray, shape (M,), int64, optional
        Of the batches; by default as they lie.
    """

    def __init__(
        self,
        drawn: PlannedBatch,
        places: NDArray[np.int32],
        starts: NDArray[np.int32],
        order: NDArray[np.int64] | None = None,
    ) -> None:
        self._drawn = drawn
        self._places = places
        self._bounds = np.append(starts, np.int32(len(places)))
        self._order = np.arange(len(starts)) if order is None else order

    @property
    def longest(self) -> NDArray[np.int32]:
        """Frames of the longest utterance of each batch, ``(M,)``."""
        longest: NDArray[np.int32] = np.maximum.reduceat(self._drawn.lengths.total[self._places], self._bounds[:-1])
        return longest[self._order]

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> PlannedBatch: ...
    @overload
    def __getitem__(self, index: slice) -> list[PlannedBatch]: ...
    def __getitem__(self, index: int | slice) -> PlannedBatch | list[PlannedBatch]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = self._order[index]
        return self._drawn[self._places[self._bounds[number] : self._bounds[number + 1]]]


class Steps(Sequence[list[PlannedBatch]]):
    """The steps of an epoch, of each the part that one rank has; equally many on each rank.

    The batches of a step are shared out whole as far as their number and that of the ranks have a common divisor, and
    then utterance by utterance: of 4 batches, 8 ranks have half a batch each, and 2 ranks two batches. A rank's parts
    may have no utterance.

    Parameters
    ----------
    plan : Plan
        The same on each rank.
    size : int
        Batches of a step; the last step may have fewer.
    ranks : Ranks
    rng : numpy.random.Generator
        In the same state on each rank: of the order of the steps, where they have several batches.
    """

    def __init__(self, plan: Plan, size: int, ranks: Ranks, rng: np.random.Generator) -> None:
        self._plan = plan
        self._whole, self._parts = shares(size, ranks.count)
        self._rank = ranks.rank
        numbers, self._order = np.arange(len(plan)), None
        if size > 1:
            # Batches are full but for a rest, so those of about equal length have about equally many utterances, and
            # take a recurrent net about equally long: no rank waits for another.
            numbers = np.argsort(plan.longest, kind="stable")
            self._order = rng.permutation(math.ceil(len(plan) / size))
        self._numbers = numbers
        self._size = size

    def __len__(self) -> int:
        return math.ceil(len(self._plan) / self._size)

    @overload
    def __getitem__(self, index: int) -> list[PlannedBatch]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[PlannedBatch]]: ...
    def __getitem__(self, index: int | slice) -> list[PlannedBatch] | list[list[PlannedBatch]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"step {index} of {len(self)}")
        first = self._size * (index if self._order is None else int(self._order[index]))
        mine = self._numbers[first : first + self._size][self._rank % self._whole :: self._whole]
        # One rank after another has the utterance that is left over.
        part = (self._rank // self._whole + index) % self._parts
        return [self._plan[number][part :: self._parts] for number in mine.tolist()]


def shares(size: int, count: int) -> tuple[int, int]:
    """Return among how many ranks of `count` the `size` batches of a step are dealt whole, and each batch's parts."""
    whole = math.gcd(size, count)
    return whole, count // whole
