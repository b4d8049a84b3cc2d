"""The training loop: one optimiser step after another, the best model of all epochs kept by dev WER.

Killed at any moment and started again, it goes on from its last checkpoint and ends with the same weights, bit
for bit on a CPU, as if it had never been killed.
"""

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from asr.errors import ModelError, UsageError
from asr.files import atomic_path
from asr.model import AcousticModel
from asr.settings import to_dict
from asr.tokenizer import CharTokenizer
from asr.training.averaging import MovingAverage, mean_weights
from asr.training.batches import Batch, BatchSource, PlannedBatch
from asr.training.checkpoint import FREE_SETTINGS, Checkpoint, CheckpointFolder, Position, Score, differences
from asr.training.config import TrainingConfig
from asr.training.distributed import Ranks
from asr.training.monitor import Monitor
from asr.training.optimizer import choose_device, schedule
from asr.training.prefetch import prefetched
from asr.training.steps import Schedule, Stepper
from asr.training.validation import Validator

# How much the weights change is measured once in so many steps.
MEASURE_EVERY = 20


class Trainer:
    """Trains a model on a source of batches, and keeps the best in ``<directory>/best.safetensors``.

    Parameters
    ----------
    model : AcousticModel
    tokenizer : CharTokenizer
    train, dev : BatchSource
    config : TrainingConfig
    directory : Path
        Receives ``checkpoints/``, ``best/``, ``best.safetensors`` and ``log.csv``.
    """

    def __init__(
        self,
        model: AcousticModel,
        tokenizer: CharTokenizer,
        train: BatchSource,
        dev: BatchSource,
        config: TrainingConfig,
        directory: Path,
    ) -> None:
        self.config = config
        self.train, self.dev = train, dev
        self.directory = directory
        self.ranks = Ranks()
        self.device = choose_device(config.device)
        self.model = model.to(self.device)
        self.stepper = Stepper(self.model, config, self.ranks)
        self.average = MovingAverage(self.model, config.ema_decay)
        self.validate = Validator(self.model, dev, self.ranks)
        self.monitor = Monitor(directory, config.epochs, quiet=not self.ranks.first)
        self.checkpoints = CheckpointFolder(directory / "checkpoints", config.keep_checkpoints, self.monitor.warn)
        self.settings = self._settings(tokenizer)
        self.position = Position()
        self.sums = self._no_sums()

    @property
    def fingerprint(self) -> str:
        """Short name of all that decides what is learned: settings, tokens and data."""
        free = dict.fromkeys(FREE_SETTINGS)
        learned = {**self.settings, "training": {**self.settings["training"], **free}}
        return hashlib.sha256(json.dumps(learned, sort_keys=True).encode()).hexdigest()[:16]

    def run(self, *, accept_changes: bool = False) -> AcousticModel:
        """Train to the end and return the final model.

        Parameters
        ----------
        accept_changes : bool
            Whether to go on from a checkpoint that was made with other settings.

        Raises
        ------
        ModelError
            If there is a checkpoint of a run with other settings, or training diverges.
        """
        self._resume(accept_changes=accept_changes)
        if not self._finished():
            self._try_largest_batch()
        while not self._finished():
            self._run_epoch()
        self._load_final()
        return self.model.eval()

    def _run_epoch(self) -> None:
        at = self.position
        steps = self._steps(at.epoch)
        started = saved = time.monotonic()
        self.monitor.start(at.epoch, len(steps), at.step)
        try:
            with prefetched(self._load, steps[at.step :]) as loaded:
                for index, batches in enumerate(loaded, start=at.step):
                    self._step(batches, index, len(steps))
                    seconds = at.seconds + time.monotonic() - started
                    self.position = replace(self.position, step=index + 1, seconds=seconds)
                    if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                        self._save()
                        saved = time.monotonic()
                    self._show_status(index + 1)
        finally:
            self.monitor.stop()
        self._end_epoch()

    def _step(self, batches: list[Batch], index: int, num_steps: int) -> None:
        epoch = self.position.epoch
        progress = (epoch + index / num_steps) / self.config.epochs
        rate = self.config.learning_rate * schedule(progress, self.config)
        measure = index % MEASURE_EVERY == 0
        values = self.stepper(batches, Schedule(rate, (self.config.seed, epoch, index), measure))
        self.sums += values
        self.average.update()
        self._check_step(values, batches)

    def _end_epoch(self) -> None:
        """Evaluate, keep what is among the best, and note the epoch as done."""
        epoch = self.position.epoch
        with self.average.applied():
            result = self.validate()
            score = Score(result.wer, result.loss, epoch)
            best = tuple(sorted((*self.position.best, score)))[: max(1, self.config.average_best)]
            if score in best and self.ranks.first:
                self._write_weights(self._best_path(score))
                if score == best[0]:
                    self._write_weights(self.directory / "best.safetensors")
        row = self._log_row(result.loss, result.wer)
        self.monitor.write(epoch, row)
        self.monitor.show(epoch, row, result, best=score == best[0])
        self.position = replace(self.position, epoch=epoch + 1, step=0, seconds=0.0, best=best)
        self.sums = self._no_sums()
        self._save()
        # Only now: a run killed before goes on from a checkpoint that still needs the others.
        for path in (self.directory / "best").glob("epoch_*.safetensors"):
            if self.ranks.first and path not in map(self._best_path, best):
                path.unlink(missing_ok=True)

    def _log_row(self, dev_loss: float, dev_wer: float) -> dict[str, float]:
        sums = dict(zip(self.stepper.names, self.sums.tolist(), strict=True))
        steps, measured = max(1.0, sums["steps"]), max(1.0, sums["measured"])
        row = {
            "learning_rate": self.stepper.optimizer.param_groups[0]["lr"],
            "train_loss": sums["loss"] / max(1.0, sums["tokens"]),
            "dev_loss": dev_loss,
            "dev_wer": dev_wer,
            "gradient_norm": sums["gradient_norm"] / steps,
            "clipped": sums["clipped"] / steps,
            "skipped": sums["skipped"],
            "blank": sums["blank"] / max(1.0, sums["output_frames"]),
        }
        for name in self.stepper.names:
            if "." in name:
                row[name] = sums[name] / (measured if name.startswith("update.") else steps)
        hours = sums["input_frames"] * self.train.store.config.hop_seconds / 3600
        seconds = self.position.seconds
        return {**row, "seconds": seconds, "hours_per_second": hours / max(1e-9, seconds)}

    def _check_step(self, values: Tensor, batches: list[Batch]) -> None:
        skipped = bool(values[self.stepper.names.index("skipped")])
        self.position = replace(self.position, skipped=self.position.skipped + 1 if skipped else 0)
        if not skipped:
            return
        ids = ", ".join(name for batch in batches for name in batch.ids)
        self.monitor.warn(f"left out a step, its loss or gradient is not finite: {ids}")
        if self.position.skipped >= self.config.max_skipped:
            raise ModelError(
                f"training diverged: {self.position.skipped} steps in a row had a loss or gradient that is not finite; "
                f"the last held {ids}: lower training.learning_rate or training.max_gradient_norm, or check the data"
            )

    def _steps(self, epoch: int) -> list[list[PlannedBatch]]:
        """Return the batches of each step of an epoch."""
        plan, size = self.train.plan(self.config.seed, epoch), self.config.accumulate
        return [plan[first : first + size] for first in range(0, len(plan), size)]

    def _load(self, planned: list[PlannedBatch]) -> list[Batch]:
        # Of this epoch: the position moves on to the next only when all its batches are used up.
        batches = [self.train.batch(one, self.config.seed, self.position.epoch) for one in planned]
        return [batch.pin() for batch in batches] if self.device.type == "cuda" else batches

    def _finished(self) -> bool:
        at, patience = self.position, self.config.patience
        waited = at.epoch - 1 - at.best[0].epoch if at.best else 0
        return at.epoch >= self.config.epochs or (patience > 0 and waited >= patience)

    def _load_final(self) -> None:
        """Give the model the weights of the best epoch, or the mean of those of the best few."""
        if self.config.average_best < 2:
            self.model.load_state_dict(load_file(self.directory / "best.safetensors"))
            return
        paths = [self._best_path(score) for score in self.position.best]
        self.model.load_state_dict(mean_weights(paths))
        result = self.validate()
        epochs = ", ".join(str(score.epoch + 1) for score in self.position.best)
        self.monitor.say(
            f"mean of epochs {epochs}: dev loss {result.loss:.4f}  dev WER {100 * result.wer:.2f} %; "
            f"the best alone: {100 * self.position.best[0].wer:.2f} %"
        )

    def _best_path(self, score: Score) -> Path:
        return self.directory / "best" / f"epoch_{score.epoch + 1:04d}.safetensors"

    def _write_weights(self, path: Path) -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(serialise(self.model.state_dict()))

    def _save(self) -> None:
        if self.ranks.first:
            model, optimizer = self.model.state_dict(), self.stepper.optimizer.state_dict()["state"]
            average = self.average.state()
            self.checkpoints.save(Checkpoint(model, optimizer, average, self.sums, self.position, self.settings))

    def _resume(self, *, accept_changes: bool) -> None:
        checkpoint = self.checkpoints.load()
        if checkpoint is None:
            return
        changed = differences(checkpoint.settings, self.settings)
        if changed and not accept_changes:
            raise ModelError(
                f"{self.checkpoints.directory}: its run had other settings: {'; '.join(changed)}; expected the same: "
                "go back to them, choose another output directory, accept the changes, or delete the folder"
            )
        self.model.load_state_dict(checkpoint.model)
        groups = self.stepper.optimizer.state_dict()["param_groups"]
        self.stepper.optimizer.load_state_dict({"state": checkpoint.optimizer, "param_groups": groups})
        self.average.load_state(checkpoint.average)
        self.position, self.sums = checkpoint.position, checkpoint.sums.to(self.device)
        if changed:
            # The batches of the epoch may be others now.
            self.position, self.sums = replace(self.position, step=0, seconds=0.0), self._no_sums()
        self.checkpoints.discard_newer(checkpoint.position)
        self.monitor.say(f"going on at epoch {self.position.epoch + 1}, step {self.position.step + 1}")

    def _no_sums(self) -> Tensor:
        return torch.zeros(len(self.stepper.names), dtype=torch.float64, device=self.device)

    def _settings(self, tokenizer: CharTokenizer) -> dict[str, Any]:
        data = {}
        for name, source in (("train", self.train), ("dev", self.dev)):
            content = json.dumps([to_dict(source.store.config), source.store.header["shards"]])
            data[name] = hashlib.sha256(content.encode()).hexdigest()[:16]
        shapes = [list(parameter.shape) for parameter in self.model.parameters()]
        weights = hashlib.sha256(json.dumps([shapes, list(tokenizer.tokens)]).encode()).hexdigest()[:16]
        training, model = to_dict(self.config), to_dict(self.model.config)
        # Through JSON, as those of a checkpoint come.
        settings: dict[str, Any] = json.loads(
            json.dumps({"training": training, "model": model, "tokens": weights, "data": data})
        )
        return settings

    def _try_largest_batch(self) -> None:
        """Run the largest batch forwards and backwards, so that a lack of memory shows now and not hours later."""
        batch = self.train.largest()
        try:
            self.stepper.try_out(batch)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            # On a CPU, a lack of memory is a RuntimeError like any other.
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            raise UsageError(
                f"a batch of {len(batch.ids)} utterances and {batch.features.shape[1]} frames does not fit the memory "
                f"of {self.device}: lower training.batch_seconds (now {self.config.batch_seconds:g})"
            ) from None

    def _show_status(self, done: int) -> None:
        if self.monitor.advance(done):
            sums = dict(zip(self.stepper.names, self.sums.tolist(), strict=True))
            hours = sums["input_frames"] * self.train.store.config.hop_seconds / 3600
            self.monitor.status(
                f"loss {sums['loss'] / max(1.0, sums['tokens']):.3f}  "
                f"{hours / max(1e-9, self.position.seconds):.4f} hours/s"
            )
