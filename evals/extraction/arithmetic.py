r"""The exact value of an arithmetic expression in TeX or plain text.

It has numbers, the four operations, powers, parentheses, fractions, binomial coefficients,
factorials and exact roots: `2^6-1`, `\binom{12}{7}`, `\sqrt{7056}`, `\frac{924}{7}`, `4\times10^2`.
An expression with a variable, or with a product without a sign (`2(3+4)`), has no value here.
"""

import re
import unicodedata
from fractions import Fraction
from math import comb, factorial, isqrt

_RAISED = re.compile(r"(?<=[\d)}])[⁺⁻]?[⁰¹²³⁴-⁹]+")
_SINGLE = re.compile(r"(\\(?:[dtc]?frac|[dt]?binom))\s*(\d)\s*(\d)")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"|\\?(?P<word>[dtc]?frac|[dt]?binom|sqrt|cdot|times|div)(?![A-Za-z])"
    r"|(?P<sign>[-+*/^!(){}×·⋅÷√]))\s*"
)
_MIXED = re.compile(
    r"([-−]?)(\d{1,9})(?:\s*\\[dt]?frac\s*(?:\{(\d{1,9})\}\s*\{(\d{1,9})\}|(\d)(\d))"
    r"|\s+(\d{1,9})/(\d{1,9}))"
)
"""A mixed number, such as `3 1/2`."""
_CHOOSE = re.compile(r"\{?\s*(\d+)\s*\\choose\s*(\d+)\s*\}?")
_RANGE = re.compile(r"\s*[\d.,]+-[\d.,]+\s*")
_OPERATIONS = {"×": "*", "·": "*", "⋅": "*", "cdot": "*", "times": "*", "÷": "/", "div": "/"}
_LONGEST = 200  # characters
_LARGEST = 10**40
_HIGHEST_POWER = 200
_LARGEST_FACTORIAL = 34  # the last one below 10^40
_DEEPEST = 12


class _NoValueError(ValueError):
    """The text is no expression with a value."""


def evaluated(text: str) -> Fraction | None:
    """Return the value of a text that is an expression; None for others, and above 10^40.

    Two numbers with a dash and no spaces are a range or a score rather than a difference.
    """
    if len(text) > _LONGEST or not re.search(r"\d", text) or _RANGE.fullmatch(text):
        return None
    if mixed := _MIXED.fullmatch(text.strip()):
        sign, whole, *parts = mixed.groups()
        above, below = (int(part) for part in parts if part)
        if above < below:
            return (-1 if sign else 1) * (int(whole) + Fraction(above, below))
    text = _RAISED.sub(lambda raised: f"^{{{unicodedata.normalize('NFKC', raised[0])}}}", text)
    try:
        text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
        return _Expression(_SINGLE.sub(r"\1{\2}{\3}", text.replace("−", "-"))).value()
    except (_NoValueError, ZeroDivisionError):
        return None


class _Expression:
    """A recursive descent over the tokens of an expression."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if not token or token.end() == at:
                raise _NoValueError
            word = token["number"] or token["word"] or token["sign"]
            self._tokens.append(_OPERATIONS.get(word, word))
            at = token.end()
        self._at = 0
        self._depth = 0

    def value(self) -> Fraction:
        """Return the value of all tokens. Raises _NoValueError."""
        value = self._sum()
        if self._at < len(self._tokens):
            raise _NoValueError
        return value

    def _next(self, *wanted: str) -> str | None:
        """Return the next token and pass it, if it is one of these."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if token is None or token not in wanted:
            return None
        self._at += 1
        return token

    def _sum(self) -> Fraction:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _NoValueError
        sign = self._next("+", "-")
        value = -self._product() if sign == "-" else self._product()
        while sign := self._next("+", "-"):
            value += -self._product() if sign == "-" else self._product()
        self._depth -= 1
        return _bounded(value)

    def _product(self) -> Fraction:
        value = self._power()
        while sign := self._next("*", "/"):
            factor = self._power()
            value = _bounded(value / factor if sign == "/" else value * factor)
        return value

    def _power(self) -> Fraction:
        value = self._atom()
        if self._next("!"):
            if value.denominator != 1 or not 0 <= value <= _LARGEST_FACTORIAL:
                raise _NoValueError
            value = Fraction(factorial(int(value)))
        if not self._next("^"):
            return value
        sign = self._next("+", "-")
        exponent = self._group()
        if exponent.denominator != 1 or abs(exponent) > _HIGHEST_POWER:
            raise _NoValueError
        power = value ** int(-exponent if sign == "-" else exponent)
        return _bounded(Fraction(power))

    def _atom(self) -> Fraction:
        if self._next("frac", "dfrac", "tfrac", "cfrac"):
            return _bounded(self._group() / self._group())
        if self._next("binom", "dbinom", "tbinom"):
            above, below = self._group(), self._group()
            whole = above.denominator == below.denominator == 1
            if not whole or not 0 <= below <= above <= _HIGHEST_POWER:
                raise _NoValueError
            return _bounded(Fraction(comb(int(above), int(below))))
        if self._next("sqrt", "√"):
            return _root(self._group())
        return self._group()

    def _group(self) -> Fraction:
        """Return a number, or what is in parentheses or braces."""
        if opened := self._next("(", "{"):
            value = self._sum()
            if not self._next({"(": ")", "{": "}"}[opened]):
                raise _NoValueError
            return value
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        if not re.match(r"\.?\d", token):
            raise _NoValueError
        self._at += 1
        return _bounded(Fraction(token.replace(",", "")))


def _bounded(value: Fraction) -> Fraction:
    if max(abs(value.numerator), value.denominator) >= _LARGEST:
        raise _NoValueError
    return value


def _root(value: Fraction) -> Fraction:
    """Return the square root of a number. Raises _NoValueError if it is not rational."""
    if value < 0:
        raise _NoValueError
    root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    if root * root != value:
        raise _NoValueError
    return root
