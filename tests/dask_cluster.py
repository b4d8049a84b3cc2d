"""A dask cluster of two workers, for tests and benchmarks."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

SCHEDULER = "import sys; from distributed.cli.dask_scheduler import main; main(sys.argv[1:])"
WORKER = "import sys; from distributed.cli.dask_worker import main; main(sys.argv[1:])"


def start_worker(address: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a worker of the scheduler at `address`."""
    options = ["--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", str(folder)]
    return _started(folder, WORKER, address, *options)


def _started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with folder.with_suffix(".log").open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-c", *arguments], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=file
        )


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler and two workers, each a process of its own; yield its address, and the three."""
    from distributed import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    processes = [_started(folder, SCHEDULER, "--host", address, "--no-dashboard")]
    processes += [start_worker(address, folder) for _ in range(2)]
    try:
        with Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, processes
    except BaseException:
        # What the client is told of a task that cannot be read or run leaves out why.
        print(folder.with_suffix(".log").read_text(errors="replace")[-10_000:], file=sys.stderr)
        raise
    finally:
        for process in processes:
            process.kill()
            process.wait()
