"""Beam search in chunks: push log-probs as they come, read stable and likely words, finish."""

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import announcing
from asr.decoder.hotwords import Hotwords, HotwordsLike
from asr.decoder.hypothesis import NOT_ENDED, UNLISTED, Hypothesis, TokenSpan, Word, text_of
from asr.decoder.labels import Labels
from asr.decoder.log_probs import check_log_probs
from asr.decoder.options import BeamOptions
from asr.decoder.search.ending import NUM_COLUMNS, TOTAL, end_sentence
from asr.decoder.search.fusion import WORD_START
from asr.decoder.search.kernel import HORIZON_STEP, follow_again, search
from asr.decoder.search.state import (
    FRAMES,
    HYPOTHESES,
    NONE,
    SearchState,
    link_prefixes,
    make_room,
    new_search_state,
    recycle,
    trace_back,
)
from asr.decoder.setup import SearchSetup
from asr.decoder.vocabulary import Vocabulary
from asr.errors import DecodingError


@functools.cache
def compile_search() -> None:
    """Compile all that a search needs, or load it from the cache, once in a process."""
    stream = object.__new__(BeamStream)
    with announcing():
        stream._start(smallest_setup())
        stream.push_checked(np.full((HORIZON_STEP + 1, 3), np.log(1 / 3), np.float32))
        stream.take_stable()
        stream.set_hotwords(["a"])
        stream.finish()
        link_prefixes(stream._state)


def smallest_setup() -> SearchSetup:
    """Return a set-up for three labels, to compile the search with."""
    labels = Labels(["", " ", "a"])
    options = BeamOptions(beam_size=2)
    return SearchSetup(labels, 1.0, False, Vocabulary.of(labels, None, None), None, None, options, Hotwords(()))


class BeamStream:
    """One utterance (or an endless one), decoded in chunks of any size; made by `BeamSearchDecoder.stream`.

    The result does not depend on where chunks are cut. Memory does not grow with time if stable words are taken
    with `take_stable`: hypotheses that differ in what was said before the horizon (see `BeamOptions`) are dropped.
    """

    def __init__(self, setup: SearchSetup, state: SearchState | None = None) -> None:
        compile_search()
        self._start(setup, state)

    def _start(self, setup: SearchSetup, state: SearchState | None = None) -> None:
        """Begin an utterance, or go on with the state of its search so far."""
        limits = setup.limits
        self._setup = setup
        self._state = state or new_search_state(
            limits.beam_size, limits.top_k, setup.lm_start, recombines=setup.recombines
        )
        # Decided tokens that are not taken yet; the backpointer that ends the last of them is the state's first.
        self._decided: list[TokenSpan] = []
        # Up to which frame the search was asked what is decided.
        self._asked_at = -1
        self._finished = False

    @property
    def num_frames(self) -> int:
        """Frames decoded so far."""
        return int(self._state.counts[FRAMES])

    def push(self, log_probs: npt.ArrayLike) -> None:
        """Decode some frames more.

        Parameters
        ----------
        log_probs
            Natural log-probabilities ``(T, V)`` of any float type; T may be 0.

        Raises
        ------
        DecodingError
            If the array does not hold log-probabilities or does not fit the labels; if the stream is finished; or if no
            hypothesis is left.
        """
        if self._finished:
            raise DecodingError("the stream is finished; expected a new one for each utterance")
        setup = self._setup
        self.push_checked(check_log_probs(log_probs, len(setup.labels), normalise=setup.normalise, min_frames=0))

    def push_checked(self, frames: npt.NDArray[np.float32]) -> None:
        """Decode some frames that `check_log_probs` has returned."""
        setup = self._setup
        frames, done = setup.weighted(frames), 0
        while True:
            # A search that is gone on with may have none left already.
            if self._state.counts[HYPOTHESES]:
                done = search(frames, done, setup.limits, setup.scorer, self._state)
            if self._state.counts[HYPOTHESES] == 0:
                self._finished = True
                raise DecodingError(
                    f"no hypothesis is left after frame {self.num_frames - 1}: the log-probs rule out (-inf) all that "
                    "the lexicon or the vocabulary allows"
                )
            if done == len(frames):
                return
            self._forget()

    def set_hotwords(self, hotwords: HotwordsLike) -> None:
        """Replace the hotwords from here on; the words of the old ones stay known until the stream ends.

        A phrase that is being said counts if it ends after the change.

        Raises
        ------
        DecodingError
            If a hotword has characters that no label writes, or the stream is finished.
        """
        if self._finished:
            raise DecodingError("the stream is finished; expected a new one for each utterance")
        setup = replace(self._setup, vocabulary=self._setup.spoken, hotwords=Hotwords.of(hotwords))
        self._forget()
        said = [(span.token, span.entry) for span in self._decided]
        # The first prefix is the token after the decided ones, if there is one.
        token, entry = (int(self._state.prefixes[0][name]) for name in ("token", "entry"))
        if token != NONE:
            said.append((token, entry))
        follow_again(setup.scorer, self._state, np.array(said, np.int32).reshape(-1, 2))
        self._setup = setup

    @property
    def stable_words(self) -> tuple[Word, ...]:
        """The words that can no longer change, and that `take_stable` has not taken yet."""
        return self._stable()[0]

    @property
    def stable_text(self) -> str:
        """The text of `stable_words`."""
        return text_of(self.stable_words)

    @property
    def partial_words(self) -> tuple[Word, ...]:
        """The words of the best hypothesis after the stable words; they may still change.

        With a lexicon of phones, the last word is there as soon as its phones are those of a word.
        """
        _, rest = self._stable()
        state = self._state
        if self._finished or not state.counts[FRAMES]:
            return ()
        beam = state.beams[0, : state.counts[HYPOTHESES]]
        prefixes = state.prefixes[beam["prefix"]]
        best = int(np.argmax(beam["log_total"] + prefixes["bonus"] + prefixes["look_ahead"]))
        writer, last = self._setup.writer, UNLISTED
        if writer.is_lexicon:
            node = int(prefixes["word"][best])
            last = int(self._setup.scorer.trie_nodes["entry"][node]) if node > WORD_START else NOT_ENDED
        return writer.words([*self._decided[rest:], *self._spans_of(best)], last)

    @property
    def partial_text(self) -> str:
        """The text of `partial_words`."""
        return text_of(self.partial_words)

    def take_stable(self) -> tuple[Word, ...]:
        """Return the stable words and forget them: what is read or finished later begins after them."""
        words, rest = self._stable()
        del self._decided[:rest]
        return words

    def finish(self) -> list[Hypothesis]:
        """End the utterance.

        Returns
        -------
        list of Hypothesis
            Best first, at most `nbest`, of different texts; equal scores are ordered by their tokens. If nothing was
            taken, the same as of all frames at once; else without what was taken, though scores are of all.

        Raises
        ------
        DecodingError
            If no frame was pushed, or the stream is finished.
        """
        if self._finished or not self.num_frames:
            what = "is finished already" if self._finished else "got no frame"
            raise DecodingError(f"the stream {what}; expected at least one frame, and finish once")
        setup, state = self._setup, self._state
        results = np.empty((state.counts[HYPOTHESES], NUM_COLUMNS))
        count = end_sentence(setup.scorer, setup.end_id, state, results)
        if count > len(results):
            results = np.empty((count, NUM_COLUMNS))
            end_sentence(setup.scorer, setup.end_id, state, results)
        hypotheses = self._ranked(results) or self._unfinished_words_cut()
        self._finished = True
        return hypotheses

    def recycle(self) -> None:
        """Let the next search of this thread have this one's memory; the stream can no longer be used."""
        recycle(self._state)
        del self._state

    def _ranked(self, results: npt.NDArray[np.float64]) -> list[Hypothesis]:
        """Return the best hypotheses; `results` as `end_sentence` writes them."""
        found: list[Hypothesis] = []
        texts: set[str] = set()
        for i in np.argsort(-results[:, TOTAL], kind="stable").tolist():
            slot, entry, *scores = results[i].tolist()
            if scores[-1] == -np.inf or (len(texts) >= self._setup.options.nbest and scores[-1] < found[-1].score):
                break
            spans = [*self._decided, *self._spans_of(int(slot))]
            found.append(hypothesis_of(self._setup, spans, int(entry), scores))
            texts.add(found[-1].text)
        return self._best_of(found)

    def _unfinished_words_cut(self) -> list[Hypothesis]:
        """Return hypotheses up to their last whole word, where none ends in a word that may be said."""
        prefixes, beam = self._state.prefixes, self._state.beams[0, : self._state.counts[HYPOTHESES]]
        acoustic = beam["log_total"] + self._state.log_scale[0]
        begins = self._setup.begins_word
        found = []
        for i in range(len(beam)):
            spans = [*self._decided, *self._spans_of(i)]
            prefix = prefixes[beam[i]["prefix"]]
            while prefix["parent"] != NONE and prefix["entry"] == NOT_ENDED and not begins[prefix["token"]]:
                prefix = prefixes[prefix["parent"]]
            last = NOT_ENDED
            while spans and last == NOT_ENDED:
                last = spans.pop().entry
            scores = (acoustic[i], prefix["lm_score"], prefix["hot_score"], acoustic[i] + prefix["bonus"])
            found.append(hypothesis_of(self._setup, spans, last, tuple(map(float, scores))))
        return self._best_of(found)

    def _best_of(self, found: list[Hypothesis]) -> list[Hypothesis]:
        ranked: dict[str, Hypothesis] = {}
        for hypothesis in sorted(found, key=lambda hypothesis: (-hypothesis.score, hypothesis.tokens)):
            ranked.setdefault(hypothesis.text, hypothesis)
        return list(ranked.values())[: self._setup.options.nbest]

    def _stable(self) -> tuple[tuple[Word, ...], int]:
        """Return the stable words and how many of the decided tokens they (and their delimiters) take."""
        # Without a hypothesis there is no backpointer to go back from.
        if self._asked_at != self.num_frames and self._state.counts[HYPOTHESES]:
            self._forget()
        next_token, next_entry = (int(self._state.prefixes[0][name]) for name in ("token", "entry"))
        entry = NOT_ENDED
        if next_token != NONE:
            entry = UNLISTED if next_entry == NOT_ENDED and self._setup.begins_word[next_token] else next_entry
        rest = len(self._decided)
        if entry == NOT_ENDED:
            rest = max((i for i, span in enumerate(self._decided) if span.entry != NOT_ENDED), default=0)
            entry = self._decided[rest].entry if rest else NOT_ENDED
        return self._setup.writer.words(self._decided[:rest], entry), rest

    def _forget(self) -> None:
        """Keep the decided tokens aside, and make room in the state."""
        self._asked_at = self.num_frames
        self._decided += self._spans_of(NONE)
        self._state = make_room(self._state)

    def _spans_of(self, slot: int) -> list[TokenSpan]:
        """Return the tokens of a hypothesis that are not decided; those of all (NONE) are to be."""
        return spans_of(self._setup, *trace_back(self._state, self._setup.begins_word, slot))


def spans_of(setup: SearchSetup, columns: npt.NDArray[np.int64], means: npt.NDArray[np.float64]) -> list[TokenSpan]:
    """Return the tokens of a path; `columns` and `means` as `trace_back` returns them."""
    if setup.offsets is not None:
        # Confidences are of posteriors.
        means = means - setup.offsets[columns[0]]
    tokens, starts, ends, entries = columns.tolist()
    return list(map(TokenSpan._make, zip(tokens, starts, ends, means.tolist(), entries, strict=True)))


def hypothesis_of(setup: SearchSetup, spans: list[TokenSpan], last_entry: int, scores: Sequence[float]) -> Hypothesis:
    """Return the hypothesis of some tokens; `scores` are the acoustic, the LM's, the hotwords', and the total."""
    words = setup.writer.words(spans, last_entry)
    acoustic_score, lm_score, hotword_score, score = scores
    return Hypothesis(
        text=text_of(words),
        tokens=tuple([span[0] for span in spans]),
        words=words,
        acoustic_score=acoustic_score,
        lm_score=lm_score,
        hotword_score=hotword_score,
        score=score,
    )
