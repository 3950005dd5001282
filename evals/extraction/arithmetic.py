r"""The exact value of a number in a text: an expression, or digits with a word of size.

An expression has numbers, the four operations, powers, parentheses, fractions, binomial
coefficients, factorials and exact roots: `2^6-1`, `\binom{12}{7}`, `\sqrt{7056}`, `4\times10^2`.
One with a variable, or with a product without a sign (`2(3+4)`), has no value here.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import comb, factorial, isqrt

_TOKENS = re.compile(
    r"(?:[\s\d.*/^!(){}×·⋅÷√]|[-+](?!\s*[-+])|(?<=\d),(?=\d{3}(?!\d))|(?<=\d)[eE](?=[+-]?\d)"
    r"|\\?(?:[dtc]?frac|[dt]?binom|sqrt|cdot|times|div)(?![A-Za-z]))+"
)
_SPELLINGS = (
    (re.compile(r"(?<![\d.,])0+(?=\d)"), ""),
    (re.compile(r"(\\(?:[dtc]?frac|[dt]?binom))\s*(\d)\s*(\d)"), r"\1{\2}{\3}"),
    (re.compile(r"(\\?sqrt|√)\s*(\d+)"), r"\1{\2}"),
    (re.compile(r"\\?[dtc]?(frac|binom)"), r"\1"),
    (re.compile(r"\\?sqrt|√"), "sqrt"),
    (re.compile(r"[×·⋅]|\\?(?:cdot|times)"), "*"),
    (re.compile(r"÷|\\?div"), "/"),
    (re.compile(r"(\d+)\s*!"), r"factorial(\1)"),
)
"""What TeX writes otherwise than Python; a command with two arguments is called twice."""
_PYTHON = str.maketrans({"{": "(", "}": ")", "^": "**", ",": ""})
_RANGE = re.compile(r"\s*[\d.,]+-[\d.,]+\s*")
_OPERATIONS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_LONGEST = 200  # characters
_LARGEST = 10**40
_HIGHEST_POWER = 200
_LARGEST_FACTORIAL = 34  # the last one below 10^40


class _NoValueError(ValueError):
    """The text is no expression with a value."""


def evaluated(text: str) -> Fraction | None:
    """Return the value of a text that is an expression; None for others, and above 10^40.

    Two numbers with a dash and no spaces are a range or a score rather than a difference.
    """
    source = text.replace("−", "-").strip()
    if len(source) > _LONGEST or not _TOKENS.fullmatch(source) or _RANGE.fullmatch(source):
        return None
    for pattern, spelling in _SPELLINGS:
        source = pattern.sub(spelling, source)
    try:
        return _value(ast.parse(source.translate(_PYTHON), mode="eval").body)
    except (ValueError, SyntaxError, ZeroDivisionError):
        return None


def _value(node: ast.expr) -> Fraction:
    """Return the value of a part of an expression. Raises ValueError if it has none."""
    match node:
        case ast.Constant(value=int() | float() as number):
            value = Fraction(repr(number))
        case ast.UnaryOp(op=sign, operand=operand):
            value = -_value(operand) if isinstance(sign, ast.USub) else _value(operand)
        case ast.BinOp(left=left, op=operation, right=right):
            value = _combined(_value(left), operation, _value(right))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            value = _of_one(name, _value(argument))
        case ast.Call(func=ast.Call(func=ast.Name(id="frac"), args=[above]), args=[below]):
            value = _value(above) / _value(below)
        case ast.Call(func=ast.Call(func=ast.Name(id="binom"), args=[above]), args=[below]):
            value = Fraction(comb(_whole(_value(above)), _whole(_value(below))))
            if not value:
                raise _NoValueError
        case _:
            raise _NoValueError
    if max(abs(value.numerator), value.denominator) >= _LARGEST:
        raise _NoValueError
    return value


def _combined(left: Fraction, operation: ast.operator, right: Fraction) -> Fraction:
    if type(operation) in _OPERATIONS:
        return _OPERATIONS[type(operation)](left, right)
    if not isinstance(operation, ast.Pow) or right.denominator > 1 or abs(right) > _HIGHEST_POWER:
        raise _NoValueError
    return Fraction(left**right)


def _of_one(name: str, value: Fraction) -> Fraction:
    """Return a factorial, or a square root that is rational."""
    if name == "factorial" and _whole(value) <= _LARGEST_FACTORIAL:
        return Fraction(factorial(int(value)))
    if name != "sqrt" or value < 0:
        raise _NoValueError
    root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    if root * root != value:
        raise _NoValueError
    return root


def _whole(value: Fraction) -> int:
    if value.denominator != 1 or not 0 <= value <= _HIGHEST_POWER:
        raise _NoValueError
    return int(value)


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
