"""Beam search in chunks: push log-probs as they come, read what is decided and what is likely, finish."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asr.decoder.ending import end_sentence
from asr.decoder.fusion import NO_ENTRY
from asr.decoder.hypothesis import Hypothesis, TokenSpan, Word, words_of
from asr.decoder.kernel import search
from asr.decoder.log_probs import check_log_probs
from asr.decoder.memory import FRAMES, HYPOTHESES, NONE, common_trace, make_room, new_memory, trace_back
from asr.decoder.setup import SearchSetup
from asr.errors import DecodingError


class BeamStream:
    """One utterance (or an endless one), decoded in chunks of any size; made by `BeamSearchDecoder.stream`.

    The result does not depend on where chunks are cut. Memory does not grow with time if what is stable is taken
    with `take_stable`: hypotheses that differ in what was said before the horizon (see `BeamOptions`) are dropped.
    """

    def __init__(self, setup: SearchSetup) -> None:
        limits = setup.limits
        self._setup = setup
        self._memory = new_memory(limits.beam_size, limits.top_k, setup.hot_start, setup.lm_start)
        # Decided tokens that are not taken yet; the trace that ends the last of them is the memory's first.
        self._decided: list[TokenSpan] = []
        self._finished = False

    @property
    def num_frames(self) -> int:
        """Frames decoded so far."""
        return int(self._memory.counts[FRAMES])

    def push(self, log_probs: npt.ArrayLike) -> None:
        """Decode some frames more.

        Parameters
        ----------
        log_probs
            Natural log-probabilities ``(T, V)`` of any float type.

        Raises
        ------
        DecodingError
            If they are none, or do not fit the labels; if the stream is finished; or if no hypothesis is left.
        """
        if self._finished:
            raise DecodingError("the stream is finished; expected a new one for each utterance")
        setup = self._setup
        frames = check_log_probs(log_probs, len(setup.labels), normalise=setup.normalise)
        if any(setup.labels.is_special):
            frames = np.where(setup.labels.is_special, np.float32(-np.inf), frames)
        done = 0
        while True:
            done = search(frames, done, setup.limits, setup.scorer, self._memory)
            if self._memory.counts[HYPOTHESES] == 0:
                self._finished = True
                raise DecodingError(
                    f"no hypothesis is left after frame {self.num_frames - 1}: the log-probs rule out (-inf) all that "
                    "the lexicon or the vocabulary allows"
                )
            if done == len(frames):
                return
            self._forget()

    @property
    def stable_words(self) -> tuple[Word, ...]:
        """The words that nothing to come can change, and that `take_stable` has not taken yet."""
        return self._stable()[0]

    @property
    def stable_text(self) -> str:
        """The text of `stable_words`."""
        return " ".join(word.text for word in self.stable_words)

    @property
    def partial_text(self) -> str:
        """What the best hypothesis says after the stable words; it may still change."""
        _, rest = self._stable()
        memory = self._memory
        if self._finished or not memory.counts[FRAMES]:
            return ""
        beam = memory.beams[0, : memory.counts[HYPOTHESES]]
        prefixes = memory.prefixes[beam["prefix"]]
        best = int(np.argmax(beam["log_total"] + prefixes["bonus"] + prefixes["look_ahead"]))
        words = words_of([*self._decided[rest:], *self._spans_of(best)], self._setup.labels, self._setup.frame_seconds)
        return " ".join(word.text for word in words)

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
            state = "is finished already" if self._finished else "got no frame"
            raise DecodingError(f"the stream {state}; expected at least one frame, and finish once")
        setup, memory = self._setup, self._memory
        beam = memory.beams[0, : memory.counts[HYPOTHESES]]
        results = np.empty((len(beam), 5))
        count = end_sentence(setup.scorer, setup.end_id, memory, results)
        if count > len(results):
            results = np.empty((count, 5))
            end_sentence(setup.scorer, setup.end_id, memory, results)
        acoustic = beam["log_total"] + memory.log_scale[0]
        if np.isneginf(results[:, 2]).all():
            hypotheses = self._unfinished_words_cut(acoustic)
        else:
            hypotheses = self._ranked(acoustic, results)
        self._finished = True
        return hypotheses

    def _ranked(self, acoustic: npt.NDArray[np.float64], results: npt.NDArray[np.float64]) -> list[Hypothesis]:
        """Return the best hypotheses; `results` as `end_sentence` writes them."""
        slots, entries = results[:, 0].astype(int), results[:, 1].astype(int)
        scores = acoustic[slots] + results[:, 2]
        written = self._setup.written
        found: list[Hypothesis] = []
        texts: set[str] = set()
        for i in np.argsort(-scores, kind="stable").tolist():
            score = float(scores[i])
            if score == -np.inf or (len(texts) >= self._setup.options.nbest and score < found[-1].score):
                break
            spans = [*self._decided, *self._spans_of(slots[i])]
            last = written[entries[i]] if entries[i] != NO_ENTRY else None
            found.append(self._hypothesis(spans, last, (acoustic[slots[i]], *results[i, 3:], score)))
            texts.add(found[-1].text)
        return self._best_of(found)

    def _unfinished_words_cut(self, acoustic: npt.NDArray[np.float64]) -> list[Hypothesis]:
        """Return hypotheses up to their last whole word, where none ends in a word that may be said."""
        prefixes, beam = self._memory.prefixes, self._memory.beams[0]
        begins_word = self._setup.labels.begins_word
        found = []
        for i in range(len(acoustic)):
            spans = [*self._decided, *self._spans_of(i)]
            prefix = prefixes[beam[i]["prefix"]]
            while prefix["parent"] != NONE and not begins_word[prefix["token"]]:
                prefix = prefixes[prefix["parent"]]
            last = None
            while spans and last is None:
                token = spans.pop()
                if begins_word[token.token]:
                    last = token.written_before or ""
            scores = (acoustic[i], prefix["lm_score"], prefix["hot_score"], acoustic[i] + prefix["bonus"])
            found.append(self._hypothesis(spans, last or None, scores))
        return self._best_of(found)

    def _best_of(self, found: list[Hypothesis]) -> list[Hypothesis]:
        ranked: dict[str, Hypothesis] = {}
        for hypothesis in sorted(found, key=lambda hypothesis: (-hypothesis.score, hypothesis.tokens)):
            ranked.setdefault(hypothesis.text, hypothesis)
        return list(ranked.values())[: self._setup.options.nbest]

    def _hypothesis(self, spans: list[TokenSpan], written_last: str | None, scores: Sequence[float]) -> Hypothesis:
        words = words_of(spans, self._setup.labels, self._setup.frame_seconds, written_last)
        acoustic_score, lm_score, hotword_score, score = map(float, scores)
        return Hypothesis(
            text=" ".join(word.text for word in words),
            tokens=tuple(span.token for span in spans),
            words=words,
            acoustic_score=acoustic_score,
            lm_score=lm_score,
            hotword_score=hotword_score,
            score=score,
        )

    def _stable(self) -> tuple[tuple[Word, ...], int]:
        """Return the stable words and how many of the decided tokens they (and their delimiters) take."""
        self._forget()
        setup, memory = self._setup, self._memory
        next_token, next_entry = (int(memory.prefixes[0][name]) for name in ("token", "entry"))
        begins = setup.labels.begins_word
        if next_token != NONE and begins[next_token]:
            rest = len(self._decided)
            written = setup.written[next_entry] if next_entry != NO_ENTRY else None
        else:
            rest = max((i for i, span in enumerate(self._decided) if begins[span.token]), default=0)
            written = self._decided[rest].written_before if rest else None
        return words_of(self._decided[:rest], setup.labels, setup.frame_seconds, written), rest

    def _forget(self) -> None:
        """Keep the decided tokens aside, and make room in the memory."""
        memory = self._memory
        trace = memory.traces[common_trace(memory)]
        self._decided += self._spans(int(trace["previous"]), int(trace["previous_end"]), float(trace["previous_sum"]))
        self._memory = make_room(memory)

    def _spans_of(self, slot: int) -> list[TokenSpan]:
        """Return the tokens on the best path of a hypothesis that are not decided."""
        hypothesis = self._memory.beams[0, slot]
        if hypothesis["best_token"] > hypothesis["best_blank"]:
            end, total = self.num_frames, float(hypothesis["token_sum"])
            return self._spans(int(hypothesis["token_trace"]), end, total)
        end, total = int(hypothesis["blank_end"]), float(hypothesis["blank_sum"])
        return self._spans(int(hypothesis["blank_trace"]), end, total)

    def _spans(self, trace: int, end: int, total: float) -> list[TokenSpan]:
        rows, means = trace_back(self._memory, trace, end, total)
        written = self._setup.written
        return [
            TokenSpan(token, start, stop, mean, written[entry] if entry != NO_ENTRY else None)
            for (token, entry, start, stop), mean in zip(rows.tolist(), means.tolist(), strict=True)
        ]
