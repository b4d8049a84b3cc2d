"""The dev sets: greedy word and character errors, loss, and what is heard in a few utterances."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import ctc_loss

from asr.decoder import GreedyDecoder
from asr.errors import DataError, ModelError
from asr.model import AcousticModel, exact_float32
from asr.model_layers import time_mask
from asr.tokenizer import BLANK
from asr.training.batches import Batch, BatchSource
from asr.training.distributed import Ranks
from asr.wer import ErrorCounts, character_errors, word_errors

# Utterances whose reference and hypothesis are shown.
SAMPLES = 3
# Batches of the training set that priors are measured on.
PRIOR_BATCHES = 200


@dataclass(frozen=True)
class Validation:
    """Of a whole dev set.

    Parameters
    ----------
    words, characters : ErrorCounts
        Where the tokens are phones, each of them counts as a word.
    loss : float
        In nats per token, of those utterances whose transcripts fit their frames.
    samples : tuple of (str, str)
        References and hypotheses of a few utterances, the same ones each time.
    """

    words: ErrorCounts
    characters: ErrorCounts
    loss: float
    samples: tuple[tuple[str, str], ...]

    @property
    def wer(self) -> float:
        """Word error rate; infinite where the dev set has no words."""
        return math.inf if self.words.rate is None else self.words.rate

    @property
    def cer(self) -> float:
        """Character error rate; infinite where the dev set has no characters."""
        return math.inf if self.characters.rate is None else self.characters.rate


@dataclass(frozen=True)
class DevResult:
    """Of one dev set or several, each of which counts the same, whatever its size.

    Parameters
    ----------
    sets : dict
        Name of each set → its results.
    """

    sets: dict[str, Validation]

    @property
    def means(self) -> dict[str, float]:
        """Loss, WER and CER, the means over the sets."""
        return {name: self._mean(name) for name in ("loss", "wer", "cer")}

    @property
    def row(self) -> dict[str, float]:
        """The columns of the log: the means and, of several sets, each one's, ``dev_wer.calls``."""
        columns = {f"dev_{name}": value for name, value in self.means.items()}
        if len(self.sets) > 1:
            columns |= {
                f"dev_{name}.{part}": getattr(result, name)
                for name in ("loss", "wer", "cer")
                for part, result in self.sets.items()
            }
        return columns

    @property
    def samples(self) -> tuple[tuple[str, str], ...]:
        """References and hypotheses of a few utterances of each set."""
        return tuple(sample for result in self.sets.values() for sample in result.samples)

    def _mean(self, name: str) -> float:
        return math.fsum(getattr(result, name) for result in self.sets.values()) / len(self.sets)


class Validator:
    """Runs a model over a dev set, a share of it on each rank, always in float32 (not in TF32: see `Trainer.run`).

    Parameters
    ----------
    model : AcousticModel
    source : BatchSource
    ranks : Ranks

    Raises
    ------
    DataError
        If the dev set has no words.
    """

    def __init__(self, model: AcousticModel, source: BatchSource, ranks: Ranks) -> None:
        self.model = model
        self.source = source
        self.ranks = ranks
        self.device = next(model.parameters()).device
        self.decoder = GreedyDecoder(source.tokenizer.tokens, blank=BLANK)
        if not any(text.split() for text in source.store.texts):
            raise DataError(
                f"the dev set of {len(source.store)} utterances has no words; expected some, because the best model is "
                "the one with the lowest word error rate on it"
            )
        references = map(source.tokenizer.reference, source.store.texts)
        self._texts = dict(zip(source.store.ids, references, strict=True))
        used = np.flatnonzero(source.weights > 0).tolist()
        self._shown = tuple(source.store.ids[index] for index in used[:: max(1, len(used) // SAMPLES)])[:SAMPLES]

    @torch.inference_mode()
    def __call__(self) -> Validation:
        """Return the results of the model with its present weights.

        Raises
        ------
        ModelError
            If its outputs are not finite.
        """
        self.model.eval()
        words, characters, hypotheses = ErrorCounts(), ErrorCounts(), dict.fromkeys(self._shown, "")
        loss = tokens = 0.0
        wrong: list[str] = []
        for planned in self.source.in_order()[self.ranks.rank :: self.ranks.count]:
            batch = self.source.load(planned)
            texts, batch_loss, batch_tokens = self._batch(batch, wrong)
            references = [self._texts[name] for name in batch.ids]
            words += word_errors(references, texts)
            characters += character_errors(references, texts)
            loss, tokens = loss + batch_loss, tokens + batch_tokens
            hypotheses.update((n, t) for n, t in zip(batch.ids, texts, strict=True) if n in hypotheses)
        # Told to the others before an error is raised: they would wait for this rank.
        if self.ranks.any(bool(wrong)):
            raise ModelError(
                f"training diverged: the log-probabilities of dev utterances ({', '.join(wrong[:5])}) are not finite: "
                "lower training.learning_rate or training.max_gradient_norm, or check the data"
            )
        errors = [(e.substitutions, e.insertions, e.deletions, e.hits) for e in (words, characters)]
        parts = (loss, tokens, *errors[0], *errors[1])
        sums = torch.tensor(parts, dtype=torch.float64, device=self.device)
        self.ranks.add_up(sums)
        loss, tokens, *counts = sums.tolist()
        words, characters = (ErrorCounts(*map(round, part)) for part in (counts[:4], counts[4:]))
        shown = self.ranks.merge(hypotheses)
        samples = tuple((self._texts[name], shown[name]) for name in self._shown)
        return Validation(words, characters, loss / max(1.0, tokens), samples)

    def _batch(self, batch: Batch, wrong: list[str]) -> tuple[list[str], float, int]:
        """Return a batch's hypotheses, the sum of its losses, and the number of its tokens.

        To `wrong` are added the ids of utterances whose log-probabilities are not finite.
        """
        moved = batch.to(self.device)
        log_probs, lengths = self.model(moved.features, moved.feature_lengths)
        rows = [row[:length] for row, length in zip(log_probs.cpu(), lengths.tolist(), strict=True)]
        bad = [name for name, row in zip(batch.ids, rows, strict=True) if not row.isfinite().all()]
        if bad:
            wrong += bad
            return [""] * len(rows), 0.0, 0
        losses = ctc_loss(
            log_probs.transpose(0, 1),
            moved.targets,
            lengths,
            moved.target_lengths,
            blank=BLANK,
            reduction="none",
        ).cpu()
        # Infinite where a transcript does not fit its frames; its words count all the same.
        fits = losses.isfinite()
        texts = [self._text(self.decoder(row.numpy())[0].tokens) for row in rows]
        return texts, float(losses[fits].double().sum()), int(batch.target_lengths[fits].sum())

    def _text(self, tokens: tuple[int, ...]) -> str:
        return " ".join(self.source.tokenizer.decode(tokens).split())


@exact_float32()
@torch.inference_mode()
def label_priors(model: AcousticModel, source: BatchSource) -> NDArray[np.float32]:
    """Return how often a model gives each token in a training set, ``(V,)``, natural logarithms.

    That is the mean of its posteriors over the output frames of some utterances, unaltered and evenly spread over the
    set by length. A decoder that divides the posteriors by these, or by a power of them, weighs rare tokens as a
    generative model would (Manohar et al. 2015; for CTC: Zeyer et al. 2021, arXiv 2105.14849).

    Parameters
    ----------
    model : AcousticModel
    source : BatchSource
        Of the training set.
    """
    model.eval()
    device = next(model.parameters()).device
    plan = source.in_order()
    chosen = np.unique(np.linspace(0, len(plan) - 1, min(len(plan), PRIOR_BATCHES)).round().astype(int))
    total, frames = torch.zeros(len(source.tokenizer), dtype=torch.float64), 0
    for index in chosen.tolist():
        batch = source.load(plan[index]).to(device)
        log_probs, lengths = model(batch.features, batch.feature_lengths)
        inside = time_mask(lengths, log_probs.shape[1])
        total = total + log_probs.double().exp()[inside].sum(dim=0).cpu()
        frames += int(lengths.sum())
    # A token that never comes has a prior all the same: its logarithm must be a number.
    priors: NDArray[np.float32] = (total / frames).clamp(min=1e-12).log().float().numpy()
    return priors
