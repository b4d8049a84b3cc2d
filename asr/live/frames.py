"""A stream of samples → features, frame by frame."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import AudioError
from asr.features import LogMel


class FeatureStream:
    """The features of a stream of samples of any rate, in chunks of any size.

    A frame is ready as soon as the last sample of its window is there. The values are those of `LogMel` on all samples
    at once, rounded to float16. Adding samples is cheap: features are computed later, for many streams together.

    Parameters
    ----------
    log_mel : LogMel
    source_rate : int
        Sample rate of the stream, in Hz.

    Attributes
    ----------
    num_samples : int
        Number of samples added.
    """

    def __init__(self, log_mel: LogMel, source_rate: int) -> None:
        config = log_mel.config
        self._log_mel, self._config = log_mel, config
        self._window, self._hop = config.window_samples, config.hop_samples
        self._resampler: Any = None
        if source_rate != config.sample_rate:
            import soxr

            self._resampler = soxr.ResampleStream(source_rate, config.sample_rate, 1, dtype="float32", quality="HQ")
        # From the next frame's window on. The first sample is preceded by half a window of zeros.
        self._kept = [np.zeros(self._window // 2, np.float32)]
        self._num_kept = self._window // 2
        # At the rate of the features.
        self._num_resampled = self._num_frames = 0
        self._is_ended = False
        self.num_samples = 0

    @property
    def num_ready(self) -> int:
        """How many frames `take` would return."""
        return max(0, 1 + (self._num_kept - self._window) // self._hop)

    def add(self, samples: NDArray[np.float32]) -> None:
        """Add samples ``(N,)``.

        Raises
        ------
        AudioError
            After `end`.
        """
        if self._is_ended:
            raise AudioError("got samples after the end of the stream")
        self.num_samples += len(samples)
        self._keep(samples if self._resampler is None else self._resampler.resample_chunk(samples))

    def end(self) -> None:
        """End the stream, which is padded with zeros."""
        if self._resampler is not None and not self._is_ended:
            self._keep(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        self._is_ended = True
        left = self._config.num_frames(self._num_resampled) - self._num_frames if self.num_samples else 0
        lacking = (left - 1) * self._hop + self._window - self._num_kept
        if left > 0 and lacking > 0:
            self._kept.append(np.zeros(lacking - max(0, -self._num_kept), np.float32))
            self._num_kept += lacking

    def take(self) -> NDArray[np.float32]:
        """Return the windows ``(T, window_samples)`` of the new frames, and drop older samples."""
        count = self.num_ready
        if not count:
            return np.zeros((0, self._window), np.float32)
        samples = np.concatenate(self._kept)
        self._num_frames += count
        passed = count * self._hop
        self._kept = [samples[passed:].copy()]
        self._num_kept = len(samples) - passed
        step = self._hop * samples.itemsize
        # Overlapping views of the samples; unlike `as_strided`, this refuses to look beyond them.
        return np.ndarray((count, self._window), np.float32, samples, 0, (step, samples.itemsize))

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add samples ``(N,)``, and return the features ``(T, F)`` of the frames that they complete."""
        self.add(samples)
        return features_of(self._log_mel, [self.take()])[0]

    def finish(self) -> NDArray[np.float32]:
        """End the stream, and return the features ``(T, F)`` of the frames that are left."""
        self.end()
        return features_of(self._log_mel, [self.take()])[0]

    def _keep(self, samples: NDArray[np.float32]) -> None:
        # If the hop is longer than the window, some samples are in no frame.
        self._kept.append(samples[max(0, -self._num_kept) :])
        self._num_kept += len(samples)
        self._num_resampled += len(samples)


def features_of(log_mel: LogMel, windows: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return the features ``(T, F)`` of each stream's windows ``(T, window_samples)``, rounded to float16."""
    # float16, as in stores.
    features = log_mel.of_windows(windows).astype(np.float16).astype(np.float32)
    return np.split(features, np.cumsum([len(part) for part in windows])[:-1])


def check_samples(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return a chunk of mono samples as float32 in [-1, 1].

    Raises
    ------
    AudioError
        If it is of another shape or type, or has values that are no samples.
    """
    from asr.audio.sources import float_samples

    if not isinstance(samples, np.ndarray) or samples.ndim != 1:
        shape = getattr(samples, "shape", None)
        raise AudioError(
            f"got {f'samples of shape {shape}' if shape else type(samples).__name__}; expected (num_samples,)"
        )
    mono = float_samples(samples)
    if not np.isfinite(mono).all():
        raise AudioError("got NaN or infinite samples; expected finite ones")
    return mono
