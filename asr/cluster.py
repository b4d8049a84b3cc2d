"""Work on a dask cluster: tasks go out, results come back, and what goes wrong is one clear error."""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from asr.errors import AsrError, DataError, MissingExtraError, first_line
from asr.version import __version__

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

# So many tasks are with the scheduler at a time: enough for the workers of a large cluster, and few enough that a job
# of millions of files neither fills the scheduler's memory nor makes the first result wait for the last task.
UNDER_WAY = 2000
# A scheduler that has not answered by then is not there.
ANSWER_SECONDS = 30.0


@contextmanager
def connected(address: str, purpose: str, advice: str) -> Iterator[Executor]:
    """Connect to a scheduler; whatever goes wrong with it or its workers is one error, and not pages of its log.

    Parameters
    ----------
    address : str
        Of the scheduler: ``tcp://host:port``.
    purpose : str
        What the cluster is for, if dask.distributed is not installed: ``"preparing on a cluster"``.
    advice : str
        How the work is gone on with, after it has failed.

    Raises
    ------
    DataError
        If no scheduler answers, or it or its workers fail.
    MissingExtraError
        If dask.distributed is not installed.
    """
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtraError("dask.distributed", "cluster", purpose) from None
    with _quiet("distributed", "tornado", "asyncio"):
        try:
            _greet(address)
            client = Client(address, timeout=ANSWER_SECONDS)
        except Exception as error:
            raise DataError(
                f"--cluster {address}: no scheduler answers ({first_line(error)}): start one with `dask scheduler`, "
                "and give the address that it prints, as in tcp://head:8786"
            ) from None
        try:
            with client:
                if not client.nthreads():
                    print(f"--cluster {address}: no worker yet: `dask worker {address}` starts one", file=sys.stderr)
                # Tasks give the same whoever runs them, so one may run twice.
                yield client.get_executor(pure=False, retries=3)
        except AsrError:
            raise
        # The scheduler is gone (CancelledError, CommClosedError), a task took several workers with it (KilledWorker),
        # or a worker has another version of this package (whatever that raises).
        except Exception as error:
            reason = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
            raise DataError(
                f"--cluster {address}: the scheduler or its workers failed ({reason}): what is finished is kept; check "
                f"that they run, with this version of the package and enough memory, and {advice}"
            ) from None


def results(
    executor: Executor, work: Callable[[Task], Outcome], tasks: Iterable[Task], *, in_order: bool
) -> Iterator[Outcome]:
    """Yield ``work(task)`` for each task, run on the workers, in the order of the tasks or as soon as each is there.

    Raises
    ------
    AsrError
        If a worker has another version of the package, or `work` raises an `AsrError`: the message names the worker.
    """
    left = iter(tasks)

    def submit(count: int) -> list[Future[Outcome]]:
        return [executor.submit(_run, __version__, work, task) for task in islice(left, count)]

    waiting = deque(submit(UNDER_WAY))
    try:
        while waiting:
            if in_order:
                done = [waiting[0]]
            else:
                found = wait(waiting, return_when=FIRST_COMPLETED).done
                done = [future for future in waiting if future in found]
            for future in done:
                yield future.result()
                waiting.remove(future)
            waiting += submit(len(done))
    finally:
        for future in waiting:
            future.cancel()


def _run(version: str, work: Callable[[Any], Outcome], task: Any) -> Outcome:
    from distributed import get_worker

    address = get_worker().address
    if version != __version__:
        raise AsrError(
            f"worker {address} has version {__version__} of ctc-asr; expected {version}, as here: install the same "
            "version everywhere"
        )
    try:
        return work(task)
    except AsrError as error:
        # Of no other class: not all of them can be pickled.
        raise AsrError(f"worker {address}: {error}") from None


def _greet(address: str) -> None:
    """Shake hands with a scheduler: a client would wait for ever for another server that says nothing."""
    from distributed.comm import connect
    from distributed.security import Security

    async def greet() -> None:
        options = Security().get_connection_args("client")
        async with asyncio.timeout(ANSWER_SECONDS + 1):
            comm = await connect(address, timeout=ANSWER_SECONDS, **options)
        await comm.close()

    # In a thread: a notebook's own loop runs in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, greet()).result()


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    # dask's own settings give some of those below them, such as distributed.client, a level and a handler of their own.
    known = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in names]
    loggers = [logging.getLogger(name) for name in known]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
