"""Waveform → features for training: another speed, pauses, reverberation, noise and gain, then log-mel features.

What is drawn is a function of (seed, epoch, utterance): the random numbers come from the caller.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import resample
from asr.errors import DataError, UsageError
from asr.features import LogMel
from asr.store.store import AudioStore, FeatureStore
from asr.training.augment import TEXTURE, Lengths
from asr.training.config import AugmentConfig, WaveformAugmentConfig

# An utterance's quietest stretch of this length tells what its pauses sound like.
QUIET_SECONDS = 0.1

FULL_SCALE = 32_768


class Waveforms:
    """The utterances of an audio store as features.

    Parameters
    ----------
    store : AudioStore
    config : WaveformAugmentConfig, optional
        None where no waveform is altered.

    Raises
    ------
    DataError
        If a store of noises or impulse responses is not there, is empty, or has another sample rate.
    """

    def __init__(self, store: AudioStore, config: WaveformAugmentConfig | None) -> None:
        self.store = store
        self.config = config or WaveformAugmentConfig()
        self.log_mel = LogMel(store.config, store.filterbank)
        self._num_samples = np.rint(store.durations_seconds * store.config.sample_rate).astype(np.int64)
        self._responses = self._open("impulse_responses", self.config.impulse_responses)
        self._noises = self._open("noises", self.config.noises)

    @property
    def materials(self) -> list[AudioStore]:
        """The stores of noises and impulse responses that utterances are mixed with."""
        return [store for store in (self._noises, self._responses) if store is not None]

    def num_frames(self, indices: NDArray[np.int64], speed: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the frames of utterances `indices` ``(N,)`` played at `speed` ``(N,)``."""
        config = self.store.config
        num_samples: NDArray[np.int64] = played_samples(self._num_samples[indices], speed, config.sample_rate)
        return config.num_frames(num_samples)

    def features(self, index: int) -> NDArray[np.float32]:
        """Return the features ``(T, F)`` of an utterance unaltered, just as a feature store has them."""
        return self._log_mel(self._samples(self.store, index))

    def altered(self, index: int, lengths: Lengths, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the features of an altered copy of an utterance, to be stretched to ``lengths.total`` frames.

        Parameters
        ----------
        index : int
            Into the store.
        lengths : Lengths
            Of this utterance, each a scalar. Pauses are made as long as they must be to have their length once the
            whole is stretched.
        rng : numpy.random.Generator
        """
        config, rate = self.config, self.store.config.sample_rate
        samples = self._samples(self.store, index)
        if lengths.speed != 1:
            samples = play(samples, float(lengths.speed), rate)
        power = _power(samples)
        stretched = int(lengths.speech) / self.store.config.num_frames(len(samples))
        before, after = (
            round(int(pause) / stretched * self.store.config.hop_samples) for pause in (lengths.before, lengths.after)
        )
        if before or after:
            samples = add_pauses(samples, before, after, rate, rng)
        if self._responses is not None and rng.uniform() < config.reverberation_probability:
            samples = reverberate(samples, self._samples(self._responses, int(rng.integers(len(self._responses)))))
        if self._noises is not None and rng.uniform() < config.noise_probability:
            noise = self._samples(self._noises, int(rng.integers(len(self._noises))))
            snr_db = rng.uniform(config.min_snr_db, config.max_snr_db)
            samples = samples + scaled_noise(piece(noise, len(samples), rng), power, snr_db)
        if config.gain_db:
            samples = samples * np.float32(10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20))
        return self._log_mel(np.clip(samples, -1, 1))

    def _log_mel(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        # Through float16, so that training on waveforms and on stored features is the same.
        features: NDArray[np.float32] = self.log_mel(samples).astype(np.float16).astype(np.float32)
        return features

    def _open(self, field: str, folder: str) -> AudioStore | None:
        if not folder:
            return None
        name = f"training.augment.waveform.{field}"
        try:
            store = AudioStore.open(folder)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
        if not len(store):
            raise DataError(f"{name}: {folder} has no recording; expected at least one")
        if store.config.sample_rate != self.store.config.sample_rate:
            raise DataError(
                f"{name}: {folder} is sampled at {store.config.sample_rate} Hz; expected "
                f"{self.store.config.sample_rate} Hz, as the training store: prepare it with --features "
                f"sample_rate={self.store.config.sample_rate}"
            )
        return store

    @staticmethod
    def _samples(store: AudioStore, index: int) -> NDArray[np.float32]:
        return store[index].samples * np.float32(1 / FULL_SCALE)


def open_waveforms(store: FeatureStore | AudioStore, augment: AugmentConfig | None) -> Waveforms | None:
    """Return the waveforms of an audio store; None for a feature store.

    Raises
    ------
    DataError
        As `Waveforms`.
    UsageError
        If `augment` changes waveforms, and the store holds features.
    """
    if isinstance(store, AudioStore):
        return Waveforms(store, augment.waveform if augment else None)
    if augment and augment.waveform != WaveformAugmentConfig():
        raise UsageError(
            f"{store.path}: holds features, and training.augment.waveform changes waveforms: prepare the corpus with "
            "--store audio, or leave training.augment.waveform as it is by default"
        )
    return None


def played_samples(num_samples: Any, speed: Any, rate: int) -> Any:
    """Return how many samples `num_samples` become, played at `speed`; of arrays, int64, and of numbers, an integer."""
    return np.rint(num_samples * rate / np.rint(rate * speed)).astype(np.int64)


def play(samples: NDArray[np.float32], speed: float, rate: int) -> NDArray[np.float32]:
    """Return `samples` ``(num_samples,)`` played at `speed`: 1.1 is faster and higher (Ko et al. 2015)."""
    wanted = int(played_samples(np.int64(len(samples)), speed, rate))
    # The resampler rounds as it likes.
    played = resample(samples, round(rate * speed), rate)[:wanted]
    return np.pad(played, (0, wanted - len(played)))


def add_pauses(
    samples: NDArray[np.float32], before: int, after: int, rate: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return `samples` ``(num_samples,)`` between pauses: noise with the level and spectrum of its quietest stretch.

    White noise filtered by a stretch of noise, taken as an impulse response, has that stretch's spectrum.
    """
    from scipy.signal import fftconvolve

    width = min(len(samples), round(QUIET_SECONDS * rate))
    stretches = samples[: len(samples) // width * width].reshape(-1, width)
    quietest = stretches[np.argmin(np.einsum("ij,ij->i", stretches, stretches))]
    white = piece(TEXTURE, before + after + width - 1, rng)
    tone = fftconvolve(white, quietest / np.float32(np.sqrt(width)), mode="valid").astype(np.float32)
    return np.concatenate((tone[:before], samples, tone[before:]))


def reverberate(samples: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `samples` ``(num_samples,)`` as heard in a room, with the same length and level (Ko et al. 2017).

    The direct path, the loudest sample of the impulse `response`, stays where it was: words keep their times. A silent
    response changes nothing.
    """
    from scipy.signal import fftconvolve

    direct = int(np.abs(response).argmax())
    reverberant: NDArray[np.float32] = fftconvolve(samples, response)[direct : direct + len(samples)]
    power = _power(reverberant)
    return reverberant * np.float32(np.sqrt(_power(samples) / power)) if power else samples


def piece(noise: NDArray[np.float32], num_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a random piece of `noise`, ``(num_samples,)``; of a shorter noise, repetitions."""
    start = int(rng.integers(len(noise) if len(noise) < num_samples else len(noise) - num_samples + 1))
    if len(noise) < num_samples:
        return np.resize(np.roll(noise, -start), num_samples)
    return noise[start : start + num_samples]


def scaled_noise(noise: NDArray[np.float32], speech_power: float, snr_db: float) -> NDArray[np.float32]:
    """Return `noise` at the level that gives a ratio of speech to noise of `snr_db`; a silent piece stays silent."""
    power = _power(noise)
    return noise * np.float32(np.sqrt(speech_power / power) * 10 ** (-snr_db / 20)) if power else noise


def _power(samples: NDArray[np.float32]) -> float:
    """Return the mean square."""
    return float(np.dot(samples, samples) / len(samples))
