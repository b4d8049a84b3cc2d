import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from asr.data.corpus import Corpus, PrepareOptions, prepare
from asr.data.shards import file_checksum
from asr.errors import DataError

QUICK = PrepareOptions(quiet=True, shard_utterances=1)
REPOSITORY = Path(__file__).parents[2]

WORKER = """
import sys
from distributed.cli.dask_worker import main
main([sys.argv[1], "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", sys.argv[2]])
"""


def contents(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): file_checksum(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler and two workers, each a process of its own."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, processes=True, dashboard_address=None, silence_logs=50) as local:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        address = local.scheduler_address
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, address, str(folder)], env=environment, stderr=subprocess.DEVNULL
            )
            for _ in range(2)
        ]
        try:
            deadline = time.monotonic() + 60
            while len(local.scheduler_info["workers"]) < 2 and time.monotonic() < deadline:
                time.sleep(0.1)
            yield address, workers
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_bytes_even_if_a_worker_dies(toy: Corpus, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    from asr.data import driver, executors

    prepare(toy, tmp_path / "here", QUICK)
    run = executors.run_tasks
    with cluster(tmp_path / "dask") as (address, workers):
        prepare(toy, tmp_path / "there", replace(QUICK, cluster=address))

        def kill_one(tasks, jobs, scheduler, on_done):  # type: ignore[no-untyped-def]
            done = []

            def count(task, receipt):  # type: ignore[no-untyped-def]
                done.append(task)
                if len(done) == 3:
                    workers[0].send_signal(signal.SIGKILL)
                on_done(task, receipt)

            run(tasks, jobs, scheduler, count)

        monkeypatch.setattr(driver, "run_tasks", kill_one)
        prepare(toy, tmp_path / "killed", replace(QUICK, cluster=address))
        assert workers[0].wait() == -signal.SIGKILL
    assert contents(tmp_path / "here") == contents(tmp_path / "there") == contents(tmp_path / "killed")


def test_no_scheduler(toy: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    import distributed

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(DataError, match="no scheduler answers"):
        prepare(toy, tmp_path / "out", replace(QUICK, cluster="tcp://127.0.0.1:1"))
