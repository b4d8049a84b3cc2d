"""Who runs the tasks: this process, a pool of processes, or a dask cluster, all through one interface."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from asr.data.tasks import ShardTask, prepare_shard
from asr.errors import DataError, MissingExtraError


def run_tasks(
    tasks: Sequence[ShardTask], jobs: int, cluster: str, on_done: Callable[[ShardTask, dict[str, Any]], None]
) -> None:
    """Run tasks in this process, in `jobs` processes, or on a dask cluster; `on_done` is called as each ends.

    Raises
    ------
    DataError
        If a task fails, or a worker process dies.
    """
    if not cluster and jobs == 1:
        for task in tasks:
            on_done(task, prepare_shard(task))
        return
    with _executor(jobs, cluster) as executor:
        futures = {executor.submit(prepare_shard, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                on_done(futures[future], future.result())
        except BrokenProcessPool:
            raise DataError(
                "a worker process died (killed, or out of memory): what it finished is kept; run the same command "
                "again, with fewer --jobs if memory was short"
            ) from None
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _executor(jobs: int, cluster: str) -> Iterator[Executor]:
    if not cluster:
        # Not fork: this process has threads (the progress bar, BLAS).
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=context, initializer=_start_worker) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtraError("dask.distributed", "cluster", "preparing on a cluster") from None
    try:
        client = Client(cluster, timeout=30)
    except (OSError, TimeoutError, ValueError) as error:
        raise DataError(
            f"--cluster {cluster}: no scheduler answers ({error}): start one with `dask scheduler`"
        ) from None
    with client:
        # Shards are written atomically and are the same whoever writes them: a task may run twice.
        yield client.get_executor(pure=False, retries=3)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            wait([sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
