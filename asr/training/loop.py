"""The training loop: CTC, one optimiser step a batch, the best model of all epochs kept by dev WER.

Killed at any moment and started again, it goes on from its last checkpoint and ends with the same weights, bit
for bit on a CPU, as if it had never been killed.
"""

import csv
import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor
from torch.nn.functional import ctc_loss

from asr.decoder import GreedyDecoder
from asr.errors import ModelError, UsageError
from asr.evaluation.wer import ErrorCounts, word_errors
from asr.files import atomic_path, write_text
from asr.model import AcousticModel
from asr.settings import to_dict
from asr.tokenizer import BLANK, CharTokenizer
from asr.training.batches import Batch, BatchSource, evaluation_batches
from asr.training.checkpoint import Checkpoint, Position, load, save
from asr.training.config import TrainingConfig
from asr.training.optimizer import choose_device, make_optimizer, schedule

# A run that skips this many batches in a row learns nothing: it stops and says so.
MAX_SKIPPED = 10

LOG_FIELDS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "gradient_norm",
    "skipped",
    "dev_loss",
    "dev_wer",
    "seconds",
)


@dataclass
class EpochLog:
    """Sums over the batches of an epoch (since its start or the last resume)."""

    loss: float = 0.0
    gradient_norm: float = 0.0
    batches: int = 0
    skipped: int = 0
    audio_seconds: float = 0.0

    def mean(self, value: float) -> float:
        """Return the mean over batches of a summed `value`."""
        return value / self.batches if self.batches else math.nan


class Trainer:
    """Trains a model on a source of batches, and keeps the best in ``<directory>/best.safetensors``.

    Parameters
    ----------
    model : AcousticModel
    tokenizer : CharTokenizer
    train, dev : BatchSource
    config : TrainingConfig
    directory : Path
        Receives ``checkpoint.pt``, ``best.safetensors`` and ``log.csv``.

    Attributes
    ----------
    fingerprint : str
        Of all that decides what is learned: settings, tokens and data.

    Raises
    ------
    ModelError
        If the directory holds a checkpoint of a run with other settings, or training diverges.
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
        self.train_source, self.dev_source = self._sources = train, dev
        self.directory = directory
        self.device = choose_device(config.device)
        self.model = model.to(self.device)
        self.decoder = GreedyDecoder(tokenizer.tokens, blank=BLANK)
        self.optimizer = make_optimizer(model, config)
        self.console = Console(stderr=True)
        self._skipped_in_a_row = 0
        self.fingerprint = self._make_fingerprint(tokenizer)
        self.position = self._resume()

    def run(self) -> AcousticModel:
        """Train to the end and return the model with the best dev WER."""
        if self.position.epoch < self.config.epochs:
            self._try_largest_batch()
        while self.position.epoch < self.config.epochs:
            with self._progress() as (progress, task):
                self._run_epoch(progress, task)
        self.model.load_state_dict(load_file(self.directory / "best.safetensors"))
        return self.model.eval()

    def _run_epoch(self, progress: Progress, task: TaskID) -> None:
        started, log = time.monotonic(), EpochLog()
        epoch = self.position.epoch
        plan = self.train_source.plan(self.config.seed, epoch)
        progress.update(task, total=len(plan), completed=self.position.batch)
        saved = started
        for index in range(self.position.batch, len(plan)):
            batch = self.train_source.batch(plan[index], self.config.seed, epoch).to(self.device)
            self._step(batch, epoch + index / len(plan), log, seed=(epoch << 32) + index)
            self.position = replace(self.position, batch=index + 1)
            log.audio_seconds += float(batch.feature_lengths.sum()) * self.train_source.store.config.hop_seconds
            if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                self._save()
                saved = time.monotonic()
            progress.update(task, advance=1, status=self._status(log, time.monotonic() - started))
        counts, dev_loss = self.evaluate()
        self._keep_best(counts, dev_loss)
        self.position = replace(self.position, epoch=epoch + 1, batch=0)
        self._write_log(epoch, log, counts, dev_loss, time.monotonic() - started)
        self._save()

    def _step(self, batch: Batch, epochs_done: float, log: EpochLog, seed: int) -> None:
        """Change the weights by one batch, or leave them and count where its loss or gradient is not finite."""
        # Dropout depends on the position alone, so that a resumed run draws what it would have drawn.
        torch.manual_seed(self.config.seed * 1_000_003 + seed)
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * schedule(epochs_done / self.config.epochs, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_gradient_norm)
        if not (loss.isfinite() and norm.isfinite()):
            self._skip(batch, log)
            return
        self._skipped_in_a_row = 0
        self.optimizer.step()
        log.loss += loss.item()
        log.gradient_norm += norm.item()
        log.batches += 1

    def _loss(self, batch: Batch) -> Tensor:
        """CTC's negative log-likelihood of the batch in nats, divided by its number of tokens."""
        log_probs, lengths = self.model(batch.features, batch.feature_lengths)
        total = ctc_loss(
            log_probs.transpose(0, 1),
            batch.targets,
            lengths,
            batch.target_lengths,
            blank=BLANK,
            reduction="sum",
        )
        return total / batch.target_lengths.sum().clamp(min=1)

    def _skip(self, batch: Batch, log: EpochLog) -> None:
        log.skipped += 1
        self._skipped_in_a_row += 1
        ids = ", ".join(batch.ids)
        self.console.print(f"skipped a batch, its loss or gradient is not finite: {ids}", style="yellow")
        if self._skipped_in_a_row >= MAX_SKIPPED:
            raise ModelError(
                f"training diverged: {MAX_SKIPPED} batches in a row had a loss or gradient that is not finite; the "
                f"last held {ids}: lower training.learning_rate or training.max_gradient_norm, or check the data"
            )

    @torch.inference_mode()
    def evaluate(self) -> tuple[ErrorCounts, float]:
        """Return the dev set's greedy word errors and its loss in nats a token."""
        self.model.eval()
        counts, loss, tokens = ErrorCounts(), 0.0, 0
        texts = dict(zip(self.dev_source.store.ids, self.dev_source.store.texts, strict=True))
        for batch in evaluation_batches(self.dev_source):
            moved = batch.to(self.device)
            log_probs, lengths = self.model(moved.features, moved.feature_lengths)
            self._check_finite(batch, log_probs, lengths)
            losses = ctc_loss(
                log_probs.transpose(0, 1),
                moved.targets,
                lengths,
                moved.target_lengths,
                blank=BLANK,
                reduction="none",
            )
            # Infinite where a transcript does not fit its frames; its words count all the same.
            loss += losses[losses.isfinite()].sum().item()
            tokens += int(batch.target_lengths[losses.isfinite().cpu()].sum())
            rows = zip(log_probs.float().cpu().numpy(), lengths.tolist(), strict=True)
            hypotheses = [self.decoder(row[:length])[0].text for row, length in rows]
            counts += word_errors([texts[name] for name in batch.ids], hypotheses)
        return counts, loss / max(1, tokens)

    def _check_finite(self, batch: Batch, log_probs: Tensor, lengths: Tensor) -> None:
        for name, row, length in zip(batch.ids, log_probs, lengths.tolist(), strict=True):
            if not row[:length].isfinite().all():
                raise ModelError(
                    f"training diverged: the log-probabilities of dev utterance {name} are not finite: lower "
                    "training.learning_rate or training.max_gradient_norm, or check the data"
                )

    def _keep_best(self, counts: ErrorCounts, dev_loss: float) -> None:
        wer = math.inf if counts.rate is None else counts.rate
        # A small dev set often ties: then the lower loss decides.
        if (wer, dev_loss) < (self.position.best_wer, self.position.best_loss):
            self.position = replace(self.position, best_wer=wer, best_loss=dev_loss)
            with atomic_path(self.directory / "best.safetensors") as temporary:
                temporary.write_bytes(serialise(self.model.state_dict()))

    def _save(self) -> None:
        model, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        save(Checkpoint(model, optimizer, self.position, self.fingerprint), self.directory / "checkpoint.pt")

    def _resume(self) -> Position:
        path = self.directory / "checkpoint.pt"
        if not path.exists():
            return Position()
        checkpoint = load(path, self.fingerprint)
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        at = checkpoint.position
        self.console.print(f"resuming {path} at epoch {at.epoch + 1}, batch {at.batch + 1}")
        return at

    def _make_fingerprint(self, tokenizer: CharTokenizer) -> str:
        # The device and how often to save do not change what is learned.
        training = to_dict(replace(self.config, device="auto", checkpoint_minutes=1.0))
        stores = [[to_dict(source.store.config), source.store.header["shards"]] for source in self._sources]
        shapes = [list(parameter.shape) for parameter in self.model.parameters()]
        whole = [training, to_dict(self.model.config), list(tokenizer.tokens), stores, shapes]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]

    def _try_largest_batch(self) -> None:
        """Run the largest batch forwards and backwards, so that a lack of memory shows now and not hours later."""
        batch = self.train_source.largest().to(self.device)
        try:
            self._loss(batch).backward()  # type: ignore[no-untyped-call]
        except (torch.OutOfMemoryError, RuntimeError) as error:
            # On a CPU, a lack of memory is a RuntimeError like any other.
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            raise UsageError(
                f"a batch of {len(batch.ids)} utterances and {batch.features.shape[1]} frames does not fit the memory "
                f"of {self.device}: lower training.batch_seconds (now {self.config.batch_seconds:g})"
            ) from None
        self.optimizer.zero_grad(set_to_none=True)

    def _write_log(self, epoch: int, log: EpochLog, counts: ErrorCounts, dev_loss: float, seconds: float) -> None:
        """Set the epoch's line in ``log.csv``; lines of a future that a resume has undone are dropped."""
        path = self.directory / "log.csv"
        rows = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file))[1 : epoch + 1]
        wer = math.nan if counts.rate is None else counts.rate
        values = (self.optimizer.param_groups[0]["lr"], log.mean(log.loss), log.mean(log.gradient_norm))
        numbers = [f"{value:.6g}" for value in values]
        rows.append([str(epoch + 1), *numbers, str(log.skipped), f"{dev_loss:.6g}", f"{wer:.6g}", f"{seconds:.2f}"])
        write_text(path, "".join(",".join(row) + "\n" for row in [list(LOG_FIELDS), *rows]))
        best = " *" if self.position.best_wer == wer and self.position.best_loss == dev_loss else ""
        self.console.print(
            f"epoch {epoch + 1:3d}  loss {log.mean(log.loss):.4f}  dev loss {dev_loss:.4f}  dev WER {100 * wer:.2f} %"
            f"  {seconds:.0f} s{best}",
            highlight=False,
        )

    def _status(self, log: EpochLog, seconds: float) -> str:
        return (
            f"loss {log.mean(log.loss):.3f}  gradient norm {log.mean(log.gradient_norm):.2f}  "
            f"{log.audio_seconds / 3600 / max(seconds, 1e-9):.4f} hours/s"
        )

    @contextmanager
    def _progress(self) -> Iterator[tuple[Progress, TaskID]]:
        columns = (
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            yield (
                progress,
                progress.add_task("", epoch=self.position.epoch + 1, epochs=self.config.epochs, status=""),
            )
