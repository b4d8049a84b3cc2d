"""Lexicon files: read in the formats of CMUdict, Kaldi, flashlight and others; written as ``WORD<TAB>PHONES``."""

import io
import math
import os
import re
from collections.abc import Iterable, Iterator

import numpy as np

from asr.errors import DataError
from asr.files import read_text, write_text
from asr.lexicon.coding import LINE_FEED, SPACE
from asr.lexicon.dictionary import Entry, PronouncingDictionary

# Of further pronunciations, in CMUdict: "tomato(2)".
VARIANT = re.compile(r"(?<=.)\(\d+\)$")
# As in Kaldi's lexiconp.txt; a number without a decimal point may be a phone.
WEIGHT = re.compile(r"\d*\.\d+(?:[eE][-+]?\d+)?$|\d+[eE]-\d+$")
# What may make a line mean something else than a word, its weight and its phones.
MARKS = ("#", "(", ";;;", "|")
TAB = 9
ODD_SPACE = re.compile(r"[^\S \t\n]")
# What a file can say; a probability that is smaller is written as this.
LEAST_WEIGHT = 1e-30


def read_lexicon(path: str | os.PathLike[str]) -> PronouncingDictionary:
    """Read a lexicon, plain or gzip: one pronunciation per line, the word and its phones, separated by white space.

    - Lines that start with ``;;;`` or ``# ``, and what follows `` # `` on a line, are comments.
    - ``tomato(2)`` is a further pronunciation of ``tomato``, as in CMUdict.
    - A decimal in 0..1 after the word is the weight of the pronunciation, as in Kaldi's ``lexiconp.txt``.
    - A final ``|``, as in flashlight's lexicons, is dropped: word boundaries are not the lexicon's business.

    Raises
    ------
    DataError
        If the file cannot be read, is not UTF-8, has no entries, or has a word without phones; lines are named.
    """
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: the lexicon is not UTF-8 (byte {error.start}); convert it, for instance with iconv"
        ) from None
    except OSError as error:
        raise DataError(
            f"cannot read the lexicon {path}: {error.strerror or error}; expected a file with one word and its phones "
            "per line"
        ) from None
    return parse_lexicon(text, str(path))


def parse_lexicon(text: str, name: str) -> PronouncingDictionary:
    """Return the dictionary of a lexicon's text; `name` is for messages. See `read_lexicon`."""
    whole = _parse_columns(text)
    return whole if whole is not None else PronouncingDictionary(_entries(_numbered(text), name))


def _parse_columns(text: str) -> PronouncingDictionary | None:
    """Return the dictionary of a text as `format_lexicon` writes it, whole columns at a time; None of any other."""
    content = np.frombuffer(text.encode(), np.uint8)
    is_between = content <= SPACE
    between = content[is_between]
    if any(mark in text for mark in MARKS) or not text.endswith("\n") or (is_between[1:] & is_between[:-1]).any():
        return None
    if not np.isin(between, (TAB, LINE_FEED, SPACE)).all() or not (text.isascii() or not ODD_SPACE.search(text)):
        return None
    columns = between[between != SPACE]
    ends = np.flatnonzero(columns == LINE_FEED)
    begins = np.concatenate([[0], ends[:-1] + 1])
    is_weighted = ends - begins == 2
    # Spaces stand between phones alone: what follows a line feed, or a word with a weight, is a tab.
    first = np.flatnonzero(np.concatenate([[True], between[:-1] == LINE_FEED]))
    if is_between[0] or not ((ends - begins == 1) | is_weighted).all() or (between[first] != TAB).any():
        return None
    if (between[first[is_weighted] + 1] != TAB).any():
        return None
    fields = text.replace("\n", "\t").split("\t")
    weights = [fields[i] for i in (begins[is_weighted] + 1).tolist()]
    if not all(WEIGHT.match(weight) and 0 < float(weight) <= 1 for weight in set(weights)):
        return None
    log_weights = np.zeros(len(ends))
    log_weights[is_weighted] = [math.log(float(weight)) for weight in weights]
    words, sounds = [fields[i] for i in begins.tolist()], [fields[i] for i in ends.tolist()]
    lexicon = PronouncingDictionary.from_columns(words, sounds, log_weights)
    # What looks like a weight is no phone.
    return None if any(map(WEIGHT.match, lexicon.phones)) else lexicon


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines: it parts lines at characters that some languages write within words.
    return enumerate(io.StringIO(text), start=1)


def _entries(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Entry]:
    empty: list[tuple[int, str]] = []
    found = False
    for number, line in lines:
        fields = line.split()
        if not fields or line.startswith((";;;", "# ")):
            continue
        if "#" in fields:
            del fields[fields.index("#") :]
            if not fields:
                continue
        word, *phones = fields
        log_weight = 0.0
        if len(phones) > 1 and WEIGHT.match(phones[0]):
            weight = float(phones.pop(0))
            if not 0 < weight <= 1:
                raise DataError(
                    f"{name}, line {number}: {word!r} has the weight {weight:g}; expected more than 0 and at most 1"
                )
            log_weight = math.log(weight)
        if phones and phones[-1] == "|":
            phones.pop()
        if not phones:
            empty.append((number, word))
            continue
        found = True
        yield Entry(VARIANT.sub("", word), tuple(phones), log_weight)
    if empty:
        shown = ", ".join(f"{word!r} (line {number})" for number, word in empty[:10])
        raise DataError(
            f"{name}: {len(empty)} words have no phones: {shown}{', …' if len(empty) > 10 else ''}; expected a word "
            "and its phones per line, separated by white space"
        )
    if not found:
        raise DataError(f"{name}: the lexicon has no entries; expected one word and its phones per line")


def format_lexicon(lexicon: PronouncingDictionary) -> str:
    """Return the text of a lexicon: lines ``WORD<TAB>PHONES``, with the weight between them unless it is 1."""
    lines = []
    for word, phones, log_weight in lexicon.entries():
        weight = f"{_weight(log_weight)}\t" if log_weight else ""
        lines.append(f"{word}\t{weight}{' '.join(phones)}\n")
    return "".join(lines)


def _weight(log_weight: float) -> str:
    text = f"{max(LEAST_WEIGHT, math.exp(log_weight)):.6g}"
    return text if WEIGHT.match(text) else f"{float(text):.6f}"


def write_lexicon(lexicon: PronouncingDictionary, path: str | os.PathLike[str]) -> None:
    """Write a lexicon for `read_lexicon`, compressed if the name ends in ``.gz``."""
    write_text(path, format_lexicon(lexicon))
