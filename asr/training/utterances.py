"""The features of a store's utterances: as they are, or augmented as (seed, epoch, utterance) says."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.errors import UsageError
from asr.features import LogMel
from asr.store.store import AudioStore, FeatureStore
from asr.training.augment import alter, mask, noise_samples
from asr.training.config import AugmentConfig
from asr.training.draws import Drawn, Lengths, Purpose, WaveformDraw, draw_features, draw_masks, generator
from asr.training.plan import PlannedBatch
from asr.training.waveforms import open_waveforms
from asr.training.waveforms_on_device import WaveformsOnDevice


class UtteranceFeatures:
    """The features of a store's utterances.

    Parameters
    ----------
    store : FeatureStore or AudioStore
        Of waveforms, the features are computed as the store's configuration says.
    augment : AugmentConfig, optional

    Attributes
    ----------
    average : ndarray, shape (F,), float32, or None
        What masks set features to; None, as at first, is the utterance's own mean.
    waveforms : Waveforms or None
        None where the store holds features.

    Raises
    ------
    DataError
        If a store of noise or impulse responses cannot be used.
    UsageError
        If `augment` changes waveforms, and the store holds features.
    """

    def __init__(self, store: FeatureStore | AudioStore, augment: AugmentConfig | None) -> None:
        self.average: NDArray[np.float32] | None = None
        self.waveforms = open_waveforms(store, augment)
        self._store = store
        self._augment = augment
        self._log_mel = LogMel(store.config, store.filterbank) if augment and augment.noise_utterances else None
        self._on_device: WaveformsOnDevice | None = None

    @property
    def materials(self) -> list[AudioStore]:
        """The stores of noises and impulse responses that utterances are mixed with."""
        return self.waveforms.materials if self.waveforms else []

    def work_on(self, device: torch.device) -> None:
        """Have waveforms altered, and their features computed, on `device`, which is where `augmented` leaves them.

        Raises
        ------
        UsageError
            If the store holds features.
        """
        if self.waveforms is None:
            raise UsageError(
                f"training.waveforms_on=device: {self._store.path} holds features; expected waveforms: prepare the "
                "corpus with --store audio, or leave training.waveforms_on as it is by default"
            )
        self._on_device = WaveformsOnDevice(self.waveforms, device)

    def unaltered(self, index: int) -> NDArray[np.float32]:
        """Return the features ``(T, F)`` of an utterance."""
        if self.waveforms:
            return self.waveforms.features(index)
        features: NDArray[np.float32] = self._store[index].features.astype(np.float32)  # type: ignore[union-attr]
        return features

    def augmented(self, planned: PlannedBatch, seeds: tuple[int, int], views: int) -> tuple[Tensor, Tensor]:
        """Return augmented utterances, padded with zeros to the longest, and their lengths.

        Parameters
        ----------
        planned : PlannedBatch
        seeds : tuple of int
            (seed, epoch).
        views : int
            How often each utterance comes: b in the rows b, B + b, …, which differ in masks.

        Returns
        -------
        features : Tensor, shape (views · B, T, F), float32
        lengths : Tensor, shape (views · B,), int64
            On the CPU.
        """
        numbers = zip(planned.indices.tolist(), planned.copies.tolist(), strict=True)
        rows = [self._draw(*number, planned.lengths[row], seeds, views) for row, number in enumerate(numbers)]
        if self._on_device:
            return self._on_device(rows, self.average, views)
        return padded(list(zip(*(self._altered(row, views) for row in rows), strict=True)))

    def _draw(
        self, index: int, copy: int, lengths: Lengths, seeds: tuple[int, int], views: int
    ) -> Drawn | NDArray[np.float32]:
        """Draw what is done to a copy of utterance `index`, or the samples of one of noise, as (seed, epoch) has it."""
        assert self._augment is not None
        number, config = index - len(self._store), self._store.config
        if number >= 0:
            num_samples = max(1, (int(lengths.total) - 1) * config.hop_samples)
            return noise_samples(num_samples, generator(*seeds, Purpose.NOISE, number))
        waveform = WaveformDraw()
        if self.waveforms:
            waveform = self.waveforms.draw(index, lengths, generator(*seeds, Purpose.WAVEFORM, index, copy))
            # Its pauses are in the waveform.
            lengths = Lengths.unaltered(lengths.total)
        rng = generator(*seeds, Purpose.FEATURES, index, copy)
        features = draw_features(lengths, config.n_mels, self._augment, rng)
        size = int(lengths.total), config.n_mels
        masks = tuple(draw_masks(*size, self._augment, config.hop_seconds, rng) for _ in range(views))
        return Drawn(index, waveform, features, masks)

    def _altered(self, drawn: Drawn | NDArray[np.float32], views: int) -> list[NDArray[np.float32]]:
        """Return the views of an utterance, altered as drawn, or of noise."""
        if not isinstance(drawn, Drawn):
            assert self._log_mel is not None
            return [self._log_mel(drawn)] * views
        index = drawn.index
        features = self.waveforms.altered(index, drawn.waveform) if self.waveforms else self.unaltered(index)
        x = alter(features, drawn.features)
        fill = x.mean(axis=0) if self.average is None else self.average
        copies = [x, *(x.copy() for _ in range(1, views))]
        for view, masks in zip(copies, drawn.masks, strict=True):
            mask(view, fill, masks)
        return copies


def padded(features: Sequence[Sequence[NDArray[np.float32]]]) -> tuple[Tensor, Tensor]:
    """Return the features of each view, of each utterance in it, as one tensor padded with zeros, and their lengths."""
    rows = [x for view in features for x in view]
    array = np.zeros((len(rows), max(map(len, rows)), rows[0].shape[1]), dtype=np.float32)
    for row, x in enumerate(rows):
        array[row, : len(x)] = x
    return torch.from_numpy(array), torch.tensor([len(x) for x in rows])
