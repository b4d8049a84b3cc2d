"""Waveform → log-mel features, in float32 (or in float64, where the samples are float64).

The short-time Fourier transform is centred and padded with zeros, its window is a periodic Hann window, the
filters are Slaney's as in ``librosa.filters.mel``: the values equal librosa's and torchaudio's. Features never
need librosa at inference: a bundle carries the filterbank that it was trained with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from asr.errors import AudioError, MissingExtraError, ModelError, UsageError

# Frames per block: the block's spectra stay in the processor's cache (about 400 KB in float32 at 16 kHz).
BLOCK_FRAMES = 128

# The filterbank is nearly all zeros: in this many groups of neighbouring bands, each with its own stretch of
# frequencies, the product with it takes a third of the time that the whole matrix does.
BAND_GROUPS = 5


@dataclass(frozen=True)
class LogMelConfig:
    """The settings of the features, stored with every feature store and every model; normalisation is the model's.

    Parameters
    ----------
    sample_rate : int
        Rate of the samples, in Hz.
    n_mels : int
        Number of mel bands.
    window_seconds, hop_seconds : float
        Length of a frame and distance between two frames, in seconds.
    low_hz, high_hz : float
        Lower edge of the lowest band and upper edge of the highest, in Hz; a `high_hz` of 0 means half the
        sample rate.
    floor : float
        Smallest mel energy: the logarithm is that of ``max(energy, floor)``.

    Raises
    ------
    UsageError
        If a value is out of its range.
    """

    sample_rate: int = 16_000
    n_mels: int = 80
    window_seconds: float = 0.025
    hop_seconds: float = 0.010
    low_hz: float = 0.0
    high_hz: float = 0.0
    floor: float = 1e-10

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_mels", "window_seconds", "hop_seconds", "floor"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                raise UsageError(f"features.{name} is {value!r}; expected a positive number")
        for name in ("sample_rate", "n_mels"):
            if not isinstance(getattr(self, name), int):
                raise UsageError(f"features.{name} is {getattr(self, name)!r}; expected a whole number")
        if self.hop_samples < 1 or self.window_samples < 2:
            raise UsageError(
                f"features: a window of {self.window_seconds} s and a hop of {self.hop_seconds} s are less than "
                f"two samples and one sample at {self.sample_rate} Hz"
            )
        if not 0 <= self.low_hz < self.top_hz <= self.sample_rate / 2:
            raise UsageError(
                f"features: got the band {self.low_hz}–{self.top_hz} Hz; expected 0 ≤ low_hz < high_hz ≤ "
                f"{self.sample_rate / 2} (half the sample rate)"
            )
        if self.floor < np.finfo(np.float32).tiny:
            raise UsageError(
                f"features.floor is {self.floor}; expected at least {np.finfo(np.float32).tiny}, for float32"
            )

    @property
    def window_samples(self) -> int:
        """Length of a frame in samples; also the length of its Fourier transform."""
        return round(self.window_seconds * self.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Distance between two frames in samples."""
        return round(self.hop_seconds * self.sample_rate)

    @property
    def top_hz(self) -> float:
        """Upper edge of the highest band in Hz."""
        return self.high_hz or self.sample_rate / 2

    @overload
    def num_frames(self, num_samples: int) -> int: ...
    @overload
    def num_frames(self, num_samples: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def num_frames(self, num_samples: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
        """Return the number of frames for `num_samples` samples: frame t is centred on sample t · hop."""
        return (1 + num_samples // self.hop_samples) * (num_samples > 0)


def mel_filterbank(config: LogMelConfig) -> NDArray[np.float32]:
    """Return librosa's Slaney-normalised triangular filters, ``(n_mels, window_samples // 2 + 1)`` float32.

    Raises
    ------
    MissingExtraError
        If librosa is not installed (only preparation and training need it).
    UsageError
        If the bands are so narrow that some contain no frequency of the Fourier transform.
    """
    try:
        from librosa.filters import mel
    except ImportError:
        raise MissingExtraError("librosa", "data", "making a mel filterbank") from None
    filterbank: NDArray[np.float32] = mel(
        sr=config.sample_rate,
        n_fft=config.window_samples,
        n_mels=config.n_mels,
        fmin=config.low_hz,
        fmax=config.top_hz,
        dtype=np.float32,
    )
    empty = int((filterbank.max(axis=1) == 0).sum())
    if empty:
        raise UsageError(
            f"{empty} of {config.n_mels} mel bands contain no frequency of a {config.window_samples}-point Fourier "
            "transform: use fewer bands or a longer window"
        )
    return filterbank


class LogMel:
    """Log-mel features of one utterance after another.

    Parameters
    ----------
    config : LogMelConfig
    filterbank : ndarray, shape (n_mels, window_samples // 2 + 1), float32, optional
        As stored in a bundle; computed by librosa when absent.

    Raises
    ------
    ModelError
        If the filterbank's shape does not fit the configuration.
    """

    def __init__(self, config: LogMelConfig, filterbank: NDArray[np.float32] | None = None) -> None:
        self.config = config
        self.filterbank = mel_filterbank(config) if filterbank is None else filterbank
        expected = (config.n_mels, config.window_samples // 2 + 1)
        if self.filterbank.shape != expected:
            raise ModelError(f"got a filterbank of shape {self.filterbank.shape}; the configuration needs {expected}")
        self._groups = list(_band_groups(self.filterbank))
        self._window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.window_samples) / config.window_samples)

    def __call__(self, samples: NDArray[np.floating[Any]]) -> NDArray[Any]:
        """Return the features of `samples`.

        Parameters
        ----------
        samples : ndarray, shape (num_samples,), float32 or float64
            Amplitudes in [-1, 1] at ``config.sample_rate``.

        Returns
        -------
        ndarray, shape (num_frames, n_mels), dtype of `samples`
            Natural logarithms of mel energies.

        Raises
        ------
        AudioError
            If the array is not one-dimensional, holds no sample, or is not of floats.
        """
        check_waveform(samples)
        config, dtype = self.config, samples.dtype
        window_samples, hop = config.window_samples, config.hop_samples
        samples = np.ascontiguousarray(samples)
        features = np.empty((config.num_frames(len(samples)), config.n_mels), dtype=dtype)
        blocks = _Blocks(self, dtype, len(features))
        for first in range(0, len(features), BLOCK_FRAMES):
            block = features[first : first + BLOCK_FRAMES]
            B = len(block)
            start = first * hop - window_samples // 2
            stretch = _padded_slice(samples, start, start + (B - 1) * hop + window_samples)
            # Overlapping views of the samples; unlike `as_strided`, this refuses to look beyond them.
            blocks.compute(
                np.ndarray((B, window_samples), dtype, stretch, 0, (hop * dtype.itemsize, dtype.itemsize)), block
            )
        return features

    def of_windows(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the features of windows of samples, which may be of many recordings.

        Parameters
        ----------
        windows : sequence of ndarray, each of shape (T, window_samples), float32

        Returns
        -------
        ndarray, shape (sum of T, n_mels), float32
        """
        features = np.empty((sum(map(len, windows)), self.config.n_mels), np.float32)
        blocks = _Blocks(self, features.dtype, len(features))
        place, waiting = 0, list(reversed(windows))
        while waiting:
            # As many as a block holds: those of short recordings together, those of a long one in parts.
            taken, count = [], 0
            while waiting and count < BLOCK_FRAMES:
                windows_of_one = waiting.pop()
                room = BLOCK_FRAMES - count
                if len(windows_of_one) > room:
                    waiting.append(windows_of_one[room:])
                taken.append(windows_of_one[:room])
                count += len(taken[-1])
            frames = taken[0] if len(taken) == 1 else np.concatenate(taken)
            if count:
                blocks.compute(frames, features[place : place + count])
            place += count
        return features


class _Blocks:
    """Computes the features of a block of windows in memory of its own: making it costs as much as the arithmetic."""

    def __init__(self, log_mel: LogMel, dtype: np.dtype[Any], num_frames: int) -> None:
        config = log_mel.config
        self._floor = config.floor
        self._window = log_mel._window.astype(dtype)
        self._groups = [(bins, bands, filters.astype(dtype, copy=False)) for bins, bands, filters in log_mel._groups]
        self._windowed = np.empty((min(BLOCK_FRAMES, num_frames), config.window_samples), dtype=dtype)
        self._power = np.empty((len(self._windowed), config.window_samples // 2 + 1), dtype=dtype)
        self._square = np.empty_like(self._power)

    def compute(self, frames: NDArray[Any], features: NDArray[Any]) -> None:
        """Write those of windows ``(B, window_samples)``, at most `BLOCK_FRAMES`, to `features` ``(B, n_mels)``."""
        from scipy.fft import rfft

        B = len(frames)
        spectrum = rfft(np.multiply(frames, self._window, out=self._windowed[:B]), axis=1, overwrite_x=True)
        power = self._power[:B]
        np.square(spectrum.real, out=power)
        power += np.square(spectrum.imag, out=self._square[:B])
        for bins, bands, filters in self._groups:
            np.matmul(power[:, bins], filters, out=features[:, bands])
        np.maximum(features, self._floor, out=features)
        np.log(features, out=features)


def check_waveform(samples: NDArray[Any]) -> None:
    """Refuse an array that holds no waveform ``(num_samples,)``.

    Raises
    ------
    AudioError
        If the array is not one-dimensional, holds no sample, or is not of floats.
    """
    if samples.ndim != 1 or samples.size == 0:
        raise AudioError(f"got samples of shape {samples.shape}; expected (num_samples,), at least one")
    if samples.dtype not in (np.float32, np.float64):
        raise AudioError(f"got samples of dtype {samples.dtype}; expected float32 or float64 in [-1, 1]")


def _band_groups(filterbank: NDArray[np.float32]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """Yield (frequencies, bands, their filters ``(frequencies, bands)``) for groups of neighbouring bands."""
    for bands in np.array_split(np.arange(len(filterbank)), min(BAND_GROUPS, len(filterbank))):
        used = np.flatnonzero(filterbank[bands].any(axis=0))
        bins = slice(used[0], used[-1] + 1) if len(used) else slice(0, 1)
        yield bins, slice(bands[0], bands[-1] + 1), np.ascontiguousarray(filterbank[bands, bins].T)


def _padded_slice(samples: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
    """Return ``samples[start:stop]`` with zeros for what lies before the first sample or after the last."""
    inside = samples[max(0, start) : max(0, stop)]
    if len(inside) == stop - start:
        return inside
    padded = np.zeros(stop - start, dtype=samples.dtype)
    before = max(0, -start)
    padded[before : before + len(inside)] = inside
    return padded
