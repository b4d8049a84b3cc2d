import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import UsageError
from asr.preparation.checks import Limits, Loudness, frames_needed, measure_loudness, reason_to_reject, too_few_frames


def shortest_path(text: str) -> int:
    """The fewest frames that collapse to `text`: a blank is needed only between equal neighbours."""
    frames, last = 0, ""
    for character in text:
        frames += 2 if character == last else 1
        last = character
    return frames


@given(st.lists(st.tuples(st.integers(1, 60), st.text("ab", max_size=20)), min_size=1))
def test_frames_for_ctc(utterances: list[tuple[int, str]]) -> None:
    frames = np.array([count for count, _ in utterances])
    needed = np.array([frames_needed(text) for _, text in utterances])
    assert too_few_frames(frames, needed) == {
        reduction: sum(len(range(0, count, reduction)) < shortest_path(text) for count, text in utterances)
        for reduction in (2, 4, 8)
    }


def test_levels() -> None:
    seconds = np.arange(8_000) / 8_000
    sine = np.sin(2 * np.pi * 123 * seconds).astype(np.float32)
    assert measure_loudness(0.5 * sine).level_db == pytest.approx(10 * np.log10(0.125), abs=1e-3)
    assert measure_loudness(np.zeros(10, dtype=np.float32)).level_db == -120
    clipped = np.clip(2 * sine, -1, 1)
    assert measure_loudness(clipped).clipped == pytest.approx(2 / 3, abs=0.01)
    # One sample at full scale is what normalising leaves.
    assert measure_loudness(np.array([0.1, 1.0, -0.2], dtype=np.float32)).clipped == 0


@pytest.mark.parametrize(
    ("seconds", "text", "level", "reason"),
    [
        (2.0, "some words", -25.0, None),
        (2.0, None, -25.0, None),
        (0.01, "a", -25.0, "too short"),
        (61.0, "a" * 100, -25.0, "too long"),
        (2.0, "some words", -90.0, "silence"),
        (2.0, "words " * 20, -25.0, "text too long for audio"),
        (10.0, "a", -25.0, "text too short for audio"),
    ],
)
def test_reasons(seconds: float, text: str | None, level: float, reason: str | None) -> None:
    found = reason_to_reject(seconds, text, Loudness(level, 0.0), Limits())
    assert (found[0] if found else None) == reason


def test_limits_are_checked() -> None:
    with pytest.raises(UsageError, match="min_seconds is 5 and max_seconds 1"):
        Limits(min_seconds=5, max_seconds=1)
