"""Text ↔ token ids for CTC: characters, subwords as SentencePiece makes them, phones, or another toolkit's labels.

Token 0 is the blank.
"""

import json
from pathlib import Path
from typing import get_args

from asr.errors import UsageError, did_you_mean
from asr.files import read_text
from asr.lexicon.formats import parse_lexicon
from asr.tokenizer.base import BLANK, BLANK_TOKEN, LEXICON, SCORES, TOKENS, Kind, Tokenizer, min_frames
from asr.tokenizer.characters import CharTokenizer
from asr.tokenizer.labels import LabelTokenizer, with_blank_first
from asr.tokenizer.phones import WORD_BOUNDARY, PhoneTokenizer
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


def read_tokenizer(folder: Path, kind: str) -> Tokenizer:
    """Return the tokenizer whose `Tokenizer.files` are in `folder`.

    Raises
    ------
    UsageError
        If the kind is unknown, or the tokens are invalid.
    DataError
        If the lexicon is invalid.
    OSError, ValueError
        If a file is missing, or is not JSON.
    """
    known = get_args(Kind)
    if kind not in known:
        raise UsageError(f"the tokenizer is {kind!r}; expected {', '.join(known)}{did_you_mean(kind, known)}")
    tokens = json.loads((folder / TOKENS).read_text(encoding="utf-8"))
    if kind == "characters":
        return CharTokenizer(tokens)
    if kind == "labels":
        return LabelTokenizer(tokens)
    if kind == "phones":
        return PhoneTokenizer(tokens, parse_lexicon(read_text(folder / LEXICON), str(folder / LEXICON)))
    scores = json.loads((folder / SCORES).read_text(encoding="utf-8")) if kind == "unigram" else ()
    return SentencePieceTokenizer(tokens, scores)
