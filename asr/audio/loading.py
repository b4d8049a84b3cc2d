"""Audio all at once: a file, bytes, file object or array → a waveform."""

import os
import warnings
from collections.abc import Sequence

import numpy as np

from asr.audio.sources import AudioSource, Waveform
from asr.audio.stream import AudioStream


def load_audio(
    source: AudioSource,
    sample_rate: int,
    *,
    source_rate: int | None = None,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    channels: Sequence[int] | None = None,
    audio_track: int | None = None,
) -> Waveform:
    """Read audio, mix its channels down to one and resample it.

    Parameters
    ----------
    source : path, bytes, binary file object, Waveform, or ndarray
        An array is ``(num_samples,)`` or ``(num_samples, channels)``; floats are taken in [-1, 1], integers are
        divided by the full scale of their type.
    sample_rate : int
        Wanted rate in Hz.
    source_rate : int, optional
        The rate of an array in Hz; required for arrays, ignored for files, which state their own.
    start_seconds, end_seconds : float
        The part of the file to read; the whole by default.
    channels : sequence of int, optional
        The channels, counted from 0, that are averaged; all by default.
    audio_track : int, optional
        Which audio track of a film to read, counted from 0; by default the first. Needs PyAV.

    Returns
    -------
    Waveform
        float32, mono, at `sample_rate`.

    Warns
    -----
    AudioWarning
        If its channels cancel each other, or it has several audio tracks; an `IncompleteAudioWarning` if the file
        ends before its header or its packets say, or grows while it is read.

    Raises
    ------
    AudioError
        If the source is missing, empty, not audio, has no samples (in that part), or holds NaN or infinite
        samples; if an array has floats far outside [-1, 1] or no rate.
    MissingExtraError
        If the format needs PyAV and it is not installed.
    """
    with AudioStream(
        source,
        sample_rate,
        source_rate=source_rate,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        channels=channels,
        audio_track=audio_track,
    ) as audio:
        blocks = list(audio)
        for warning in audio.warnings:
            warnings.warn(warning, stacklevel=2)
    return Waveform(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), sample_rate)


def audio_duration(path: str | os.PathLike[str]) -> float:
    """Return the duration of an audio file in seconds, from its header where the format has one.

    Raises
    ------
    AudioError
        As `load_audio`.
    """
    with AudioStream(path, 16_000) as audio:
        return audio.stated_seconds or sum(map(len, audio)) / audio.sample_rate
