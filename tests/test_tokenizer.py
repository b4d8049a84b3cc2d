"""Characters and subwords to ids and back; subwords against SentencePiece; CTC's fewest frames against all paths."""

import itertools
import string
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoder import Labels
from asr.errors import DataError, MissingExtraError, UsageError
from asr.files import write_text
from asr.lexicon import PronouncingDictionary
from asr.tokenizer import (
    BLANK,
    BLANK_TOKEN,
    CharTokenizer,
    PhoneTokenizer,
    SentencePieceTokenizer,
    min_frames,
    read_tokenizer,
)

TEXTS = st.lists(st.text(max_size=20), max_size=10)
# Words of which parts recur, as in a language.
SPOKEN = [
    " ".join((stem, stem + first, second + "'" + stem))
    for stem in ("seven", "time", "eight", "night", "stay")
    for first in ("teen", "ty", "ing", "ings", "s")
    for second in ("t", "on", "ok")
]
WORDS = st.lists(st.text("seventyightmoka'", min_size=1, max_size=12), max_size=5)


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def subwords(request: pytest.FixtureRequest) -> SentencePieceTokenizer:
    pytest.importorskip("sentencepiece", reason="training a subword tokenizer needs the [train] extra")
    return SentencePieceTokenizer.from_texts(SPOKEN, request.param, 30)


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
        ([BLANK_TOKEN, ""], "empty: True"),
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


def library(tokenizer: Any) -> Any:
    """Return SentencePiece's own processor of a tokenizer's pieces."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as model_pb2

    model = model_pb2.ModelProto()
    model.trainer_spec.model_type = {"unigram": 1, "bpe": 2}[tokenizer.kind]
    model.trainer_spec.unk_id = BLANK
    model.normalizer_spec.name = "identity"
    scores = tokenizer._scores if tokenizer.kind == "unigram" else -np.arange(len(tokenizer))
    for index, (piece, score) in enumerate(zip(tokenizer.tokens, scores, strict=True)):
        model.pieces.add(piece=piece, score=float(score), type=2 if index == BLANK else 1)
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def test_subwords_are_cut_as_the_library_cuts_them(subwords):
    pytest.importorskip("google.protobuf")
    theirs = library(subwords)

    @given(WORDS)
    @settings(deadline=None)
    def agree(words):
        text = " ".join(words)
        ids = subwords.encode(text)
        assert ids == theirs.encode(text)
        assert subwords.decode(ids) == text
        assert subwords.min_frames([text]).tolist() == [min_frames(ids)]

    agree()


def test_the_decoder_writes_what_the_tokenizer_cut(subwords):
    labels = Labels(subwords.tokens, BLANK)
    assert all(labels.text(subwords.encode(text)) == text for text in SPOKEN)
    assert max(len(token) for token in subwords.tokens[1:]) > 2


@given(order=st.permutations(SPOKEN))
@settings(max_examples=3, deadline=None)
def test_subwords_do_not_depend_on_the_order_of_texts(subwords, order):
    again = SentencePieceTokenizer.from_texts(order, subwords.kind, len(subwords))
    assert again.files() == subwords.files()


def test_subwords_are_made_anew_from_their_files_without_the_library(subwords, tmp_path, monkeypatch):
    for name, content in subwords.files().items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    again = read_tokenizer(tmp_path, subwords.kind)
    assert again.tokens == subwords.tokens
    assert [again.encode(text) for text in SPOKEN] == [subwords.encode(text) for text in SPOKEN]
    with pytest.raises(DataError, match=r"'seven 7'.*'7' \(U\+0037\)"):
        again.encode("seven 7")
    with pytest.raises(MissingExtraError, match="sentencepiece"):
        SentencePieceTokenizer.from_texts(SPOKEN, "bpe", 30)


@pytest.mark.parametrize(("kind", "size"), [("unigram", 5000), ("bpe", 5000)])
def test_a_vocabulary_that_the_texts_do_not_yield_is_refused(kind, size):
    pytest.importorskip("sentencepiece", reason="training a subword tokenizer needs the [train] extra")
    with pytest.raises(UsageError, match=f"vocab_size is {size}: .* 75 transcripts with 14 different characters"):
        SentencePieceTokenizer.from_texts(SPOKEN, kind, size)
    with pytest.raises(UsageError, match=r"expected 16 or more: .* 14 characters \('aeghikmnostvy\)"):
        SentencePieceTokenizer.from_texts(SPOKEN, kind, 15)
    assert len(SentencePieceTokenizer.from_texts(SPOKEN, kind, 16)) == 16


LEXICON = PronouncingDictionary(
    [("the", ["DH", "AH"]), ("the", ["DH", "IY"]), ("sing", ["S", "IH", "NG"]), ("a", ["AH"]), ("i", ["AY"], -1.0),
     ("i", ["AH"], -0.5)]
)  # fmt: skip


@pytest.mark.parametrize(("word_boundary", "expected"), [(True, "DH AH | S IH NG | AH"), (False, "DH AH S IH NG AH")])
def test_phones_are_those_of_the_preferred_pronunciations(tmp_path, word_boundary, expected):
    made = PhoneTokenizer.from_lexicon(LEXICON, word_boundary=word_boundary)
    for name, text in made.files().items():
        write_text(tmp_path / name, text)
    for tokenizer in (made, read_tokenizer(tmp_path, "phones")):
        assert tokenizer.tokens == made.tokens
        assert " ".join(tokenizer.tokens[index] for index in tokenizer.encode(" the  sing i")) == expected
        assert tokenizer.decode([0, *tokenizer.encode("the sing i"), 0]) == expected.replace("| ", "")
        assert tokenizer.reference("the sing a") == tokenizer.decode(tokenizer.encode("the sing i"))
        # "a i" has equal neighbours where no boundary stands between them.
        assert tokenizer.min_frames(["", "the", "a i"]).tolist() == [0, 2, 3]


def test_words_without_phones_are_named():
    tokenizer = PhoneTokenizer.from_lexicon(LEXICON)
    assert tokenizer.unknown("sing a song the song") == ["song"]
    with pytest.raises(DataError, match="no pronunciation of 'song'"):
        tokenizer.encode("sing a song")


def test_phones_that_are_no_tokens():
    with pytest.raises(UsageError, match=r"phones that the tokenizer lacks: 'IY' \(in 'the'\)"):
        PhoneTokenizer([token for token in PhoneTokenizer.from_lexicon(LEXICON).tokens if token != "IY"], LEXICON)
    with pytest.raises(UsageError, match=r"phones named \|"):
        PhoneTokenizer.from_lexicon(PronouncingDictionary([("a", ["|", "AH"])]))
