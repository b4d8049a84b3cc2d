"""The numbers of a beam search, all in one place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal

from asr.errors import DecodingError, did_you_mean

OOV_POLICIES = ("allow", "penalise", "forbid")
UNLISTED_POLICIES = ("forbid", "spell")


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
        How to treat words that the language model does not know: score them as ``<unk>`` ("allow"),
        add `oov_score` to that ("penalise"), or never output them ("forbid").
    oov_score
        In nats, at most 0. (The default is a compromise: models that know all words are 1 to 2 % better at -10, models
        that lack a third of them have less than half of the errors at -4; docs/decoder.md has the table.)
    empty_score
        In nats, at most 0: for each delimiter that ends no word, because it follows another one or comes first.
        Without it a hypothesis could skip a word between two delimiters and avoid the language model's cost. It only
        counts with a model of words.
    unlisted
        How to treat words that a lexicon does not list: never output them ("forbid"), or spell them by their
        labels, as ``<S-IH-NG>`` ("spell"), each at the cost of `oov_score`.
    prior_weight
        Each label's log prior (see the decoder's `label_priors`), times this, is subtracted from its
        log-probabilities.
    blank_scale
        The blank's probabilities are multiplied by this; below 1, more labels are output.
    recombine
        Whether to keep only the best of hypotheses with the same future (the same unfinished word, state of the
        language model, state of the hotwords and last token), as decoders of graphs do. The beam is then more diverse,
        which long words and large vocabularies need; but n-best lists lack texts that differ only in earlier words.
    sentence_end
        Whether the language model scores the end of the utterance as the end of a sentence.
    horizon_frames
        Words older than this are fixed to those of the best hypothesis, and hypotheses that differ there are
        dropped; checked every 64 frames. It bounds the memory and the delay of a stream.

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
    oov_score: float = -4.0
    empty_score: float = -4.0
    unlisted: Literal["forbid", "spell"] = "forbid"
    prior_weight: float = 0.3
    blank_scale: float = 1.0
    recombine: bool = False
    sentence_end: bool = True
    horizon_frames: int = 1000

    def __post_init__(self) -> None:
        """Check types and ranges."""
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            if kind is int and (isinstance(value, bool) or not isinstance(value, Integral)):
                raise DecodingError(f"{field.name} is {value!r}; expected a whole number")
            if kind is float and (isinstance(value, bool) or not isinstance(value, Real)):
                raise DecodingError(f"{field.name} is {value!r}; expected a number")
        ranges = {
            "beam_size": (self.beam_size >= 1, "at least 1"),
            "top_k": (self.top_k >= 0, "at least 0"),
            "token_threshold": (self.token_threshold <= 0, "at most 0"),
            "beam_threshold": (self.beam_threshold > 0, "above 0"),
            "nbest": (self.nbest >= 1, "at least 1"),
            "alpha": (self.alpha >= 0 and math.isfinite(self.alpha), "at least 0"),
            "beta": (math.isfinite(self.beta), "a finite number"),
            "oov_score": (self.oov_score <= 0 and math.isfinite(self.oov_score), "at most 0"),
            "empty_score": (self.empty_score <= 0 and math.isfinite(self.empty_score), "at most 0"),
            "prior_weight": (self.prior_weight >= 0 and math.isfinite(self.prior_weight), "at least 0"),
            "blank_scale": (self.blank_scale > 0 and math.isfinite(self.blank_scale), "above 0"),
            "horizon_frames": (self.horizon_frames >= 1, "at least 1"),
        }
        for name, (is_right, expected) in ranges.items():
            if not is_right:
                raise DecodingError(f"{name} is {getattr(self, name)}; expected {expected}")
        for name, policies in (("oov", OOV_POLICIES), ("unlisted", UNLISTED_POLICIES)):
            value = getattr(self, name)
            if value not in policies:
                raise DecodingError(
                    f"{name} is {value!r}{did_you_mean(str(value), policies)}; expected one of {', '.join(policies)}"
                )

    @classmethod
    def of(cls, options: "BeamOptions | Mapping[str, Any] | None") -> "BeamOptions":
        """Return `options` as they are, or make them of name → value; the defaults of None."""
        if isinstance(options, cls):
            return options
        if options is not None and not isinstance(options, Mapping):
            raise DecodingError(f"the options are {options!r:.60}; expected BeamOptions(...), or option: value")
        return cls().changed(options or {})

    def changed(self, changes: Mapping[str, Any]) -> "BeamOptions":
        """Return these options with some changed.

        Raises
        ------
        DecodingError
            If an option is unknown or out of range.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise DecodingError(f"unknown option {name!r}{did_you_mean(name, known)}; expected one of {known}")
        return replace(self, **changes)
