"""Of several processes that torchrun starts for one recipe, the first prepares and evaluates; all of them train."""

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asr.training.distributed import Ranks


def is_first() -> bool:
    """Whether this process is the one that writes files: the first of torchrun's, or one alone."""
    return os.environ.get("RANK", "0") == "0"


def first_does(work: Callable[[], None]) -> None:
    """Call `work` on the first process; the others wait until it is done."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        work()
    else:
        _ranks().first_does(work)


@cache
def _ranks() -> "Ranks":
    # One for the whole program: it numbers what the others have to wait for.
    from asr.training.distributed import Ranks

    return Ranks.join()
