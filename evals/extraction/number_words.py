"""Numbers in words, words that change the number before them, and the numbers of a remark."""

import re
from fractions import Fraction

SIZES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_SIZE = re.compile(rf"\s?({'|'.join(SIZES)})s?(?![A-Za-z-])", re.IGNORECASE)
_CHANGES = re.compile(
    rf"(?i)\b(?:(?:{'|'.join(SIZES)}|lakh|crore|mill?i?ard|millone?|million|tausend|ciento?|docena"
    r"|hal(?:f|ve)|third|quarter|tenth|hundredth|thousandth|square root|root|factorial)e?[ns]?"
    r"|pi|(?-i:k)|squared|cubed|doubled|halved|base|binary|octal|hexadecimal|choose|tens|scores?)"
    r"(?![\w-])|[百千万億亿兆]"
)
_COMPUTED = re.compile(r"[\d(][\d\s,.()+*/·×^-]*=(?=\s*-?\d)")
"""The left side of a computation."""
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def sized(text: str, start: int) -> tuple[int, int]:
    """Return the factor of a word of size at a place of a text, and where the word ends."""
    size = _SIZE.match(text, start)
    return (SIZES[size[1].lower()], size.end()) if size else (1, start)


def changes_number(words: str) -> bool:
    """Return whether words after a number make it another one, such as `halves` or `pi`."""
    return _CHANGES.search(words) is not None


def stated_numbers(remark: str) -> list[str]:
    """Return the numbers of a remark, without those on the left sides of computations."""
    found = _NUMBER.findall(_COMPUTED.sub(" ", remark))
    return [number.replace(",", "") for number in found]


_SMALL = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
        " fifteen sixteen seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * number
    for number, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}
_VALUES = {"a": 1, **_SMALL, **_TENS}
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4}
_BELOW_20, _TEN = rf"(?:{'|'.join(_SMALL)})\b", "|".join(_TENS)
_BELOW_100 = rf"(?:(?:{_TEN})(?:[ -](?:{'|'.join([*_SMALL][1:10])})\b|\b)|{_BELOW_20})"
_BELOW_1000 = rf"(?:(?:{_BELOW_20}|a) hundred\b(?:(?: and)? {_BELOW_100})?|{_BELOW_100})"
_IN_WORDS = re.compile(
    rf"(?i)(?:(?P<thousands>{_BELOW_1000}|a) thousand(?:,? )?)?(?:and )?(?P<ones>{_BELOW_1000})?"
    rf"(?:[ -](?P<part>{'|'.join(_PARTS)}))?(?![\w-])"
)


def in_words(text: str) -> tuple[Fraction, int] | None:
    """Return the number below a million that a text begins with in words, and where it ends."""
    number = _IN_WORDS.match(text)
    if not number or not (number["thousands"] or number["ones"]):
        return None
    thousands, ones = (_below_1000(number[name] or "zero") for name in ("thousands", "ones"))
    value = Fraction(1000 * thousands + ones)
    return (value / _PARTS[number["part"].lower()] if number["part"] else value), number.end()


def _below_1000(words: str) -> int:
    value = 0
    for word in re.split(r"[ -]", words.lower()):
        value = value * 100 if word == "hundred" else value + _VALUES.get(word, 0)
    return value
