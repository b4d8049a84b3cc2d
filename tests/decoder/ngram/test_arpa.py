"""ARPA files: what is written reads back, other programs' habits are taken, what is wrong is named with its line."""

import gzip
import math
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from asr.decoder.ngram import NGramModel, estimate
from asr.errors import DecodingError

from .models import TINY_ARPA, ngrams_of, random_sentences


def read(tmp_path, text):
    path = tmp_path / "lm.arpa"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return NGramModel.read(path)


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz", "lm.arpa.bz2", "lm.arpa.xz", "lm.arpa.zst"])
def test_what_is_written_reads_back_bit_for_bit(tmp_path, name):
    model = estimate(random_sentences(250, seed=3), order=4)
    model.write(tmp_path / name)
    again = NGramModel.read(tmp_path / name)
    assert again.words == model.words
    assert all((x == y).all() for x, y in zip(again.query_arrays, model.query_arrays, strict=True))
    first = (tmp_path / name).read_bytes()
    again.write_arpa(tmp_path / name)
    assert (tmp_path / name).read_bytes() == first


def test_many_lines_are_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("asr.decoder.ngram.arpa_lines.LINES_AT_ONCE", 7)
    monkeypatch.setattr("asr.decoder.ngram.arpa.LINES_AT_ONCE", 7)
    model = estimate(random_sentences(250, seed=3))
    model.write_arpa(tmp_path / "lm.arpa")
    assert ngrams_of(NGramModel.read(tmp_path / "lm.arpa")) == ngrams_of(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\t", " "),
        lambda text: text.replace(" ", "\t").replace("ngram\t", "ngram "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n\n", "\n \n\n"),
        lambda text: text.replace("<unk>", "<UNK>"),
        # Rows in another order.
        lambda text: text.replace("-0.6\ta\t-0.3\n-0.7\tb\t-0.4\n", "-0.7\tb\t-0.4\n-0.6\ta\t-0.3\n"),
        lambda text: text.replace("-0.9\tc\t", "-9e-1\tc\t"),
        # Comments before and between the sections, and the highest order's weights, all of them 0.
        lambda text: "# made by hand\n" + text.replace("\\2-grams", "# more\n\\2-grams"),
        lambda text: text.replace("<s> a b", "<s> a b\t0").replace("c a b", "c a b\t-0.0"),
        lambda text: text.replace("c a b", "c a b\t0"),
    ],
)
def test_habits_of_other_programs_change_nothing(tmp_path, change):
    assert ngrams_of(read(tmp_path, change(TINY_ARPA))) == ngrams_of(read(tmp_path, TINY_ARPA))


def test_words_may_hold_any_character_but_ascii_white_space(tmp_path):
    text = (
        TINY_ARPA.replace("\tc\t", "\tü\u00a0\u3000x\t")
        .replace("c a", "ü\u00a0\u3000x a")
        .replace("b c", "b ü\u00a0\u3000x")
    )
    model = read(tmp_path, text)
    model.write_arpa(tmp_path / "again.arpa")
    assert "ü\u00a0\u3000x" in NGramModel.read(tmp_path / "again.arpa")
    model.write_binary(tmp_path / "again.bin")
    assert NGramModel.read(tmp_path / "again.bin").words == model.words


def test_a_model_without_unk_gives_unknown_words_kenlms_floor(tmp_path):
    model = read(tmp_path, TINY_ARPA.replace("ngram 1=6", "ngram 1=5").replace("-1.5\t<unk>\t-0.1\n", ""))
    assert model.words[0] == "<unk>"
    assert model.advance(model.empty_state, model.word_id("zebra"))[0] == pytest.approx(-100 * math.log(10))
    assert model.score("a b") == pytest.approx(read(tmp_path, TINY_ARPA).score("a b"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "hello", r"line 1: not an ARPA file: expected \\data\\, got 'hello'"),
        ("ngram 2=4", "ngram 2=x", "line 3: expected 'ngram ORDER=COUNT'"),
        ("ngram 2=4", "ngram 3=4", "line 3: expected the count of 2-grams"),
        ("ngram 1=6", "ngram 1=0", "no 1-grams"),
        ("ngram 1=6", "ngram 1=-6", "line 2: expected 'ngram ORDER=COUNT'"),
        ("ngram 1=6", "ngram 1=7", "line 13: the header counts more 1-grams than the section holds: got a blank line"),
        ("ngram 1=6", "ngram 1=5", r"line 12: expected \\2-grams: after the 5 1-grams that the header counts"),
        ("ngram 3=2", "ngram 3=3", "line 23: the header counts more 3-grams"),
        ("ngram 3=2", "ngram 3=2000000000000", "line 23: the header counts more 3-grams"),
        ("ngram 3=2", "ngram 3=1", r"line 22: expected \\end\\ after the 1 3-grams"),
        (
            "ngram 3=2\n",
            "",
            r"line 14: back-off weight -0.05: expected none, or 0, for 2-grams, the highest order",
        ),
        ("\\3-grams:", "\\4-grams:", r"line 20: expected \\3-grams:"),
        ("-0.6\ta\t-0.3", "-inf\ta\t-0.3", r"line 10: log10 probability -inf.*log zero is written -99"),
        ("-0.6\ta\t-0.3", "-0.6\ta\tinf", "line 10: log10 probability -0.6, back-off inf"),
        ("-0.6\ta\t-0.3", "nan\ta\t-0.3", "line 10: log10 probability nan"),
        ("-0.6\ta\t-0.3", "0.6\ta\t-0.3", "line 10: log10 probability 0.6"),
        ("-0.6\ta\t-0.3", "-0,6\ta\t-0,3", "line 10: not a number"),
        ("-0.6\ta\t-0.3", "-0.6\ta b\t-0.3", "line 10: expected a log10 probability, 1 word.s. and at most"),
        ("-0.6\ta\t-0.3", "-0.6\tb\t-0.3", "line 11: the word 'b' is listed twice, first in line 10"),
        ("-0.35\ta b\t-0.15", "-0.35\ta d\t-0.15", "line 16: the word 'd' is not among the 1-grams"),
        ("-0.35\ta b\t-0.15", "-0.35\tc a\t-0.15", "line 18: the 2-gram is listed twice, first in line 16"),
        ("-0.11\t<s> a b", "-0.11\t<s> b b", "line 21: the 3-gram's first 2 words are not listed"),
        ("-0.11\t<s> a b", "-0.11\t<s> a b\t-0.1", "line 21: back-off weight -0.1: expected none, or 0"),
        ("<s>", "<S>", "does not list <s>"),
        ("</s>", "<end>", "does not list </s>"),
        ("\\end\\", "", "the end of the file: is it cut short"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, old, new, message):
    assert old in TINY_ARPA
    with pytest.raises(DecodingError, match=message):
        read(tmp_path, TINY_ARPA.replace(old, new))


@pytest.mark.parametrize("length", range(0, len(TINY_ARPA) - 7, 5))
def test_a_file_cut_short_anywhere_is_refused(tmp_path, length):
    with pytest.raises(DecodingError, match=r"lm\.arpa"):
        read(tmp_path, TINY_ARPA[:length])


def test_text_that_is_not_utf8_and_files_cut_in_gzip_are_named(tmp_path):
    with pytest.raises(DecodingError, match=r"line 12: b'\\xe9' is not UTF-8"):
        read(
            tmp_path,
            TINY_ARPA.encode().replace(b"\tc\t", b"\t\xe9\t").replace(b"c a", b"\xe9 a").replace(b"b c", b"b \xe9"),
        )
    packed = gzip.compress(TINY_ARPA.encode())
    with pytest.raises(DecodingError, match="cut short"):
        read(tmp_path, packed[: len(packed) // 2])


def test_a_pipe_is_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pipe.write_bytes, gzip.compress(TINY_ARPA.encode()))
        model = NGramModel.read(pipe)
        writing.result()
    assert ngrams_of(model) == ngrams_of(read(tmp_path, TINY_ARPA))


def test_a_name_without_a_known_suffix_is_refused(tmp_path):
    with pytest.raises(DecodingError, match=r"cannot tell the format of .*lm\.txt"):
        read(tmp_path, TINY_ARPA).write(tmp_path / "lm.txt")


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(DecodingError, match=r"cannot read the language model .*nowhere\.arpa: No such file"):
        NGramModel.read(tmp_path / "nowhere.arpa")
