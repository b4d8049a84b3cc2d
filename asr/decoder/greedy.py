"""Greedy decoding: the best label of each frame, repeats collapsed, blanks dropped (Graves et al. 2006, 3.2)."""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.batch import map_on_threads
from asr.decoder.hypothesis import NOT_ENDED, UNLISTED, Hypothesis, TokenSpan, Writer, text_of
from asr.decoder.labels import Labels
from asr.decoder.log_probs import check_log_probs, label_offsets
from asr.decoder.options import BeamOptions
from asr.errors import DecodingError


class GreedyDecoder:
    """Takes the best path: fast, without a language model, NumPy only.

    Parameters
    ----------
    labels
        The V labels, a list of their texts, or label → index: see `asr.decoder.Labels`.
    blank
        The blank's index; by default that of `labels`: see there.
    frame_seconds
        Seconds from one frame of the log-probs to the next; with the default, 1, times count frames.
    label_priors, prior_weight, blank_scale
        As of `BeamSearchDecoder` and `BeamOptions`.
    normalise
        Whether inputs are raw logits, to be made log-probabilities first.

    Raises
    ------
    DecodingError
        If the labels are not usable, or `frame_seconds` is not positive.

    Examples
    --------
    >>> decoder = GreedyDecoder(["<blank>", "a", "b"], frame_seconds=0.04)
    >>> decoder(np.log([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]))[0].text
    'aa'
    """

    def __init__(
        self,
        labels: Labels | Sequence[str] | Mapping[str, int],
        *,
        blank: int | None = None,
        frame_seconds: float = 1.0,
        label_priors: npt.ArrayLike | None = None,
        prior_weight: float = 0.3,
        blank_scale: float = 1.0,
        normalise: bool = False,
    ) -> None:
        self.labels = Labels.of(labels, blank)
        self.frame_seconds = check_frame_seconds(frame_seconds)
        self.normalise = normalise
        # They are checked as those of the beam search.
        BeamOptions(prior_weight=prior_weight, blank_scale=blank_scale)
        self._offsets = label_offsets(self.labels, label_priors, prior_weight, blank_scale)
        self._never = np.flatnonzero(self.labels.is_special)

    def __call__(self, log_probs: npt.ArrayLike) -> list[Hypothesis]:
        """Decode one utterance.

        Parameters
        ----------
        log_probs
            Natural log-probabilities ``(T, V)`` of any float type.

        Returns
        -------
        list of one Hypothesis
            Its acoustic score is the log-probability of the best path (without priors and blank scale), not of all
            alignments of its text: a lower bound of what `BeamSearchDecoder` reports for the same text.

        Raises
        ------
        DecodingError
            If the array holds no valid log-probs, or does not fit the labels.
        """
        frames = check_log_probs(log_probs, len(self.labels), normalise=self.normalise)
        best, values = self.best_path(frames)
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        ends = np.append(starts[1:], len(best))
        means = np.add.reduceat(values, starts) / (ends - starts)
        runs = zip(best[starts].tolist(), starts.tolist(), ends.tolist(), means.tolist(), strict=True)
        begins = self.labels.begins_word
        spans = [
            TokenSpan(*run, UNLISTED if begins[run[0]] else NOT_ENDED) for run in runs if run[0] != self.labels.blank
        ]
        tokens = tuple(span.token for span in spans)
        score = float(values.sum())
        words = Writer(self.labels, self.frame_seconds).words(spans)
        return [Hypothesis(text_of(words), tokens, words, acoustic_score=score, score=score)]

    @property
    def is_plain(self) -> bool:
        """Whether the best path is the best label of each frame, without priors or blank scale."""
        return self._offsets is None and not len(self._never)

    def best_path(self, frames: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the best label of each frame, and its natural log-probability, both ``(T,)``.

        Parameters
        ----------
        frames
            Natural log-probabilities ``(T, V)``, checked; T may be 0.
        """
        scaled = frames if self._offsets is None else frames + self._offsets
        if len(self._never):
            scaled = scaled.copy()
            scaled[:, self._never] = -np.inf
        best = scaled.argmax(axis=1)
        return best, frames[np.arange(len(frames)), best].astype(np.float64)

    def decode(self, log_probs: npt.ArrayLike) -> str:
        """Return only the text of one utterance, ``(T, V)``; for words, times and scores call the decoder."""
        return self(log_probs)[0].text

    def decode_batch(self, log_probs: Iterable[npt.ArrayLike], threads: int = 1) -> list[list[Hypothesis]]:
        """Decode several utterances, each ``(T, V)`` with its own T, on some threads; results in their order."""
        return map_on_threads(functools.partial(map, self), log_probs, threads)


def check_frame_seconds(frame_seconds: Any) -> float:
    """Return `frame_seconds` if it is a positive number of seconds.

    Raises
    ------
    DecodingError
        Otherwise.
    """
    if not isinstance(frame_seconds, Real) or not 0 < float(frame_seconds) < math.inf:
        raise DecodingError(f"frame_seconds is {frame_seconds!r}; expected a positive number of seconds")
    return float(frame_seconds)
