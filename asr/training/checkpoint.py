"""The whole state of a training run, in one file that is written whole or not at all."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr.errors import ModelError
from asr.files import atomic_path


@dataclass(frozen=True)
class Position:
    """Where a run stands: `epoch` and `batch` to come next, and what was best so far.

    The order of batches and all randomness follow from the seed and the position, so no generator state is kept.
    """

    epoch: int = 0
    batch: int = 0
    best_wer: float = float("inf")
    best_loss: float = float("inf")


@dataclass(frozen=True)
class Checkpoint:
    """Weights, optimiser state and position; `fingerprint` names the settings and data that made them."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    position: Position
    fingerprint: str


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint`; an older one at `path` is replaced only when the new one is complete."""
    with atomic_path(path) as temporary:
        torch.save({**vars(checkpoint), "position": vars(checkpoint.position)}, temporary)


def load(path: Path, fingerprint: str) -> Checkpoint:
    """Read a checkpoint without running any code in it.

    Raises
    ------
    ModelError
        If the file is damaged, or was made with other settings than `fingerprint` names.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint = Checkpoint(**{**values, "position": Position(**values["position"])})
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: is not a checkpoint that can be read ({error}); delete it to start anew") from None
    if checkpoint.fingerprint != fingerprint:
        raise ModelError(
            f"{path}: was made with other settings or data than this run's; expected the same: go back to them, "
            "choose another output directory, or delete the checkpoint to start anew"
        )
    return checkpoint
