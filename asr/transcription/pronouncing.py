"""The words of a model of phones: those of its lexicon, and others with guesses by its pronunciation model."""

from collections.abc import Iterable

from asr.bundle.bundle import G2P_FILE, Bundle
from asr.decoder import Labels, Lexicon
from asr.errors import DataError, DecodingError, UsageError
from asr.files import read_text
from asr.lexicon import Entry, PronouncingDictionary
from asr.lexicon.formats import parse_lexicon
from asr.tokenizer import BLANK_TOKEN, WORD_BOUNDARY, PhoneTokenizer

# The most guesses of a word that the lexicon lacks, and the least probability of one but the first.
GUESSES = 2
LEAST_PROBABILITY = 0.1


def pronounced(bundle: Bundle, words: Iterable[str]) -> list[Entry]:
    """Return the pronunciations of words: those of a bundle's lexicon, else its pronunciation model's guesses.

    Give them to a decoder's ``add_words`` as ``Lexicon.from_entries(pronounced(bundle, words))``.

    Raises
    ------
    UsageError
        If the bundle has no lexicon; or a word is not in it, and there is no model to guess, or that does not know
        one of the letters.
    """
    tokenizer = phones_of(bundle)
    wanted = list(dict.fromkeys(words))
    missing = tokenizer.lexicon.missing(wanted)
    guessed = _guesses(bundle, missing) if missing else {}
    entries: list[Entry] = []
    for word in wanted:
        entries += guessed.get(word) or [Entry(word, *said) for said in tokenizer.lexicon[word]]
    return entries


def phones_of(bundle: Bundle) -> PhoneTokenizer:
    """Return the tokenizer of a model of phones.

    Raises
    ------
    UsageError
        If the tokens are others.
    """
    if not isinstance(bundle.tokenizer, PhoneTokenizer):
        raise UsageError(f"the tokens of model {bundle.name} are {bundle.tokenizer.kind}; expected a model of phones")
    return bundle.tokenizer


def _guesses(bundle: Bundle, words: list[str]) -> dict[str, list[Entry]]:
    path = bundle.directory / G2P_FILE
    if not path.is_file():
        raise UsageError(
            f"model {bundle.name} has no pronunciation of {', '.join(map(repr, words[:10]))}"
            f"{', …' if len(words) > 10 else ''}, and no {G2P_FILE} to guess them; add them to its lexicon with their "
            "phones, or make one with asr lexicon train"
        )
    from asr.lexicon import G2P

    model, guessed = G2P.read(path), {}
    for word in words:
        try:
            readings = model.pronounce(word, GUESSES)
        except DataError as error:
            raise UsageError(str(error)) from None
        if not readings:
            raise UsageError(f"{path} guesses that {word!r} has no sound; add it to the lexicon with its phones")
        best, *others = readings
        said = [best, *(other for other in others if other.probability >= LEAST_PROBABILITY)]
        guessed[word] = [Entry(word, phones, log_weight - best.log_weight) for phones, log_weight in said]
    return guessed


def own_lexicon(bundle: Bundle, hotwords: Iterable[str] = (), path: str = "") -> Lexicon:
    """Return the words that a search with a model of phones may output.

    Parameters
    ----------
    bundle : Bundle
    hotwords : iterable of str
        Words to add to the bundle's.
    path : str
        A file with the only words, instead of the bundle's: one word per line, with its phones or without.

    Raises
    ------
    UsageError
        If a word cannot be pronounced, or has phones that the model does not know.
    DecodingError
        If the file cannot be read.
    """
    own = PronouncingDictionary(_listed(bundle, path)) if path else phones_of(bundle).lexicon
    if added := own.missing(hotwords):
        own = own.with_entries(pronounced(bundle, added))
    return Lexicon.from_codes(own.columns[0], *own.coded, own.columns[1])


def _listed(bundle: Bundle, path: str) -> list[Entry]:
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DecodingError(f"cannot read the lexicon {path}: {error}; expected words, one per line") from None
    alone = [line.split()[0] for line in lines if len(line.split()) == 1]
    spoken = [line for line in lines if len(line.split()) > 1]
    if not alone and not any(line.strip() for line in lines):
        raise DecodingError(f"{path}: the lexicon has no words; expected one per line, with its phones or without")
    entries = pronounced(bundle, alone)
    if spoken:
        own = parse_lexicon("\n".join(spoken), path)
        own.check_phones(phones_of(bundle).phones, f"model {bundle.name}")
        entries += own.entries()
    return entries


def phone_labels(tokenizer: PhoneTokenizer) -> Labels:
    """Return labels that write each phone as a word of its own, for greedy decoding, which finds no words."""
    return Labels(
        [
            token if token == BLANK_TOKEN else "▁" + (token if token != WORD_BOUNDARY else "")
            for token in tokenizer.tokens
        ]
    )
