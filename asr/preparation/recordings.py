"""The samples of a planned utterance, and why a recording that fails is rejected."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioWarning, IncompleteAudioWarning, load_audio, resample
from asr.errors import AsrError, AudioError, DataError, MissingExtraError
from asr.preparation.plan import PlannedUtterance

# A stated duration that differs from the real one by more is no matter of rounding.
MAX_DIFFERENCE_SECONDS = 0.5


class DurationError(AudioError):
    """Audio that is not as long as the corpus says."""


class TruncatedAudioError(AudioError):
    """Audio that ends before its header says: what is missing may be in the transcript."""


def read_planned(planned: PlannedUtterance, roots: Sequence[str], rate: int) -> NDArray[np.float32]:
    """Return the samples of a planned utterance: its recordings joined, with their gaps, at its speed."""
    parts: list[NDArray[np.float32]] = []
    for position, (root, name, size) in enumerate(planned.files):
        path = Path(roots[root], name) if root >= 0 else Path(name)
        _check_unchanged(path, size)
        try:
            part = _load(path, rate, planned)
        finally:
            _check_unchanged(path, size)
        if position and planned.gaps_seconds:
            parts.append(np.zeros(round(planned.gaps_seconds[position - 1] * rate), dtype=np.float32))
        parts.append(part)
    samples = np.concatenate(parts) if len(parts) > 1 else parts[0]
    if planned.speed != 1.0:
        samples = resample(samples, round(rate * planned.speed), rate)
    return samples


def _load(path: Path, rate: int, planned: PlannedUtterance) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        warnings.simplefilter("error", IncompleteAudioWarning)
        try:
            waveform = load_audio(
                path,
                rate,
                start_seconds=planned.start_seconds,
                end_seconds=planned.end_seconds,
                channels=planned.channels or None,
            )
        except IncompleteAudioWarning as warning:
            raise TruncatedAudioError(str(warning)) from None
    _check_duration(path, waveform.duration_seconds, planned)
    return waveform.samples


def _check_duration(path: Path, heard: float, planned: PlannedUtterance) -> None:
    """Refuse audio that is not as long as the corpus says: the transcript is of another, or of more."""
    if planned.end_seconds is not None and planned.end_seconds - planned.start_seconds - heard > MAX_DIFFERENCE_SECONDS:
        end = planned.start_seconds + heard
        raise DurationError(f"{path}: the part ends at {planned.end_seconds:g} s, but the audio ends at {end:.2f} s")
    # Some tables state milliseconds.
    differences = [abs(stated - heard) for stated in (planned.stated_seconds, planned.stated_seconds / 1000)]
    if planned.stated_seconds and min(differences) > MAX_DIFFERENCE_SECONDS:
        raise DurationError(f"{path}: lasts {heard:.2f} s, but the corpus states {planned.stated_seconds:g} s")


def _check_unchanged(path: Path, size: int) -> None:
    try:
        now = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: disappeared during the preparation ({error.strerror}): run it again") from None
    if now != size:
        raise DataError(
            f"{path}: changed during the preparation ({size} bytes at first, now {now}): let nothing write to the "
            "corpus, and run the same command again"
        )


def audio_reason(error: AsrError) -> str:
    """Return the reason for a rejection, in the words of the report, from the error that reading raised."""
    if isinstance(error, MissingExtraError):
        return "needs PyAV"
    if isinstance(error, TruncatedAudioError):
        return "truncated audio"
    if isinstance(error, DurationError):
        return "part beyond the audio" if ": the part ends" in str(error) else "duration not as stated"
    if ": the part starts at" in str(error):
        return "part beyond the audio"
    # With the colon: a file's name may have these words in it too.
    return "empty audio" if re.search(r": (is empty|holds no samples)", str(error)) else "unreadable audio"
