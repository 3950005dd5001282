"""Whether questions are those of a published eval, by the hashes that ship with it.

`published-NAME.csv` in the folder of an eval has the id and the hash of every published question;
a question has several rows if it was published in several wordings. The hash covers what a row
means (`DataRow.meaning`) in a form that does not depend on white space, case, punctuation and the
markup of TeX, so copies in a different format or order are recognized, and translations are not.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib import resources

from harness.records.runs import DataIdentity, DatasetInfo

_LAYOUT = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|big[lr]?|Big[lr]?|quad|qquad|text(?:bf|it|rm)?"
    r"|math(?:rm|bf|it)|operatorname)(?![a-z])|\\[dt](?=frac)"
)
"""TeX that changes only the appearance; `\\dfrac` becomes `frac`, as `\\frac` does below."""
_DASHES: Mapping[int, str] = dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212), "-")
_DROPPED = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])|[^\w+\-*/=<>^]|_")
_DIGITS = 16  # hexadecimal digits of a hash


def normalized(value: object) -> str:
    """Return a text, or the texts in a value, in the form that is hashed."""
    if not isinstance(value, str):
        parts = value if isinstance(value, Iterable) else [str(value)]
        return "(" + "|".join(map(normalized, parts)) + ")"
    text = _LAYOUT.sub(" ", unicodedata.normalize("NFKC", value).translate(_DASHES))
    return _DROPPED.sub("", text.casefold())


def fingerprint(meaning: object) -> str:
    """Return the hash of what a row means."""
    return sha256(normalized(meaning).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


@cache
def published_ids(folder: str, name: str) -> Mapping[str, str]:
    """Return the ids of the published questions of an eval by hash; empty if none ship."""
    place = resources.files("evals") / folder / f"published-{name}.csv"
    if not place.is_file():
        return {}
    return {row["hash"]: row["id"] for row in csv.DictReader(place.read_text("utf-8").splitlines())}


def identify(hashes: Sequence[str], published: Mapping[str, str], rows: int) -> DataIdentity:
    """Return what questions with these hashes are; the published set has `rows` of them."""
    if not published:
        return "unknown"
    known = {published[digest] for digest in hashes if digest in published}
    if len(known) < len(hashes):  # others among them, or one twice
        return "own"
    return "published" if len(known) == rows else "part"


def known_ids(folder: str, info: DatasetInfo) -> Mapping[str, str]:
    """Return the ids of published questions by hash; none for runs of earlier versions."""
    return published_ids(folder, info.eval) if info.identity is not None else {}
