"""What a beam search keeps and how it weighs: all of its numbers in one place."""

import math
from dataclasses import dataclass
from typing import Literal

from asr.errors import DecodingError, did_you_mean

OOV_POLICIES = ("allow", "penalise", "forbid")


@dataclass(frozen=True)
class BeamOptions:
    """The numbers of a beam search.

    Parameters
    ----------
    beam_size
        Hypotheses kept after each frame.
    top_k
        Tokens tried in each frame, the most probable ones; 0 for all.
    token_threshold
        Natural log-probability below which a token is not tried; the best one always is.
    beam_threshold
        Hypotheses this far (in nats) below the best one are dropped.
    nbest
        Hypotheses returned, at most.
    alpha
        Weight of the language model's natural log-probabilities.
    beta
        Bonus for each word (for each token, if the model is one of tokens). Without a model it does not count.
    oov
        What becomes of words that the language model does not know: they take the probability of ``<unk>`` ("allow"),
        and `oov_score` is added ("penalise"), or they are never said ("forbid").
    oov_score
        In nats, at most 0.
    sentence_end
        Whether the language model scores the end of the utterance as the end of a sentence.
    horizon_frames
        What was said longer ago than this is decided by the best hypothesis, and others that differ there are
        dropped; looked at every 64 frames. It bounds the memory and the delay of a stream.

    Raises
    ------
    DecodingError
        If a number is out of its range.
    """

    beam_size: int = 100
    top_k: int = 40
    token_threshold: float = -10.0
    beam_threshold: float = 14.0
    nbest: int = 1
    alpha: float = 0.5
    beta: float = 1.5
    oov: Literal["allow", "penalise", "forbid"] = "penalise"
    oov_score: float = -10.0
    sentence_end: bool = True
    horizon_frames: int = 1000

    def __post_init__(self) -> None:
        """Check the ranges."""
        ranges = {
            "beam_size": (self.beam_size >= 1, "at least 1"),
            "top_k": (self.top_k >= 0, "at least 0"),
            "token_threshold": (self.token_threshold <= 0, "at most 0"),
            "beam_threshold": (self.beam_threshold > 0, "above 0"),
            "nbest": (self.nbest >= 1, "at least 1"),
            "alpha": (self.alpha >= 0 and math.isfinite(self.alpha), "at least 0"),
            "beta": (math.isfinite(self.beta), "a finite number"),
            "oov_score": (self.oov_score <= 0 and math.isfinite(self.oov_score), "at most 0"),
            "horizon_frames": (self.horizon_frames >= 1, "at least 1"),
        }
        for name, (is_right, expected) in ranges.items():
            if not is_right:
                raise DecodingError(f"{name} is {getattr(self, name)}; expected {expected}")
        if self.oov not in OOV_POLICIES:
            raise DecodingError(
                f"oov is {self.oov!r}{did_you_mean(str(self.oov), OOV_POLICIES)}; expected one of "
                f"{', '.join(OOV_POLICIES)}"
            )
