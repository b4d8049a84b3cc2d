"""How words are pronounced: lexicons of phones, and guesses for words that they lack.

    dictionary.py   word → pronunciations, with weights
    formats.py      CMUdict's, Kaldi's and flashlight's files
    sources.py      where lexicons come from
    g2p.py          the pronunciation of words that no lexicon lists; alignment.py and search.py are its algorithms

Names are loaded when first used: reading a lexicon never imports Numba.
"""

from typing import TYPE_CHECKING

from asr.lexicon.dictionary import Entry, PronouncingDictionary, Pronunciation
from asr.lexicon.formats import read_lexicon, write_lexicon

if TYPE_CHECKING:
    from asr.lexicon.g2p import G2P

__all__ = ["G2P", "Entry", "PronouncingDictionary", "Pronunciation", "read_lexicon", "write_lexicon"]


def __getattr__(name: str) -> object:
    if name != "G2P":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from asr.lexicon.g2p import G2P

    return G2P
