"""Who runs the tasks: this process, a pool of processes, or a dask cluster, all through one interface."""

import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from asr.cores import num_cores, start_worker
from asr.errors import AsrError, DataError, MissingExtraError
from asr.preparation.shard_tasks import Receipt, ShardTask, prepare_shard


def run_tasks(
    tasks: Sequence[ShardTask], jobs: int, cluster: str, on_done: Callable[[ShardTask, Receipt], None]
) -> None:
    """Run tasks in this process, in `jobs` processes, or on a dask cluster; `on_done` is called as each ends.

    Raises
    ------
    DataError
        If a task fails, a worker process dies, or the cluster is not to be had.
    """
    if not cluster and jobs == 1:
        for task in tasks:
            on_done(task, prepare_shard(task))
        return
    with _executor(jobs, cluster) as executor:
        futures = {executor.submit(prepare_shard, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                # Forgotten with its receipt: those of all shards would grow with the corpus.
                on_done(futures.pop(future), future.result())
        except BrokenProcessPool:
            raise DataError(
                "a worker process died (killed, or out of memory): what it finished is kept; run the same command "
                "again, with fewer --jobs if memory was short"
            ) from None
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    """Connect to a scheduler; whatever goes wrong with it or its workers is one error, and not pages of its log."""
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtraError("dask.distributed", "cluster", "preparing on a cluster") from None
    with _quiet("distributed", "tornado", "asyncio"):
        try:
            client = Client(address, timeout=30)
        except (OSError, TimeoutError, ValueError) as error:
            raise DataError(
                f"--cluster {address}: no scheduler answers ({error}): start one with `dask scheduler`"
            ) from None
        try:
            with client:
                # Shards are written atomically and are the same whoever writes them: a task may run twice.
                yield client.get_executor(pure=False, retries=3)
        except AsrError:
            raise
        # The scheduler is gone (CancelledError, CommClosedError), a task took several workers with it (KilledWorker),
        # or a worker has another version of this package (whatever that raises).
        except Exception as error:
            reason = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
            raise DataError(
                f"--cluster {address}: the scheduler or its workers failed ({reason}): what is finished is kept; see "
                "that they run, with this version of the package and memory enough, and run the same command again, "
                "it goes on there"
            ) from None


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _executor(jobs: int, cluster: str) -> Iterator[Executor]:
    if cluster:
        with _cluster(cluster) as executor:
            yield executor
        return
    # Ctrl-C is left to the parent. Not fork: this process has threads (the progress bar, BLAS).
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs or num_cores(), mp_context=context, initializer=start_worker, initargs=(signal.SIG_IGN,)
    ) as pool:
        yield pool
