"""Lexicons in the formats of others are read, written and read again the same; what is wrong in them is named."""

import gzip
import itertools
import math
import random
from typing import Any

import pytest

from asr.errors import DataError, UsageError
from asr.lexicon import Entry, PronouncingDictionary, Pronunciation, formats, read_lexicon, write_lexicon
from asr.lexicon.formats import parse_lexicon

CMUDICT = """\
;;; # CMUdict
a AH0
a(2) EY1
aalborg AO1 L B AO0 R G # place, danish
aalborg(2) AA1 L B AO0 R G
(paren P ER0 EH1 N
the DH AH0
the(2) DH AH1
the(3) DH IY0
"""


def read(tmp_path, text, name="lexicon.txt"):
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_lexicon(tmp_path / name)


def test_cmudict(tmp_path):
    lexicon = read(tmp_path, CMUDICT)
    assert lexicon["a"] == (Pronunciation(("AH0",)), Pronunciation(("EY1",)))
    assert [" ".join(said.phones) for said in lexicon["aalborg"]] == ["AO1 L B AO0 R G", "AA1 L B AO0 R G"]
    assert lexicon["(paren"][0].phones == ("P", "ER0", "EH1", "N")
    assert (len(lexicon), lexicon.num_entries) == (4, 8)
    plain = lexicon.without_stress()
    assert [said.phones for said in plain["the"]] == [("DH", "AH"), ("DH", "IY")]
    assert plain.phones == ("AA", "AH", "AO", "B", "DH", "EH", "ER", "EY", "G", "IY", "L", "N", "P", "R")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello\th e l l o |\n", Entry("hello", tuple("hello"))),
        ("to 0.25 T AH\n", Entry("to", ("T", "AH"), math.log(0.25))),
        ("to 1.0 T AH\n", Entry("to", ("T", "AH"))),
        ("#\nto T AH\n\t# a comment\n", Entry("to", ("T", "AH"))),
        # The vowels of X-SAMPA may be digits.
        ("peu\tp 2\r\n", Entry("peu", ("p", "2"))),
        ("deux 2\n", Entry("deux", ("2",))),
        ("\ufeffé e\n", Entry("é", ("e",))),
    ],
)
def test_other_formats(tmp_path, text, expected):
    assert list(read(tmp_path, text).entries()) == [expected]
    assert list(read(tmp_path, gzip.compress(text.encode())).entries()) == [expected]


def test_preferred_is_the_heaviest_and_then_the_first():
    lexicon = PronouncingDictionary([("a", ["x"], -1.0), ("a", ["y"], -0.5), ("a", ["z"], -0.5), ("a", ["x"], -0.7)])
    assert lexicon.preferred("a") == ("y",)
    assert [said.phones[0] for said in lexicon["a"]] == ["y", "z", "x"]
    assert lexicon["a"][2].log_weight == -0.7


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
def test_what_is_written_is_read_again(tmp_path, suffix):
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    weights = [0.0, math.log(0.3), math.log(1e-9), -1000.0, math.log(1 - 1e-9)]
    entries = [
        (word, [rng.choice(["A", "B", "ŋ", "2"]) for _ in range(rng.randint(1, 5))], rng.choice(weights))
        for word in ("a", "b'c", "é", "d(e)")
        for _ in range(3)
    ]
    lexicon = PronouncingDictionary(entries)
    path = tmp_path / f"lexicon{suffix}"
    write_lexicon(lexicon, path)
    again = read_lexicon(path)
    assert list(again) == list(lexicon)
    for word in lexicon:
        weights_of = [{said.phones: math.exp(said.log_weight) for said in known[word]} for known in (lexicon, again)]
        assert weights_of[0] == pytest.approx(weights_of[1], rel=1e-5, abs=1e-29)
    write_lexicon(again, tmp_path / f"again{suffix}")
    assert read_lexicon(tmp_path / f"again{suffix}") == again


def by_lines(text):
    """Read line by line, which any text can be."""
    try:
        return list(PronouncingDictionary(formats._entries(formats._numbered(text), "it")).entries())
    except DataError as error:
        return str(error)


def by_columns(text):
    try:
        return list(parse_lexicon(text, "it").entries())
    except DataError as error:
        return str(error)


def test_whole_columns_are_read_as_lines_are():
    rng = random.Random(5)
    phones = ["AH", "S", "NG", "t͡ʃʰː", "a very long phone".replace(" ", "_"), "B", "ɛ̃"]
    odd = ["a AH\n", "a(2)\tAH\n", "a\t0.0\tAH\n", "a\tAH  S\n", "a\t AH\n", "a b\tAH\n", "a\t0.5 AH\n", "a\t0.5\n"]
    odd += ["\tAH\n", "a\n", "\n", "a\tAH # b\n", "a\t.5\tAH |\n", "a\tAH\tS\tB\n", "a\tAH\x0bS\n", "a\tAH\u00a0S\n"]
    quick = 0
    for case in range(300):
        words = [rng.choice(["a", "to", "ab", "été", "'s"]) for _ in range(rng.randint(1, 8))]
        if case % 2:
            words.sort()
        lines = [
            f"{word}\t{rng.choice(['', '', '0.5	', '1e-3	', '0.25	'])}"
            f"{' '.join(rng.choices(phones[: rng.randint(2, 7)], k=rng.randint(1, 4)))}\n"
            for word in words
        ]
        if case % 4 > 1:
            lines.insert(rng.randint(0, len(lines)), rng.choice(odd))
        text = "".join(lines)
        assert by_columns(text) == by_lines(text), (case, text)
        assert case % 4 > 1 or formats._parse_columns(text) is not None
        quick += formats._parse_columns(text) is not None
    assert 150 <= quick < 300


def test_words_added_are_as_if_listed_from_the_start():
    entries: list[Any] = [("a", ["AH"], -1.0), ("to", ["T", "UW"]), ("a", ["EY"])]
    for more in ([("be", ["B", "IY"], -0.5), ("be", ["B"])], [("a", ["B"])], [("to", ["T", "UW"]), ("be", ["B"])]):
        added = PronouncingDictionary(entries).with_entries(more)
        assert list(added.entries()) == list(PronouncingDictionary([*entries, *more]).entries())
        coded = added.coded
        said = [
            tuple(coded.phones[code] for code in coded.codes[first:last])
            for first, last in itertools.pairwise(coded.begins)
        ]
        assert said == [entry.phones for entry in added.entries()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no entries"),
        (";;; only a comment\n", "no entries"),
        ("a AH\nbe\nsee\n", r"2 words have no phones: 'be' \(line 2\), 'see' \(line 3\)"),
        ("a 1.5 AH\n", r"line 1: 'a' has the weight 1.5; expected more than 0 and at most 1"),
        (b"a AH\nb\xe9 B\n", r"not UTF-8 \(byte 6\)"),
        (gzip.compress(b"a AH\n" * 100, mtime=0)[:-12], "cannot read the lexicon"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_lexicon(tmp_path / "none.txt")


@pytest.mark.parametrize("entry", [("", ["A"]), ("a b", ["A"]), ("a", []), ("a", ["A B"]), ("a", [""]), ("a", "AB"),
                                   ("a", ["A"], 0.5), ("a", ["A"], math.nan)])  # fmt: skip
def test_entries_that_are_none(entry):
    with pytest.raises(DataError, match="expected a word, a list of one or more phones"):
        PronouncingDictionary([entry])


def test_unknown_phones():
    lexicon = PronouncingDictionary([("a", ["AH0"]), ("to", ["T", "UW1"])])
    with pytest.raises(UsageError, match=r"2 phones that the model lacks: 'AH0' \(in 'a'\), 'UW1' .*stress marks"):
        lexicon.check_phones(["AH", "T", "UW"], "the model")
    lexicon.without_stress().check_phones(["AH", "T", "UW"], "the model")
