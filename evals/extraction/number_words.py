"""Words that make the number before them another one, and the numbers that a remark states."""

import re

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
