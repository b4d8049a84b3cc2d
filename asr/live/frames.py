"""Samples as they come → the features of the whole, frame by frame."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import AudioError
from asr.features import LogMel


class FeatureStream:
    """The features of a stream of samples of any rate, in chunks of any size.

    A frame is given as soon as the last sample of its window is there. The values are those of `LogMel` on all
    samples at once, rounded to float16.

    Parameters
    ----------
    log_mel : LogMel
    source_rate : int
        The rate of what is pushed, in Hz.

    Attributes
    ----------
    num_samples : int
        How many samples were pushed.
    """

    def __init__(self, log_mel: LogMel, source_rate: int) -> None:
        config = log_mel.config
        self._log_mel, self._config = log_mel, config
        self._resampler: Any = None
        if source_rate != config.sample_rate:
            import soxr

            self._resampler = soxr.ResampleStream(source_rate, config.sample_rate, 1, dtype="float32", quality="HQ")
        # So many frames before the first that is wanted are computed too: their windows reach into its own.
        self._margin = -(-(config.window_samples // 2) // config.hop_samples)
        # The samples that are kept begin with that of frame number `_first`, less the margin.
        self._samples = np.zeros(0, np.float32)
        self._first = 0
        self._begin = 0
        self._is_ended = False
        self.num_samples = 0

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features ``(T, F)`` of the frames that `samples` ``(N,)`` complete."""
        if self._is_ended:
            raise AudioError("got samples after the end of the stream")
        self.num_samples += len(samples)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._samples = np.concatenate((self._samples, samples))
        end = self._begin + len(self._samples)
        window, hop = self._config.window_samples, self._config.hop_samples
        # Frame t needs the samples before t · hop - window // 2 + window.
        return self._frames(max(0, (end - window + window // 2) // hop + 1))

    def finish(self) -> NDArray[np.float32]:
        """Return the features of the frames that are left: beyond the end there are zeros."""
        if self._resampler is not None and not self._is_ended:
            rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            self._samples = np.concatenate((self._samples, rest))
        self._is_ended = True
        if not self.num_samples:
            return self._frames(0)
        return self._frames(self._config.num_frames(self._begin + len(self._samples)))

    def _frames(self, last: int) -> NDArray[np.float32]:
        """Return the features of the frames from the next one to `last`, and forget what lies before."""
        config = self._config
        if last <= self._first:
            return np.zeros((0, config.n_mels), np.float32)
        skipped = self._first - self._begin // config.hop_samples
        features = self._log_mel(self._samples)[skipped : skipped + last - self._first]
        self._first = last
        begin = max(0, last - self._margin) * config.hop_samples
        self._samples = self._samples[begin - self._begin :]
        self._begin = begin
        # Through float16, as stores keep them.
        return features.astype(np.float16).astype(np.float32)


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
