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


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler and two workers, each a process of its own; yield its address, and the three."""
    from distributed import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    scheduler = [SCHEDULER, "--host", address, "--no-dashboard"]
    worker = [WORKER, address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", str(folder)]
    log = folder.with_suffix(".log")
    with log.open("ab") as file:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", *arguments], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=file
            )
            for arguments in (scheduler, worker, worker)
        ]
    try:
        with Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, processes
    except BaseException:
        # What the client is told of a task that cannot be read or run leaves out why.
        print(log.read_text(errors="replace")[-10_000:], file=sys.stderr)
        raise
    finally:
        for process in processes:
            process.kill()
            process.wait()
