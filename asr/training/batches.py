"""Store → batches: utterances of similar length together, as many as fit the frame budget.

The order is a function of (seed, epoch) alone and augmentation one of (seed, epoch, utterance), so that a
resumed run sees exactly what an undisturbed one would have seen.
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
from asr.tokenizer import CharTokenizer, min_frames
from asr.training.augment import augment, noise
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
        """Return the batch on `device`."""
        return Batch(
            self.features.to(device),
            self.feature_lengths.to(device),
            self.targets.to(device),
            self.target_lengths.to(device),
            self.ids,
        )


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
        self.batch_frames = batch_frames
        self.augment = augment
        self._log_mel = LogMel(store.config, store.filterbank) if augment and augment.noise_utterances else None
        # Frames that an utterance may have once it is stretched: what counts against the budget.
        stretch = 1 + augment.time_stretch if augment else 1.0
        self._most_frames = np.ceil(np.asarray(store.num_frames) * stretch).astype(np.int64)
        self._targets = [tokenizer.encode(text) for text in store.texts]
        # Stretching may shorten an utterance.
        shrink = 1 - augment.time_stretch if augment else 1.0
        frames = np.floor(np.asarray(store.num_frames) * shrink).astype(np.int64)
        fits = [model.output_frames(int(n)) >= min_frames(ids) for n, ids in zip(frames, self._targets, strict=True)]
        self.too_short = [] if keep_short else [store.ids[i] for i, fit in enumerate(fits) if not fit]
        self._kept = np.arange(len(store)) if keep_short else np.flatnonzero(fits)
        if not len(self._kept):
            raise DataError(
                f"none of the {len(store)} utterances has enough frames for its transcript at a time reduction of "
                f"{model.time_reduction}; expected at least one output frame a token"
            )

    @property
    def hours(self) -> float:
        """Audio of one epoch in hours."""
        return float(np.asarray(self.store.durations_seconds)[self._kept].sum() / 3600)

    def plan(self, seed: int, epoch: int) -> list[NDArray[np.int64]]:
        """Return the utterances of each batch of an epoch, in the order of training."""
        rng = np.random.default_rng((seed, epoch))
        frames = np.asarray(self.store.num_frames)[self._kept]
        jittered = frames * rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(frames))
        batches = self._fill(self._kept[np.argsort(jittered, kind="stable")])
        return [batches[i] for i in rng.permutation(len(batches))]

    def in_order(self) -> Iterator[Batch]:
        """Yield all utterances once, shortest first, unaltered: for evaluation."""
        frames = np.asarray(self.store.num_frames)[self._kept]
        for indices in self._fill(self._kept[np.argsort(frames, kind="stable")]):
            yield self._collate(indices, [self._features(i) for i in indices])

    def batch(self, indices: NDArray[np.int64], seed: int, epoch: int) -> Batch:
        """Return the batch of some utterances, augmented as (seed, epoch, utterance) says."""
        features = [self._features(i) for i in indices]
        if self.augment is not None:
            hop = self.store.config.hop_seconds
            features = [
                augment(x, self.augment, hop, np.random.default_rng((seed, epoch, int(i))))
                for x, i in zip(features, indices, strict=True)
            ]
            features += self._noises(features, np.random.default_rng((seed, epoch, len(self.store), int(indices[0]))))
        return self._collate(indices, features)

    def largest(self) -> Batch:
        """Return the longest utterance as often as the frame budget allows: no batch has more padded frames."""
        index = self._kept[np.argmax(self._most_frames[self._kept])]
        longest = int(self._most_frames[index])
        indices = np.full(max(1, self.batch_frames // longest), index)
        features = np.zeros((longest, self.store.config.n_mels), dtype=np.float32)
        return self._collate(indices, [features] * len(indices))

    def _noises(self, features: list[NDArray[np.float32]], rng: np.random.Generator) -> list[NDArray[np.float32]]:
        """Return features of noise to go with those of a batch, as many as its frame budget has room for."""
        if self.augment is None or self._log_mel is None:
            return []
        longest = max(map(len, features))
        wanted = int(rng.poisson(self.augment.noise_utterances * len(features)))
        room = max(0, self.batch_frames // longest - len(features))
        return [noise(self._log_mel, int(rng.integers(1, longest + 1)), rng) for _ in range(min(wanted, room))]

    def _fill(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Cut `order` into batches within the frame budget."""
        frames = self._most_frames
        batches: list[NDArray[np.int64]] = []
        first, longest = 0, 0
        for position, index in enumerate(order):
            longest = max(longest, int(frames[index]))
            if position > first and longest * (position - first + 1) > self.batch_frames:
                batches.append(order[first:position])
                first, longest = position, int(frames[index])
        return [*batches, order[first:]]

    def _features(self, index: int) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self.store[int(index)].features.astype(np.float32)
        return features

    def _collate(self, indices: NDArray[np.int64], features: list[NDArray[np.float32]]) -> Batch:
        """Pad; features beyond those of `indices` are noise, in which nothing is said."""
        noises = len(features) - len(indices)
        targets = [self._targets[i] for i in indices] + [[]] * noises
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
