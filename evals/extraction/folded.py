"""The form in which texts are compared: choices, and short answers of own questions."""

import re
import unicodedata

from evals.extraction.plain_text import without_markup

_ENDS = re.compile(r"^(?:[ ,;*_:!\"'“”‘’`]|\.(?!\d))+|[ .,;*_:!?\"'“”‘’`]+$")
"""Punctuation at the ends of a text; a point before a digit is part of a number."""
_ARTICLES = re.compile(r"^(?:(?:the|an?) (?=[^\W_]))+")
_SPELLING = dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2212), 0x2D)
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_POWER = re.compile(r"\^\s*\{([^{}]*)\}")
_ROOT = re.compile(r"(?:\\?sqrt|√)\s*(?:\{([^{}]*)\}|\(([^()]*)\)|(\d+|[a-zα-ω]))")
_SINGLE = re.compile(r"[-+]?(?:\d+|.|sqrt\([^()]*\))")
"""What needs no parentheses as a part of a fraction, or as a power."""
_INNER = re.compile(r"\([^()]*\)")
_SUM = re.compile(r"\S\s*[-+]")
_FACTOR = re.compile(r"(?<=\d)\s*(?:[*·⋅×]|\\?cdot)\s*(?=[a-zα-ω(])")
_RAISED = re.compile(r"(?<=[\w)])[⁺⁻]?[⁰¹²³⁴-⁹]+")
_TIMES = re.compile(r"\\(?:times|cdot)(?![A-Za-z])|(?<=\d)\s*[·⋅*x]\s*(?=10\b|10\^)")
_GREEK = dict(
    zip(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho"
        " sigma tau upsilon phi chi psi omega hbar".split(),
        "αβγδεζηθικλμνξοπρστυφχψωħ",
        strict=True,
    )
)
_GREEK_NAME = re.compile(rf"(?i)\\(?:var)?({'|'.join(_GREEK)})(?![A-Za-z])\s*")
_PI = re.compile(r"(?<![a-z\\])pi(?![a-z])")


def folded(text: str) -> str:
    """Return a text in the form in which texts are compared.

    Case, width of characters, white space, punctuation at the ends, a leading article, and the
    spelling of Greek letters, fractions, roots and products in TeX do not count.
    """
    text = _GREEK_NAME.sub(lambda name: _GREEK[name[1].lower()], text)
    bare = _TIMES.sub("×", _RAISED.sub(lambda raised: f"^{raised[0]}", without_markup(text)))
    bare = unicodedata.normalize("NFKC", bare).translate(_SPELLING).casefold()
    bare = _ENDS.sub("", " ".join(bare.split()))
    bare = _ARTICLES.sub("", bare)
    bare = _ROOT.sub(lambda root: f"sqrt({root[1] or root[2] or root[3]})", bare)
    bare = _PI.sub("π", bare)
    bare = _POWER.sub(lambda power: f"^{_grouped(power[1])}", bare)
    bare = _FRACTION.sub(lambda parts: f"{_term(parts[1])}/{_grouped(parts[2])}", bare)
    return re.sub(r"[{}\\]|(?<!\d)\s|\s(?!\d)", "", _FACTOR.sub("", bare))


def _grouped(part: str) -> str:
    """Return a part of a fraction, or a power, in parentheses if it needs them."""
    return part if _SINGLE.fullmatch(part.strip()) else f"({part})"


def _term(part: str) -> str:
    """Return the upper part of a fraction, in parentheses if it is a sum."""
    return f"({part})" if _SUM.search(_INNER.sub("", part)) else part
