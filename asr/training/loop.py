"""The training loop: one optimiser step after another, the best model of all epochs kept.

Killed at any moment and started again, it resumes from its last checkpoint and ends with the same weights, bit
for bit on a CPU, as if it had never been killed. It runs in one process, or in several ranks.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from asr.errors import ModelError
from asr.interrupts import StopRequest, stop_requests
from asr.model import AcousticModel, exact_float32
from asr.settings import completed, differences, to_dict
from asr.store.checking import check_same_features
from asr.tokenizer import Tokenizer
from asr.training.averaging import BestWeights, MovingAverage
from asr.training.batch_loader import BatchLoader
from asr.training.batches import Batch, BatchSource
from asr.training.checkpoint import Checkpoint, CheckpointFolder, Position, Score, run_settings
from asr.training.config import FREE_SETTINGS, TrainingConfig
from asr.training.distributed import Ranks
from asr.training.health import Health
from asr.training.monitor import Monitor, log_row
from asr.training.optimizer import (
    carried_over,
    choose_device,
    consistency_weight,
    freeze,
    optimizer_order,
    schedule,
    state_kind,
    trained_parameters,
)
from asr.training.plan import shares
from asr.training.report import write_report
from asr.training.steps import LAG, Outcomes, Schedule, Stepper
from asr.training.validation import DevResult, Validator

# Once in so many steps the loss is looked at, and how much the weights change.
MEASURE_EVERY = 20

# A step's index in its epoch, and its batches.
Done = tuple[int, list[Batch]]


class Trainer:
    """Trains a model on a source of batches; under torchrun, together with the other ranks.

    Parameters
    ----------
    model : AcousticModel
    tokenizer : Tokenizer
    train : BatchSource
        Its frame budget is that of a batch, which the ranks share.
    dev : mapping of str to BatchSource
        The dev sets by name; the best epoch is chosen by the mean of their results.
    config : TrainingConfig
    directory : Path
        Receives ``log.csv``, ``training.html``, ``best.safetensors``, ``checkpoints/``, ``best/``, ``tensorboard/``
        and, where steps were left out, ``skipped/``.

    Raises
    ------
    UsageError
        If there is no such device, the directory cannot be written to, or waveforms are to be altered on the device and
        the store holds features.
    DataError
        If the sets have different features, or a dev set has no words.
    """

    def __init__(
        self,
        model: AcousticModel,
        tokenizer: Tokenizer,
        train: BatchSource,
        dev: Mapping[str, BatchSource],
        config: TrainingConfig,
        directory: Path,
    ) -> None:
        for source in dev.values():
            check_same_features(train.store, source.store)
        self.config = config
        self.train = train
        self.directory = directory
        self.ranks = Ranks.join()
        self.device = choose_device(config.device)
        if self.device.type == "cuda":
            # Events and streams are those of the current device unless told otherwise.
            torch.cuda.set_device(self.device)
        self.model = model.to(self.device)
        freeze(self.model, config.freeze)
        if config.compile_front_end:
            self.model.front_end.compile(dynamic=True)
        on_gpu = self.device.type == "cuda" and train.features.waveforms is not None
        if config.waveforms_on == "device" or (config.waveforms_on == "auto" and on_gpu):
            train.features.work_on(self.device)
        self.loader = BatchLoader(train, config, self.ranks, self.device)
        self.stepper = Stepper(self.model, config, self.ranks)
        self.outcomes: Outcomes[Done] = Outcomes(self.device, LAG if self.device.type == "cuda" else 0)
        self.average = MovingAverage(self.model, config.ema_decay)
        self.best_weights = BestWeights(directory, config.average_best)
        self.validators = {name: Validator(self.model, source, self.ranks) for name, source in dev.items()}
        self.monitor = Monitor(directory, config, quiet=not self.ranks.first)
        self.health = Health(config, directory, len(tokenizer), self.monitor.warn)
        self.checkpoints = CheckpointFolder(directory / "checkpoints", config.keep_checkpoints, self.monitor.warn)
        self.settings = run_settings(self.model, train, dev, config)
        self.position = Position()
        self.history: list[dict[str, float]] = []
        self.samples: tuple[tuple[str, str], ...] = ()
        self.sums = self._no_sums()

    @exact_float32()
    def run(self, *, accept_changes: bool = False) -> AcousticModel:
        """Train to the end and return the final model.

        Ctrl-C and SIGTERM end the process after the current step, with a checkpoint.

        Parameters
        ----------
        accept_changes : bool
            Whether to resume from a checkpoint that was made with other settings, at the start of its epoch. Tokens
            and the shapes of weights must still be the same.

        Raises
        ------
        ModelError
            If a checkpoint is of a run with other settings, none can be read or written, or training diverges.
        UsageError
            If the memory does not suffice.
        AsrError
            If another rank is lost.
        """
        if self.ranks.first:
            self.checkpoints.check_writable()
        self._resume(accept_changes=accept_changes)
        if not self._finished():
            self.ranks.share_weights(self.model)
            self.train.features.average = self.model.average_features()
            _, parts = shares(self.config.accumulate, self.ranks.count)
            self.stepper.try_out(self.train.largest(self.config.views, parts))
            self._train()
        self.best_weights.load(self.model, self.position.best)
        if self.config.average_best > 1 and self.position.best:
            result = self._validate().means
            self.monitor.say(
                f"mean of the best {len(self.position.best)} epochs: dev loss {result['loss']:.4f}  WER "
                f"{100 * result['wer']:.2f} %  CER {100 * result['cer']:.2f} %; the best alone: "
                f"{100 * self.position.best[0].wer:.2f} %, {100 * self.position.best[0].cer:.2f} %"
            )
        # What is for training alone goes no further.
        self.model.intermediate = None
        return self.model.eval()

    def _train(self) -> None:
        try:
            with stop_requests() as stop:
                while not self._finished():
                    self._run_epoch(stop)
                if self.ranks.any(bool(stop)):
                    self._stop(stop)
            self._write_report()
        except ModelError:
            self._write_report()
            raise
        finally:
            self.monitor.close()

    def _run_epoch(self, stop: StopRequest) -> None:
        at = self.position
        steps = self.loader.steps(at.epoch)
        started = saved = time.monotonic()
        with self.monitor.epoch(at.epoch, len(steps)), self.loader.load(steps, at.step, at.epoch) as loaded:
            for index, batches in enumerate(loaded, start=at.step):
                self._step(batches, index, len(steps))
                seconds = at.seconds + time.monotonic() - started
                self.position = replace(self.position, step=index + 1, seconds=seconds)
                if self.ranks.any(bool(stop)):
                    self._stop(stop)
                if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                    self._save()
                    saved = time.monotonic()
                if self.monitor.due():
                    self.monitor.show_progress(index + 1, len(steps), self._log_row()["train_loss"], seconds)
            self._check_steps(all_of_them=True)
            self._check_loss()
        self.position = replace(self.position, seconds=at.seconds + time.monotonic() - started)
        self._end_epoch(len(steps))

    def _step(self, batches: list[Batch], index: int, num_steps: int) -> None:
        epoch = self.position.epoch
        measure = index % MEASURE_EVERY == 0
        rate = self._learning_rate(index, num_steps)
        consistency = consistency_weight(self._progress(index, num_steps), self.config)
        with self.stepper.memory_explained(f"step {index + 1} of epoch {epoch + 1}"):
            values = self.stepper(batches, Schedule(rate, (self.config.seed, epoch, index), measure, consistency))
        self.sums += values
        self.average.update()
        self.outcomes.add(values[self.stepper.names.index("skipped")], (index, batches))
        self._check_steps()
        # One batch alone may have few tokens for its frames, and so a large loss per token.
        if measure and index:
            self._check_loss()

    def _learning_rate(self, index: int, num_steps: int) -> float:
        return self.config.learning_rate * schedule(self._progress(index, num_steps), self.config)

    def _progress(self, index: int, num_steps: int) -> float:
        return (self.position.epoch + index / num_steps) / self.config.epochs

    def _end_epoch(self, num_steps: int) -> None:
        """Evaluate, keep what is among the best, and note the epoch as done."""
        epoch = self.position.epoch
        with self.average.applied(), self.stepper.memory_explained("the dev set"):
            result = self._validate()
            score = Score(epoch=epoch, **result.means).by(self.config.choose_by)
            best = self.best_weights.rank((*self.position.best, score))
            if score in best and self.ranks.first:
                self.best_weights.write(self.model, score, best=score == best[0])
        # That of the last step, also in a run that was killed after it and had no step since.
        rate = self._learning_rate(num_steps - 1, num_steps)
        row = {"learning_rate": rate, **result.row, **self._log_row()}
        self.history.append(row)
        self.samples = result.samples
        self.monitor.end_epoch(self.history, result, best=score == best[0])
        self.position = replace(self.position, epoch=epoch + 1, step=0, seconds=0.0, best=best)
        self.sums = self._no_sums()
        self._save()
        if self.ranks.first:
            # Only now: a run killed before goes on from a checkpoint that still needs the others.
            self.best_weights.prune(best)
        self._check_health()

    def _validate(self) -> DevResult:
        return DevResult({name: validator() for name, validator in self.validators.items()})

    def _check_health(self) -> None:
        if rows := self.history[self.position.changed :]:
            self.health.check_epoch(rows)

    def _check_steps(self, *, all_of_them: bool = False) -> None:
        """Look at how steps went, as far as it is known."""
        for skipped, (index, batches) in self.outcomes.known(all_of_them=all_of_them):
            self.position = replace(self.position, skipped=self.position.skipped + 1 if skipped else 0)
            if skipped:
                ids = [name for batch in batches for name in batch.ids]
                kept = self.health.keep(batches, self.position.epoch, index, self.ranks.rank)
                where = f"; kept in {kept}" if kept else ""
                self.monitor.warn(f"left out step {index + 1}: its loss or gradient is not finite{where}")
                self.health.check_skipped(self.position.skipped, ids)

    def _check_loss(self) -> None:
        row = self._log_row()
        if not self.position.first_loss:
            self.position = replace(self.position, first_loss=row["train_loss"])
        self.health.check_loss(row["train_loss"], self.position.first_loss)

    def _log_row(self) -> dict[str, float]:
        """Return what the epoch has come to until now."""
        sums = self.sums.tolist()
        frames, seconds = sums[self.stepper.names.index("input_frames")], self.position.seconds
        return {
            **log_row(self.stepper.names, sums),
            "seconds": seconds,
            "hours_per_second": frames * self.train.store.config.hop_seconds / 3600 / max(1e-9, seconds),
        }

    def _write_report(self) -> None:
        if self.ranks.first and self.history:
            report = self.directory / "training.html"
            write_report(report, self.history, self.position, self.settings, self.samples)

    def _finished(self) -> bool:
        at, patience = self.position, self.config.patience
        waited = at.epoch - 1 - at.best[0].epoch if at.best else 0
        return at.epoch >= self.config.epochs or (patience > 0 and waited >= patience)

    def _stop(self, stop: StopRequest) -> NoReturn:
        self._check_steps(all_of_them=True)
        self._save()
        at = self.position
        self.monitor.say(
            f"stopped at epoch {at.epoch + 1}, after {at.step} of its steps; run the same command again to resume"
        )
        stop.leave()

    def _save(self) -> None:
        self._check_steps(all_of_them=True)
        if self.ranks.first:
            model, optimizer = self.model.state_dict(), self.stepper.optimizer.state_dict()["state"]
            at, average = self.position, self.average.state()
            self.checkpoints.save(Checkpoint(model, optimizer, average, self.sums, at, self.history, self.settings))

    def _resume(self, *, accept_changes: bool) -> None:
        checkpoint = self.checkpoints.load()
        if checkpoint is None:
            return
        self.position, self.history = checkpoint.position, checkpoint.history
        settings = self.settings
        # What a version before did not have was as the default says.
        before = completed(checkpoint.settings, {"training": to_dict(TrainingConfig())})
        # It noted the number of ranks, each of which had batches of this length.
        before["training"]["batch_seconds"] *= before.pop("ranks", 1)
        pairs = differences(before, settings)
        changed = [change for change in pairs if change[0].rpartition(".")[2] not in FREE_SETTINGS]
        keys = {key for key, *_ in changed}
        if changed and (not accept_changes or "tokens" in keys):
            listed = "; ".join(f"{key}: {old} → {new}" for key, old, new in changed)
            raise self.checkpoints.other_settings(listed, fatal="tokens" in keys)
        self.model.load_state_dict(checkpoint.model)
        weights = [trained_parameters(self.model, x["training"]["freeze"]) for x in (before, settings)]
        if state_kind(before["training"]) == state_kind(settings["training"]):
            groups = self.stepper.optimizer.state_dict()["param_groups"]
            state = carried_over(checkpoint.optimizer, *(optimizer_order(self.model, x) for x in weights), key=int)
            self.stepper.optimizer.load_state_dict({"state": state, "param_groups": groups})
        averages = carried_over(checkpoint.average, *weights, key=str)
        self.average.load_state({"steps": checkpoint.average["steps"], **averages})
        self.sums = checkpoint.sums.to(self.device)
        if changed:
            # The batches of the epoch may be others now, and the health of the run too.
            at = self.position
            # Errors on another dev set say nothing about those to come.
            known = () if "data.dev" in keys else self.best_weights.present(at.best)
            best = self.best_weights.rank([score.by(self.config.choose_by) for score in known])
            self.position = Position(epoch=at.epoch, best=best, changed=at.epoch)
            self.sums = self._no_sums()
            self._save()
        elif self.ranks.first:
            self.checkpoints.discard_newer(checkpoint.position)
        if not self._finished():
            self._check_health()
            self.monitor.say(f"resuming at epoch {self.position.epoch + 1}, after {self.position.step} of its steps")

    def _no_sums(self) -> Tensor:
        return torch.zeros(len(self.stepper.names), dtype=torch.float64, device=self.device)
