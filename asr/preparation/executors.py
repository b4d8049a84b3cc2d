"""Run tasks in this process, in a pool of processes, or on a dask cluster."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from asr.cluster import connected, results
from asr.cores import num_cores, start_worker
from asr.errors import DataError
from asr.preparation.shard_tasks import Receipt, ShardTask, prepare_shard


def run_tasks(
    tasks: Sequence[ShardTask], jobs: int, cluster: str, on_done: Callable[[ShardTask, Receipt], None]
) -> None:
    """Run tasks in this process, in `jobs` processes, or on a dask cluster; `on_done` is called as each ends.

    Raises
    ------
    AsrError
        If a task fails, a worker process dies, or the cluster is not to be had; a cluster's worker is named.
    """
    if cluster:
        # Shards are written atomically and are the same whoever writes them: a task may run twice.
        with connected(cluster, "preparing on a cluster", "run the same command again to resume") as executor:
            for task, receipt in results(executor, _with_receipt, tasks, in_order=False):
                on_done(task, receipt)
    elif jobs == 1:
        for task in tasks:
            on_done(task, prepare_shard(task))
    else:
        _run_in_processes(tasks, jobs, on_done)


def _with_receipt(task: ShardTask) -> tuple[ShardTask, Receipt]:
    return task, prepare_shard(task)


def _run_in_processes(tasks: Sequence[ShardTask], jobs: int, on_done: Callable[[ShardTask, Receipt], None]) -> None:
    # Ctrl-C is left to the parent. Not fork: this process has threads (the progress bar, BLAS).
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs or num_cores(), mp_context=context, initializer=start_worker, initargs=(signal.SIG_IGN,)
    ) as executor:
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
