import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import DataError, UsageError
from asr.text import ENGLISH, VERBATIM, TextProfile


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    for profile in (VERBATIM, ENGLISH):
        once = profile.clean(text)
        assert profile.clean(once) == once
        assert unicodedata.is_normalized("NFC", once)
        assert "  " not in once
        assert once == once.strip()


@given(st.text(), st.sampled_from(["refuse", "map", "drop", "reject"]))
def test_what_comes_out_is_in_the_alphabet(text: str, unknown: str) -> None:
    profile = TextProfile("letters", "lower", alphabet="abcdefghijklmnopqrstuvwxyz' ", unknown=unknown)  # type: ignore[arg-type]
    try:
        assert set(profile(text)) <= set(profile.alphabet)
    except DataError:
        assert unknown != "drop"
        assert profile.unknown_characters(profile.clean(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Well—“it’s”, he said;\tTWO-fold. \r\n", "well it's he said two fold"),
        ("Cafe\u0301", "caf\u00e9"),
        ("\ufeffBOM", "bom"),
        ("42 Mr. O'Neil", "42 mr o'neil"),
        ("yes...no hello,world; Well…maybe", "yes no hello world well maybe"),
        ("so?!then \"it!\"is 'Stop!' a:'tis", "so then it is 'stop' a 'tis"),
        ("U.S. e.g. 1,000 10:30", "us eg 1000 1030"),
        ("and/or he/she", "and or he she"),
    ],
)
def test_english(text: str, expected: str) -> None:
    assert ENGLISH.clean(text) == expected


def test_a_profile_that_keeps_marks_keeps_words_as_they_are() -> None:
    assert VERBATIM.clean("hello,world") == "hello,world"
    assert TextProfile(replacements={",": ""}).clean("yes...no,so") == "yes...no so"


def test_unknown_characters() -> None:
    profile = TextProfile("letters", alphabet="abcdefi ", unknown="map")
    assert profile("caf\u00e9 \ufb01") == "cafe fi"
    with pytest.raises(DataError, match=r"'7' \(U\+0037\)"):
        profile("caf\u00e9 7")


def test_profiles_survive_json() -> None:
    assert TextProfile.from_dict(ENGLISH.to_dict()) == ENGLISH
    with pytest.raises(UsageError, match="did you mean 'alphabet'"):
        TextProfile.from_dict({"alfabet": "abc"})
    with pytest.raises(UsageError, match="did you mean 'lower'"):
        TextProfile(case="lowr")  # type: ignore[arg-type]
