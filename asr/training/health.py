"""Checks whether a run learns: warns about problems, and stops a run that cannot succeed."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors.torch import save

from asr.errors import ModelError
from asr.files import atomic_path
from asr.training.batches import Batch
from asr.training.config import TrainingConfig

# A loss this many times that of the start will not come back; nor, where the start was good, one this many times that
# of outputs that are all alike, which is about three times the entropy of a token.
DIVERGED = 2.0
# A run stands still when for this part of its epochs, and no fewer than so many, it recognises almost no characters
# and its loss falls by less than so much. Words say less: they may all be wrong by a letter, or have no letters. CTC
# begins with a plateau of blanks, which healthy runs leave sooner.
STANDSTILL_PART = 0.15
STANDSTILL_EPOCHS = 5
STANDSTILL_CER = 0.9
STANDSTILL_FALL = 0.02
# Layers whose gradient is this part of the largest layer's do not learn.
VANISHED = 1e-3
# Share of clipped steps from which on the length of a step says nothing about the gradient any more.
MOSTLY_CLIPPED = 0.9
# Weights of which a step changes this part forget in as many steps what they have learned.
LARGE_UPDATE = 0.02
# Batches left out that are kept for inspection.
KEPT_BATCHES = 10

Row = Mapping[str, float]


class Health:
    """Looks at steps and epochs.

    Parameters
    ----------
    config : TrainingConfig
    directory : Path
        Receives batches that were left out.
    vocab_size : int
    warn : callable
        Receives a sentence for each problem; each kind of warning once.
    """

    def __init__(self, config: TrainingConfig, directory: Path, vocab_size: int, warn: Callable[[str], None]) -> None:
        self.config = config
        self.directory = directory
        self.alike = 3 * math.log(vocab_size)
        self._warn = warn
        self._told: set[str] = set()

    def check_skipped(self, in_a_row: int, ids: Sequence[str]) -> None:
        """Stop a run that has left out too many steps `in_a_row`, the last of which held the utterances `ids`.

        Raises
        ------
        ModelError
            If `in_a_row` has reached the configured limit.
        """
        if in_a_row >= self.config.max_skipped:
            raise self._diverged(
                f"{in_a_row} steps in a row had a loss or gradient that is not finite; the last held "
                f"{', '.join(ids[:20])}{', …' if len(ids) > 20 else ''}"
            )

    def check_loss(self, loss: float, first_loss: float) -> None:
        """Stop a run whose `loss`, in nats per token, is far above its `first_loss`.

        Raises
        ------
        ModelError
            If the loss is that large.
        """
        limit = DIVERGED * max(first_loss, self.alike)
        if loss > limit:
            raise self._diverged(f"the loss is {loss:.3g} nats per token, and {first_loss:.3g} at the start")

    def check_epoch(self, rows: Sequence[Row]) -> None:
        """Check the log of all epochs so far, of which the last is new: warn, or stop a run that is stuck.

        Raises
        ------
        ModelError
            If it has recognised almost nothing for long, and its loss does not fall.
        """
        row = rows[-1]
        norms = {key.partition(".")[2]: value for key, value in row.items() if key.startswith("gradient_norm.")}
        largest = max(norms, key=lambda name: norms[name])
        for name, norm in norms.items():
            if norm < VANISHED * norms[largest]:
                self._tell(
                    f"vanish {name}",
                    f"gradients vanish in {name}: their norm is {norm:.2g}, that of {largest} {norms[largest]:.2g}: "
                    "fewer layers, an LSTM or GRU cell, or an intermediate CTC loss help",
                )
        # The first gradients are long in any run; the warm-up is there for them.
        if row["clipped"] > MOSTLY_CLIPPED and len(rows) > 1 + self.config.warmup * self.config.epochs:
            self._tell(
                "explode",
                f"gradients explode: {100 * row['clipped']:.0f} % of the steps were clipped, the mean norm is "
                f"{row['gradient_norm']:.3g} (training.max_gradient_norm is {self.config.max_gradient_norm:g}): lower "
                "training.learning_rate",
            )
        for key, value in row.items():
            if key.startswith("update.") and value > LARGE_UPDATE:
                self._tell(
                    "update",
                    f"each step changes the weights of {key.partition('.')[2]} by {100 * value:.1f} %: "
                    f"training.learning_rate ({self.config.learning_rate:g}) is too large",
                )
        self._check_standstill(rows)

    def keep(self, batches: Sequence[Batch], epoch: int, step: int, rank: int) -> Path | None:
        """Write batches that were left out to a safetensors file, with their ids; None where enough are kept."""
        folder = self.directory / "skipped"
        if not batches or len(list(folder.glob("*.safetensors"))) >= KEPT_BATCHES:
            return None
        tensors = {}
        for number, batch in enumerate(batches):
            for name in ("features", "feature_lengths", "targets", "target_lengths"):
                tensors[f"{name}.{number}"] = getattr(batch, name)
        ids = json.dumps([batch.ids for batch in batches], ensure_ascii=False)
        path = folder / f"epoch_{epoch + 1:04d}_step_{step + 1:06d}_rank_{rank}.safetensors"
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(tensors, metadata={"ids": ids}))
        return path

    def _check_standstill(self, rows: Sequence[Row]) -> None:
        window = max(STANDSTILL_EPOCHS, math.ceil(STANDSTILL_PART * self.config.epochs))
        recent = rows[-window:]
        if len(rows) <= window or any(row["dev_cer"] < STANDSTILL_CER for row in recent):
            return
        before = min(row["train_loss"] for row in rows[:-window])
        now = min(row["train_loss"] for row in recent)
        if now > (1 - STANDSTILL_FALL) * before:
            raise self._diverged(
                f"for {window} epochs nothing has been recognised (dev CER {100 * rows[-1]['dev_cer']:.0f} %, mean "
                f"probability of blank {rows[-1]['blank']:.2f}), and the loss is stuck at {now:.3g} nats per token "
                f"({before:.3g} before)"
            )

    def _tell(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._warn(text)

    def _diverged(self, what: str) -> ModelError:
        return ModelError(
            f"training does not learn: {what}: lower training.learning_rate (now {self.config.learning_rate:g}) or "
            f"training.max_gradient_norm (now {self.config.max_gradient_norm:g}), or check the data"
        )
