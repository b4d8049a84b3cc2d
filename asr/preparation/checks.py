"""What can be wrong with an utterance: measured on its samples, and compared with limits."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import UsageError
from asr.tokenizer import min_frames

# Time reductions at which the frames that CTC needs are counted; which one counts is known at training only.
REDUCTIONS = (2, 4, 8)

# A sample this near to full scale is taken as clipped.
CLIPPED_AMPLITUDE = 0.999
SILENT_DB = -120.0


@dataclass(frozen=True)
class Limits:
    """Outside these an utterance is left out of the store.

    Parameters
    ----------
    min_seconds, max_seconds : float
        Duration.
    min_characters_per_second, max_characters_per_second : float
        Transcript against duration: a number far off says that they do not belong together.
    min_level_db : float
        RMS level relative to full scale, in dB: what is below is silence.
    max_clipped : float
        Fraction of samples at full scale above which an utterance is reported as clipped; it is kept.

    Raises
    ------
    UsageError
        If a lower limit is not below its upper one.
    """

    min_seconds: float = 0.1
    max_seconds: float = 60.0
    min_characters_per_second: float = 0.2
    max_characters_per_second: float = 40.0
    min_level_db: float = -70.0
    max_clipped: float = 0.005

    def __post_init__(self) -> None:
        for name in ("seconds", "characters_per_second"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if not 0 <= low < high:
                raise UsageError(f"limits: min_{name} is {low} and max_{name} {high}; expected 0 ≤ min < max")


@dataclass(frozen=True)
class Loudness:
    """How loud an utterance is.

    Parameters
    ----------
    level_db : float
        RMS level relative to full scale, in dB; at least -120.
    clipped : float
        Fraction of its samples at full scale.
    """

    level_db: float
    clipped: float


def measure_loudness(samples: NDArray[np.float32]) -> Loudness:
    """Return the loudness of `samples` ``(num_samples,)`` in [-1, 1]."""
    power = float(np.dot(samples, samples)) / len(samples)
    level_db = max(SILENT_DB, 10 * math.log10(power)) if power > 0 else SILENT_DB
    # Most recordings are nowhere near full scale: two cheap passes spare them the third.
    peak = max(float(samples.max()), -float(samples.min()))
    clipped = int((np.abs(samples) >= CLIPPED_AMPLITUDE).sum()) if peak >= CLIPPED_AMPLITUDE else 0
    # Single samples at full scale are what normalising to the peak leaves.
    return Loudness(level_db, clipped / len(samples) if clipped > 1 else 0.0)


def reason_to_reject(
    duration_seconds: float, text: str | None, loudness: Loudness, limits: Limits
) -> tuple[str, str] | None:
    """Return (reason, detail) if an utterance must be left out, else None.

    Parameters
    ----------
    duration_seconds : float
    text : str or None
        Normalised transcript; None for noise and impulse responses, which have none.
    loudness : Loudness
    limits : Limits
    """
    if duration_seconds < limits.min_seconds:
        return "too short", f"{duration_seconds:.3f} s; expected at least {limits.min_seconds:g} s"
    if duration_seconds > limits.max_seconds:
        return "too long", f"{duration_seconds:.1f} s; expected at most {limits.max_seconds:g} s"
    if loudness.level_db < limits.min_level_db:
        return "silence", f"level {loudness.level_db:.0f} dB; expected at least {limits.min_level_db:g} dB"
    if text is None:
        return None
    rate = len(text) / duration_seconds
    low, high = limits.min_characters_per_second, limits.max_characters_per_second
    if rate > high:
        return "text too long for audio", f"{rate:.1f} characters/s; expected at most {high:g}"
    if rate < low:
        return "text too short for audio", f"{rate:.2f} characters/s; expected at least {low:g}"
    return None


def frames_needed(text: str) -> int:
    """Return the output frames that CTC needs for the characters of `text`: labels + adjacent repeats."""
    return min_frames([ord(character) for character in text])


def too_few_frames(num_frames: NDArray[Any], needed: NDArray[Any]) -> dict[int, int]:
    """Count the utterances too short for CTC at each time reduction of `REDUCTIONS`.

    Parameters
    ----------
    num_frames, needed : ndarray, shape (N,), integer
        Feature frames, and output frames that the transcripts need.
    """
    return {reduction: int((-(-num_frames // reduction) < needed).sum()) for reduction in REDUCTIONS}
