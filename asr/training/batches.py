"""Store → batches: utterances of similar length together, as many as fit the frame budget.

The order is a function of (seed, epoch) alone and augmentation one of (seed, epoch, utterance), so that a
resumed run sees exactly what an undisturbed one would have seen, whoever makes the batches and in which order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.data.store import FeatureStore
from asr.errors import DataError
from asr.features import LogMel
from asr.model_config import ModelConfig
from asr.tokenizer import CharTokenizer
from asr.training.augment import Lengths, augment, draw_lengths, noise
from asr.training.config import AugmentConfig

# Utterances of one batch differ in length by up to this part: room for batches to differ from epoch to epoch.
LENGTH_JITTER = 0.1


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
    """

    features: Tensor
    feature_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    ids: tuple[str, ...]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`; from pinned memory, the copy runs beside what the device does."""
        return Batch(
            self.features.to(device, non_blocking=True),
            self.feature_lengths.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
            self.target_lengths.to(device, non_blocking=True),
            self.ids,
        )

    def pin(self) -> "Batch":
        """Return the batch in page-locked memory, from which a GPU copies by itself."""
        return Batch(
            self.features.pin_memory(),
            self.feature_lengths.pin_memory(),
            self.targets.pin_memory(),
            self.target_lengths.pin_memory(),
            self.ids,
        )


@dataclass(frozen=True)
class PlannedBatch:
    """What a batch will hold: `indices` ``(B,)`` int64 into the store, and their `lengths` once augmented."""

    indices: NDArray[np.int64]
    lengths: Lengths

    @property
    def padded_frames(self) -> int:
        """Feature frames of the batch, padding included."""
        return int(self.lengths.total.max()) * len(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


class BatchSource:
    """The batches of a store.

    Parameters
    ----------
    store : FeatureStore
    tokenizer : CharTokenizer
    model : ModelConfig
        Its time reduction decides which transcripts fit their utterances.
    batch_frames : int
        The most feature frames of a batch, padding included; an utterance longer than that is a batch of its own.
    augment : AugmentConfig, optional
        None leaves the features as they are.
    keep_short : bool
        Whether to keep utterances with fewer output frames than CTC needs for their transcripts: yes where errors
        are counted, no where a loss is minimised, since it would be infinite.

    Attributes
    ----------
    too_short : list of str
        Ids of utterances left out since their output frames are fewer than CTC needs for their transcripts.

    Raises
    ------
    DataError
        If a transcript has characters that the tokenizer lacks, or no utterance is left.
    """

    def __init__(
        self,
        store: FeatureStore,
        tokenizer: CharTokenizer,
        model: ModelConfig,
        batch_frames: int,
        augment: AugmentConfig | None = None,
        *,
        keep_short: bool = False,
    ) -> None:
        self.store = store
        self.tokenizer = tokenizer
        self.batch_frames = batch_frames
        self.augment = augment
        self._log_mel = LogMel(store.config, store.filterbank) if augment and augment.noise_utterances else None
        self._num_frames = np.asarray(store.num_frames, dtype=np.int64)
        # Stretching may shorten an utterance.
        shrink = 1 - augment.time_stretch if augment else 1.0
        fewest = model.output_frames(np.maximum(1, np.floor(self._num_frames * shrink).astype(np.int64)))
        fits = fewest >= tokenizer.min_frames(store.texts)
        self.too_short = [] if keep_short else [store.ids[int(i)] for i in np.flatnonzero(~fits)]
        self._kept = np.arange(len(store)) if keep_short else np.flatnonzero(fits)
        if not len(self._kept):
            raise DataError(
                f"none of the {len(store)} utterances has enough frames for its transcript at a time reduction of "
                f"{model.time_reduction}; expected at least one output frame a token"
            )

    @property
    def hours(self) -> float:
        """Audio of one epoch in hours, as it was recorded."""
        return float(np.asarray(self.store.durations_seconds)[self._kept].sum() / 3600)

    def plan(self, seed: int, epoch: int) -> list[PlannedBatch]:
        """Return the batches of an epoch, in the order of training: every utterance once."""
        rng = np.random.default_rng((seed, epoch))
        lengths = self._lengths(rng)
        total = lengths.total[self._kept]
        jittered = total * rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(total))
        batches = self._fill(self._kept[np.argsort(jittered, kind="stable")], lengths)
        return [batches[i] for i in rng.permutation(len(batches))]

    def in_order(self) -> list[PlannedBatch]:
        """Return all utterances once, shortest first, unaltered: for evaluation, with `batch`."""
        order = self._kept[np.argsort(self._num_frames[self._kept], kind="stable")]
        return self._fill(order, Lengths.unaltered(self._num_frames))

    def load(self, planned: PlannedBatch) -> Batch:
        """Return the batch of some utterances, unaltered."""
        return self._collate(planned.indices, [self._features(i) for i in planned.indices])

    def batch(self, planned: PlannedBatch, seed: int, epoch: int) -> Batch:
        """Return the batch of some utterances, augmented as (seed, epoch, utterance) says."""
        if self.augment is None:
            return self.load(planned)
        features = [
            augment(
                self._features(index),
                planned.lengths[row],
                self.augment,
                self.store.config,
                np.random.default_rng((seed, epoch, int(index))),
            )
            for row, index in enumerate(planned.indices)
        ]
        rng = np.random.default_rng((seed, epoch, len(self.store), int(planned.indices[0])))
        return self._collate(planned.indices, features + self._noises(planned, rng))

    def largest(self) -> Batch:
        """Return a batch as large as any: the longest utterance as often as the frame budget allows."""
        most = self._num_frames.astype(np.float64)
        if self.augment is not None:
            pauses = 2 * round(self.augment.pause_seconds / self.store.config.hop_seconds)
            most = most * (1 + self.augment.time_stretch) + (pauses if self.augment.pause_probability else 0)
        index = self._kept[np.argmax(most[self._kept])]
        longest = int(np.ceil(most[index]))
        indices = np.full(max(1, self.batch_frames // longest), index)
        features = np.zeros((longest, self.store.config.n_mels), dtype=np.float32)
        return self._collate(indices, [features] * len(indices))

    def _lengths(self, rng: np.random.Generator) -> Lengths:
        """Draw the augmented lengths of all utterances of the store: the budget is then kept exactly."""
        if self.augment is None:
            return Lengths.unaltered(self._num_frames)
        return draw_lengths(self._num_frames, self.augment, self.store.config.hop_seconds, rng)

    def _noises(self, planned: PlannedBatch, rng: np.random.Generator) -> list[NDArray[np.float32]]:
        """Return features of noise to go with those of a batch, as many as its frame budget has room for."""
        if self.augment is None or self._log_mel is None:
            return []
        longest = int(planned.lengths.total.max())
        wanted = int(rng.poisson(self.augment.noise_utterances * len(planned)))
        room = max(0, self.batch_frames // longest - len(planned))
        return [noise(self._log_mel, int(rng.integers(1, longest + 1)), rng) for _ in range(min(wanted, room))]

    def _fill(self, order: NDArray[np.int64], lengths: Lengths) -> list[PlannedBatch]:
        """Cut `order` into batches within the frame budget."""
        frames = lengths.total[order].tolist()
        cuts, first, longest = [0], 0, 0
        for position, length in enumerate(frames):
            longest = max(longest, length)
            if position > first and longest * (position - first + 1) > self.batch_frames:
                cuts.append(position)
                first, longest = position, length
        return [PlannedBatch(indices, lengths[indices]) for indices in np.split(order, cuts[1:])]

    def _features(self, index: int) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self.store[int(index)].features.astype(np.float32)
        return features

    def _collate(self, indices: NDArray[np.int64], features: list[NDArray[np.float32]]) -> Batch:
        """Pad; features beyond those of `indices` are noise, in which nothing is said."""
        noises = len(features) - len(indices)
        targets = [self.tokenizer.encode(self.store.texts[int(i)]) for i in indices] + [[]] * noises
        padded = np.zeros((len(features), max(map(len, features)), features[0].shape[1]), dtype=np.float32)
        padded_targets = np.zeros((len(targets), max(1, *map(len, targets), 1)), dtype=np.int64)
        for row, (x, ids) in enumerate(zip(features, targets, strict=True)):
            padded[row, : len(x)] = x
            padded_targets[row, : len(ids)] = ids
        return Batch(
            torch.from_numpy(padded),
            torch.tensor([len(x) for x in features]),
            torch.from_numpy(padded_targets),
            torch.tensor([len(ids) for ids in targets]),
            (*(self.store.ids[int(i)] for i in indices), *["noise"] * noises),
        )


def evaluation_batches(source: BatchSource) -> Iterator[Batch]:
    """Yield all utterances once, shortest first, unaltered."""
    return (source.load(planned) for planned in source.in_order())
