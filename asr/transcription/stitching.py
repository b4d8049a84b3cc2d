"""Log-probabilities of overlapping pieces → those of utterances, without a seam that a word could fall through."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.decoder import Labels
from asr.transcription.segments import CONTEXT_SECONDS, Piece

# Two readings of an overlap are compared over so much around each possible seam.
SEAM_SECONDS = 0.6
# Utterances longer than this are ended at the widest gap between two words in this stretch of them, if there is one;
# whatever they hold, none is longer than the last of these.
MIN_UTTERANCE_SECONDS = 8.0
LONG_UTTERANCE_SECONDS = 28.0
MAX_UTTERANCE_SECONDS = 60.0


@dataclass(frozen=True)
class Utterance:
    """What is decoded at once.

    Parameters
    ----------
    log_probs : ndarray, shape (T, V), float32
        Natural logarithms.
    start_seconds, end_seconds : float
        In the audio.
    """

    log_probs: NDArray[np.float32]
    start_seconds: float
    end_seconds: float


class Stitcher:
    """Takes the pieces of one recording in order, and gives its utterances.

    Two pieces that overlap read the same frames, each with context that the other lacks. The seam is where they
    agree best, so the joined log-probabilities have every token once. An utterance ends before a label that begins a
    word or where the speaker paused: decoding utterances one by one gives the words of decoding them as one.

    Parameters
    ----------
    labels : Labels
        What the columns of log-probabilities mean.
    frame_samples : int
        Samples from one frame to the next.
    sample_rate : int
        In Hz.
    """

    def __init__(self, labels: Labels, frame_samples: int, sample_rate: int) -> None:
        self._labels = labels
        self._frame_samples, self._rate = frame_samples, sample_rate
        self._rows = np.zeros((0, len(labels)), np.float32)
        # The frame of the span that is the first of `_rows`.
        self._first_frame = 0

    def push(self, piece: Piece, log_probs: NDArray[np.float32]) -> Iterator[Utterance]:
        """Add the next piece, with its log-probabilities ``(T, V)``, and yield the utterances that end in it."""
        offset = piece.offset // self._frame_samples
        if offset == 0:
            self._rows, self._first_frame = log_probs, 0
        else:
            first = offset - self._first_frame
            before, after = self._rows[first:], log_probs[: len(self._rows) - first]
            seam = find_seam(before, after, self._labels, self._frames(SEAM_SECONDS))
            self._rows = np.concatenate((self._rows[: first + seam], log_probs[seam:]))
        # The next piece may change what it overlaps.
        settled = len(self._rows) if piece.is_last else len(self._rows) - self._frames(2 * CONTEXT_SECONDS) - 1
        while settled > self._frames(LONG_UTTERANCE_SECONDS):
            frame = self._end_of_utterance(settled)
            if frame is None:
                break
            yield self._take(frame, piece, piece.span_start + (self._first_frame + frame) * self._frame_samples)
            settled -= frame
        if piece.is_last:
            yield self._take(len(self._rows), piece, piece.end)

    def _end_of_utterance(self, settled: int) -> int | None:
        first, last = self._frames(MIN_UTTERANCE_SECONDS), self._frames(LONG_UTTERANCE_SECONDS)
        frame = widest_gap(self._rows[:settled], self._labels, first, min(last, settled))
        if frame is None and settled > (longest := self._frames(MAX_UTTERANCE_SECONDS)):
            return first + int(self._rows[first:longest, self._labels.blank].argmax())
        return frame

    def _take(self, frame: int, piece: Piece, end: int) -> Utterance:
        start = (piece.span_start + self._first_frame * self._frame_samples) / self._rate
        rows, self._rows = self._rows[:frame], self._rows[frame:]
        self._first_frame += frame
        return Utterance(rows, start, end / self._rate)

    def _frames(self, seconds: float) -> int:
        return round(seconds * self._rate / self._frame_samples)


def find_seam(before: NDArray[np.float32], after: NDArray[np.float32], labels: Labels, window: int) -> int:
    """Return where to go over from one reading of the same frames to the other.

    Parameters
    ----------
    before, after : ndarray, each ``(T, V)`` float32
        Natural log-probabilities of the same frames, by two pieces of audio: `before` lacks what follows the last
        frame, `after` what precedes the first.
    labels : Labels
    window : int
        Frames around the seam, half of them on either side, in which the readings shall agree.

    Returns
    -------
    int
        The first frame to take from `after`: that with the least total variation between the two readings around it,
        in the middle half of the overlap; among equals one at a blank, then the middle one.
    """
    T = len(before)
    if T < 4:
        return T // 2
    probs = np.exp(before), np.exp(after)
    variation = 0.5 * np.abs(probs[0] - probs[1]).sum(axis=1)
    half = min(window // 2, T // 4)
    totals = np.concatenate(([0.0], np.cumsum(variation)))
    seams = np.arange(T // 4, T - T // 4 + 1)
    around = totals[np.minimum(seams + half, T)] - totals[np.maximum(seams - half, 0)]
    # Within a label that both read, the seam does no harm; at a blank in both it can do none.
    spoken = np.maximum(*(1.0 - reading[:, labels.blank] for reading in probs))
    at_label = 0.1 * np.maximum(spoken[seams - 1], spoken[np.minimum(seams, T - 1)])
    off_centre = 0.01 * np.abs(2 * seams - T) / T
    return int(seams[(around + at_label + off_centre).argmin()])


def widest_gap(log_probs: NDArray[np.float32], labels: Labels, first: int, last: int) -> int | None:
    """Return the frame before the word that begins after the longest time without a letter, or None if none does.

    Parameters
    ----------
    log_probs : ndarray, shape (T, V), float32
    labels : Labels
    first, last : int
        The frame is in ``first <= frame < last``.
    """
    best = log_probs.argmax(axis=1)
    is_letter = np.array([bool(text) for text in labels.letters])[best]
    begins_word = np.array(labels.begins_word)[best]
    is_new = np.diff(best, prepend=-1) != 0
    starts = np.flatnonzero(begins_word & is_new)
    letters = np.flatnonzero(is_letter)
    starts = starts[(starts >= first) & (starts < last)]
    if not len(letters):
        return last - 1
    if not len(starts):
        return None
    after = np.searchsorted(letters, starts)
    gap_begins = np.where(after > 0, letters[np.maximum(after - 1, 0)], -1)
    gap_ends = np.where(after < len(letters), letters[np.minimum(after, len(letters) - 1)], len(best))
    return int(starts[(gap_ends - gap_begins).argmax()])
