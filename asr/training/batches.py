"""Store → batches: utterances of similar length together, as many as fit the frame budget.

The order is a function of (seed, epoch) alone and augmentation one of (seed, epoch, utterance), so that a
resumed run sees exactly what an undisturbed one would have seen, whoever makes the batches and in which order.
"""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.errors import DataError
from asr.model_config import ModelConfig
from asr.store.store import AudioStore, FeatureStore
from asr.tokenizer import Tokenizer
from asr.training.config import AugmentConfig
from asr.training.draws import Lengths, Purpose, appended, draw_lengths, generator, repeated
from asr.training.plan import Plan, PlannedBatch
from asr.training.utterances import UtteranceFeatures, padded

# Lengths are sorted as if each were longer or shorter by up to this part, so that batches differ from epoch to epoch.
LENGTH_JITTER = 0.1
# Transcripts that are looked at together.
BLOCK_TEXTS = 1 << 18


@dataclass(frozen=True)
class Batch:
    """Utterances padded with zeros to the longest.

    Parameters
    ----------
    features : Tensor, shape (B, T, F), float32
    feature_lengths : Tensor, shape (B,), int64
        Frames of each utterance.
    targets : Tensor, shape (B, S), int64
        Token ids, padded with blanks.
    target_lengths : Tensor, shape (B,), int64
    ids : tuple of str
        One for each utterance.
    views : int
        2: the utterances come twice, masked differently: b in the rows b and B / 2 + b.
    middle_targets, middle_target_lengths : Tensor, optional
        As the targets, of the middle layer, where these are other tokens.
    """

    features: Tensor
    feature_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    ids: tuple[str, ...]
    views: int = 1
    middle_targets: Tensor | None = None
    middle_target_lengths: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`; from pinned memory, the copy runs beside what the device does."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Batch":
        """Return the batch in page-locked memory, from which a GPU copies by itself, but what is on the GPU already."""
        return self._each(lambda tensor: tensor if tensor.is_cuda else tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed: dict[str, Any] = {name: change(x) for name, x in vars(self).items() if isinstance(x, Tensor)}
        return replace(self, **changed)


class BatchSource:
    """The batches of a store.

    Parameters
    ----------
    store : FeatureStore or AudioStore
        Of waveforms, the features are computed as the store's configuration says.
    tokenizer : Tokenizer
    model : ModelConfig
        Its time reduction decides which transcripts fit their utterances.
    batch_frames : int
        The most feature frames of a batch, padding included; an utterance longer than that is a batch of its own.
    augment : AugmentConfig, optional
        None leaves the features as they are.
    weights : ndarray, shape (N,), float64, optional
        How often each utterance occurs in an epoch, on average: 2.5 is twice or three times, 0 never. By default 1.
    middle : Tokenizer, optional
        Of the targets of the middle layer, where these are other tokens.
    keep_short : bool
        Whether to keep utterances with fewer output frames than CTC needs for their transcripts: yes where errors
        are counted, no where a loss is minimised, since it would be infinite.

    Attributes
    ----------
    too_short : list of str
        Ids of utterances left out since their output frames are fewer than CTC needs for their transcripts.
    too_long : list of str
        Ids of utterances longer than `batch_frames`, each a batch of its own.
    features : UtteranceFeatures

    Raises
    ------
    DataError
        If a transcript has characters that the tokenizer lacks, no utterance is left, or a store of noise or impulse
        responses cannot be used.
    UsageError
        If `augment` changes waveforms, and the store holds features.
    """

    def __init__(
        self,
        store: FeatureStore | AudioStore,
        tokenizer: Tokenizer,
        model: ModelConfig,
        batch_frames: int,
        augment: AugmentConfig | None = None,
        *,
        weights: NDArray[np.float64] | None = None,
        middle: Tokenizer | None = None,
        keep_short: bool = False,
    ) -> None:
        self.store = store
        self.tokenizer = tokenizer
        self.middle = middle
        self.batch_frames = batch_frames
        self.augment = augment
        self.weights = repeated(np.float64(1), len(store)) if weights is None else weights
        self.features = UtteranceFeatures(store, augment)
        self._num_frames = np.asarray(store.num_frames, dtype=np.int32)
        used = self.weights > 0
        self._shortest = self._fewest_frames(model, used)
        fits = self._num_frames >= self._shortest
        self._kept = np.flatnonzero((fits | keep_short) & used).astype(np.int32)
        self._once = bool((self.weights[self._kept] == 1).all())
        self.too_short = [] if keep_short else self._names(~fits & used)
        self.too_long = self._names((self._num_frames > batch_frames) & used)
        if not len(store):
            raise DataError(f"{store.path}: the split has no utterance; expected at least one")
        if not len(self._kept):
            raise DataError(
                f"none of the {len(store)} utterances has enough frames for its transcript at a time reduction of "
                f"{model.time_reduction}; expected at least one output frame per token"
            )

    @property
    def stores(self) -> list[FeatureStore | AudioStore]:
        """All that batches are made of: the store, and those of noises and impulse responses."""
        return [self.store, *self.features.materials]

    @property
    def identity(self) -> list[Any]:
        """What tells its data from those of other sources, for JSON: the stores', and the weights unless all are 1."""
        stores = [part for store in self.stores for part in store.identity]
        if (self.weights == 1).all():
            return stores
        return [*stores, hashlib.sha256(self.weights.tobytes()).hexdigest()]

    def plan(self, seed: int, epoch: int) -> Plan:
        """Return the batches of an epoch in the order of training: each utterance by its weight, and some of noise."""
        rng = generator(seed, epoch, Purpose.ORDER)
        drawn = self._utterances(seed, epoch)
        total = drawn.lengths.total
        jittered = rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(drawn))
        jittered *= total
        places = np.argsort(jittered, kind="stable").astype(np.int32)
        starts = self._starts(total[places])
        return Plan(drawn, places, starts, rng.permutation(len(starts)))

    def in_order(self) -> Plan:
        """Return all utterances once, shortest first, unaltered: for evaluation, with `load`."""
        lengths = Lengths.unaltered(self._num_frames[self._kept])
        places = np.argsort(lengths.speech, kind="stable").astype(np.int32)
        every = PlannedBatch(self._kept, lengths, repeated(np.int32(0), len(self._kept)))
        return Plan(every, places, self._starts(lengths.speech[places]))

    def load(self, planned: PlannedBatch, views: int = 1) -> Batch:
        """Return the batch of some utterances, unaltered."""
        features = [self.features.unaltered(index) for index in planned.indices.tolist()]
        return self._labelled(planned.indices, *padded([features] * views), views)

    def batch(self, planned: PlannedBatch, seed: int, epoch: int, views: int = 1) -> Batch:
        """Return the batch of some utterances, augmented as (seed, epoch, utterance) says; views differ in masks."""
        if self.augment is None:
            return self.load(planned, views)
        return self._labelled(planned.indices, *self.features.augmented(planned, (seed, epoch), views), views)

    def largest(self, views: int = 1, parts: int = 1) -> Batch:
        """Return a batch at least as large as any of an epoch, of zeros: it shows whether the memory suffices.

        Of batches that are shared out among several ranks, each has one of so many `parts`.
        """
        num_frames, longest = self._num_frames[self._kept], 0
        if self.augment is None:
            longest = int(num_frames.max())
        else:
            pauses = 2 * round(self.augment.pause_seconds / self.store.config.hop_seconds)
            # A frame more for the rounding of a changed speed.
            waveforms = isinstance(self.store, AudioStore)
            slowest = num_frames.max() / min(self.augment.waveform.speeds) + 1 if waveforms else num_frames.max()
            longest = int(np.ceil(slowest * (1 + self.augment.time_stretch)))
            longest += pauses if self.augment.pause_probability else 0
        # Of all lengths, that of which the most frames fit the budget; of several, the longest.
        shortest = int(num_frames.min())
        lengths = np.arange(shortest, longest + 1)
        counts = -(-np.maximum(1, self.batch_frames // lengths) // parts)
        best = len(lengths) - 1 - int(np.argmax((lengths * counts)[::-1]))
        # An utterance whose transcript fits, since it is no longer.
        fitting = np.flatnonzero(num_frames <= lengths[best])
        index = self._kept[fitting[np.argmax(num_frames[fitting])]]
        features = np.zeros((int(lengths[best]), self.store.config.n_mels), dtype=np.float32)
        rows = [[features] * int(counts[best])] * views
        return self._labelled(np.full(counts[best], index), *padded(rows), views)

    def _fewest_frames(self, model: ModelConfig, used: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Return the fewest frames ``(N,)`` of which the network makes as many outputs as CTC needs, if `used`."""
        outputs = np.zeros(len(used), dtype=np.int32)
        texts = iter(self.store.texts)
        for first in range(0, len(used), BLOCK_TEXTS):
            part, known = used[first : first + BLOCK_TEXTS], outputs[first : first + BLOCK_TEXTS]
            # What is never trained on may have letters that there are no tokens for.
            block = list(compress(islice(texts, len(part)), part.tolist()))
            for tokens in filter(None, (self.tokenizer, self.middle)):
                known[part] = np.maximum(known[part], tokens.min_frames(block))
        return model.input_frames(outputs.astype(np.int64)).astype(np.int32)

    def _utterances(self, seed: int, epoch: int) -> PlannedBatch:
        """Draw the utterances of an epoch, those of noise at the end, with their lengths once augmented."""
        speech, copies = self._counted(generator(seed, epoch, Purpose.WEIGHTS))
        if self.augment is None:
            return PlannedBatch(speech, Lengths.unaltered(self._num_frames[speech]), copies)
        rng = generator(seed, epoch, Purpose.LENGTHS)
        num_frames, speed = self._num_frames[speech], repeated(np.float64(1), len(speech))
        if self.features.waveforms:
            speed = rng.choice(self.augment.waveform.speeds, len(speech))
            num_frames = self.features.waveforms.num_frames(speech.astype(np.int64), speed).astype(np.int32)
        hop_seconds = self.store.config.hop_seconds
        lengths = draw_lengths(num_frames, speed, self._shortest[speech], self.augment, hop_seconds, rng)
        count = rng.poisson(self.augment.noise_utterances * len(speech))
        noises = Lengths.unaltered(rng.choice(lengths.total, count))
        indices = appended(speech, len(self.store) + np.arange(count, dtype=np.int32))
        copies = appended(copies, repeated(np.int32(0), count))
        return PlannedBatch(indices, Lengths.joined(lengths, noises), copies)

    def _counted(self, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Draw how often an epoch has each utterance; return indices into the store, and which copy each of them is."""
        if self._once:
            return self._kept, repeated(np.int32(0), len(self._kept))
        weights = self.weights[self._kept]
        counts = np.floor(weights + rng.uniform(size=len(weights))).astype(np.int32)
        if not counts.any():
            counts[rng.integers(len(counts))] = 1
        before = np.cumsum(counts, dtype=np.int32) - counts
        copies = np.arange(counts.sum(), dtype=np.int32) - np.repeat(before, counts)
        return np.repeat(self._kept, counts), copies

    def _starts(self, lengths: NDArray[np.int32]) -> NDArray[np.int32]:
        """Cut utterances of these `lengths` ``(N,)`` into batches within the frame budget; return where each begins."""
        starts, first, longest = array("i", [0]), 0, 0
        # Read through its buffer: a list of a million numbers would outweigh the array.
        for position, length in enumerate(lengths.data):
            if length > longest:
                longest = length
            if longest * (position - first + 1) > self.batch_frames and position > first:
                starts.append(position)
                first, longest = position, length
        return np.array(starts, dtype=np.int32)

    def _names(self, chosen: NDArray[np.bool_]) -> list[str]:
        return [self.store.ids[index] for index in np.flatnonzero(chosen).tolist()]

    def _labelled(self, indices: NDArray[np.integer[Any]], features: Tensor, lengths: Tensor, views: int) -> Batch:
        """Return a batch of padded features with their transcripts; in noise, nothing is said."""
        N = len(self.store)
        texts = [self.store.texts[i] if i < N else "" for i in indices.tolist()]
        middle = _targets(self.middle, texts, views) if self.middle else (None, None)
        return Batch(
            features,
            lengths,
            *_targets(self.tokenizer, texts, views),
            tuple(self.store.ids[i] if i < N else "noise" for i in indices.tolist()),
            views,
            *middle,
        )


def _targets(tokenizer: Tokenizer, texts: Sequence[str], views: int) -> tuple[Tensor, Tensor]:
    """Return the padded token ids ``(views · B, S)`` of `texts`, all of them once for each view, and their lengths."""
    targets = [tokenizer.encode(text) for text in texts]
    array = torch.zeros((len(targets), max([1, *map(len, targets)])), dtype=torch.int64)
    for row, ids in enumerate(targets):
        array[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return array.repeat(views, 1), torch.tensor([len(ids) for ids in targets]).repeat(views)
