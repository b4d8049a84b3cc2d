"""Training on several ranks is training on one: the same gradients, and killed anywhere it goes on the same."""

import itertools
import math
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
from asr.training.distributed import Ranks  # noqa: E402
from asr.training.plan import Steps  # noqa: E402
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


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 6])
def test_the_ranks_share_each_step_of_one_rank_alone(count, size):
    plan = BatchSource(MemoryStore(1001, 1), TOKENIZER, MODEL, 600, CONFIG.augment).plan(1, 0)
    alone, *ranks = (
        Steps(plan, size, Ranks(rank, of), np.random.default_rng(5))
        for rank, of in [(0, 1), *((rank, count) for rank in range(count))]
    )
    everything = [utterances(step) for step in alone]
    assert utterances(batch for step in alone for batch in step) == utterances(plan)
    assert {len(steps) for steps in ranks} == {math.ceil(len(plan) / size)}
    for number, expected in enumerate(everything):
        parts = [steps[number] for steps in ranks]
        assert utterances(batch for part in parts for batch in part) == expected
        # Of a whole step each rank has as many utterances, up to one of each batch.
        if number < len(alone) - 1 or size == 1:
            counts = [sum(map(len, part)) for part in parts]
            assert size % count == 0 or max(counts) - min(counts) <= size
    frames = [sum(map(padded_frames, itertools.chain(*steps))) for steps in ranks]
    assert max(frames) < 1.05 * np.mean(frames)


def padded_frames(planned):
    return len(planned) * planned.lengths.total.max(initial=0)


def utterances(batches):
    return sorted(index for batch in batches for index in batch.indices.tolist())


def test_two_ranks_have_the_gradient_of_one(tmp_path):
    gradient_of_all_batches(tmp_path / "one")
    run_ranks(2, "gradient", tmp_path / "two")
    one, first, second = (np.load(tmp_path / name) for name in ("one.0.npz", "two.0.npz", "two.1.npz"))
    for name in ("gradient", "weights"):
        np.testing.assert_allclose(first[name], one[name], rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(first[name], second[name])
    # Losses and counts, which are summed over the ranks as well.
    np.testing.assert_allclose(first["values"], one["values"], rtol=1e-7)


def test_a_run_of_two_ranks_killed_and_gone_on_with_by_one_is_that_of_one(tmp_path):
    settings = ("checkpoint_minutes=1e-12", "optimizer=sgd", "learning_rate=0.05", "epochs=2", "--dropout", 0)
    assert run_ranks(1, "train", tmp_path / "one", *settings)[0] == [0]
    assert run_ranks(2, "train", tmp_path / "other", *settings, "--kill-at", 5, "--kill-rank", 1)[0] != [0, 0]
    statuses, said = run_ranks(1, "train", tmp_path / "other", *settings)
    assert statuses == [0], said
    assert "resuming" in said[0]
    logs = [read_log(tmp_path / name) for name in ("one", "other")]
    for one, other in zip(*logs, strict=True):
        assert {key: float(x) for key, x in other.items()} == pytest.approx(
            {key: float(x) for key, x in one.items()}, rel=1e-3, abs=1e-4
        )


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
