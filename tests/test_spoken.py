"""English as it is read aloud: a table of tricky cases."""

import pytest

from asr.spoken import spoken
from asr.text import SPOKEN_ENGLISH

CASES = {
    # Money.
    "It cost $2.50, then $1 and £1,000.": "it cost two dollars and fifty cents then one dollar and one thousand pounds",
    "$3.5 million for €1.01 and 50¢": "three point five million dollars for one euro and one cent and fifty cents",
    "about £200 a cash": "about two hundred pounds a cash",
    "$0.05 off": "five cents off",
    # Dates and years.
    "on May 3, 1847.": "on may third eighteen forty seven",
    "the 12th of March 2019": "the twelfth of march twenty nineteen",
    "on 12 March, 1905 he": "on the twelfth of march nineteen oh five he",
    "Sept. 6 and Jan 21st": "september sixth and january twenty first",
    "the 1920s, the '90s": "the nineteen twenties the nineties",
    "in 2001 and 2010": "in two thousand and one and twenty ten",
    "1914-18": "nineteen fourteen to eighteen",
    "He may 3 times": "he may three times",
    # Times of the day.
    "at 5:30 p.m. or 10:05": "at five thirty p m or ten oh five",
    "9:00, 7 AM": "nine o'clock seven a m",
    "I am 5 am I not": "i am five a m i not",
    # Numbers.
    "1,234,567 people": "one million two hundred and thirty four thousand five hundred and sixty seven people",
    "1500 men, 900 horses": "fifteen hundred men nine hundred horses",
    "3.14, .5 and -5": "three point one four zero point five and minus five",
    "the 21st, the 2ND": "the twenty first the second",
    "007 called 555-1234": "zero zero seven called five five five one two three four",
    "account 07700900123": "account zero seven seven zero zero nine zero zero one two three",
    "12345678": "one two three four five six seven eight",
    "24/7, 1/2 of it, 2½ or 3 3/4": "twenty four seven one half of it two and a half or three and three quarters",
    "100% of 5°": "one hundred percent of five degrees",
    "6 ft. tall, 1 lb, 12-lb, 30-days": "six feet tall one pound twelve pounds thirty days",
    "MP3 and B2B at 1 time": "mp three and b two b at one time",
    "No. 5, vol. 2, p. 7, #9": "number five volume two page seven number nine",
    "No. I said": "no i said",
    # Abbreviations.
    "Dr. Smith of St. Paul saw Mr and Mrs. Jones": "doctor smith of saint paul saw mister and missus jones",
    "He lived in Wall St. for years": "he lived in wall street for years",
    "Smith & Co. went, etc. Then Lt. Gen. Grant": "smith and company went et cetera then lieutenant general grant",
    "e.g. this, i.e. that vs. it": "for example this that is that versus it",
    "U.S. forces, J. R. R. Tolkien, A.D. 1492": "u s forces j r r tolkien a d fourteen ninety two",
    "It was I. He went": "it was i he went",
    "I drew a house. The end": "i drew a house the end",
    "drs. and most. Must": "drs and most must",
    # Roman numbers.
    "CHAPTER IV. Henry VIII and World War II": "chapter four henry the eighth and world war two",
    "Book I, in Part I think": "book one in part i think",
    "act ill; Charles I of": "act ill charles i of",
    # Quotation marks that are apostrophes.
    "‘Hello,’ said he, 'the boys’ dog'": "hello said he the boys' dog",
    "'Tis 'em, goin' o' th' an' don't": "'tis 'em goin' o' th' an' don't",
    # What is no English letter.
    "Café “Zürich” — encyclopædia": "cafe zurich encyclopaedia",
    "PLEASE CALL STELLA": "please call stella",
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_text_becomes_what_is_said(text: str) -> None:
    assert SPOKEN_ENGLISH(text) == CASES[text]


@pytest.mark.parametrize("text", CASES)
def test_what_is_said_stays_as_it_is(text: str) -> None:
    assert SPOKEN_ENGLISH(CASES[text]) == CASES[text]


def test_case_and_punctuation_are_left_to_the_caller() -> None:
    assert spoken("Mr. Bell,  it's  9?") == "mister Bell, it's nine?"


def test_text_without_numbers_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "num2words", None)
    assert spoken("Mr. Bell") == "mister Bell"
