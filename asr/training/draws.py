"""What augmentation draws for an epoch and for each of its utterances, for NumPy and for torch on a device alike.

Everything is a function of (seed, epoch, utterance).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.training.config import AugmentConfig

Value = TypeVar("Value", bound=np.generic)

# What counts as a pause within an utterance: this part of its frames, the quietest.
QUIET_PART = 0.1
# The spectrum of noise is tilted by up to this at its lowest and highest band, one way or the other, in nats.
MAX_TILT = 1.25
# Drawn once: an utterance's noise is a piece of it, from a place of its own. Drawing anew takes ten times as long.
TEXTURE = np.random.default_rng(0).standard_normal(1 << 19, dtype=np.float32)


class Purpose(IntEnum):
    """What random numbers are drawn for: no two purposes share any."""

    ORDER = 1
    LENGTHS = 2
    FEATURES = 3
    WAVEFORM = 4
    NOISE = 5
    WEIGHTS = 6


def generator(seed: int, epoch: int, purpose: Purpose, *index: int) -> np.random.Generator:
    """Return the random numbers of an epoch, or of utterance `index` and its copy in it, for one purpose."""
    return np.random.default_rng((seed, epoch, purpose, *index))


@dataclass(frozen=True)
class Lengths:
    """How long utterances become, in frames, each ``(N,)`` int32; indexing picks some of them.

    Parameters
    ----------
    speech : ndarray
        After stretching.
    before, after : ndarray
        Of the pauses put before and after.
    speed : ndarray, shape (N,), float64
        How fast their waveforms are played, which `speech` has accounted for; 1 for features.
    """

    speech: NDArray[np.int32]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    speed: NDArray[np.float64]

    @classmethod
    def unaltered(cls, num_frames: NDArray[np.int32]) -> "Lengths":
        """Return lengths that change nothing."""
        shape = np.shape(num_frames)
        nothing = np.broadcast_to(np.int32(0), shape)
        return cls(num_frames, nothing, nothing, np.broadcast_to(np.float64(1), shape))

    @classmethod
    def joined(cls, first: "Lengths", second: "Lengths") -> "Lengths":
        """Return the lengths of `first`, then those of `second`."""
        parts = ("speech", "before", "after", "speed")
        return cls(*(appended(getattr(first, part), getattr(second, part)) for part in parts))

    @property
    def total(self) -> NDArray[np.int32]:
        """Frames of the whole, ``(N,)``."""
        return self.before + self.speech + self.after

    def __getitem__(self, index: int | slice | NDArray[np.integer[Any]]) -> "Lengths":
        return Lengths(self.speech[index], self.before[index], self.after[index], self.speed[index])


def repeated(value: Value, count: int) -> NDArray[Value]:
    """Return an array of one value, ``(count,)``, that takes no memory."""
    array: NDArray[Value] = np.broadcast_to(value, (count,))
    return array


def appended(first: NDArray[Value], second: NDArray[Value]) -> NDArray[Value]:
    """Return two arrays as one, of the type of the first; without memory where both are the same `repeated` value."""
    if first.strides == second.strides == (0,) and len(first) and len(second) and first[0] == second[0]:
        return repeated(first[0], len(first) + len(second))
    return np.append(first, second.astype(first.dtype))


def draw_lengths(
    num_frames: NDArray[np.int32],
    speed: NDArray[np.float64],
    shortest: NDArray[np.int32],
    config: AugmentConfig,
    hop_seconds: float,
    rng: np.random.Generator,
) -> Lengths:
    """Draw how long utterances become.

    Parameters
    ----------
    num_frames : ndarray, shape (N,), int32
        How long they are, in frames, played at `speed`.
    speed : ndarray, shape (N,), float64
    shortest : ndarray, shape (N,), int32
        The fewest frames that their transcripts need; speech is not made shorter.
    config : AugmentConfig
    hop_seconds : float
    rng : numpy.random.Generator
    """
    N = len(num_frames)
    # In place: of ten million utterances each array of float64 is 80 MB.
    stretched = rng.uniform(-1, 1, N)
    stretched *= config.time_stretch
    stretched += 1
    stretched *= num_frames
    speech = np.rint(stretched, out=stretched).astype(np.int32)
    np.maximum(speech, shortest, out=speech)
    np.maximum(speech, 1, out=speech)
    before = after = repeated(np.int32(0), N)
    if config.pause_probability:
        longest = round(config.pause_seconds / hop_seconds)
        chosen = rng.uniform(size=(2, N)) < config.pause_probability
        before, after = np.where(chosen, rng.integers(0, longest + 1, (2, N)).astype(np.int32), np.int32(0))
    return Lengths(speech, before, after, speed)


@dataclass(frozen=True)
class WaveformDraw:
    """What is done to one waveform, in this order.

    Parameters
    ----------
    speed : float
        At which it is played.
    before, after : int
        Samples of the pauses put before and after.
    texture : int
        Where in `TEXTURE` the noise of these pauses begins.
    response : int or None
        The impulse response that it is convolved with, by its index in its store.
    noise : int or None
        The recording that a piece is added of, by its index in its store.
    noise_start : int
        Where that piece begins.
    snr_db : float
        The ratio of speech to noise.
    gain : float
        Factor of the whole.
    """

    speed: float = 1.0
    before: int = 0
    after: int = 0
    texture: int = 0
    response: int | None = None
    noise: int | None = None
    noise_start: int = 0
    snr_db: float = 0.0
    gain: float = 1.0


@dataclass(frozen=True)
class Floor:
    """Noise under features.

    Parameters
    ----------
    level : float
        0: at the faintest frames; 1: at the loudest.
    tilt : float
        Nats more at the highest band than the utterance's own spectrum, and as many less at the lowest.
    start : int
        Where in `TEXTURE` it begins.
    """

    level: float
    tilt: float
    start: int


@dataclass(frozen=True)
class FeatureDraw:
    """What is done to the features of one utterance, in this order; then masks come.

    Parameters
    ----------
    num_frames : int
        Of the stretched speech.
    frequency : float
        Factor of the mel axis.
    floor : Floor or None
    before, after : ndarray, int64
        For each frame of the pauses, which of the quietest frames it repeats: 0 is the quietest.
    """

    num_frames: int
    frequency: float
    floor: Floor | None
    before: NDArray[np.int64]
    after: NDArray[np.int64]


@dataclass(frozen=True)
class Masks:
    """Which `bands` ``(F,)`` and which `frames` ``(T,)``, both bool, are hidden."""

    bands: NDArray[np.bool_]
    frames: NDArray[np.bool_]


@dataclass(frozen=True)
class Drawn:
    """What is done to one utterance of an epoch.

    Parameters
    ----------
    index : int
        Into the store.
    waveform : WaveformDraw
        Where the store holds features, nothing is done to waveforms.
    features : FeatureDraw
    masks : tuple of Masks
        Those of each view.
    """

    index: int
    waveform: WaveformDraw
    features: FeatureDraw
    masks: tuple[Masks, ...]


def draw_features(lengths: Lengths, num_bands: int, config: AugmentConfig, rng: np.random.Generator) -> FeatureDraw:
    """Draw what is done to features that become as long as `lengths`, of one utterance, says."""
    T, before = int(lengths.speech), int(lengths.before)
    frequency = 1 + config.frequency_stretch * rng.uniform(-1, 1)
    floor = None
    if rng.uniform() < config.noise_probability:
        level, tilt = config.noise_range * rng.uniform(), rng.uniform(-MAX_TILT, MAX_TILT)
        floor = Floor(level, tilt, draw_start(len(TEXTURE), T * num_bands, rng))
    quiet = rng.integers(0, num_quiet(T), before + int(lengths.after))
    return FeatureDraw(T, frequency, floor, quiet[:before], quiet[before:])


def num_quiet(num_frames: int) -> int:
    """Return how many of an utterance's frames count as pauses."""
    return max(1, round(QUIET_PART * num_frames))


def draw_masks(
    num_frames: int, num_bands: int, config: AugmentConfig, hop_seconds: float, rng: np.random.Generator
) -> Masks:
    """Draw masks (SpecAugment, Park et al. 2019); those of frames grow in number with the length."""
    bands, frames = np.zeros(num_bands, dtype=np.bool_), np.zeros(num_frames, dtype=np.bool_)
    for _ in range(config.frequency_masks):
        width = int(rng.integers(0, min(config.frequency_mask_bands, num_bands) + 1))
        first = rng.integers(0, num_bands - width + 1)
        bands[first : first + width] = True
    left = int(config.time_mask_share * num_frames)
    for _ in range(rng.poisson(config.time_masks_per_second * num_frames * hop_seconds)):
        width = min(left, int(rng.integers(0, min(round(config.time_mask_seconds / hop_seconds), num_frames) + 1)))
        left -= width
        first = rng.integers(0, num_frames - width + 1)
        frames[first : first + width] = True
    return Masks(bands, frames)


def draw_start(available: int, wanted: int, rng: np.random.Generator) -> int:
    """Draw where a piece of `wanted` samples begins; of a shorter recording, which is then repeated, anywhere in it."""
    return int(rng.integers(available if available < wanted else available - wanted + 1))
