"""Text ↔ token ids for CTC: characters, subwords as SentencePiece makes them, phones, or another toolkit's labels.

Token 0 is the blank.
"""

from asr.tokenizer.base import BLANK, BLANK_TOKEN, LEXICON, SCORES, TOKENS, Tokenizer, min_frames
from asr.tokenizer.characters import CharTokenizer
from asr.tokenizer.labels import LabelTokenizer, with_blank_first
from asr.tokenizer.phones import WORD_BOUNDARY, PhoneTokenizer
from asr.tokenizer.reading import read_tokenizer
from asr.tokenizer.subwords import SentencePieceTokenizer

__all__ = [
    "BLANK",
    "BLANK_TOKEN",
    "LEXICON",
    "SCORES",
    "TOKENS",
    "WORD_BOUNDARY",
    "CharTokenizer",
    "LabelTokenizer",
    "PhoneTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "min_frames",
    "read_tokenizer",
    "with_blank_first",
]
