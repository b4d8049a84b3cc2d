"""How words are pronounced: lexicons of phones, read, checked and written.

dictionary.py   word → pronunciations, with weights
formats.py      CMUdict's, Kaldi's and flashlight's files
"""

from asr.lexicon.dictionary import Entry, PronouncingDictionary, Pronunciation
from asr.lexicon.formats import read_lexicon, write_lexicon

__all__ = ["Entry", "PronouncingDictionary", "Pronunciation", "read_lexicon", "write_lexicon"]
