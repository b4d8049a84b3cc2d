"""The processes that train one model: started by torchrun, or by the recipe itself.

With torchrun, the first process prepares and evaluates, and all of them train. A recipe that was started alone starts
ranks only for the stage ``train``, one per core or GPU, and waits for them; they end when it does.
"""

import math
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, NamedTuple

import asr.errors
from asr.cores import num_cores, start_worker
from asr.errors import AsrError, MissingExtraError, UsageError
from asr.interrupts import StopRequest, stop_requests
from asr.recipe.recipe import Run
from asr.training.config import TrainingConfig

if TYPE_CHECKING:
    from asr.training.distributed import Ranks

# A second rank takes some seconds to start, and so pays for itself after about this much audio.
HOURS_A_RANK = 1.0
# Of smaller batches a core trains much more slowly.
BATCH_SECONDS_A_RANK = 15.0
# When one rank has failed, the others have this long to say what they know.
GRACE_SECONDS = 5.0


class _Told(NamedTuple):
    """The error of a rank: of losing another one or not, its class and message."""

    is_lost: bool
    kind: str
    message: str


def is_first() -> bool:
    """Whether this process is the one that writes files: the first of several ranks, or one alone."""
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


def check_ranks(config: TrainingConfig) -> None:
    """Refuse a number of ranks that differs from torchrun's.

    Raises
    ------
    UsageError
        If they differ.
    """
    started = os.environ.get("WORLD_SIZE")
    if started and config.ranks not in (0, int(started)):
        raise UsageError(
            f"training.ranks is {config.ranks}, but torchrun started {started} processes; expected the same number: "
            "leave it at 0, or start the recipe without torchrun"
        )


def ranks_to_start(config: TrainingConfig, hours: float) -> int:
    """Return how many ranks are to train: 1 is this process.

    Parameters
    ----------
    config : TrainingConfig
    hours : float
        Audio of an epoch.
    """
    if "WORLD_SIZE" in os.environ:
        return 1
    if config.ranks:
        return config.ranks
    from asr.training.optimizer import choose_device

    if choose_device(config.device).type == "cuda":
        import torch

        return 1 if ":" in config.device else torch.cuda.device_count()
    step_seconds = config.batch_seconds * config.accumulate * config.views
    cores = num_cores(physical=True) // (_wanted_threads() or 1)
    worthwhile = min(step_seconds / BATCH_SECONDS_A_RANK, hours * config.epochs / HOURS_A_RANK)
    return max(1, min(cores, int(worthwhile)))


def _wanted_threads() -> int:
    """Return how many threads the user wants per process; 0 if not set."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() else 0


def in_ranks(work: Callable[[Run], None], run: Run, count: int) -> None:
    """Call ``work(run)`` in so many processes, and wait for them.

    Ctrl-C and SIGTERM are passed on, and end this process when the ranks have ended; a second Ctrl-C ends all at once.

    Parameters
    ----------
    work : callable
        A function of a module.
    run : Run
    count : int

    Raises
    ------
    AsrError
        The error that a rank raised, once; or if a rank died.
    """
    # Not fork: this process has threads.
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = []
    ends: list[Connection] = []
    environments = _environments(count)
    run = Run(run.recipe, run.data, run.out, run.jobs, run.archive, run.allow_changes)
    with stop_requests() as stop:
        try:
            for environment in environments:
                end, its_end = context.Pipe(duplex=False)
                processes.append(context.Process(target=_rank, args=(its_end, environment, work, run)))
                processes[-1].start()
                its_end.close()
                ends.append(end)
            _watch(processes, stop)
            if stop:
                stop.leave()
            if any(process.exitcode for process in processes):
                raise _failure(processes, ends)
        finally:
            for process in processes:
                process.kill()
                process.join()


def _watch(processes: list[BaseProcess], stop: StopRequest) -> None:
    """Wait until all processes have ended, or, where one has failed, for a while."""
    asked, deadline = False, math.inf
    while (running := [process for process in processes if process.is_alive()]) and time.monotonic() < deadline:
        if stop and not asked:
            asked = True
            for process in running:
                process.terminate()
        if not stop and deadline == math.inf and any(process.exitcode for process in processes):
            deadline = time.monotonic() + GRACE_SECONDS
        # A signal does not end the waiting.
        wait([process.sentinel for process in running], timeout=0.2)


def _environments(count: int) -> list[dict[str, str]]:
    """Return what each rank has in its environment, as torchrun would set it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Ranks of one host need no network, whatever its name stands for there.
    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), "")
    shared = {
        **({"GLOO_SOCKET_IFNAME": loopback} if loopback else {}),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(_wanted_threads() or max(1, num_cores(physical=True) // count)),
    }
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def _rank(end: Connection, environment: dict[str, str], work: Callable[[Run], None], run: Run) -> None:
    """Run as a rank; an `AsrError` goes to the process that started it."""
    # Ctrl-C is left to that process.
    start_worker(signal.SIG_IGN)
    # Before torch is imported, which reads some of it then.
    os.environ.update(environment)
    try:
        work(run)
    except AsrError as error:
        from asr.training.distributed import LostRankError

        end.send(_Told(isinstance(error, LostRankError), type(error).__name__, str(error)))
        sys.exit(1)


def _failure(processes: list[BaseProcess], ends: list[Connection]) -> AsrError:
    """Return the error of the first rank that has failed by itself, and not since another was lost."""
    told = [_told(end) for end in ends]
    for error in filter(None, told):
        if not error.is_lost:
            known = getattr(asr.errors, error.kind, AsrError)
            return AsrError(error.message) if known is MissingExtraError else known(error.message)
    for rank, process in enumerate(processes):
        code = process.exitcode or 0
        if code and told[rank] is None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            return AsrError(
                f"rank {rank} of {len(processes)} {how}{' (out of memory?)' if code == -signal.SIGKILL else ''}: run "
                "the same command again to resume from the last checkpoint; training.ranks=1 takes the least memory"
            )
    return AsrError(next(error.message for error in told if error))


def _told(end: Connection) -> _Told | None:
    try:
        told: _Told | None = end.recv() if end.poll() else None
    except EOFError:
        return None
    return told
