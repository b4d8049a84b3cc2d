import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import DataError, UsageError
from asr.text import ENGLISH, PROFILES, VERBATIM, TextProfile


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
    profile = TextProfile("letters", "lower", alphabet="abcdefghijklmnopqrstuvwxyz' ", unknown=unknown)
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ça va? «Oui!» L’été, c'est-à-dire… 25°.", "ça va oui l'été c'est à dire 25"),
        ("Straße, ÄRGER; U.S.A. 3.5 %", "straße ärger usa 3 5"),
        ("İstanbul’da IŞIK", "istanbul'da işik"),
        ("नमस्ते, दुनिया। हिन्दी", "नमस्ते दुनिया हिन्दी"),
        ("می\u200cروم؟ 你好，世界！", "می\u200cروم 你好 世界"),
        ("'quoted' rock 'n' roll don't", "quoted rock n roll don't"),
    ],
)
def test_words_of_any_language(text: str, expected: str) -> None:
    words = PROFILES["words"]
    assert words(text) == expected
    assert words(words(text)) == expected


def test_turkish_lowers_its_own_way() -> None:
    assert PROFILES["turkish"]("DİYARBAKIR'IN Işığı") == "diyarbakır'ın ışığı"


def test_letters_that_unicode_does_not_decompose_are_mapped() -> None:
    mapped = replace(ENGLISH, unknown="map")
    assert mapped("İzmir Straße Øre Łódź cœur Ærø Đak Þór") == "izmir strasse ore lodz coeur aero dak thor"
    assert replace(mapped, case="upper", alphabet=ENGLISH.alphabet.upper())("straße øre") == "STRASSE ORE"
    with pytest.raises(DataError, match="'你'"):
        mapped("你")


def test_profiles_survive_json() -> None:
    assert TextProfile.from_dict(ENGLISH.to_dict()) == ENGLISH
    with pytest.raises(UsageError, match="did you mean 'alphabet'"):
        TextProfile.from_dict({"alfabet": "abc"})
    with pytest.raises(UsageError, match="did you mean 'lower'"):
        TextProfile(case="lowr")
