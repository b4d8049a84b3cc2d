"""Prefix beam search over the log-probabilities of any CTC model, alone or with n-grams, a lexicon and hotwords."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numba
import numpy.typing as npt

from asr.decoder.batch import map_on_threads
from asr.decoder.greedy import check_frame_seconds
from asr.decoder.hotwords import Hotwords
from asr.decoder.hypothesis import Hypothesis
from asr.decoder.labels import Labels
from asr.decoder.lexicon import Lexicon
from asr.decoder.ngram import NGramModel
from asr.decoder.options import BeamOptions
from asr.decoder.setup import Knowledge, SearchSetup, find_token_words, make_setup
from asr.decoder.streaming import BeamStream
from asr.decoder.vocabulary import Vocabulary
from asr.errors import DecodingError, did_you_mean

HotwordsLike = Hotwords | Iterable[str] | Mapping[str, float] | None


class BeamSearchDecoder:
    """Finds the most probable labellings, summed over their alignments, with the knowledge that is given.

    ``score = acoustic_score + alpha * lm_score + beta * words + oov_score * unknown words + hotword_score``

    Parameters
    ----------
    labels
        The V labels, or a list of their texts: see `asr.decoder.Labels`.
    blank
        The blank's index; by default that of `labels`, or 0 for a list.
    frame_seconds
        Seconds from one frame of the log-probs to the next; with the default, 1, times count frames.
    options
        A `BeamOptions`.
    lm
        An n-gram model.
    lm_level
        Whether it is one of words, or of tokens (the labels' texts).
    lexicon
        The only words that may be said.
    hotwords
        Expected phrases: `Hotwords`, a list of phrases, or phrase → weight.
    normalise
        Whether inputs are raw logits, to be made log-probabilities first.

    Raises
    ------
    DecodingError
        If the labels, the lexicon's or the hotwords' letters, or the options do not fit each other.

    Examples
    --------
    >>> decoder = BeamSearchDecoder(["<blank>", " ", "a", "b"], frame_seconds=0.04)
    >>> decoder(np.log(np.full((3, 4), 0.25)))[0].score <= 0
    True
    """

    def __init__(
        self,
        labels: Labels | Sequence[str],
        *,
        blank: int | None = None,
        frame_seconds: float = 1.0,
        options: BeamOptions | None = None,
        lm: NGramModel | None = None,
        lm_level: Literal["word", "token"] = "word",
        lexicon: Lexicon | None = None,
        hotwords: HotwordsLike = None,
        normalise: bool = False,
    ) -> None:
        if numba.config.DISABLE_JIT:
            raise DecodingError(
                "NUMBA_DISABLE_JIT is set, and the search is compiled code: unset it, or decode greedily"
            )
        self.labels = Labels.of(labels, blank)
        self.frame_seconds = check_frame_seconds(frame_seconds)
        self.options = options or BeamOptions()
        self.lm = lm
        self.lm_level = lm_level
        self.normalise = normalise
        if lm_level not in ("word", "token"):
            raise DecodingError(f"lm_level is {lm_level!r}; expected 'word' or 'token'")
        word_lm = lm if lm_level == "word" else None
        if not self.labels.has_words and (word_lm is not None or lexicon is not None):
            raise DecodingError(
                "the labels have neither a word delimiter (' ' or '|') nor subwords that begin with '▁', which a "
                "lexicon or a language model of words needs; use a model of tokens (lm_level='token')"
            )
        token_words = find_token_words(self.labels, lm) if lm is not None and lm_level == "token" else None
        self._knowledge = Knowledge(
            self.labels,
            self.frame_seconds,
            normalise,
            vocabulary=Vocabulary.of(self.labels, word_lm, lexicon),
            lm=lm,
            token_words=token_words,
        )
        self._hotwords = Hotwords.of(hotwords)
        self._setup = self._make_setup(self._hotwords)

    def __call__(self, log_probs: npt.ArrayLike, *, hotwords: HotwordsLike = None) -> list[Hypothesis]:
        """Decode one utterance.

        Parameters
        ----------
        log_probs
            Natural log-probabilities ``(T, V)`` of any float type.
        hotwords
            For this utterance, instead of the decoder's own.

        Returns
        -------
        list of Hypothesis
            Best first, at most `nbest`, of different texts; equal scores are ordered by their tokens.

        Raises
        ------
        DecodingError
            If the log-probs are none, or do not fit the labels, or a lexicon allows nothing that they do.
        """
        stream = self.stream(hotwords=hotwords)
        stream.push(log_probs)
        return stream.finish()

    def decode_batch(
        self, log_probs: Iterable[npt.ArrayLike], threads: int = 1, *, hotwords: HotwordsLike = None
    ) -> list[list[Hypothesis]]:
        """Decode several utterances, each ``(T, V)`` with its own T, on some threads; results in their order.

        Raises
        ------
        DecodingError
            As for one utterance; its place in the batch is named.
        """
        setup = self._setup if hotwords is None else self._make_setup(Hotwords.of(hotwords))

        def decode(utterance: npt.ArrayLike) -> list[Hypothesis]:
            stream = BeamStream(setup)
            stream.push(utterance)
            return stream.finish()

        return map_on_threads(decode, log_probs, threads)

    def stream(self, *, hotwords: HotwordsLike = None) -> BeamStream:
        """Return a decoder of one utterance that takes its log-probs in chunks."""
        return BeamStream(self._setup if hotwords is None else self._make_setup(Hotwords.of(hotwords)))

    def with_options(self, **changes: Any) -> "BeamSearchDecoder":
        """Return a decoder with other options (``alpha=0.7``), which shares models and vocabulary with this one.

        Raises
        ------
        DecodingError
            If an option is unknown or out of range.
        """
        known = [field.name for field in dataclasses.fields(BeamOptions)]
        for name in changes:
            if name not in known:
                raise DecodingError(f"unknown option {name!r}{did_you_mean(name, known)}; expected one of {known}")
        result = object.__new__(type(self))
        result.__dict__.update(self.__dict__, options=dataclasses.replace(self.options, **changes))
        result._setup = result._make_setup(self._hotwords)
        return result

    def add_words(self, words: Iterable[str]) -> None:
        """Make words known from the next utterance on; a model that does not list them gives them ``<unk>``'s share.

        Raises
        ------
        DecodingError
            If a word has characters that no label writes.
        """
        vocabulary = self._knowledge.vocabulary.with_words(words, self._knowledge.word_lm)
        self._knowledge = dataclasses.replace(self._knowledge, vocabulary=vocabulary)
        self._setup = self._make_setup(self._hotwords)

    def _make_setup(self, hotwords: Hotwords) -> SearchSetup:
        return make_setup(self._knowledge, hotwords, self.options)
