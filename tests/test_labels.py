"""The tokenizer of vocabularies from elsewhere."""

import pytest

from asr.errors import DataError, UsageError
from asr.tokenizer import LabelTokenizer, read_tokenizer, with_blank_first

WAV2VEC2 = ["<blank>", "<s>", "</s>", "<unk>", "|", "E", "T", "A", "'"]
PIECES = ["<blank>", "<unk>", "▁t", "he", "▁the", "▁", "t", "h", "e", "<0xC3>", "<0xA9>"]
CHINESE = ["<blank>", "<unk>", "中", "国", "中国"]


@pytest.mark.parametrize(
    ("tokens", "text", "ids"),
    [
        (WAV2VEC2, "A TEA", [7, 4, 6, 5, 7]),
        (PIECES, "the t he", [4, 2, 5, 3]),
        (CHINESE, "中国国", [4, 3]),
        (PIECES, "", []),
    ],
)
def test_texts_are_cut_into_the_fewest_tokens_and_come_back(tmp_path, tokens, text, ids):
    tokenizer = LabelTokenizer(tokens)
    assert tokenizer.encode(text) == ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.min_frames([text]).tolist() == [len(ids)]
    for name, content in tokenizer.files().items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_tokenizer(tmp_path, "labels").tokens == tuple(tokens)


def test_bytes_become_characters_and_unknown_letters_are_named():
    assert LabelTokenizer(PIECES).decode([2, 9, 10]) == "té"
    assert LabelTokenizer(WAV2VEC2).alphabet == frozenset("ETA' ")
    with pytest.raises(DataError, match=r"'t' \(U\+0074\)"):
        LabelTokenizer(WAV2VEC2).encode("TEAt")


def test_the_blank_moves_to_the_front():
    assert with_blank_first(["a", "b", "<pad>"], 2, "<blank>") == ["<blank>", "a", "b"]
    with pytest.raises(UsageError, match="expected one blank"):
        with_blank_first(["<blank>", "<pad>"], 1, "<blank>")
