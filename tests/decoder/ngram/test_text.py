"""Text files as they come: packed or not, with a byte order mark, or not text at all."""

import bz2
import gzip
import io
import lzma

import pyarrow as pa
import pytest

from asr.decoder.ngram.text import differing_in_case, read_sentences
from asr.errors import DecodingError


def zst(content):
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress, zst])
def test_packing_is_told_by_content(tmp_path, pack):
    path = tmp_path / "text"
    path.write_bytes(pack("\ufeffeins zwei\r\ndrei ä\n".encode()))
    assert [line.split() for line in read_sentences([path, path])] == [["eins", "zwei"], ["drei", "ä"]] * 2


def test_a_dash_is_the_standard_input(monkeypatch):
    for pack in (bytes, gzip.compress):
        stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(pack(b"a b\nc\n"))))
        monkeypatch.setattr("sys.stdin", stdin)
        assert list(read_sentences(["-"])) == ["a b\n", "c\n"]


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin1.txt").write_bytes(b"fine\ncaf\xe9\n")
    with pytest.raises(DecodingError, match=r"latin1\.txt, line 2: not UTF-8"):
        list(read_sentences([tmp_path / "latin1.txt"]))
    (tmp_path / "short.xz").write_bytes(lzma.compress(b"a b\n" * 1000)[:40])
    with pytest.raises(DecodingError, match=r"short\.xz"):
        list(read_sentences([tmp_path / "short.xz"]))
    with pytest.raises(DecodingError, match=r"nowhere\.txt: No such file"):
        list(read_sentences([tmp_path / "nowhere.txt"]))


def test_words_that_differ_in_case_are_found():
    assert differing_in_case(["the", "cat", "The"]) == ("the", "The")
    assert differing_in_case(["the", "Cat"]) is None
