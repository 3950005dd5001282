"""How one text differs from another, in the words of a finding. Pure functions of two texts."""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

from harness.rules.account.entry import Kind
from harness.rules.account.json_text import mapped, parsed_value
from harness.text import differ_in_space, shared_beginning

_MASK = re.compile(r"(?:[*#█•_x]{3,}|\[[A-Z_ ]+\])")
_WORDS = re.compile(r"\w+")
_OTHER = re.compile(r"[^a-z0-9]")
_JSON_ESCAPES = re.compile(r'(?:\\(?:u[0-9a-fA-F]{4}|[nrtbf"\\/]))+')
_TYPOGRAPHIC = str.maketrans({"“": '"', "”": '"', "«": '"', "»": '"', "„": '"', "‘": "'", "’": "'"})
OTHER_TYPES, OTHER_STYLE = "values have other types", "the names have another style"
OTHER_ORDER = "its parts are in another order"
LONG_TEXT = 16  # characters of a text that another one has only if it is made from it
_FEWEST_WORDS = 5  # words that a model does not copy in another order


class Change(NamedTuple):
    """What happened to a text: the kind, and how, in a few words."""

    kind: Kind
    how: str
    simple: bool = True  # whether one rule explains it, as a change by a server


def _without_marks(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text)
    return "".join(char for char in parts if not unicodedata.combining(char))


def _ascii(text: str) -> str:
    return "".join(char for char in text if char.isascii())


def _unescaped(text: str) -> str:
    return _JSON_ESCAPES.sub(lambda found: str(json.loads(f'"{found[0]}"')), text)


def _from_json(text: str) -> str:
    r"""Return what a JSON string of this form means; the text itself if it is none.

    The commands of LaTeX, such as `\boxed` and `\sqrt`, are not escapes of JSON, or of control
    characters that no text has.
    """
    value = parsed_value(f'"{text}"')
    return value if isinstance(value, str) and not {"\b", "\f"} & {*value} else text


CHANGES: Mapping[str, Callable[[str], str]] = {
    "characters are escaped as in HTML": html.escape,
    "characters are escaped as in HTML, but for quotes": lambda t: html.escape(t, quote=False),
    "entities of HTML are decoded": html.unescape,
    "characters are escaped as in JSON": lambda t: json.dumps(t)[1:-1],
    "characters beyond ASCII are escaped": lambda t: t.encode("ascii", "backslashreplace").decode(),
    "line breaks and quotes are escaped": lambda t: json.dumps(t, ensure_ascii=False)[1:-1],
    "escapes of JSON are decoded": _unescaped,
    "tags are missing": lambda t: re.sub(r"<[^<>]*>", "", t),
    "compatibility characters are replaced (NFKC)": lambda t: unicodedata.normalize("NFKC", t),
    "characters are decomposed (NFD)": lambda t: unicodedata.normalize("NFD", t),
    "letters are in lower case": str.lower,
    "letters are in upper case": str.upper,
    "words begin with capitals": str.title,
    "the first letter is a capital": lambda t: t[:1].upper() + t[1:],
    "white space at the ends is missing": str.strip,
    "white space is reduced to single spaces": lambda t: " ".join(t.split()),
    "blank lines are missing": lambda t: re.sub(r"\n\s*\n", "\n", t),
    "indentation is missing": lambda t: re.sub(r"(?m)^[ \t]+", "", t),
    "line breaks are spaces": lambda t: t.replace("\n", " "),
    "typographic quotes are replaced by ASCII": lambda t: t.translate(_TYPOGRAPHIC),
    "quotes are replaced": lambda t: t.replace('"', "'"),
    "backslashes are missing": lambda t: t.replace("\\", ""),
    "backslashes are doubled": lambda t: t.replace("\\", "\\\\"),
    "backslashes are slashes": lambda t: t.replace("\\", "/"),
    "decimal points are commas": lambda t: re.sub(r"(?<=\d)\.(?=\d)", ",", t),
    "Markdown is missing": lambda t: re.sub(r"[*`]", "", t),
    "accents are missing": _without_marks,
    "characters beyond ASCII are missing": _ascii,
    "characters beyond ASCII are replaced by ?": lambda t: t.encode("ascii", "replace").decode(),
    "UTF-8 is decoded as Latin-1": lambda t: t.encode().decode("latin-1"),
}
"""What servers do to texts, by accident or to clean them."""


ESCAPES: Mapping[str, Callable[[str], str]] = {
    "characters are escaped as in HTML": html.unescape,
    "characters are escaped as in JSON": _from_json,
}
"""How texts are escaped, and what undoes it."""


def bare(text: str) -> str:
    """Return the ASCII letters and digits of a text in lower case."""
    return _OTHER.sub("", text.lower())


def folded(text: str) -> str:
    """Return a text with ASCII letters for those with marks."""
    return _without_marks(text.replace("ß", "ss"))


def difference(wanted: str, got: str) -> Change:
    """Return what was done to the text `wanted` that `got` shows."""
    for how, change in CHANGES.items():
        if got == change(wanted) != wanted:
            return Change("changed", how)
    if differ_in_space(wanted, got):
        return Change("changed", "white space is missing or changed")
    short, long = sorted((wanted, got), key=len)
    begin = shared_beginning(short, long)
    if long.endswith(short[begin:]):
        piece = long[begin : begin + len(long) - len(short)]
        place = "beginning" if begin == 0 else "end" if begin == len(short) else "middle"
        where = f"a part in the {place}" if place == "middle" else f"the {place}"
        if short == got:
            return Change("lost", f"{where} is missing: {piece!r}")
        twice = piece and (short[:begin].endswith(piece) or short[begin:].startswith(piece))
        return Change(
            "added",
            f"{'a piece is there twice' if twice else f'text is added at {where}'}: {piece!r}",
        )
    if _is_permuted(wanted, got):
        return Change("changed", OTHER_ORDER)
    if _MASK.search(got) and not _MASK.search(wanted):
        return Change("changed", "words are masked")
    if bare(wanted) == bare(got) or "\N{REPLACEMENT CHARACTER}" in got:
        return Change("changed", "case, marks or letters beyond ASCII are changed")
    return Change("changed", "", simple=False)


def _is_permuted(wanted: str, got: str) -> bool:
    one, other = _WORDS.findall(wanted), _WORDS.findall(got)
    words = one != other and len(one) >= _FEWEST_WORDS and sorted(one) == sorted(other)
    return words or (len(wanted) >= LONG_TEXT and sorted(wanted) == sorted(got))


_ABSENT = object()
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
    if isinstance(wanted, str) and isinstance(got, str):
        return wanted in got
    return wanted == got and json.dumps(wanted, sort_keys=True) == json.dumps(got, sort_keys=True)


def argument_change(wanted: Mapping[str, object], got: Mapping[str, object]) -> Change:
    """Return what was done to the arguments of a call."""
    plain, plain_got = ({_plain(name) for name in some} for some in (wanted, got))
    if wanted.keys() != got.keys() and plain == plain_got:
        style = next(style_of(name) for name in wanted if name not in got)
        return Change("changed", f"{OTHER_STYLE} ({style})")
    if got.keys() > wanted.keys():
        filled = all(got[name] in _EMPTY for name in got.keys() - wanted.keys())
        return Change("changed", "absent arguments are filled in", simple=filled)
    if missing := sorted(wanted.keys() - got.keys()):
        rest = got.keys() <= wanted.keys()
        return Change("lost", f"{', '.join(missing)} is missing", simple=rest)
    pairs = [(value, got[name]) for name, value in wanted.items() if not _is_same(value, got[name])]
    texts = [value for value in wanted.values() if isinstance(value, str)]
    if len(pairs) > 1 and sorted(texts) == sorted(v for v in got.values() if isinstance(v, str)):
        return Change("changed", "the values are exchanged")
    found = [_value_change(value, other) for value, other in pairs]
    same = all(one.how == found[0].how for one in found)
    return found[0] if same else found[0]._replace(simple=False)


def _value_change(wanted: object, got: object) -> Change:
    if isinstance(wanted, str) and isinstance(got, str):
        return text_change(wanted, got)
    if isinstance(wanted, list) and isinstance(got, list):
        if sorted(map(str, wanted)) == sorted(map(str, got)):
            return Change("changed", "the order of a list is another")
        if got == wanted[: len(got)]:
            return Change("lost", "the end of a list is missing")
        if wanted == mapped(got, _unquoted):
            return Change("changed", f"{OTHER_TYPES} (values of a list)")
    if is_retyped(wanted, got):
        return Change("changed", f"{OTHER_TYPES} ({kind_of(wanted)})")
    other = isinstance(wanted, bool) and isinstance(got, bool)
    number = isinstance(wanted, int | float) and isinstance(got, int | float)
    return Change("changed", "a value is another" if other or number else "", simple=False)


def kind_of(value: object) -> str:
    """Return the JSON type of a value; a text of digits is one of its own."""
    if isinstance(value, str) and value.isdigit():
        return "digits"
    if isinstance(value, list) and len(value) == 1:
        return "list of one"
    return "number" if type(value) in (int, float) else type(value).__name__


def is_retyped(wanted: object, got: object) -> bool:
    """Whether a value is the wanted one as a text, without quotes, or without its list."""
    if wanted == [got]:
        return True
    if isinstance(wanted, str):
        return not isinstance(got, str | list | dict) and json.dumps(got) == wanted
    if wanted is None:
        return got in ("", "null", "None")
    return isinstance(got, str) and (parsed_value(got) == wanted or got == str(wanted))


def _unquoted(text: str) -> object:
    inner = parsed_value(text)
    return inner if isinstance(inner, int | float | list | dict) else text


def _plain(name: str) -> str:
    return _SEPARATOR.sub("", name).lower()


def text_change(wanted: str, got: str) -> Change:
    """Return what was done to a text that another one should contain."""
    for how, change in CHANGES.items():
        changed = change(wanted)
        if changed.strip() and changed != wanted and changed in got:
            return Change("changed", how)
    return difference(wanted, got)


def name_change(wanted: str, got: str) -> Change | None:
    """Return what was done to the name of a function; None if the model wrote another one."""
    plain, plain_got = (re.sub(r"[\W_]+", "", name).lower() for name in (wanted, got))
    if plain == plain_got:
        return Change("changed", "the style of the name is another")
    # A model that shortens a name ends with a word.
    within = wanted[len(got) : len(got) + 1] not in ("", "_") or got.endswith("_")
    if wanted.startswith(got) and len(got) >= LONG_TEXT and within:
        return Change("lost", "the end of the name is missing")
    return Change("added", "text is added to the name") if wanted in got else None
