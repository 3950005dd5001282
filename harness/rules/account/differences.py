"""How one text differs from another, in the words of a finding. Pure functions of two texts."""

import html
import json
import re
import struct
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.api.json_text import parsed_value
from harness.rules.account.entry import What
from harness.text import PLACEHOLDER, differ_in_space, shared_beginning

_MASK = re.compile(rf"[*#█•_x]{{3,}}|{PLACEHOLDER}")
_WORDS = re.compile(r"\w+")
_OTHER = re.compile(r"[^a-z0-9]")
_JSON_ESCAPES = re.compile(r'(?:\\(?:u[0-9a-fA-F]{4}|[nrtbf"\\/]))+')
_TYPOGRAPHIC = str.maketrans({"“": '"', "”": '"', "«": '"', "»": '"', "„": '"', "‘": "'", "’": "'"})
_SPELLED = str.maketrans(
    dict.fromkeys("\u00a0\u2009\u202f", " ")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
    | dict.fromkeys("“”„«»", '"')
    | dict.fromkeys("‘’‚", "'")
    | {"…": "..."}
)
LONG_TEXT = 16  # characters of a text that another one has only if it is made from it
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_LARGEST_EXACT = 2**53  # integers up to this one are 64-bit floats without rounding
_FEWEST_WORDS = 5  # words that a model does not copy in another order


class Change(NamedTuple):
    """What happened to a text, with a detail to print."""

    what: What
    detail: str = ""

    @property
    def simple(self) -> bool:
        """Whether one rule of a server explains it."""
        return self.what not in (What.DIFFERENT, What.VALUE)


def _without_marks(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text)
    return "".join(char for char in parts if not unicodedata.combining(char))


def _unescaped(text: str) -> str:
    return _JSON_ESCAPES.sub(lambda match: str(json.loads(f'"{match[0]}"')), text)


CHANGES: Mapping[What, Callable[[str], str]] = {
    What.HTML: html.escape,
    What.HTML_NOT_QUOTES: lambda t: html.escape(t, quote=False),
    What.HTML_DECODED: html.unescape,
    What.JSON_ASCII: lambda t: json.dumps(t)[1:-1],
    What.PYTHON_ASCII: lambda t: t.encode("ascii", "backslashreplace").decode(),
    What.JSON_QUOTED: lambda t: json.dumps(t, ensure_ascii=False)[1:-1],
    What.JSON_DECODED: _unescaped,
    What.TAGS: lambda t: re.sub(r"<[^<>]*>", "", t),
    What.NFKC: lambda t: unicodedata.normalize("NFKC", t),
    What.NFD: lambda t: unicodedata.normalize("NFD", t),
    What.LOWER: str.lower,
    What.UPPER: str.upper,
    What.TITLE: str.title,
    What.CAPITAL: lambda t: t[:1].upper() + t[1:],
    What.TRIMMED: str.strip,
    What.SINGLE_SPACES: lambda t: " ".join(t.split()),
    What.BLANK_LINES: lambda t: re.sub(r"\n\s*\n", "\n", t),
    What.INDENTATION: lambda t: re.sub(r"(?m)^[ \t]+", "", t),
    What.ONE_LINE: lambda t: t.replace("\n", " "),
    What.TYPOGRAPHY: lambda t: t.translate(_TYPOGRAPHIC),
    What.QUOTES: lambda t: t.replace('"', "'"),
    What.NO_BACKSLASHES: lambda t: t.replace("\\", ""),
    What.TWO_BACKSLASHES: lambda t: t.replace("\\", "\\\\"),
    What.SLASHES: lambda t: t.replace("\\", "/"),
    What.COMMAS: lambda t: re.sub(r"(?<=\d)\.(?=\d)", ",", t),
    What.MARKDOWN: lambda t: re.sub(r"[*`]", "", t),
    What.ACCENTS: _without_marks,
    What.ASCII_ONLY: lambda t: t.encode("ascii", "ignore").decode(),
    What.QUESTION_MARKS: lambda t: t.encode("ascii", "replace").decode(),
    What.LATIN_1: lambda t: t.encode().decode("latin-1"),
    What.PUNCTUATION: lambda t: re.sub(r" (?=[.,!?])", "", t),
}
"""What servers do to texts, by accident or to clean them."""


_UNDO: Sequence[Callable[[str], str]] = (
    html.unescape,
    _unescaped,
    lambda t: t.encode("latin-1", "ignore").decode(errors="ignore"),
)


def _repeated(text: str) -> str:
    """Return the piece that a text consists of, once or several times."""
    found = re.fullmatch(r"(.+?)\1*", text, re.DOTALL)
    return found[1] if found else ""


def undone(text: str) -> Iterator[tuple[What, str]]:
    """Yield the changes that may have made a text, and the text that each was made from."""
    for undo in _UNDO:
        written = undo(text)
        for what, change in CHANGES.items() if written != text else ():
            if change(written) == text:
                yield what, written
                break


def without_typography(text: str) -> str:
    """Return a text with plain spaces, hyphens, quotes and dots, which a model may spell so."""
    return text.translate(_SPELLED)


def bare(text: str) -> str:
    """Return the ASCII letters and digits of a text in lower case."""
    return _OTHER.sub("", text.lower())


def folded(text: str) -> str:
    """Return a text with ASCII letters for those with marks."""
    return _without_marks(text.replace("ß", "ss"))


def difference(wanted: str, got: str) -> Change:
    """Return what was done to the text `wanted` that `got` shows."""
    for what, change in CHANGES.items():
        if got == change(wanted) != wanted:
            return Change(what)
    if differ_in_space(wanted, got):
        return Change(What.SPACES)
    short, long = sorted((wanted, got), key=len)
    begin = shared_beginning(short, long)
    if long.endswith(short[begin:]):
        piece = long[begin : begin + len(long) - len(short)]
        at = "beginning" if begin == 0 else "end" if begin == len(short) else "middle"
        detail = f"{'in' if at == 'middle' else 'at'} the {at} ({piece!r})"
        if short == got:
            unit = _repeated(piece)
            equal = unit and (short[:begin].endswith(unit) or short[begin:].startswith(unit))
            return Change(What.EQUAL_LOST, repr(unit)) if equal else Change(What.PART_LOST, detail)
        twice = piece and (short[:begin].endswith(piece) or short[begin:].startswith(piece))
        return Change(What.PIECE_TWICE, repr(piece)) if twice else Change(What.PART_ADDED, detail)
    if _is_permuted(wanted, got):
        return Change(What.REORDERED)
    if _MASK.search(got) and not _MASK.search(wanted):
        return Change(What.MASKED, wanted)
    if "\N{REPLACEMENT CHARACTER}" in got.replace(wanted, ""):
        return Change(What.GARBLED)
    if bare(wanted) == bare(got):
        return Change(What.LETTERS)
    return Change(What.DIFFERENT)


def is_masked(wanted: str, got: str) -> bool:
    """Whether a text is another one with masks in it, and otherwise complete and equal."""
    first, *parts = _MASK.split(got)
    if not parts or not wanted.startswith(first):
        return False
    at = len(first)
    for part in parts[:-1]:
        begin = wanted.find(part, at + 1)
        if begin < 0:
            return False
        at = begin + len(part)
    return wanted.endswith(parts[-1]) and at < len(wanted) - len(parts[-1])


def _is_permuted(wanted: str, got: str) -> bool:
    one, other = _WORDS.findall(wanted), _WORDS.findall(got)
    words = one != other and len(one) >= _FEWEST_WORDS and sorted(one) == sorted(other)
    return words or (len(wanted) >= LONG_TEXT and sorted(wanted) == sorted(got))


_EMPTY: tuple[object, ...] = (None, "", [], {})
_SEPARATOR = re.compile(r"[-_]")


def has_arguments(wanted: Mapping[str, object], got: Mapping[str, object] | None) -> bool:
    """Whether a call has the wanted arguments, and no others; a text may have more around it."""
    return (
        got is not None
        and got.keys() == wanted.keys()
        and all(_is_same(value, got[name]) for name, value in wanted.items())
    )


def style_of(name: str) -> str:
    """Return how a name of several words is written: with `_` or `-`, with capitals, or as one."""
    if separator := _SEPARATOR.search(name):
        return separator[0]
    return "capitals" if not name.islower() else "one word"


def _is_same(wanted: object, got: object) -> bool:
    if isinstance(wanted, str) and isinstance(got, str) and not _is_timed(wanted, got):
        return without_typography(wanted) in without_typography(got)
    return wanted == got and _spelled(wanted) == _spelled(got)


def argument_change(wanted: Mapping[str, object], got: Mapping[str, object]) -> Change:
    """Return what was done to the arguments of a call."""
    plain, plain_got = (
        {_SEPARATOR.sub("", name).lower() for name in some} for some in (wanted, got)
    )
    if wanted.keys() != got.keys() and plain == plain_got:
        return Change(What.STYLE, next(style_of(name) for name in wanted if name not in got))
    if got.keys() > wanted.keys():
        filled = all(got[name] in _EMPTY for name in got.keys() - wanted.keys())
        return Change(What.FILLED if filled else What.DIFFERENT)
    if missing := sorted(wanted.keys() - got.keys()):
        lost = got.keys() <= wanted.keys()
        if lost and not any(wanted[name] for name in missing):
            return Change(What.EMPTY_LOST)
        return Change(What.ARGUMENT_LOST, ", ".join(missing)) if lost else Change(What.DIFFERENT)
    pairs = [(value, got[name]) for name, value in wanted.items() if not _is_same(value, got[name])]
    texts = [value for value in wanted.values() if isinstance(value, str)]
    if len(pairs) > 1 and sorted(texts) == sorted(v for v in got.values() if isinstance(v, str)):
        return Change(What.EXCHANGED)
    changes = [_value_change(value, arrived) for value, arrived in pairs]
    masked = {change.what for change in changes} == {What.MASKED}
    return changes[0] if masked or len({*changes}) == 1 else Change(What.DIFFERENT)


def _value_change(wanted: object, got: object) -> Change:
    if _is_timed(wanted, got) or _is_rounded(wanted, got):
        return Change(What.CONVERTED, kind_of(wanted))
    if isinstance(wanted, str) and isinstance(got, str):
        return text_change(wanted, got)
    if isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) == len(got) and all(map(_is_same_or_retyped, wanted, got)):
            return Change(What.RETYPED, kind_of(wanted))
        if sorted(map(_spelled, wanted)) == sorted(map(_spelled, got)):
            return Change(What.LIST_REORDERED)
        if got == wanted[: len(got)]:
            return Change(What.LIST_CUT)
    if is_retyped(wanted, got):
        return Change(What.RETYPED, kind_of(wanted))
    same_kind = kind_of(wanted) == kind_of(got) and not isinstance(wanted, list | dict)
    return Change(What.VALUE if same_kind else What.DIFFERENT)


def _spelled(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _is_same_or_retyped(wanted: object, got: object) -> bool:
    return _spelled(wanted) == _spelled(got) or is_retyped(wanted, got)


def kind_of(value: object) -> str:
    """Return the JSON type of a value, or a narrower kind that servers treat in their own way."""
    match value:
        case str() if value.isdigit():
            return "digits"
        case str() if _DAY.fullmatch(value):
            return "day"
        case [_]:
            return "list of one"
        case float() if not value.is_integer():
            return "fraction"
        case int() if abs(value) > _LARGEST_EXACT:
            return "large integer"
    return "number" if type(value) in (int, float) else type(value).__name__


def _is_timed(wanted: object, got: object) -> bool:
    """Whether a text is the wanted day, and a time after it."""
    return (
        isinstance(got, str)
        and kind_of(wanted) == "day"
        and got[:11]
        in (
            f"{wanted}T",
            f"{wanted} ",
        )
    )


def _is_rounded(wanted: object, got: object) -> bool:
    """Whether a number is the wanted fraction as a 32-bit float, or integer as a 64-bit float."""
    if not isinstance(wanted, int | float) or not isinstance(got, int | float):
        return False
    if kind_of(wanted) == "fraction":
        return struct.pack("f", wanted) == struct.pack("f", got)
    return kind_of(wanted) == "large integer" and float(wanted) == got


def is_retyped(wanted: object, got: object) -> bool:
    """Whether a value is the wanted one as a text, without quotes, as a number, or alone."""
    if wanted in (got, [got]):
        return _spelled(wanted) != _spelled(got)  # true as 1, 7 as 7.0
    if isinstance(wanted, str):
        number = type(got) is int and wanted.isdecimal() and int(wanted) == got
        return number or (not isinstance(got, str | list | dict) and json.dumps(got) == wanted)
    if wanted is None:
        return got in ("", "null", "None")
    return isinstance(got, str) and (parsed_value(got) == wanted or got == str(wanted))


def text_change(wanted: str, got: str) -> Change:
    """Return what was done to a text that a longer one should contain."""
    for what, change in CHANGES.items():
        changed = change(wanted)
        if changed.strip() and changed != wanted and changed in got:
            return Change(what)
    return difference(wanted, got)


def name_change(wanted: str, got: str) -> Change | None:
    """Return what was done to the name of a function; None if the model chose a different one.

    A model may write the namespace twice.
    """
    if got == f"functions.{wanted}":
        return None
    plain, plain_got = (re.sub(r"[\W_]+", "", name).lower() for name in (wanted, got))
    if plain == plain_got:
        return Change(What.NAME_STYLE)
    # A model that shortens a name ends with a word.
    within = wanted[len(got) : len(got) + 1] not in ("", "_") or got.endswith("_")
    if wanted.startswith(got) and len(got) >= LONG_TEXT and within:
        return Change(What.NAME_CUT)
    return Change(What.NAME_LONGER) if wanted in got else None
