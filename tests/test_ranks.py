"""The ranks that a recipe starts: how many, their errors, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import asr.cores
from asr.cores import num_cores
from asr.errors import AsrError, DataError, UsageError
from asr.interrupts import stop_requests
from asr.recipe import Recipe
from asr.recipe.ranks import check_ranks, in_ranks, is_first, ranks_to_start
from asr.recipe.recipe import Run
from asr.training.config import TrainingConfig

pytest.importorskip("torch", reason="training needs the [train] extra")


def a_run(out):
    return Run(Recipe(name="none", corpus="", description="", licence=""), out, out)


def fail_differently(run):
    from asr.training.distributed import LostRankError

    if is_first():
        raise LostRankError("rank 0 of 2 has lost another rank")
    raise DataError(f"{run.data}: what is wrong")


def die_alone(_):
    if not is_first():
        os.kill(os.getpid(), signal.SIGKILL)


def until_stopped(run):
    with stop_requests() as stop:
        (run.out / f"begun.{os.environ['RANK']}").touch()
        while not stop:
            time.sleep(0.01)
        (run.out / f"ended.{os.environ['RANK']}").touch()
        stop.leave()


def test_the_error_of_a_rank_is_that_of_the_run_and_not_what_the_others_say_of_it(tmp_path):
    with pytest.raises(DataError, match="what is wrong"):
        in_ranks(fail_differently, a_run(tmp_path), 2)


def test_a_rank_that_dies_is_named(tmp_path):
    with pytest.raises(AsrError, match=r"rank 1 of 2 was ended by SIGKILL \(out of memory\?\)"):
        in_ranks(die_alone, a_run(tmp_path), 2)


@pytest.mark.parametrize(
    ("number", "to_all", "status"), [(signal.SIGINT, True, -signal.SIGINT), (signal.SIGTERM, False, 143)]
)
def test_ctrl_c_and_sigterm_end_each_rank_in_order_and_then_the_run(tmp_path, number, to_all, status):
    code = "from pathlib import Path; from tests.test_ranks import *; in_ranks(until_stopped, a_run(Path({!r})), 2)"
    process = subprocess.Popen(
        [sys.executable, "-c", code.format(str(tmp_path))], cwd=Path(__file__).parents[1], start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("begun.*"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # A terminal tells all processes of Ctrl-C.
    (os.killpg if to_all else os.kill)(process.pid, number)
    assert process.wait(60) == status
    assert {path.name for path in tmp_path.glob("ended.*")} == {"ended.0", "ended.1"}


@pytest.mark.parametrize(
    ("cores", "threads", "settings", "hours", "expected"),
    [
        (2, "", {}, 36, 2),
        (2, "2", {}, 36, 1),
        (16, "4", {"batch_seconds": 600}, 36, 4),
        (64, "", {"batch_seconds": 60}, 36, 4),
        (64, "", {"batch_seconds": 60, "accumulate": 4}, 36, 16),
        (2, "", {"epochs": 1}, 0.5, 1),
        (64, "", {"ranks": 3}, 0.5, 3),
    ],
)
def test_there_are_as_many_ranks_as_cores_if_the_work_is_worth_it(
    monkeypatch, cores, threads, settings, hours, expected
):
    monkeypatch.setattr("asr.recipe.ranks.num_cores", lambda **_: cores)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    config = TrainingConfig(**{"device": "cpu", **settings})
    assert ranks_to_start(config, hours) == expected
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert ranks_to_start(config, hours) == 1


def test_torchrun_and_the_recipe_must_agree_on_the_number_of_ranks(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    check_ranks(TrainingConfig(ranks=4))
    with pytest.raises(UsageError, match=r"training\.ranks is 2, but torchrun started 4"):
        check_ranks(TrainingConfig(ranks=2))


@pytest.mark.parametrize(
    ("limit", "all_of_them", "physical"),
    [
        ({}, 6, 3),
        ({"cpu.max": "max 100000"}, 6, 3),
        ({"cpu.max": "150000 100000"}, 2, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1000"}, 6, 3),
        ({"cpu/cpu.cfs_quota_us": "400", "cpu/cpu.cfs_period_us": "1000"}, 1, 1),
    ],
)
def test_cores_are_those_of_the_cpu_set_and_of_the_containers_limit(
    tmp_path, monkeypatch, limit, all_of_them, physical
):
    for cpu in range(8):
        path = tmp_path / f"cpus/cpu{cpu}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    for name, text in limit.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    monkeypatch.setattr(asr.cores, "CPUS", tmp_path / "cpus")
    monkeypatch.setattr(asr.cores, "CGROUPS", tmp_path / "groups")
    # Not the threads of the fourth core.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 4, 5, 6}, raising=False)
    assert num_cores() == all_of_them
    assert num_cores(physical=True) == physical
