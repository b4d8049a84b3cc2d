"""Run tasks in this process, in a pool of processes, or on a dask cluster, through one interface."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from asr.cluster import connected
from asr.cores import num_cores, start_worker
from asr.errors import DataError
from asr.preparation.shard_tasks import Receipt, ShardTask, prepare_shard


def run_tasks(
    tasks: Sequence[ShardTask], jobs: int, cluster: str, on_done: Callable[[ShardTask, Receipt], None]
) -> None:
    """Run tasks in this process, in `jobs` processes, or on a dask cluster; `on_done` is called as each ends.

    Raises
    ------
    DataError
        If a task fails, a worker process dies, or the cluster is not available.
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
                "a worker process died (killed, or out of memory): finished work is kept; run the same command again, "
                "with fewer --jobs if memory was short"
            ) from None
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _executor(jobs: int, cluster: str) -> Iterator[Executor]:
    if cluster:
        # Shards are written atomically and are the same whoever writes them: a task may run twice.
        with connected(cluster, "preparing on a cluster", "run the same command again to resume") as executor:
            yield executor
        return
    # Ctrl-C is left to the parent. Not fork: this process has threads (the progress bar, BLAS).
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs or num_cores(), mp_context=context, initializer=start_worker, initargs=(signal.SIG_IGN,)
    ) as pool:
        yield pool
