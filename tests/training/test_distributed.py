"""Training on several ranks is training on one: the same gradients, and killed anywhere it goes on the same."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from safetensors.torch import load_file  # noqa: E402

from asr.errors import UsageError  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.distributed import Ranks, deal  # noqa: E402
from tests.training.small_run import (  # noqa: E402
    CONFIG,
    MODEL,
    TOKENIZER,
    MemoryStore,
    gradient_of_all_batches,
    read_log,
)

REPOSITORY = Path(__file__).parents[2]


def run_ranks(count, *arguments):
    """Run the small run in so many processes, as torchrun would, and return their statuses and what they say."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.training.small_run", *map(str, arguments)]
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": str(rank)}, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
        )
        for rank in range(count)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    return [process.returncode for process in processes], said


@pytest.mark.parametrize("count", [2, 3, 8])
def test_each_rank_has_as_many_batches_of_about_as_many_frames(count):
    store = MemoryStore(1001, 1)
    source = BatchSource(store, TOKENIZER, MODEL, 600, CONFIG.augment)
    for epoch in range(3):
        plan = source.plan(1, epoch)
        dealt = [deal(plan, Ranks(rank, count), np.random.default_rng(epoch)) for rank in range(count)]
        assert len({len(batches) for batches in dealt}) == 1
        everything = np.concatenate([batch.indices for batches in dealt for batch in batches])
        assert sorted(everything) == sorted(np.concatenate([batch.indices for batch in plan]))
        frames = np.array([[batch.padded_frames for batch in batches] for batches in dealt])
        # All ranks wait for the largest batch of a round; those with the halved batches are uneven, but few.
        assert frames.mean() > 0.85 * frames.max(axis=0).mean()
    few = [deal(source.plan(1, 0)[:1], Ranks(rank, count), np.random.default_rng(0)) for rank in range(count)]
    assert sum(len(batches[0]) for batches in few) == len(source.plan(1, 0)[0])


def test_two_ranks_with_half_the_budget_have_the_gradient_of_one(tmp_path):
    gradient_of_all_batches(tmp_path / "one")
    run_ranks(2, "gradient", tmp_path / "two")
    one, first, second = (np.load(tmp_path / name) for name in ("one.0.npz", "two.0.npz", "two.1.npz"))
    for name in ("gradient", "weights"):
        np.testing.assert_allclose(first[name], one[name], rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(first[name], second[name])
    # Losses and counts, which are summed over the ranks as well.
    np.testing.assert_allclose(first["values"], one["values"], rtol=1e-7)


def test_two_ranks_killed_and_started_again_end_with_the_same_weights(tmp_path):
    settings = ("checkpoint_minutes=1e-12", "ema_decay=0.9", "epochs=2")
    assert run_ranks(2, "train", tmp_path / "undisturbed", *settings)[0] == [0, 0]
    directory = tmp_path / "killed"
    statuses, said = run_ranks(2, "train", directory, *settings, "--kill-at", 3, "--kill-rank", 1)
    # The other ends too, and says why.
    assert statuses == [1, -signal.SIGKILL]
    assert "has lost another rank" in said[0]
    assert run_ranks(2, "train", directory, *settings)[0] == [0, 0]
    expected, got = (load_file(path / "best.safetensors") for path in (tmp_path / "undisturbed", directory))
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert read_log(directory) == read_log(tmp_path / "undisturbed")


def test_an_environment_that_is_not_torchruns_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match="RANK"):
        Ranks.join()
