"""Characters to ids and back; CTC's fewest frames against all paths."""

import itertools
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import DataError, UsageError
from asr.tokenizer import BLANK, BLANK_TOKEN, CharTokenizer, min_frames

TEXTS = st.lists(st.text(max_size=20), max_size=10)


@given(TEXTS)
def test_decoding_undoes_encoding(texts):
    tokenizer = CharTokenizer.from_texts(texts)
    assert tokenizer.tokens[BLANK] == BLANK_TOKEN
    assert len(tokenizer) == len(set(tokenizer.tokens)) == 1 + len(set("".join(texts)))
    for text in texts:
        ids = tokenizer.encode(text)
        assert len(ids) == len(text)
        assert BLANK not in ids
        assert tokenizer.decode(ids) == text
        with_blanks = [index for pair in zip(ids, itertools.repeat(BLANK)) for index in pair]
        assert tokenizer.decode(with_blanks) == text


@given(TEXTS, st.randoms())
def test_the_order_of_the_texts_does_not_matter(texts, random):
    expected = CharTokenizer.from_texts(texts).tokens
    random.shuffle(texts)
    assert CharTokenizer.from_texts(iter(texts)).tokens == expected


def test_a_tokenizer_is_made_anew_from_its_tokens():
    tokenizer = CharTokenizer.from_texts(["zero one", "don't"])
    assert CharTokenizer(list(tokenizer.tokens)).encode("no one") == tokenizer.encode("no one")


def test_an_unknown_character_is_named_with_its_code_point():
    tokenizer = CharTokenizer.from_texts([string.ascii_lowercase + " "])
    with pytest.raises(DataError, match=r"'caf\u00e9 42'.*'2' \(U\+0032\), '4' \(U\+0034\), '\u00e9' \(U\+00E9\)"):
        tokenizer.encode("caf\u00e9 42")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "expected '<blank>' first"),
        (["a", BLANK_TOKEN], "expected '<blank>' first"),
        ([BLANK_TOKEN, "a", "b", "a"], r"more than once: \['a'\]"),
        ([BLANK_TOKEN, "ab"], r"not one character: \['ab'\]"),
        ([BLANK_TOKEN, ""], r"not one character: \[''\]"),
        ([BLANK_TOKEN, BLANK_TOKEN], "more than once"),
    ],
)
def test_tokens_that_cannot_be_are_refused(tokens, message):
    with pytest.raises(UsageError, match=message):
        CharTokenizer(tokens)


@pytest.mark.parametrize("ids", [ids for n in range(5) for ids in itertools.product((1, 2), repeat=n)])
def test_min_frames_is_the_shortest_path_that_collapses_to_the_ids(ids):
    def collapse(path):
        return tuple(index for index, _ in itertools.groupby(path) if index != BLANK)

    shortest = next(
        n for n in itertools.count() if any(collapse(path) == ids for path in itertools.product((0, 1, 2), repeat=n))
    )
    assert min_frames(ids) == shortest
