"""Prefix beam search over the log-probabilities of any CTC model, alone or with n-grams, a lexicon and hotwords."""

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numba
import numpy as np
import numpy.typing as npt

from asr.decoder.batch import map_on_threads
from asr.decoder.compiling import announcing
from asr.decoder.greedy import check_frame_seconds
from asr.decoder.hotwords import Hotwords, HotwordsLike
from asr.decoder.hypothesis import Hypothesis
from asr.decoder.labels import Labels
from asr.decoder.lexicon import Lexicon
from asr.decoder.log_probs import check_log_probs
from asr.decoder.ngram import NGramModel
from asr.decoder.options import BeamOptions
from asr.decoder.search.state import new_search_state, recycle
from asr.decoder.search.utterances import Sentence, make_found, search_each
from asr.decoder.setup import SearchSetup, find_token_words
from asr.decoder.streaming import BeamStream, hypothesis_of, smallest_setup, spans_of
from asr.decoder.vocabulary import Vocabulary
from asr.errors import DecodingError


class BeamSearchDecoder:
    """Finds the most probable labellings, summed over their alignments, with an optional language model and lexicon.

    ``score = acoustic_score + alpha * lm_score + beta * words + oov_score * unknown words + empty_score * delimiters
    that end no word + log weights of the pronunciations + hotword_score``

    Parameters
    ----------
    labels
        The V labels, a list of their texts, or label → index: see `asr.decoder.Labels`.
    blank
        The blank's index; by default that of `labels`: see there.
    frame_seconds
        Seconds from one frame of the log-probs to the next; with the default, 1, times count frames.
    options
        A `BeamOptions`, or option → value.
    lm
        An n-gram model, or its path.
    lm_level
        Whether it is one of words, or of tokens (the labels' texts).
    lexicon
        The only words allowed: a `Lexicon`, a list of words, or the path of a lexicon.
    hotwords
        Expected phrases: `Hotwords`, a list of phrases, or phrase → weight.
    label_priors
        Natural logarithms, ``(V,)``, of each label's share of the frames, such as the mean of the model's posteriors
        over its training set. They are subtracted from the log-probs, weighted: see `BeamOptions.prior_weight`.
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
        labels: Labels | Sequence[str] | Mapping[str, int],
        *,
        blank: int | None = None,
        frame_seconds: float = 1.0,
        options: BeamOptions | Mapping[str, Any] | None = None,
        lm: NGramModel | str | os.PathLike[str] | None = None,
        lm_level: Literal["word", "token"] = "word",
        lexicon: Lexicon | Iterable[str] | str | os.PathLike[str] | None = None,
        hotwords: HotwordsLike = None,
        label_priors: npt.ArrayLike | None = None,
        normalise: bool = False,
    ) -> None:
        if numba.config.DISABLE_JIT:
            raise DecodingError(
                "NUMBA_DISABLE_JIT is set, and the search is compiled code: unset it, or decode greedily"
            )
        labels = Labels.of(labels, blank)
        if isinstance(lm, str | os.PathLike):
            lm = NGramModel.read(lm)
        if lm is not None and not isinstance(lm, NGramModel):
            raise DecodingError(f"lm is {lm!r:.60}; expected an NGramModel, or the path of one")
        if lm_level not in ("word", "token"):
            raise DecodingError(f"lm_level is {lm_level!r}; expected 'word' or 'token'")
        lexicon = Lexicon.of(lexicon)
        self._setup = SearchSetup(
            labels,
            check_frame_seconds(frame_seconds),
            normalise,
            vocabulary=Vocabulary.of(labels, lm if lm_level == "word" else None, lexicon),
            lm=lm,
            token_words=find_token_words(labels, lm) if lm is not None and lm_level == "token" else None,
            options=BeamOptions.of(options),
            hotwords=Hotwords.of(hotwords),
            label_priors=label_priors,
        )

    @property
    def labels(self) -> Labels:
        """The labels of the log-probs' columns."""
        return self._setup.labels

    @property
    def options(self) -> BeamOptions:
        """The numbers of the search."""
        return self._setup.options

    @property
    def lm(self) -> NGramModel | None:
        """The language model."""
        return self._setup.lm

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame to the next."""
        return self._setup.frame_seconds

    def __call__(
        self, log_probs: npt.ArrayLike, *, hotwords: HotwordsLike = None, context: str | Hypothesis = ""
    ) -> list[Hypothesis]:
        """Decode one utterance.

        Parameters
        ----------
        log_probs
            Natural log-probabilities ``(T, V)`` of any float type.
        hotwords
            For this utterance, instead of the decoder's own.
        context
            The text or the hypothesis of the previous utterance, from which the language model
            continues. (If sentences run on from one utterance to the next, decode with ``sentence_end=False``.)

        Returns
        -------
        list of Hypothesis
            Best first, at most `nbest`, of different texts; equal scores are ordered by their tokens.

        Raises
        ------
        DecodingError
            If the array holds no valid log-probs, or does not fit the labels, or the lexicon rules out every label
            sequence.
        """
        [hypotheses] = _decode_each(self._setup_for(hotwords, context), [log_probs])
        return hypotheses

    def decode(self, log_probs: npt.ArrayLike, *, hotwords: HotwordsLike = None) -> str:
        """Return only the best text of one utterance, ``(T, V)``; for words, times and scores call the decoder."""
        return self(log_probs, hotwords=hotwords)[0].text

    def decode_batch(
        self, log_probs: Iterable[npt.ArrayLike], threads: int = 1, *, hotwords: HotwordsLike = None
    ) -> list[list[Hypothesis]]:
        """Decode several utterances, each ``(T, V)`` with its own T, on some threads; results in their order.

        Raises
        ------
        DecodingError
            As for one utterance; its place in the batch is named.
        """
        setup = self._setup_for(hotwords, "")
        return map_on_threads(functools.partial(_decode_each, setup), log_probs, threads)

    def stream(self, *, hotwords: HotwordsLike = None, context: str | Hypothesis = "") -> BeamStream:
        """Return a decoder for one utterance that takes its log-probs in chunks; arguments as for a call."""
        return BeamStream(self._setup_for(hotwords, context))

    def with_options(self, **changes: Any) -> "BeamSearchDecoder":
        """Return a decoder with other options (``alpha=0.7``), which shares models and vocabulary with this one.

        Raises
        ------
        DecodingError
            If an option is unknown or out of range.
        """
        result = object.__new__(type(self))
        result._setup = replace(self._setup, options=self.options.changed(changes))
        return result

    def with_hotwords(self, hotwords: HotwordsLike) -> "BeamSearchDecoder":
        """Return a decoder with other hotwords, which shares models and vocabulary with this one.

        Raises
        ------
        DecodingError
            If a hotword has characters that no label writes.
        """
        result = object.__new__(type(self))
        result._setup = replace(self._setup, hotwords=Hotwords.of(hotwords))
        return result

    def add_words(self, words: Lexicon | Iterable[str]) -> None:
        """Add words from the next utterance on; a language model without them scores them as ``<unk>``.

        Parameters
        ----------
        words
            Words that are spelled as they are written; or word → spellings, or a `Lexicon`. None at all change nothing.

        Raises
        ------
        DecodingError
            If a word has characters that no label writes.
        """
        setup = self._setup
        if isinstance(words, str):
            raise DecodingError(f"the words to add are one string, {words!r:.40}; expected a list, as in words.split()")
        if not isinstance(words, Lexicon | Mapping):
            words = list(words)
        if not words:
            return
        if not isinstance(words, Lexicon):
            words = Lexicon(words) if isinstance(words, Mapping) else setup.vocabulary.spelled(words)
        self._setup = replace(setup, vocabulary=setup.vocabulary.with_words(words, setup.word_lm))

    def _setup_for(self, hotwords: HotwordsLike, context: str | Hypothesis) -> SearchSetup:
        setup = self._setup
        if hotwords is not None:
            setup = replace(setup, hotwords=Hotwords.of(hotwords))
        return setup.after(context) if context else setup


def _decode_each(setup: SearchSetup, utterances: Sequence[npt.ArrayLike]) -> Iterator[list[Hypothesis]]:
    """Yield the hypotheses of each utterance; what is wrong with one is raised in its turn."""
    frames: list[npt.NDArray[np.float32]] = []
    error = None
    for utterance in utterances:
        try:
            frames.append(check_log_probs(utterance, len(setup.labels), normalise=setup.normalise))
        except DecodingError as found:
            error = found
            break
    if setup.options.nbest > 1:
        yield from map(functools.partial(_decode_alone, setup), frames)
    elif frames:
        _compile_search_each()
        yield from _search_each(setup, frames)
    if error is not None:
        raise error


def _decode_alone(setup: SearchSetup, frames: npt.NDArray[np.float32]) -> list[Hypothesis]:
    stream = BeamStream(setup)
    stream.push_checked(frames)
    hypotheses = stream.finish()
    stream.recycle()
    return hypotheses


def _search_each(setup: SearchSetup, utterances: Sequence[npt.NDArray[np.float32]]) -> Iterator[list[Hypothesis]]:
    """Yield the best hypothesis of each utterance, found without Python between them where that is possible."""
    limits = setup.limits
    joined = utterances[0] if len(utterances) == 1 else np.concatenate(utterances)
    ends = np.cumsum(list(map(len, utterances)))
    begins = [0, *ends[:-1].tolist()]
    sentence = Sentence(setup.lm_start, setup.end_id, setup.begins_word)
    found = make_found(len(ends), len(joined), limits.beam_size)
    weighted, done = setup.weighted(joined), 0
    while done < len(ends):
        state = new_search_state(limits.beam_size, limits.top_k, setup.lm_start, recombines=setup.recombines)
        first = done
        done = search_each(weighted, ends, first, limits, setup.scorer, sentence, state, found)
        for i in range(first, done):
            begin, end = begins[i], begins[i] + int(found.lengths[i])
            spans = spans_of(setup, found.columns[:, begin:end], found.means[begin:end])
            _, entry, *scores = found.rows[i].tolist()
            yield [hypothesis_of(setup, spans, int(entry), scores)]
        if done < len(ends):
            stream = BeamStream(setup, state)
            stream.push_checked(joined[begins[done] + stream.num_frames : ends[done]])
            yield stream.finish()
            stream.recycle()
            done += 1
        else:
            recycle(state)


@functools.cache
def _compile_search_each() -> None:
    """Compile what decoding whole utterances needs, or load it from the cache, once in a process."""
    with announcing():
        list(_search_each(smallest_setup(), [np.log([[0.5, 0.3, 0.2]], dtype=np.float32)]))
