"""A model and a store → error counts, utterance by utterance."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from asr.data.store import FeatureStore
from asr.errors import DataError
from asr.evaluation.wer import ErrorCounts, character_errors, word_errors
from asr.features import LogMelConfig
from asr.settings import to_dict
from asr.transcription.bundle import Bundle
from asr.transcription.runtime import Runtime
from asr.transcription.transcribe import Decoder

# Feature frames that go through the network together, padding included.
BATCH_FRAMES = 6000


@dataclass(frozen=True)
class UtteranceResult:
    """One utterance's reference, hypothesis and errors."""

    id: str
    reference: str
    hypothesis: str
    words: ErrorCounts
    characters: ErrorCounts


@dataclass(frozen=True)
class Evaluation:
    """The results of a test set."""

    utterances: tuple[UtteranceResult, ...]

    @cached_property
    def words(self) -> ErrorCounts:
        """Word errors of the whole set."""
        return sum((utterance.words for utterance in self.utterances), ErrorCounts())

    @cached_property
    def characters(self) -> ErrorCounts:
        """Character errors of the whole set."""
        return sum((utterance.characters for utterance in self.utterances), ErrorCounts())

    def interval(self, samples: int = 1000) -> tuple[float, float]:
        """Return a 95 % confidence interval of the WER, by bootstrap over utterances (Bisani & Ney 2004).

        Parameters
        ----------
        samples : int
            Number of resampled test sets; their seed is fixed.
        """
        errors = np.array([utterance.words.errors for utterance in self.utterances])
        lengths = np.array([utterance.words.reference_length for utterance in self.utterances])
        drawn = np.random.default_rng(0).integers(0, len(errors), (samples, len(errors)))
        rates = errors[drawn].sum(axis=1) / np.maximum(1, lengths[drawn].sum(axis=1))
        low, high = np.percentile(rates, (2.5, 97.5))
        return float(low), float(high)

    def summary(self) -> dict[str, float | int]:
        """Return ``wer``, its interval ``low`` and ``high``, ``cer``, in per cent; ``utterances`` and ``words``.

        Raises
        ------
        DataError
            If no reference has a word: there is no rate then.
        """
        if not self.words.reference_length:
            raise DataError(f"none of {len(self.utterances)} references has a word; a rate needs at least one")
        low, high = self.interval()
        return {
            "wer": round(100 * (self.words.rate or 0.0), 3),
            "low": round(100 * low, 2),
            "high": round(100 * high, 2),
            "cer": round(100 * (self.characters.rate or 0.0), 3),
            "utterances": len(self.utterances),
            "words": self.words.reference_length,
        }


def evaluate(
    store: FeatureStore,
    bundle: Bundle,
    runtime: Runtime,
    decoder: Decoder,
    advance: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Recognise every utterance of `store` and count errors.

    Parameters
    ----------
    store : FeatureStore
    bundle : Bundle
    runtime : Runtime
    decoder : callable
        ``(log_probs (T, V)) -> hypotheses, best first``.
    advance : callable, optional
        Called with the number of utterances just done.

    Raises
    ------
    DataError
        If the store's features are not those of the model, or it has no utterance.
    """
    check_features(store, bundle.features, f"model {bundle.name}")
    results: dict[int, UtteranceResult] = {}
    for indices in _batches(store):
        utterances = [store[index] for index in indices]
        log_probs = runtime([utterance.features for utterance in utterances])
        for index, utterance, rows in zip(indices, utterances, log_probs, strict=True):
            hypothesis = decoder(rows)[0].text
            results[index] = UtteranceResult(
                utterance.id,
                utterance.text,
                hypothesis,
                word_errors([utterance.text], [hypothesis]),
                character_errors([utterance.text], [hypothesis]),
            )
        advance(len(indices))
    return Evaluation(tuple(results[index] for index in sorted(results)))


def check_features(store: FeatureStore, features: LogMelConfig, owner: str) -> None:
    """Refuse a store whose features are not those of its user, `owner` in messages.

    Raises
    ------
    DataError
        Naming what differs; or if the store is empty.
    """
    if not len(store):
        raise DataError(f"the store of {store.corpus} has no utterance; expected at least one")
    got, expected = to_dict(store.config), to_dict(features)
    different = [f"{key}: {got[key]} (expected {expected[key]})" for key in expected if got[key] != expected[key]]
    if different:
        raise DataError(
            f"{store.path}: the store's features are not those of {owner}: {'; '.join(different)}: prepare the corpus "
            "with those feature settings, into another folder"
        )


def unwritable(store: FeatureStore, tokens: Iterable[str]) -> tuple[int, str]:
    """Return how many transcripts hold characters that no token writes, and these characters."""
    known = set("".join(tokens)) | {" "}
    found = [set(text) - known for text in store.texts]
    return sum(map(bool, found)), "".join(sorted(set().union(*found)))


def _batches(store: FeatureStore) -> Iterator[list[int]]:
    """Yield utterances of similar length, the longest first, within the frame budget."""
    order = np.argsort(-np.asarray(store.num_frames), kind="stable")
    first = 0
    while first < len(order):
        longest = max(1, int(store.num_frames[order[first]]))
        last = first + max(1, BATCH_FRAMES // longest)
        yield [int(index) for index in order[first:last]]
        first = last
