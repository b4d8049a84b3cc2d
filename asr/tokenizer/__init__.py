"""Text ↔ token ids for CTC: characters, or subwords as SentencePiece makes them. Token 0 is the blank."""

from asr.tokenizer.base import BLANK, BLANK_TOKEN, SCORES, TOKENS, Tokenizer, min_frames
from asr.tokenizer.characters import CharTokenizer
from asr.tokenizer.reading import read_tokenizer
from asr.tokenizer.subwords import SentencePieceTokenizer

__all__ = [
    "BLANK",
    "BLANK_TOKEN",
    "SCORES",
    "TOKENS",
    "CharTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "min_frames",
    "read_tokenizer",
]
