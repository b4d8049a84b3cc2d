"""``asr lexicon`` from CMUdict's file to words that it lacks, as a user runs it."""

import pytest
from typer.testing import CliRunner

from asr.cli.lexicon import lexicon_app
from asr.decoder.ngram import estimate
from asr.errors import DataError, UsageError
from asr.lexicon import G2P, read_lexicon, sources

CMUDICT = """\
a AH0
a(2) EY1
a.m. EY2 EH1 M
bat B AE1 T
bats B AE1 T S
cat K AE1 T
cats K AE1 T S
Tab T AE1 B
tabs T AE1 B Z # a comment
"""


def run(*arguments, text=None):
    """Run a command; return its standard output and its error output, or raise what it raised."""
    result = CliRunner().invoke(lexicon_app, [str(argument) for argument in arguments], input=text)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


@pytest.fixture
def lexicon(tmp_path):
    (tmp_path / "cmudict.dict").write_text(CMUDICT)
    out = tmp_path / "lexicon.txt.gz"
    _, err = run("build", (tmp_path / "cmudict.dict").as_uri(), "--profile", "english", "--out", out)
    assert "left out 1 words that do not fit profile english: a.m.\n" in err
    assert "7 words, 8 pronunciations, 8 phones" in err
    return out


def test_a_lexicon_of_an_address(lexicon):
    built = read_lexicon(lexicon)
    assert built.preferred("tab") == ("T", "AE", "B")
    assert [said.phones for said in built["a"]] == [("AH",), ("EY",)]


def test_sources_are_joined_in_their_order(tmp_path, lexicon):
    (tmp_path / "own.txt").write_text("cat\tK AA T\nsat\tS AE T\n")
    run("build", tmp_path / "own.txt", lexicon, "--out", tmp_path / "joined.txt")
    joined = read_lexicon(tmp_path / "joined.txt")
    assert [said.phones[1] for said in joined["cat"]] == ["AA", "AE"]
    assert "sat" in joined
    run("build", tmp_path / "cmudict.dict", "--keep-stress", "--out", tmp_path / "stressed.txt")
    assert "AE1" in read_lexicon(tmp_path / "stressed.txt").phones


def test_only_the_words_of_a_list(tmp_path, lexicon):
    (tmp_path / "words.txt").write_text("cats\na\nzebra\n")
    run("build", lexicon, "--words", tmp_path / "words.txt", "--out", tmp_path / "some.txt")
    some = read_lexicon(tmp_path / "some.txt")
    assert sorted(some) == ["a", "cats"]
    assert len(some["a"]) == 2
    (tmp_path / "words.txt").write_text("zebra\n")
    with pytest.raises(DataError, match=r"words.txt: none of its 1 words is in the lexicon"):
        run("build", lexicon, "--words", tmp_path / "words.txt", "--out", tmp_path / "none.txt")


def test_cmudict_is_checked(tmp_path, monkeypatch):
    (tmp_path / "cmudict.dict").write_text(CMUDICT)
    monkeypatch.setattr(sources, "CMUDICT_URL", (tmp_path / "cmudict.dict").as_uri())
    with pytest.raises(DataError, match=r"got a file with the SHA-256 .*; expected 8191"):
        run("build", "cmudict", "--out", tmp_path / "out.txt")
    with pytest.raises(DataError, match="cannot download the lexicon"):
        run("build", (tmp_path / "none").as_uri(), "--out", tmp_path / "out.txt")
    with pytest.raises(UsageError, match="did you mean 'english'"):
        run("build", tmp_path / "cmudict.dict", "--profile", "englisch", "--out", tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()


def test_what_a_lexicon_lacks_is_counted(tmp_path, lexicon):
    (tmp_path / "text").write_text("a cat sat\nthe cat sat\n")
    with pytest.warns(UserWarning, match="too small"):
        estimate(["a cat sat", "the cat sat"], order=1).write_arpa(tmp_path / "lm.arpa")
    out, _ = run("check", lexicon, "--text", tmp_path / "text", "--lm", tmp_path / "lm.arpa")
    assert "7 words, 8 pronunciations\n" in out
    assert "phones in 3 entries or fewer: AH (in 'a'), EY (in 'a')" in out
    assert "2 of the text's 4 words are not in the lexicon, 50.00 % of all that it says: sat (2), the (1)" in out
    assert "2 of the language model's 4 words are not in the lexicon and cannot be recognised: sat, the" in out


def test_words_that_it_lacks_are_guessed(tmp_path, lexicon):
    g2p, out = tmp_path / "g2p.npz", tmp_path / "larger.txt"
    _, err = run("train", lexicon, "--out", g2p, "--order", 3)
    assert "5 letters, 8 phones" in err
    _, err = run("extend", lexicon, "-", "--g2p", g2p, "--out", out, text="tact tabs\n1 stab\n")
    assert "added 2 words: tact, stab\n" in err
    assert "left out 1 words with letters, digits or symbols that" in err
    assert read_lexicon(out).preferred("stab") == G2P.read(g2p).pronounce("stab")[0].phones
    out, _ = run("pronounce", "cats", "Stab", "--lexicon", lexicon, "--g2p", g2p)
    assert out.splitlines()[0] == "cats\t1.0000\tK AE T S"
    assert out.splitlines()[1].startswith("Stab\t")
    with pytest.raises(DataError, match="does not list 'stab'; give --g2p"):
        run("pronounce", "stab", "--lexicon", lexicon)
    with pytest.raises(UsageError, match="give --lexicon, --g2p, or both"):
        run("pronounce", "stab")
