"""The result of a decoder: a text with its words, times, confidences and scores."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

from asr.decoder.labels import Labels, whole_characters

# Which word ends before a token, where that is no entry of the vocabulary: none does, or one that is not listed.
NOT_ENDED, UNLISTED = -1, -2


@dataclass(frozen=True)
class Word:
    """A word and when it was said.

    Parameters
    ----------
    text
        Without delimiters.
    start_seconds, end_seconds
        From the start of its first token's first frame to the end of its last token's last frame. Of a word in a
        transcript, from the start of the audio.
    confidence
        In 0..1: the geometric mean of its tokens' posteriors, each the geometric mean over the token's frames.
        Language model and hotwords do not affect it.
    separator
        What stands in a text between it and a word before it: a space, or nothing if the labels have no word delimiter.
    """

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float
    separator: str = " "

    def shifted(self, seconds: float, latest: float = math.inf) -> "Word":
        """Return the word as said `seconds` later, and not after `latest`."""
        start, end = (min(latest, time + seconds) for time in (self.start_seconds, self.end_seconds))
        return replace(self, start_seconds=start, end_seconds=end)


class Separated(Protocol):
    """A part of a text: a word, or several."""

    @property
    def text(self) -> str:
        """The part."""
        ...

    @property
    def separator(self) -> str:
        """What stands between it and a part before it."""
        ...


def text_of(parts: Sequence[Separated], *, continues: bool = False) -> str:
    """Return the text of words or segments; if it `continues` another text, what separates the two comes first."""
    text = "".join([part.separator + part.text for part in parts])
    return text if continues or not parts else text.removeprefix(parts[0].separator)


@dataclass(frozen=True)
class Hypothesis:
    """One possible transcript of an utterance.

    Parameters
    ----------
    text
        The words, separated by single spaces; where the labels have no word delimiter, without spaces.
    tokens
        Label indices without blanks, repeats collapsed.
    words
        In order; times never run backwards, and come from the single best path of the hypothesis.
    acoustic_score
        Natural log-probability of `tokens` by the acoustic model: of a beam search the sum over all alignments
        that it kept (all of them: minus the CTC loss), with label priors and blank scale applied; of greedy decoding
        the best alignment alone, without them.
    lm_score
        Natural log-probability of the words by the language model, not weighted; 0 without one.
    hotword_score
        The weights of the hotwords that the text holds.
    score
        The score by which hypotheses are ranked: the acoustic score, plus the others with their weights.
    """

    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]
    acoustic_score: float
    lm_score: float = 0.0
    hotword_score: float = 0.0
    score: float = 0.0


class TokenSpan(NamedTuple):
    """A token on the best path: frames ``start_frame <= t < end_frame`` and its mean log-posterior there.

    `entry` is the word that ends before it: an entry of the vocabulary, UNLISTED, or NOT_ENDED if none does.
    """

    token: int
    start_frame: int
    end_frame: int
    log_posterior: float
    entry: int


@dataclass(frozen=True)
class Writer:
    """Makes words of tokens.

    Parameters
    ----------
    labels, frame_seconds
        As of the decoders.
    written
        How each entry of the vocabulary is written; other words are written as they are spelled, and all words are
        where labels are looked up in another spelling.
    is_lexicon
        Whether words come from a lexicon: then words that it does not list are marked, ``<…>``, and words are
        separated by spaces though the labels have no delimiter.
    """

    labels: Labels
    frame_seconds: float
    written: Sequence[str] = ()
    is_lexicon: bool = False

    def words(self, spans: Iterable[TokenSpan], last_entry: int = UNLISTED) -> tuple[Word, ...]:
        """Group tokens into words; `last_entry` is the word with which they end, NOT_ENDED if it may still go on."""
        letters = self.labels.letters
        words: list[Word] = []
        tokens: list[int] = []
        log_posteriors: list[float] = []
        begin = stop = 0
        for token, start, end, log_posterior, entry in spans:
            if entry != NOT_ENDED and tokens:
                words += self._closed(entry, tokens, log_posteriors, begin, stop)
                tokens, log_posteriors = [], []
            if letters[token]:
                begin, stop = begin if tokens else start, end
                tokens.append(token)
                log_posteriors.append(log_posterior)
        if tokens:
            words += self._closed(last_entry, tokens, log_posteriors, begin, stop)
        return tuple(words)

    @cached_property
    def separator(self) -> str:
        """What stands between words in a text."""
        return " " if self.is_lexicon else self.labels.separator

    def _closed(
        self, entry: int, tokens: list[int], log_posteriors: list[float], begin: int, end: int
    ) -> tuple[Word, ...]:
        is_listed = entry >= 0 and (self.is_lexicon or not self.labels.lookup)
        text = self.written[entry] if is_listed else self._spelled(tokens, entry)
        if not text:
            return ()
        # Rounding of the log-probs must not lift a probability over one.
        confidence = math.exp(min(math.fsum(log_posteriors) / len(tokens), 0.0))
        return (Word(text, begin * self.frame_seconds, end * self.frame_seconds, confidence, self.separator),)

    def _spelled(self, tokens: Sequence[int], entry: int) -> str:
        letters = [self.labels.letters[token] for token in tokens]
        text = whole_characters("".join(letters))
        if not self.is_lexicon:
            return text
        are_letters = max(map(len, self.labels.letters)) == 1
        if entry == NOT_ENDED:
            # Phones of half a word are nothing to read.
            return text if are_letters else ""
        return f"<{text if are_letters else '-'.join(letters)}>"
