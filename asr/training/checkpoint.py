"""The whole state of a training run, in files that are written whole or not at all; the last few are kept."""

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.errors import ModelError, UsageError, first_line
from asr.files import atomic_path, probe_folder
from asr.model import AcousticModel
from asr.settings import digest, to_dict
from asr.training.batches import BatchSource
from asr.training.config import Measure, TrainingConfig


@dataclass(frozen=True, order=True)
class Score:
    """How good an epoch's weights are on the dev set; smaller is better.

    Parameters
    ----------
    value : float
        Of what is chosen by: ``wer``, ``cer`` or ``loss``. A small dev set often ties on it, then the loss decides.
    loss : float
    epoch : int
    wer, cer : float
    """

    value: float = math.inf
    loss: float = math.inf
    epoch: int = -1
    wer: float = math.inf
    cer: float = math.inf

    def by(self, measure: Measure) -> "Score":
        """Return the same as chosen by `measure`."""
        return replace(self, value=getattr(self, measure))


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    The order of batches and all randomness follow from the seed and the position, so no generator state is kept.

    Parameters
    ----------
    epoch, step : int
        To come next.
    skipped : int
        Steps left out in a row until now.
    seconds : float
        Spent on this epoch until now.
    first_loss : float
        In nats per token, of the run's first steps; 0 before it is known.
    changed : int
        The epoch at which settings were changed last.
    best : tuple of Score
        The best epochs, best first.
    """

    epoch: int = 0
    step: int = 0
    skipped: int = 0
    seconds: float = 0.0
    first_loss: float = 0.0
    changed: int = 0
    best: tuple[Score, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to resume a run.

    Parameters
    ----------
    model, optimizer, average : dict
        Weights, and the states of the optimiser and of the moving average.
    sums : Tensor
        Of the epoch's steps until now.
    position : Position
    history : list of dict
        The log until now.
    settings : dict
        What the run was made with, as JSON.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any]
    average: dict[str, Tensor]
    sums: Tensor
    position: Position
    history: list[dict[str, float]]
    settings: dict[str, Any]


class CheckpointFolder:
    """The last checkpoints of a run, ``epoch_0003_step_000120.pt`` and so on.

    Parameters
    ----------
    directory : Path
    keep : int
        How many to keep.
    warn : callable
        Receives a line of text about a checkpoint that is damaged.
    """

    def __init__(self, directory: Path, keep: int, warn: Callable[[str], None]) -> None:
        self.directory = directory
        self.keep = keep
        self.warn = warn

    def check_writable(self) -> None:
        """Refuse a directory in which no file can be created, before hours are spent.

        Raises
        ------
        UsageError
            If none can.
        """
        try:
            probe_folder(self.directory)
        except OSError as error:
            raise UsageError(
                f"{self.directory}: cannot be written to ({error.strerror}); expected a directory for checkpoints: "
                "choose another, or change its permissions"
            ) from None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write `checkpoint` as the newest: those of later positions are deleted, and the oldest if there are too many.

        Raises
        ------
        ModelError
            If it cannot be written, on a full disk for example; earlier ones are kept.
        """
        at = checkpoint.position
        path = self.directory / f"epoch_{at.epoch:04d}_step_{at.step:06d}.pt"
        values = {**vars(checkpoint), "position": asdict(at), "settings": json.dumps(checkpoint.settings)}
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                torch.save(values, file)
        except (OSError, RuntimeError) as error:
            # torch tells of a failed write by a RuntimeError, whose cause only the system's own error names.
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            reason = getattr(cause, "strerror", None) or first_line(cause)
            raise ModelError(
                f"{path}: cannot write the checkpoint ({reason}); earlier ones are complete: make room and run the "
                "same command again to resume"
            ) from None
        self.discard_newer(at)
        for old in self._paths()[self.keep :]:
            old.unlink(missing_ok=True)

    def load(self) -> Checkpoint | None:
        """Read the newest checkpoint that is whole, without running any code in it; None where there is none.

        Raises
        ------
        ModelError
            If there are some, but none that can be read.
        """
        paths = self._paths()
        for path in paths:
            try:
                return _read(path)
            except Exception as error:  # Damaged bytes may raise anything.
                self.warn(f"{path}: is damaged ({first_line(error)}); trying the one before it")
        if paths:
            raise ModelError(
                f"{self.directory}: no checkpoint of {len(paths)} can be read; expected a complete one: delete the "
                "folder to start again"
            )
        return None

    def other_settings(self, changed: str, *, fatal: bool) -> ModelError:
        """Return the error of settings that are not those of the checkpoints; `fatal`: the weights do not fit."""
        accept = "" if fatal else "accept the changes (--allow-changes of a recipe), "
        return ModelError(
            f"{self.directory}: its run had other settings ({changed}); expected the same: restore them, choose "
            f"another output directory, {accept}or delete the folder"
        )

    def discard_newer(self, position: Position) -> None:
        """Delete checkpoints beyond `position`, which would pass for the newest, and torn writes."""
        for path in self.directory.glob(".epoch_*.tmp"):
            path.unlink(missing_ok=True)
        last = f"epoch_{position.epoch:04d}_step_{position.step:06d}.pt"
        for path in self._paths():
            if path.name > last:
                path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        """All checkpoints, newest first."""
        return sorted(self.directory.glob("epoch_*_step_*.pt"), reverse=True)


def _read(path: Path) -> Checkpoint:
    """Read a checkpoint; torch itself does not notice bytes that have changed, the archive's check sums do."""
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"checksum of {damaged}")
    values = torch.load(path, map_location="cpu", weights_only=True)
    position = values["position"]
    best = tuple(Score(**score) for score in position["best"])
    settings = json.loads(values["settings"])
    return Checkpoint(**{**values, "position": Position(**{**position, "best": best}), "settings": settings})


def run_settings(
    model: AcousticModel, train: BatchSource, dev: Mapping[str, BatchSource], config: TrainingConfig
) -> dict[str, Any]:
    """Return all that decides what is learned, for JSON: settings, and digests of tokens, weights' shapes and data."""
    shapes = [list(parameter.shape) for parameter in model.parameters()]
    chosen_by = [source.identity for source in dev.values()]
    data = {"train": digest(train.identity), "dev": digest(chosen_by if len(dev) > 1 else chosen_by[0])}
    settings: dict[str, Any] = {
        "training": to_dict(config),
        "model": to_dict(model.config),
        "tokens": digest([shapes, *(list(t.tokens) for t in (train.tokenizer, train.middle) if t)]),
        "data": data,
    }
    # As it comes out of a checkpoint.
    return dict(json.loads(json.dumps(settings)))
