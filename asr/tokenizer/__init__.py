"""Text ↔ token ids for CTC: characters, subwords as SentencePiece makes them, or phones. Token 0 is the blank."""

from asr.tokenizer.base import BLANK, BLANK_TOKEN, LEXICON, SCORES, TOKENS, Tokenizer, min_frames
from asr.tokenizer.characters import CharTokenizer
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
    "PhoneTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "min_frames",
    "read_tokenizer",
]
