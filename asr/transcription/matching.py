"""How the words that a model writes are looked up in a language model of other case, or without punctuation."""

from collections import Counter
from collections.abc import Iterable, Sequence

from asr.decoder.labels import SPECIALS
from asr.text import TextProfile

# Words of the language model that are looked at, evenly over its list.
SAMPLE = 20_000
# A language model has a case, or a mark, where at least so many of its words do.
CASE_SHARE, MARK_SHARE = 0.02, 0.001


def spelling(characters: Iterable[str], words: Sequence[str], profile: TextProfile) -> dict[str, str]:
    """Return the characters that words are looked up without, or in another case, and what stands in their place.

    Parameters
    ----------
    characters : iterable of str
        Those of the model's tokens; hotwords may have them in the other case.
    words : sequence of str
        Those of the language model; none where there is no model.
    profile : TextProfile
        Its case, and the characters that it drops, are what a language model may lack. With the profile "words", a
        language model of small letters finds ``Hello,`` as ``hello``, one of capital letters as ``HELLO``, one of both
        as ``Hello``, and one with punctuation as it is. Without a language model, all that the profile changes is
        changed.

    Returns
    -------
    dict of str to str
        Empty where nothing differs.
    """
    listed = [word for word in words[:: max(1, len(words) // SAMPLE)] if word not in SPECIALS]
    counts = Counter(character for word in listed for character in set(word))
    upper, lower = (
        sum(any(map(is_case, word)) for word in listed) > CASE_SHARE * len(listed)
        for is_case in (str.isupper, str.islower)
    )
    table = {}
    forms = {form for character in characters for form in (character, character.lower(), character.upper())}
    # Without letters of which the other case is two, and bytes of a character.
    for character in (form for form in forms if len(form) == 1 and not "\udc80" <= form <= "\udcff"):
        # Between letters: an apostrophe at the end of a word is another matter.
        plain = profile.clean(f"x{character}x")[1:-1].strip()
        if not plain:
            plain = character * (counts[character] > MARK_SHARE * len(listed))
        elif upper:
            plain = character if lower else plain.upper()
        if plain != character:
            table[character] = plain
    return table
