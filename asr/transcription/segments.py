"""Audio → the pieces to recognise: without long silences, and no longer than training utterances.

Long silences are left out: they take time, and would shift the features of models that normalise them over the
utterance. What stands between two of them, a span, is recognised on its own. A span that is too long for that is cut
where it is quietest into pieces that overlap; `asr.transcription.stitching` puts their log-probabilities together.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.audio.levels import LEVEL_SECONDS, SILENCE_DB, level_step, measure_levels

# Speech and pauses are told apart at this part of the range from the quietest tenth to the loudest twentieth of the
# frames around, if that range is wide enough to tell them apart.
THRESHOLD = 0.35
MIN_RANGE_DB = 15.0
# Around: so long before and after. A minute of room tone at the start is known for what it is by the speech after it.
LOOK_BACK_SECONDS = 600.0
LOOK_AHEAD_SECONDS = 300.0
# A pause this long ends a span; so much of it stays on either side.
PAUSE_SECONDS = 0.7
MARGIN_SECONDS = 0.3

# Spans of at most MAX_SECONDS are one piece. Others are cut between MIN_SECONDS and MAX_SECONDS after the last cut.
MIN_SECONDS = 10.0
MAX_SECONDS = 25.0
# Pieces reach so far beyond their cuts: their last words have context there, and their seam a choice of places.
CONTEXT_SECONDS = 2.0
# A tone has this share of its power in so few bands of so many Hz, speech of at least so many seconds far less: at most
# 0.6 in half a second of AN4's test set. Its loudest tenths of a second have 0.98.
TONE_SHARE = 0.85
TONE_SHARE_OF_SHORT = 0.985
TONE_BANDS = 4
TONE_HZ = 10.0
TONE_SECONDS = 0.5
# The energy that decides on a cut is that of this stretch: longer than a stop consonant, shorter than a pause.
QUIET_SECONDS = 0.2


@dataclass(frozen=True)
class Piece:
    """The place of a piece of audio that is recognised at once.

    Parameters
    ----------
    span_start : int
        The sample of the audio at which the piece's span starts.
    offset : int
        The piece's first sample, counted from there; 0 for the first of a span. A multiple of the model's frame, so
        that all pieces of a span share one grid of frames.
    num_samples : int
        Its length.
    is_last : bool
        Whether the span ends with it.
    """

    span_start: int
    offset: int
    num_samples: int
    is_last: bool

    @property
    def end(self) -> int:
        """The sample of the audio after the piece's last."""
        return self.span_start + self.offset + self.num_samples


def cut_audio(
    blocks: Iterable[NDArray[np.float32]], sample_rate: int, frame_samples: int, max_seconds: float = 0.0
) -> Iterator[tuple[Piece, NDArray[np.float32]]]:
    """Yield the pieces of audio to recognise and their samples, in order; none where all is silence.

    What lies more than `LOOK_AHEAD_SECONDS` ahead has no part in a decision: memory does not grow with the audio,
    and pieces do not depend on how it comes in blocks.

    Parameters
    ----------
    blocks : iterable of ndarray, each ``(num_samples,)`` float32
    sample_rate : int
        In Hz.
    frame_samples : int
        Samples from one frame of the model's output to the next: pieces start at multiples of it within their span.
    max_seconds : float
        The longest piece that the model takes; 0, or more than pieces ever are: as long as `MAX_SECONDS` says.
    """
    cutter = _Cutter(_Window(level_step(sample_rate)), sample_rate, frame_samples, max_seconds)
    for block in blocks:
        cutter.window.push(block)
        yield from cutter.pieces(is_end=False)
    cutter.window.finish()
    yield from cutter.pieces(is_end=True)


def is_tone(samples: NDArray[np.float32], sample_rate: int) -> bool:
    """Tell whether samples ``(num_samples,)`` are no speech: a tone or a few, such as a telephone's, or a constant."""
    if len(samples) < 3 or samples.std(dtype=np.float64) <= 10 ** (SILENCE_DB / 20):
        return True
    from scipy.fft import next_fast_len, rfft

    # Differences, since the fundamental of a low voice can outweigh all the rest of it.
    sound = np.diff(samples) * (0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, len(samples) - 1, dtype=np.float32)))
    size = next_fast_len(max(len(sound), round(sample_rate / TONE_HZ)), real=True)
    spectrum = rfft(sound, size)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    starts = np.arange(0, len(power), TONE_HZ * size / sample_rate).astype(int)
    bands = np.sort(np.add.reduceat(power, starts))
    is_short = len(samples) < TONE_SECONDS * sample_rate
    return bool(bands[-TONE_BANDS:].sum() >= (TONE_SHARE_OF_SHORT if is_short else TONE_SHARE) * bands.sum())


def loudness_threshold(levels: NDArray[np.float32]) -> float:
    """Return the level in dB above which there is speech, as far as `levels` tell pauses from speech at all."""
    audible = levels[levels > SILENCE_DB]
    if not len(audible):
        return SILENCE_DB
    low, high = np.percentile(audible, (10, 95))
    return float(low + THRESHOLD * (high - low)) if high - low >= MIN_RANGE_DB else SILENCE_DB


def quietest(samples: NDArray[np.float32], quiet: int) -> int:
    """Return the middle of the `quiet` samples in a row that have the least energy."""
    # In float64: a running sum of squares over seconds loses small differences in float32.
    energy = np.cumsum(np.square(samples, dtype=np.float64))
    windowed = energy[quiet:] - energy[:-quiet] if len(energy) > quiet else energy[:1]
    return int(windowed.argmin()) + quiet // 2


class _Window:
    """The part of the audio that is kept: samples and levels, both counted from the start of the audio.

    Parameters
    ----------
    step : int
        Samples of one level.
    """

    def __init__(self, step: int) -> None:
        self.step = step
        self.num_samples = 0
        self._samples = np.zeros(0, np.float32)
        self._levels = np.zeros(0, np.float32)
        self._first_sample = self._first_level = 0

    def push(self, block: NDArray[np.float32]) -> None:
        """Add samples, and measure the levels of whole steps."""
        self._samples = np.concatenate((self._samples, block))
        self.num_samples += len(block)
        self._measure(self.num_samples // self.step * self.step)

    def finish(self) -> None:
        """Measure the rest."""
        self._measure(self.num_samples)

    @property
    def num_levels(self) -> int:
        """Levels measured so far."""
        return self._first_level + len(self._levels)

    def samples(self, begin: int, end: int) -> NDArray[np.float32]:
        """Return samples that are kept."""
        return self._samples[begin - self._first_sample : end - self._first_sample]

    def levels(self, begin: int, end: int) -> NDArray[np.float32]:
        """Return levels, those that are kept."""
        return self._levels[max(0, begin - self._first_level) : end - self._first_level]

    def forget(self, sample: int, level: int) -> None:
        """Let go of what lies before a sample and a level."""
        if sample > self._first_sample:
            self._samples = self._samples[sample - self._first_sample :]
            self._first_sample = sample
        if level > self._first_level:
            self._levels = self._levels[level - self._first_level :]
            self._first_level = level

    def _measure(self, end: int) -> None:
        new = measure_levels(self.samples(self.num_levels * self.step, end), self.step)
        self._levels = np.concatenate((self._levels, new))


class _Cutter:
    """The state of `cut_audio`; positions are samples of the audio, levels are counted from its start."""

    def __init__(self, window: _Window, sample_rate: int, frame_samples: int, max_seconds: float) -> None:
        self.window = window
        self._frame = frame_samples
        # Pieces with their contexts are as long as is usual, or all parts of them are shorter alike.
        usual = MAX_SECONDS + 2 * CONTEXT_SECONDS
        share = min(1.0, (max_seconds - 2 * frame_samples / sample_rate) / usual) if max_seconds else 1.0
        self._shortest, self._longest = (round(share * s * sample_rate) for s in (MIN_SECONDS, MAX_SECONDS))
        self._context = round(share * CONTEXT_SECONDS * sample_rate / frame_samples) * frame_samples
        self._quiet = max(1, round(QUIET_SECONDS * sample_rate))
        # What lies before is decided: within a span (which started there, was loud last at that level, and is read by
        # its pieces up to that sample), or not.
        self._position = 0
        self._span_start: int | None = None
        self._last_loud = 0
        self._read_to = 0

    def pieces(self, *, is_end: bool) -> Iterator[tuple[Piece, NDArray[np.float32]]]:
        """Yield what can be decided; all of it at the end of the audio."""
        window, look_ahead, look_back = self.window, _steps(LOOK_AHEAD_SECONDS), _steps(LOOK_BACK_SECONDS)
        while self._position < window.num_samples:
            here = self._position // window.step
            if window.num_levels - here < look_ahead and not is_end:
                return
            threshold = loudness_threshold(window.levels(here - look_back, here + look_ahead))
            loud = here + np.flatnonzero(window.levels(here, here + look_ahead) > threshold)
            end = window.num_levels if here + look_ahead >= window.num_levels and is_end else None
            if self._span_start is not None:
                piece = self._next_piece(loud, end)
                yield piece, window.samples(piece.end - piece.num_samples, piece.end)
            elif len(loud):
                self._open_span(int(loud[0]))
            else:
                # A margin stays for the speech that may follow.
                self._position = (
                    window.num_samples if end else (here + look_ahead - _steps(MARGIN_SECONDS)) * window.step
                )
            window.forget(self._position - self._context, self._position // window.step - look_back)

    def _open_span(self, first_loud: int) -> None:
        # A margin at an end of the audio that is shorter than a pause is left as it is.
        begin = 0 if first_loud <= _steps(PAUSE_SECONDS) else first_loud - _steps(MARGIN_SECONDS)
        self._position = self._span_start = self._read_to = max(self._position, begin * self.window.step)
        self._last_loud = first_loud

    def _next_piece(self, loud: NDArray[np.intp], end: int | None) -> Piece:
        """Return the piece that starts at the position, within a span; `end` is the audio's last level if in sight."""
        assert self._span_start is not None
        start, span_start = self._position, self._span_start
        span_end = self._span_end(loud, end)
        first = max(span_start, start - self._context)
        if span_end is not None and span_end - start <= self._longest:
            self._position, self._span_start = span_end, None
            return Piece(span_start, first - span_start, span_end - first, is_last=True)
        # What is left for the next piece shall not be too short either.
        latest = self._longest if span_end is None else min(self._longest, span_end - start - self._shortest)
        samples = self.window.samples(start + self._shortest, start + latest)
        cut = start + self._shortest + quietest(samples, self._quiet)
        cut = span_start + round((cut - span_start) / self._frame) * self._frame
        before = loud[loud < cut // self.window.step]
        self._last_loud = int(before[-1]) if len(before) else self._last_loud
        self._position = cut
        self._read_to = cut + self._context if span_end is None else min(span_end, cut + self._context)
        return Piece(span_start, first - span_start, self._read_to - first, is_last=False)

    def _span_end(self, loud: NDArray[np.intp], end: int | None) -> int | None:
        """Return the sample at which the span ends, or None if it goes on for as long as can be seen."""
        after = np.append(self._last_loud, loud[loud > self._last_loud])
        breaks = np.flatnonzero(np.diff(after) > _steps(PAUSE_SECONDS))
        last = int(after[breaks[0]] if len(breaks) else after[-1])
        if end is not None and last + _steps(PAUSE_SECONDS) >= end:
            return self.window.num_samples
        seen = self._position // self.window.step + _steps(LOOK_AHEAD_SECONDS)
        if not len(breaks) and end is None and last + _steps(PAUSE_SECONDS) >= seen:
            return None
        # By what has been heard since, what was loud may count as quiet: then the span ends with the piece before.
        return max((last + 1 + _steps(MARGIN_SECONDS)) * self.window.step, self._read_to)


def _steps(seconds: float) -> int:
    """Return how many levels are measured in `seconds`."""
    return round(seconds / LEVEL_SECONDS)
