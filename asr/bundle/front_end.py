"""Samples, or an utterance of a store → the input of the network."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.audio.levels import FAINT_DB, SILENCE_DB, fill_dead_air
from asr.errors import DataError, UsageError
from asr.fbank import Fbank, FbankConfig
from asr.features import LogMel, LogMelConfig, check_waveform
from asr.model_config import MIN_STD, Normalisation
from asr.settings import check_types
from asr.store.checking import Store, check_store
from asr.store.store import AudioStore, FeatureStore

# Frames whose sum is taken in the type of the features; the sums of these blocks are added in float64.
SUM_FRAMES = 1024

# Features are natural logarithms of power.
NATS_PER_DB = np.log(10) / 10


@dataclass(frozen=True)
class WaveformConfig:
    """A network that takes the waveform itself.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    normalise : bool
        Whether each recording is normalised to zero mean and unit variance, as for wav2vec 2.0.
    epsilon : float
        Added to the variance, before it is divided by its root; the default is Hugging Face's.
    """

    sample_rate: int = 16_000
    normalise: bool = False
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        check_types(self, "front_end")
        if self.sample_rate <= 0 or self.epsilon <= 0:
            raise UsageError(
                f"front_end: the sample_rate is {self.sample_rate}, epsilon {self.epsilon}; expected positive numbers"
            )


FrontEndConfig = LogMelConfig | WaveformConfig | FbankConfig


class FrontEnd(Protocol):
    """Turns samples, or a store's utterance, into the input of the network.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    width : int
        Values of a frame: bands, or 1 of a waveform.
    """

    sample_rate: int
    width: int

    def __call__(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return the frames ``(T, width)`` of samples ``(num_samples,)``."""
        ...

    def stored(self, store: Store, index: int) -> NDArray[np.floating[Any]]:
        """Return the frames ``(T, width)`` of an utterance of a store."""
        ...

    def check_store(self, store: Store, owner: str) -> None:
        """Refuse a store that does not fit the network of `owner`; raises ``DataError``."""
        ...


class _OfWaveforms(ABC):
    """What is common to front ends that take stores of waveforms alone."""

    sample_rate: int

    @abstractmethod
    def __call__(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the frames ``(T, width)`` of samples ``(num_samples,)``."""

    def stored(self, store: Store, index: int) -> NDArray[np.float32]:
        """Return the frames ``(T, width)`` of an utterance of an audio store."""
        assert isinstance(store, AudioStore)
        return self(store[index].waveform)

    def check_store(self, store: Store, owner: str) -> None:
        """Refuse features, and waveforms at another rate."""
        if not isinstance(store, AudioStore) or store.config.sample_rate != self.sample_rate:
            raise DataError(
                f"{store.path}: holds {store.kind} at {store.config.sample_rate} Hz; expected waveforms at "
                f"{self.sample_rate} Hz, like {owner}: prepare the corpus with --store audio --features "
                f"sample_rate={self.sample_rate}"
            )


class WaveformFrontEnd(_OfWaveforms):
    """The waveform, ``(num_samples, 1)`` float32; see `FrontEnd`.

    Parameters
    ----------
    config : WaveformConfig
    """

    width = 1

    def __init__(self, config: WaveformConfig) -> None:
        self.sample_rate = config.sample_rate
        self._normalise, self._epsilon = config.normalise, config.epsilon

    def __call__(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return ``(num_samples, 1)``, raising as `asr.features.check_waveform`."""
        check_waveform(samples)
        x = samples.astype(np.float32)
        if self._normalise:
            x = (x - x.mean(dtype=np.float64)) / np.sqrt(x.var(dtype=np.float64) + self._epsilon)
        return x.astype(np.float32)[:, None]


class FbankFrontEnd(Fbank, _OfWaveforms):
    """The features of another toolkit, ``(T, width)`` float32; see `FrontEnd` and `asr.fbank`."""


def foreign_front_end(config: WaveformConfig | FbankConfig) -> WaveformFrontEnd | FbankFrontEnd:
    """Return the front end of a network that takes another input than our log-mel features."""
    return WaveformFrontEnd(config) if isinstance(config, WaveformConfig) else FbankFrontEnd(config)


class LogMelFrontEnd:
    """Log-mel features as a model takes them: float16, as stores keep them, so that both give the same words.

    Parameters
    ----------
    log_mel : LogMel
    normalisation : {"global", "utterance", "none"}
        What is done here: nothing, but for bundles of format 1, whose networks do not normalise themselves.
    mean, std : ndarray, shape (n_mels,), float32, optional
        For "global", in nats.
    fills_dead_air : bool
        Whether stretches of digital silence (edited or gated audio) in a store become as loud as a faint pause;
        transcription adds noise to such samples. The logarithm of zero is far from that of any room, and would
        dominate a normalisation over the utterance.
    """

    def __init__(
        self,
        log_mel: LogMel,
        normalisation: Normalisation = "none",
        mean: NDArray[np.float32] | None = None,
        std: NDArray[np.float32] | None = None,
        *,
        fills_dead_air: bool = False,
    ) -> None:
        self.log_mel = log_mel
        self.sample_rate, self.width = log_mel.config.sample_rate, log_mel.config.n_mels
        self._normalisation = normalisation
        self._mean, self._std = mean, std
        self._fills_dead_air = fills_dead_air
        # Of white noise at full scale: the sum of the squared Hann window is 3 / 8 of its length.
        energy = 0.375 * log_mel.config.window_samples * log_mel.filterbank.sum(axis=1)
        self._full_scale = np.log(energy).astype(np.float32)

    def __call__(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
        """Return the features ``(T, n_mels)`` of samples ``(num_samples,)``, raising as `LogMel`."""
        return self._finished(self.log_mel(samples))

    def stored(self, store: Store, index: int) -> NDArray[np.float16]:
        """Return the features ``(T, n_mels)`` of an utterance of a store."""
        if not isinstance(store, FeatureStore):
            samples = store[index].waveform
            return self(fill_dead_air(samples, self.sample_rate) if self._fills_dead_air else samples)
        features: NDArray[Any] = store[index].features
        return self._finished(self.fill_dead_air(features) if self._fills_dead_air else features)

    def _finished(self, features: NDArray[Any]) -> NDArray[np.float16]:
        """Return what the network takes of log-mel features ``(T, n_mels)``."""
        if self._normalisation == "none":
            return features.astype(np.float16, copy=False)
        return self._normalised(features.astype(np.promote_types(features.dtype, np.float32))).astype(np.float16)

    def fill_dead_air(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return log-mel features ``(T, n_mels)`` with a faint pause where there is no sound.

        As `asr.audio.levels.fill_dead_air` for samples: as faint as the quietest tenth of the frames, and at least
        `FAINT_DB` fainter than the loudest twentieth.
        """
        power = np.exp(features.astype(np.float32) - self._full_scale).mean(axis=1)
        dead = power <= 10 ** (SILENCE_DB / 10)
        if not dead.any() or dead.all():
            return features
        low, high = np.percentile(features[~dead].astype(np.float32), (10, 95), axis=0)
        filled = features.copy()
        filled[dead] = np.minimum(low, high - FAINT_DB * NATS_PER_DB)
        return filled

    def check_store(self, store: Store, owner: str) -> None:
        """Refuse a store of other features; see `asr.store.checking.check_store`."""
        check_store(store, self.log_mel.config, owner)

    def _normalised(self, features: NDArray[Any]) -> NDArray[Any]:
        if self._normalisation == "utterance":
            normalise_utterance(features)
        elif self._normalisation == "global":
            assert self._mean is not None
            assert self._std is not None
            features -= self._mean
            features /= np.maximum(self._std, np.float32(MIN_STD))
        return features


# What ``front_end.kind`` may be in config.json.
FRONT_ENDS: dict[str, type[FrontEndConfig]] = {
    "log-mel": LogMelConfig,
    "waveform": WaveformConfig,
    "fbank": FbankConfig,
}


def normalise_utterance(features: NDArray[Any]) -> None:
    """Give each band of features ``(T, F)`` zero mean and unit deviation over time, in place."""
    # From the first frame on: what is constant, such as digital silence, is then exactly zero.
    features -= features[0].copy()
    features -= _mean(features)
    features *= 1 / np.maximum(np.sqrt(_mean(features, squared=True)), MIN_STD)


def _mean(features: NDArray[Any], *, squared: bool = False) -> NDArray[Any]:
    """Return the mean of `features` ``(T, F)``, or of their squares, over time: ``(F,)``, of the same dtype.

    Sums over the frames of an hour need float64; those of a block do not, and are a matrix product.
    """
    total = np.zeros(features.shape[1])
    for first in range(0, len(features), SUM_FRAMES):
        block = features[first : first + SUM_FRAMES]
        total += np.ones(len(block), dtype=features.dtype) @ (np.square(block) if squared else block)
    return (total / len(features)).astype(features.dtype)
