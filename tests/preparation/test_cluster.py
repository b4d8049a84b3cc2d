import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asr import cluster as dask
from asr.errors import AsrError, DataError
from asr.preparation import executors
from asr.preparation import prepare as driver
from asr.preparation.corpus import Corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.store.layout import file_checksum
from tests.dask_cluster import cluster

QUICK = PrepareOptions(quiet=True, shard_utterances=1)


def contents(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): file_checksum(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def after(tasks_done: int, act: Callable[[], object]) -> Callable[..., None]:
    """Return `run_tasks`, with `act` called once so many tasks are done."""

    def run(tasks: Any, jobs: int, address: str, on_done: Callable[..., None]) -> None:
        done = []

        def count(task: Any, receipt: Any) -> None:
            done.append(task)
            if len(done) == tasks_done:
                act()
            on_done(task, receipt)

        executors.run_tasks(tasks, jobs, address, count)

    return run


def full_disk(_task: Any) -> None:
    raise DataError("shard-00000.arrow: cannot be written ([errno 28] No space left on device)")


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_bytes_whoever_dies(
    toy: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    prepare(toy, tmp_path / "here", QUICK)
    with cluster(tmp_path / "dask") as (address, (scheduler, worker, _)):
        options = replace(QUICK, cluster=address)
        prepare(toy, tmp_path / "there", options)
        with monkeypatch.context() as patch:
            patch.setattr(driver, "run_tasks", after(3, lambda: worker.send_signal(signal.SIGKILL)))
            prepare(toy, tmp_path / "killed", options)
        assert worker.wait() == -signal.SIGKILL
        with monkeypatch.context() as patch:
            patch.setattr(dask, "__version__", "0")
            with pytest.raises(AsrError, match=r"worker tcp://.* has version .* of ctc-asr; expected 0"):
                prepare(toy, tmp_path / "version", options)
        with monkeypatch.context() as patch:
            # As on a worker whose disk is full, or that does not see the output folder.
            patch.setattr(executors, "_with_receipt", full_disk)
            with pytest.raises(AsrError, match=r"worker tcp://.*: shard-00000\.arrow: .* No space left on device"):
                prepare(toy, tmp_path / "full", options)
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(driver, "run_tasks", after(3, scheduler.kill))
            with pytest.raises(DataError, match=r"the scheduler or its workers failed .* what is finished is kept"):
                prepare(toy, tmp_path / "resumed", options)
        assert "Traceback" not in capfd.readouterr().err
    left: list[int] = []

    def count(tasks: Any, *rest: Any) -> None:
        left.append(len(tasks))
        executors.run_tasks(tasks, *rest)

    monkeypatch.setattr(driver, "run_tasks", count)
    prepare(toy, tmp_path / "resumed", QUICK)
    assert 0 < left[0] <= 20
    expected = contents(tmp_path / "here")
    for name in ("there", "killed", "resumed"):
        assert contents(tmp_path / name) == expected


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["none", "silent", "web"])
def test_no_scheduler(toy: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None) -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.setattr(dask, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"

        def reply() -> None:
            # Whoever has asked hangs up.
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                connection.sendall(answer or b"")
                while connection.recv(1000):
                    pass

        if answer is None:
            server.close()
        else:
            threading.Thread(target=reply, daemon=True).start()
        with pytest.raises(DataError, match=r"^--cluster tcp://[^\n]*: no scheduler answers \([^\n]*\): start one"):
            prepare(toy, tmp_path / "out", replace(QUICK, cluster=address))


def test_dask_logs_nothing() -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with dask._quiet("distributed"):
        # dask gives it a level of its own: a scheduler that goes would be pages of a traceback.
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.CRITICAL)


class Failing(Executor):
    """A client, and its executor, that fails in every task."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_executor(self, **_: object) -> "Failing":
        return self

    def nthreads(self) -> dict[str, int]:
        return {}

    def submit(self, *_: object, **__: object) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_exception(self._error)
        return future


@pytest.mark.parametrize("name", ["KilledWorker", "CommClosedError", "CancelledError", "ModuleNotFoundError"])
def test_workers_that_fail_are_one_clear_error(
    toy: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    from distributed.comm import CommClosedError
    from distributed.scheduler import KilledWorker

    errors: dict[str, Exception] = {
        "KilledWorker": KilledWorker("prepare_shard-1", SimpleNamespace(address="tcp://a"), 3),
        "CommClosedError": CommClosedError("in <TCP>: Stream is closed"),
        "CancelledError": CancelledError(),
        "ModuleNotFoundError": ModuleNotFoundError("No module named 'asr'"),
    }
    monkeypatch.setattr(dask, "_greet", lambda _: None)
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: Failing(errors[name]))
    with pytest.raises(DataError, match=rf"the scheduler or its workers failed \({name}.*again to resume"):
        prepare(toy, tmp_path / "out", replace(QUICK, cluster="tcp://127.0.0.1:1"))
    # It says so while there is nobody to wait for.
    assert "no worker yet" in capsys.readouterr().err
