"""The vocabularies of other toolkits → tokens in the order of the network's output."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asr.decoder.labels import SPECIALS
from asr.errors import AsrError, ModelError, first_line

# "<eps>" is icefall's; a padding token is the blank of Hugging Face's models.
BLANKS = ("<blk>", "<blank>", "<eps>", "<ctc_blank>", "<pad>", "[PAD]")


def read_tokens(path: Path) -> list[str]:
    """Return the tokens of ``vocab.txt`` or ``tokens.txt``: lines ``token id``, or one token per line.

    Raises
    ------
    ModelError
        If it cannot be read, or the ids are not 0, 1, 2, … each once.
    """
    lines = [line for line in _text(path).split("\n") if line.strip("\r")]
    parts = [line.rstrip("\r").rpartition(" ") for line in lines]
    if not all(number.isdecimal() for _, _, number in parts):
        return [line.rstrip("\r") for line in lines]
    # A space may stand for itself before its number.
    indices = {token or " ": int(number) for token, _, number in parts}
    return in_order({token if token.strip() else " ": index for token, index in indices.items()}, path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what damaged content makes of the code that reads it into a ``ModelError`` that names the file."""
    try:
        yield
    except AsrError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{path}: is damaged, or of another format ({type(error).__name__}: {first_line(error)}); download it again"
        ) from None


def read_object(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object; raises as `read_json`."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}; expected an object: download it again")
    return content


def check_blank(blank: object, columns: int, path: Path) -> int:
    """Return the column of CTC's blank that ``config.json`` states as the padding token's; raises ``ModelError``."""
    if type(blank) is not int or not 0 <= blank < columns:
        raise ModelError(
            f"{path}: config.json has the pad_token_id {blank!r}, which is CTC's blank; expected a column, 0 to "
            f"{columns - 1}: the files are of different models, or config.json is damaged"
        )
    return blank


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises
    ------
    ModelError
        If it cannot be read.
    """
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise ModelError(f"{path}: is not JSON ({error}); download it again") from None


def read_vocab_json(folder: Path, language: str = "") -> list[str]:
    """Return the tokens of a Hugging Face folder's ``vocab.json`` and ``added_tokens.json``.

    Parameters
    ----------
    folder : Path
    language : str
        Which of several, where the file holds one vocabulary for each language, as MMS has it.

    Raises
    ------
    ModelError
        If a file cannot be read, the language is missing, or an id is missing.
    """
    path = folder / "vocab.json"
    vocabulary = read_object(path)
    if vocabulary and all(isinstance(part, dict) for part in vocabulary.values()):
        if language not in vocabulary:
            raise ModelError(
                f"{path}: holds the vocabularies of {len(vocabulary)} languages ({', '.join(list(vocabulary)[:5])}, …) "
                f"and none for {language!r}: asr convert … --language CODE chooses one"
            )
        vocabulary = vocabulary[language]
    if not all(type(index) is int for index in vocabulary.values()):
        raise ModelError(f"{path}: is no object of token: id")
    for name, content in ((name, folder / name) for name in ("added_tokens.json", "tokenizer_config.json")):
        extra = read_object(content) if content.is_file() else {}
        with reading(content):
            if name == "tokenizer_config.json":
                decoder = extra.get("added_tokens_decoder", {})
                extra = {entry["content"]: int(index) for index, entry in decoder.items()}
            for token, index in extra.items():
                # A token that was added may stand for another of the same id: the vocabulary's own comes first.
                if int(index) not in vocabulary.values():
                    vocabulary.setdefault(token, int(index))
    return in_order(vocabulary, path)


def in_order(indices: Mapping[str, int], path: Path) -> list[str]:
    """Return the tokens by their ids, which are 0, 1, 2, … each once; raises ``ModelError``."""
    missing = set(range(len(indices))) - set(indices.values())
    if missing or not indices:
        raise ModelError(
            f"{path}: {len(indices)} tokens, and none has the id {min(missing, default=0)}; expected 0, 1, 2, …, each "
            "once: download it again"
        )
    return sorted(indices, key=indices.__getitem__)


def fit_tokens(tokens: list[str], columns: int, path: Path) -> list[str]:
    """Return as many tokens as the network's output has columns.

    Raises
    ------
    ModelError
        If there are fewer, other than a blank that is left to be the last column; or more that are written.
    """
    if len(tokens) == columns - 1 and not any(token in BLANKS for token in tokens):
        # NeMo's vocabularies do not list the blank.
        return [*tokens, "<blk>"]
    spare = [token for token in tokens[columns:] if token not in SPECIALS and not token.startswith(("<", "["))]
    if len(tokens) < columns or spare:
        raise ModelError(
            f"{path}: lists {len(tokens)} tokens, and the network's output has {columns} columns: the vocabulary is "
            "another model's, or cut short; download it again"
        )
    return tokens[:columns]


def find_blank(tokens: list[str], path: Path) -> int:
    """Return the index of the blank, by its name.

    Raises
    ------
    ModelError
        If none, or several, of the tokens could be it.
    """
    for names in (BLANKS[:4], BLANKS[4:]):
        found = [index for index, token in enumerate(tokens) if token in names]
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise ModelError(
        f"{path}: {len(found) or 'none'} of the tokens could be the blank; expected one of the names "
        f"{', '.join(BLANKS)}: give its column by --blank"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
