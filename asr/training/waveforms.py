"""Waveform → features for training: another speed, pauses, reverberation, noise and gain, then log-mel features."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import resample
from asr.errors import DataError, UsageError
from asr.features import LogMel
from asr.store.store import AudioStore, FeatureStore
from asr.training.augment import piece
from asr.training.config import AugmentConfig, WaveformAugmentConfig
from asr.training.draws import TEXTURE, Lengths, WaveformDraw, draw_start

# An utterance's quietest stretch of this length tells what its pauses sound like.
QUIET_SECONDS = 0.1
NOTHING = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class Sound:
    """What a waveform is made of, each ``(num_samples,)`` float32 in [-1, 1].

    Parameters
    ----------
    samples : ndarray
        As recorded.
    response, noise : ndarray
        The impulse response that it is to be convolved with, and the piece of noise that is to be added; empty: none.
    """

    samples: NDArray[np.float32]
    response: NDArray[np.float32]
    noise: NDArray[np.float32]


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
        If a store of noises or impulse responses does not exist, is empty, or has another sample rate.
    """

    def __init__(self, store: AudioStore, config: WaveformAugmentConfig | None) -> None:
        self.store = store
        self.config = config or WaveformAugmentConfig()
        self.log_mel = LogMel(store.config, store.filterbank)
        self._num_samples = _num_samples(store)
        self._responses = self._open("impulse_responses", self.config.impulse_responses)
        self._noises = self._open("noises", self.config.noises)
        self._noise_samples = _num_samples(self._noises) if self._noises is not None else None

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
        return self._log_mel(self.store[index].waveform)

    def draw(self, index: int, lengths: Lengths, rng: np.random.Generator) -> WaveformDraw:
        """Draw what is done to an utterance.

        Parameters
        ----------
        index : int
            Into the store.
        lengths : Lengths
            Of this utterance, each a scalar. Pauses are made as long as they must be to have their length once the
            whole is stretched to ``lengths.total`` frames.
        rng : numpy.random.Generator
        """
        config, rate, speed = self.config, self.store.config.sample_rate, float(lengths.speed)
        played = int(played_samples(self._num_samples[index], speed, rate))
        stretched = int(lengths.speech) / self.store.config.num_frames(played)
        before, after = (
            round(int(pause) / stretched * self.store.config.hop_samples) for pause in (lengths.before, lengths.after)
        )
        values: dict[str, Any] = {}
        if before or after:
            values["texture"] = draw_start(len(TEXTURE), before + after + quiet_samples(played, rate) - 1, rng)
        if self._responses is not None and rng.uniform() < config.reverberation_probability:
            values["response"] = int(rng.integers(len(self._responses)))
        if self._noise_samples is not None and rng.uniform() < config.noise_probability:
            number = int(rng.integers(len(self._noise_samples)))
            values |= {"noise": number, "snr_db": rng.uniform(config.min_snr_db, config.max_snr_db)}
            values["noise_start"] = draw_start(int(self._noise_samples[number]), before + played + after, rng)
        if config.gain_db:
            values["gain"] = 10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20)
        return WaveformDraw(speed, before, after, **values)

    def sound(self, index: int, draw: WaveformDraw) -> Sound:
        """Return what utterance `index` is made of, as drawn."""
        samples = self.store[index].waveform
        response = noise = NOTHING
        if draw.response is not None and self._responses is not None:
            response = self._responses[draw.response].waveform
        if draw.noise is not None and self._noises is not None:
            wanted = int(played_samples(len(samples), draw.speed, self.store.config.sample_rate))
            noise = piece(self._noises[draw.noise].waveform, draw.before + wanted + draw.after, draw.noise_start)
        return Sound(samples, response, noise)

    def altered(self, index: int, draw: WaveformDraw) -> NDArray[np.float32]:
        """Return the features of utterance `index`, altered as drawn."""
        sound, rate = self.sound(index, draw), self.store.config.sample_rate
        samples = sound.samples if draw.speed == 1 else play(sound.samples, draw.speed, rate)
        power = _power(samples)
        if draw.before or draw.after:
            samples = add_pauses(samples, draw.before, draw.after, rate, draw.texture)
        if len(sound.response):
            samples = reverberate(samples, sound.response)
        if len(sound.noise):
            samples = samples + scaled_noise(sound.noise, power, draw.snr_db)
        if draw.gain != 1:
            samples = samples * np.float32(draw.gain)
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
                f"{self.store.config.sample_rate} Hz, like the training store: prepare it with --features "
                f"sample_rate={self.store.config.sample_rate}"
            )
        return store


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
            "--store audio, or leave training.augment.waveform at its defaults"
        )
    return None


def played_samples(num_samples: Any, speed: Any, rate: int) -> Any:
    """Return how many samples `num_samples` become, played at `speed`; of arrays, int64, and of numbers, an integer."""
    return np.rint(num_samples * rate / np.rint(rate * speed)).astype(np.int64)


def play(samples: NDArray[np.float32], speed: float, rate: int) -> NDArray[np.float32]:
    """Return `samples` ``(num_samples,)`` played at `speed`: 1.1 is faster and higher (Ko et al. 2015)."""
    wanted = int(played_samples(np.int64(len(samples)), speed, rate))
    # The resampler's length may differ by a sample.
    played = resample(samples, round(rate * speed), rate)[:wanted]
    return np.pad(played, (0, wanted - len(played)))


def quiet_samples(num_samples: int, rate: int) -> int:
    """Return how long the stretch is that tells what pauses sound like, in samples."""
    return min(num_samples, round(QUIET_SECONDS * rate))


def add_pauses(samples: NDArray[np.float32], before: int, after: int, rate: int, texture: int) -> NDArray[np.float32]:
    """Return `samples` ``(num_samples,)`` between pauses: noise with the level and spectrum of its quietest stretch.

    White noise filtered by a stretch of noise, taken as an impulse response, has that stretch's spectrum. The white
    noise is that of `TEXTURE` from `texture` on.
    """
    from scipy.signal import fftconvolve

    width = quiet_samples(len(samples), rate)
    stretches = samples[: len(samples) // width * width].reshape(-1, width)
    quietest = stretches[np.argmin(np.einsum("ij,ij->i", stretches, stretches))]
    white = piece(TEXTURE, before + after + width - 1, texture)
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


def scaled_noise(noise: NDArray[np.float32], speech_power: float, snr_db: float) -> NDArray[np.float32]:
    """Return `noise` at the level that gives a ratio of speech to noise of `snr_db`; a silent piece stays silent."""
    power = _power(noise)
    return noise * np.float32(np.sqrt(speech_power / power) * 10 ** (-snr_db / 20)) if power else noise


def _power(samples: NDArray[np.float32]) -> float:
    """Return the mean square."""
    return float(np.dot(samples, samples) / len(samples))


def _num_samples(store: AudioStore) -> NDArray[np.int64]:
    """Return the length of each recording of a store, ``(N,)``, without reading any."""
    return np.rint(store.durations_seconds * store.config.sample_rate).astype(np.int64)
