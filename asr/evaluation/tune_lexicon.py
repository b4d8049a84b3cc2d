"""A bundle of phones and a store → how often each pronunciation of a word was said, as weights of a lexicon."""

import math
from collections import Counter
from collections.abc import Callable

from asr.bundle.bundle import Bundle
from asr.bundle.runtime import Runtime
from asr.errors import DataError, DecodingError
from asr.lexicon import PronouncingDictionary
from asr.lexicon.choosing import choose
from asr.store.checking import Store
from asr.tokenizer import BLANK
from asr.transcription.pronouncing import phones_of


def count_pronunciations(
    store: Store,
    bundle: Bundle,
    runtime: Runtime,
    lexicon: PronouncingDictionary,
    advance: Callable[[int], None] = lambda _count: None,
) -> tuple[Counter[tuple[str, tuple[str, ...]]], int]:
    """Count the pronunciations in a store's utterances, those on the best path of each transcript.

    Parameters
    ----------
    store : FeatureStore or AudioStore
    bundle : Bundle
        Of phones.
    runtime : Runtime
    lexicon : PronouncingDictionary
        The alternatives; its phones must be the bundle's.
    advance : callable, optional
        Called with the number of utterances just done.

    Returns
    -------
    counts : Counter of (word, phones)
    left_out : int
        Utterances with words that the lexicon lacks, or too short for their transcripts.

    Raises
    ------
    UsageError
        If the bundle is not one of phones, or the lexicon has other phones.
    DataError
        If the store's features are not the bundle's, or no utterance could be aligned.
    """
    tokenizer = phones_of(bundle)
    bundle.front_end.check_store(store, f"model {bundle.name}")
    lexicon.check_phones(tokenizer.phones, f"model {bundle.name}")
    counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
    left_out = 0
    for index, text in enumerate(store.texts):
        words = text.split()
        if lexicon.missing(words):
            left_out += 1
        else:
            said = [[one.phones for one in lexicon[word]] for word in words]
            ids = [[tokenizer.ids(phones) for phones in alternatives] for alternatives in said]
            (log_probs,) = runtime([bundle.front_end.stored(store, index)])
            try:
                chosen = choose(log_probs, ids, BLANK, tokenizer.between)
            except DecodingError:
                left_out += 1
            else:
                counts.update((word, said[n][which]) for n, (word, which) in enumerate(zip(words, chosen, strict=True)))
        advance(1)
    if not counts:
        raise DataError(f"{store.path}: none of its {len(store)} transcripts can be aligned with the lexicon's words")
    return counts, left_out


def weigh(lexicon: PronouncingDictionary, counts: Counter[tuple[str, tuple[str, ...]]]) -> PronouncingDictionary:
    """Return the lexicon with weights: of each word's pronunciations those said most have 1, others their share of it.

    One is added to every count, so that none vanishes. Words that were not said keep their weights.
    """
    entries = []
    for word, known in lexicon.items():
        said = [counts[word, one.phones] + 1 for one in known]
        is_said = max(said) > 1
        entries += [
            (word, one.phones, math.log(count / max(said)) if is_said else one.log_weight)
            for one, count in zip(known, said, strict=True)
        ]
    return PronouncingDictionary(entries)
