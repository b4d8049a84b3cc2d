"""Kill -9 at random moments of a short run, each time resumed: are final weights and log the same, byte for byte?

    OMP_NUM_THREADS=1 python -m tests.training.kill_at_random [--kills 20] [--ranks 1]

The moment is drawn from the time after the first checkpoint, one of which is written after each step.
"""

import argparse
import hashlib
import itertools
import os
import random
import shutil
import signal
import socket
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

import asr.training.report
from tests.training.small_run import CONFIG, make_trainer, read_log

SETTINGS = replace(CONFIG, epochs=3, checkpoint_minutes=1e-12, ema_decay=0.9, accumulate=2, average_best=2)


def start(directory: Path, ranks: int) -> list[int]:
    """Fork the processes of a run and return their ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child:
            children.append(child)
            continue
        status = 1
        try:
            os.setsid()
            silent = os.open(directory.with_suffix(f".{rank}.out"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(silent, 2)
            if ranks > 1:
                os.environ.update(WORLD_SIZE=str(ranks), RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            make_trainer(directory, SETTINGS).run()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return children


def first_checkpoint(directory: Path) -> float:
    """Wait until a run has written its first checkpoint, and return the time."""
    deadline = time.monotonic() + 120
    while not any(directory.glob("checkpoints/epoch_*")):
        if time.monotonic() > deadline:
            raise SystemExit(f"{directory}: no checkpoint in two minutes; see {directory}.0.out")
        time.sleep(0.002)
    return time.monotonic()


def wait(children: list[int]) -> list[int]:
    return [os.waitpid(child, 0)[1] for child in children]


def digest(directory: Path) -> tuple[str, list[dict[str, str]]]:
    """Return what a run ends with: of its weights' files a digest, and the log without times."""
    names = sorted(path for path in directory.rglob("*.safetensors") if "skipped" not in path.parts)
    content = b"".join(path.name.encode() + path.read_bytes() for path in names)
    return hashlib.sha256(content).hexdigest(), read_log(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    asr.training.report.draw = lambda rows: "<svg></svg>"  # noqa: ARG005
    rng = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp())
    children = start(folder / "undisturbed", arguments.ranks)
    began = first_checkpoint(folder / "undisturbed")
    assert wait(children) == [0] * arguments.ranks
    seconds = time.monotonic() - began
    expected = digest(folder / "undisturbed")
    same = kills = 0
    for number in itertools.count():
        if kills == arguments.kills:
            break
        directory = folder / f"killed_{number}"
        children = start(directory, arguments.ranks)
        first_checkpoint(directory)
        moment = rng.uniform(0, 1) * seconds
        time.sleep(moment)
        victim = rng.choice(children)
        os.kill(victim, signal.SIGKILL)
        if os.WTERMSIG(wait(children)[children.index(victim)]) != signal.SIGKILL:
            print(f"ended by itself before {moment:.1f} of {seconds:.1f} s: does not count")
            continue
        kills += 1
        left = sorted(path.name for path in (directory / "checkpoints").glob("epoch_*"))[-1:] or [
            "before any checkpoint"
        ]
        assert wait(start(directory, arguments.ranks)) == [0] * arguments.ranks
        equal = digest(directory) == expected
        same += equal
        print(
            f"killed after {moment:.1f} of {seconds:.1f} s, {left[0]}: {'same' if equal else 'DIFFERENT'}", flush=True
        )
    print(f"{same} of {arguments.kills} resumed runs ended with the same weights and log, byte for byte")
    if same == arguments.kills:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
