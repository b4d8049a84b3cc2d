"""English as it is read aloud: numbers, dates, money, times and abbreviations as spoken words.

Written for transcripts and for the text of language models, which want one reading of each, the likeliest. Where
several are usual, that of audiobooks is taken: "eighteen forty seven", "one hundred and one", "mister".
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from asr.errors import MissingExtraError

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
SHORT_MONTHS = {month[:3]: month for month in MONTHS if month != "May"} | {"Sept": "September"}

# Before a name; the first of them also without the full stop.
TITLES = {
    "Mr": "mister", "Mrs": "missus", "Dr": "doctor", "St": "saint", "Mme": "madame", "Mlle": "mademoiselle",
    "Mt": "mount", "Lt": "lieutenant",
}  # fmt: skip
DOTTED_TITLES = {
    "Prof": "professor", "Rev": "reverend", "Hon": "honorable", "Capt": "captain", "Col": "colonel", "Gen": "general",
    "Maj": "major", "Lieut": "lieutenant", "Sgt": "sergeant", "Gov": "governor", "Sen": "senator", "Ft": "fort",
}  # fmt: skip
# After a name or a list, so that their full stop may end the sentence.
ABBREVIATIONS = {
    "Jr": "junior", "Sr": "senior", "Esq": "esquire", "Bros": "brothers", "Co": "company", "Inc": "incorporated",
    "Ltd": "limited", "Corp": "corporation", "Ave": "avenue", "Blvd": "boulevard", "vs": "versus", "viz": "namely",
    "etc": "et cetera",
}  # fmt: skip
LATIN = {"ie": "that is", "eg": "for example"}
# Only before a number.
NUMBERED = {
    "no": "number", "nos": "numbers", "vol": "volume", "ch": "chapter", "chap": "chapter", "p": "page", "pp": "pages",
    "fig": "figure", "sec": "section",
}  # fmt: skip
# Only after a number: one of them, several.
UNITS = {
    "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"), "oz": ("ounce", "ounces"), "ft": ("foot", "feet"),
    "km": ("kilometer", "kilometers"), "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"),
    "kg": ("kilogram", "kilograms"), "mg": ("milligram", "milligrams"), "mph": ("mile an hour", "miles an hour"),
    "hrs": ("hour", "hours"), "mins": ("minute", "minutes"),
}  # fmt: skip
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
}
SYMBOLS = {"%": " percent", "¢": " cents", "&": " and ", "°": " degrees ", "@": " at ", "=": " equals "}
FRACTIONS = {"½": (1, 2), "¼": (1, 4), "¾": (3, 4), "⅓": (1, 3), "⅔": (2, 3), "⅛": (1, 8)}
SCALES = "hundred|thousand|million|billion|trillion"
PARTS_OF_BOOKS = "chapter|book|volume|part|act|scene|canto|section|psalm|appendix|world war"
RULERS = (
    "Henry|Louis|Charles|George|William|Edward|James|Richard|John|Philip|Francis|Frederick|Napoleon|Peter|Catherine|"
    "Elizabeth|Pius|Leo|Benedict|Clement|Gregory|Innocent|Urban|Paul|Alexander|Ferdinand|Ivan|Nicholas|Ramses"
)
ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}

NUMBER = r"\d{1,3}(?:,\d{3})+|\d+"
# Longer ones without commas are codes, and read digit by digit.
MOST_DIGITS_OF_A_NUMBER = 6

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def spoken(text: str) -> str:
    """Return `text` with numbers, dates, money, times and abbreviations as the words that are said.

    Letter case and punctuation elsewhere stay: they tell "St. Paul" from "Wall St.", and are for the caller to remove.
    White space is collapsed.

    Raises
    ------
    MissingExtraError
        If the text has a number and num2words is not installed.

    Examples
    --------
    >>> spoken("Dr. Smith paid $2.50 on May 3, 1847.")
    'doctor Smith paid two dollars and fifty cents on May third eighteen forty seven.'
    """
    for sign, (pattern, replace) in WORD_RULES:
        if sign.search(text):
            text = pattern.sub(replace, text)
    if HAS_NUMBER.search(text):
        for pattern, replace in NUMBER_RULES:
            text = pattern.sub(replace, text)
    return " ".join(text.split())


@lru_cache(maxsize=100_000)
def number_words(number: str, kind: str = "cardinal") -> str:
    """Return the words of a whole or decimal number; `kind` is "cardinal", "ordinal" or "year"."""
    try:
        from num2words import num2words
    except ImportError:
        raise MissingExtraError("num2words", "data", "writing numbers as words") from None
    whole, point, decimals = number.partition(".")
    if point:
        return f"{number_words(whole or '0')} point {_digits(decimals)}"
    is_code = whole.isdigit() and (len(whole) > MOST_DIGITS_OF_A_NUMBER or (len(whole) > 1 and whole[0] == "0"))
    if is_code and kind == "cardinal":
        return _digits(whole)
    words: str = num2words(int(whole.replace(",", "")), to=kind)
    return words.replace(",", "").replace("-", " ")


def _digits(number: str) -> str:
    return " ".join(number_words(digit) for digit in number)


def _cardinal_or_year(number: str) -> str:
    """Four digits from 1100 to 2099 are read as a year, as "fifteen hundred men" is too."""
    is_year = len(number) == 4 and 1100 <= int(number) < 2100
    return number_words(number, "year" if is_year else "cardinal")


def _plural(words: str) -> str:
    return words[:-1] + "ies" if words.endswith("y") else words + ("es" if words.endswith("x") else "s")


def _decade(match: re.Match[str]) -> str:
    number = match["decade"]
    return _plural(number_words(number, "year" if len(number) == 4 else "cardinal"))


def _fraction(top: int, bottom: int) -> str:
    name = {2: "half", 4: "quarter"}.get(bottom) or number_words(str(bottom), "ordinal")
    plural = {2: "halves"}.get(bottom, name + "s")
    return f"{number_words(str(top))} {name if top == 1 else plural}"


def _mixed_fraction(match: re.Match[str]) -> str:
    top, bottom = FRACTIONS[match["sign"]] if match["sign"] else (int(match["top"]), int(match["bottom"]))
    if not match["whole"]:
        return f" {_fraction(top, bottom)} "
    part = "a" + _fraction(top, bottom)[3:] if top == 1 else _fraction(top, bottom)
    return f" {number_words(match['whole'])} and {part} "


def _money(match: re.Match[str]) -> str:
    one, several, small_one, small_several = CURRENCIES[match["currency"]]
    whole, decimals, scale = match["whole"], match["decimals"] or "", match["scale"]
    if scale:
        amount = number_words(f"{whole}.{decimals}") if decimals else number_words(whole)
        return f" {amount} {scale} {several}"
    if decimals and len(decimals) != 2:
        return f" {number_words(f'{whole}.{decimals}')} {several}"
    small = int(decimals or 0)
    parts = []
    if int(whole.replace(",", "")) or not small:
        parts.append(f"{number_words(whole)} {one if whole == '1' else several}")
    if small:
        parts.append(f"{number_words(str(small))} {small_one if small == 1 else small_several}")
    return " " + " and ".join(parts)


def _time(match: re.Match[str]) -> str:
    hour, minute = number_words(str(int(match["hour"]))), match["minute"] or "00"
    half = match.groupdict().get("half")
    if minute == "00":
        return f"{hour} {half[0].lower()} m" if half else f"{hour} o'clock"
    words = f"{hour} {'oh ' if minute[0] == '0' else ''}{number_words(str(int(minute)))}"
    return f"{words} {half[0].lower()} m" if half else words


def _day_first(match: re.Match[str]) -> str:
    return f"the {number_words(match['day'], 'ordinal')} of {match['month']}{_year(match)}"


def _month_first(match: re.Match[str]) -> str:
    month = match["month"].rstrip(".")
    return f"{SHORT_MONTHS.get(month, month)} {number_words(match['day'], 'ordinal')}{_year(match)}"


def _year(match: re.Match[str]) -> str:
    return f" {number_words(match['year'], 'year')}" if match["year"] else ""


def _unit(match: re.Match[str]) -> str:
    one, several = UNITS[match["unit"].lower()]
    return f"{match['number']} {one if match['number'] == '1' else several}"


def _roman(numeral: str) -> int:
    values = [ROMAN[letter] for letter in numeral]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))


def _any(names: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True))


DAY = r"(?P<day>[12]?\d|3[01])"
YEAR = r"(?:,? (?P<year>1[1-9]\d\d|20\d\d)\b)?"
HAS_NUMBER = re.compile(rf"[\d{''.join(FRACTIONS)}]")

# An apostrophe at a word's edge is a quotation mark, but in these, after s ("the boys' dog"), and in goin', o' and an'.
ELISIONS = "tis|twas|twere|twill|twould|em|til|till|cause|bout|neath|gainst|ere|ll|re|ve|d|s|m"


def _abbreviation(match: re.Match[str]) -> str:
    word = match[1]
    if word in TITLES or word in DOTTED_TITLES:
        return TITLES.get(word) or DOTTED_TITLES[word]
    if word in ABBREVIATIONS:
        return ABBREVIATIONS[word] + ("" if match["ends"] is None else ".")
    return match[0]


# Each is applied to what those before it have left, where the text has its sign. Patterns begin with what is rare, and
# look behind for what stands before it: over running text that is several times as fast.
WORD_RULES: tuple[tuple[re.Pattern[str], Rule], ...] = tuple(
    (re.compile(sign), (re.compile(pattern), replace))
    for sign, pattern, replace in (
        (r"['‘’]", rf"['‘’](?<![\w'’].)(?!(?i:{ELISIONS})\b)(?=\w)", lambda _m: ""),
        (r"['’]", r"['’](?<![\w'’].)(?!\w)|['’](?<=[.,;:!?].)(?!\w)", lambda _m: ""),
        (r"['’]", r"['’](?<=[^\W\d_sS].)(?<!in.)(?<!\b[oO].)(?<!\b[aA]n.)(?<!\b[tT]h.)(?!\w)", lambda _m: ""),
        (r"\.[eg]\.|\. [eg]\.", r"\b(i\. ?e|e\. ?g)\.", lambda m: LATIN[m[1][0] + m[1][-1]]),
        # After a name and not before one, St. is a street.
        (r"St\.", r"(\b[A-Z][a-z]+ )St\.(?= [a-z]|[,;:?!]|\s*$)", lambda m: m[1] + "street"),
        (r"[rste] ", r"([A-Z](?<!\w.)(?:rs?|t|me|lle)) (?=[A-Z]|and [A-Z])", lambda m: TITLES.get(m[1], m[1]) + " "),
        (r"[a-z]\.", r"""([A-Z](?<!\w.)[a-z]{1,6})\.(?P<ends>(?=\s+["'“‘(]?[A-Z]|\s*$))?""", _abbreviation),
        (r"etc\.|vs\.|viz\.", r"\b(etc|vs|viz)\.(?P<ends>(?=\s+[\"“(]?[A-Z]|\s*$))?", _abbreviation),
        (r"\.[A-Za-z]\.", r"(?<![\w.])(?:[A-Za-z]\.){2,}(?!\w)", lambda m: " ".join(m[0].replace(".", ""))),
        # An initial before a name; "It was I." ends a sentence.
        (r"[A-HJ-Z]\.", r"([A-HJ-Z](?<!\w.))\. ?(?=[A-Z])", lambda m: m[1] + " "),
        (r"Vol\.|Ch", r"\b(Vol|Chap|Ch)\.(?= ?[IVXLC\d])", lambda m: NUMBERED[m[1].lower()]),
        # A lone I is a number only where nothing goes on after it: "in Part I think".
        (
            r" (?:[IVXLC]{2,}\b|[VXLC]\b|I(?:[.,:;)]|$))",
            rf"\b((?i:{PARTS_OF_BOOKS})\.?) ([IVXLC]{{2,}}\b|[VXLC]\b|I(?=[.,:;)]|$))",
            lambda m: f"{m[1]} {number_words(str(_roman(m[2])))}",
        ),
        (
            r" (?:[IVX]{2,}\b|[VX]\b)",
            rf"\b({RULERS}) ([IVX]{{2,}}|[VX])\b(?!\.\w)",
            lambda m: f"{m[1]} the {number_words(str(_roman(m[2])), 'ordinal')}",
        ),
        (f"[{''.join(SYMBOLS)}]", f"[{''.join(SYMBOLS)}]", lambda m: SYMBOLS[m[0]]),
    )
)
NUMBER_RULES: tuple[Rule, ...] = (
    (
        re.compile(rf"(?P<currency>[$£€¥]) ?(?P<whole>{NUMBER})(?:\.(?P<decimals>\d+))?(?: (?P<scale>{SCALES})\b)?"),
        _money,
    ),
    (
        re.compile(
            rf"(?:\b(?P<whole>\d+)[ -]?)?(?:(?P<sign>[{''.join(FRACTIONS)}])"
            r"|(?<![\d/.])(?P<top>\d)/(?P<bottom>[2-9]|10)(?![\d/]))"
        ),
        _mixed_fraction,
    ),
    (re.compile(r"\b(?P<hour>1?\d|2[0-3])(?::(?P<minute>[0-5]\d))? ?(?P<half>[AaPp]\.? ?[Mm]\b)"), _time),
    (re.compile(r"(?<!:)\b(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)\b(?!:)"), _time),
    (re.compile(rf"\b(?:[Tt]he )?{DAY}(?:st|nd|rd|th)?(?: of)? (?P<month>{_any(MONTHS)})\b{YEAR}"), _day_first),
    (
        re.compile(rf"\b(?P<month>{_any(MONTHS)}|(?:{_any(SHORT_MONTHS)})\b\.?) {DAY}(?:st|nd|rd|th)?\b{YEAR}"),
        _month_first,
    ),
    (re.compile(r"['’]?\b(?P<decade>(?:1[1-9]|20)?\d0)['’]?s\b"), _decade),
    (re.compile(rf"\b({NUMBER})(?:st|nd|rd|th)\b", re.IGNORECASE), lambda m: number_words(m[1], "ordinal")),
    (re.compile(rf"\b({_any(NUMBERED)})\. ?(?=\d)", re.IGNORECASE), lambda m: NUMBERED[m[1].lower()] + " "),
    (re.compile(r"# ?(?=\d)"), lambda _m: "number "),
    (
        re.compile(rf"\b(?P<number>(?:{NUMBER})(?:\.\d+)?)[ -]?(?P<unit>{_any(UNITS)})\b\.?", re.IGNORECASE),
        _unit,
    ),
    # Telephone numbers, ranges, what is below zero.
    (re.compile(r"\b(?:\d{3}-)?\d{3}-\d{4}\b"), lambda m: _digits(m[0].replace("-", ""))),
    (re.compile(r"(?<=\d) ?[-–] ?(?=\d)"), lambda _m: " to "),
    (re.compile(r"(?<![\w.])[-−](?=\d)"), lambda _m: "minus "),
    (re.compile(rf"(?:\b(?:{NUMBER})|(?<![\w.]))\.\d+"), lambda m: number_words(m[0])),
    (re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])"), lambda _m: " "),
    (re.compile(NUMBER), lambda m: _cardinal_or_year(m[0])),
)
