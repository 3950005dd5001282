"""The first witness of the account: the form of a reply alone, which no model writes.

The tokens with logprobs are a second copy of the answer, which filters and converters leave as the
model wrote it.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from harness.api.json_text import parsed_object, parsed_value
from harness.api.ledger import PREAMBLE_HEADER, more_tokens
from harness.records.replies import Row
from harness.rules.account.counting import SURELY, Counting
from harness.rules.account.court import Claim, convicted
from harness.rules.account.differences import CHANGES, LONG_TEXT, difference, is_masked, undone
from harness.rules.account.entry import ALIKE, SEVERAL, Entry, Judged, Place, What
from harness.text import differ_in_space

_EMPTY = "{}"  # the arguments of a call before its first fragment, in some servers
_MOST_STARTS = 3
"""Places at which a server lets a text begin again. A loop of the model has more, and one of them
may fit any count."""
_OF_TOKENS = (What.HTML_DECODED, What.JSON_DECODED)
"""What a text seems to have if its list of tokens was escaped."""
_SENTENCE, _SMALL_LETTERS = 40, 0.7
"""Characters of a CoT, and the share of small ASCII letters in it, from which on it has several
words: 0 of 23,800 replies of the small model are such a CoT without white space. In base64, 41% of
the characters are small letters."""
_LOOP = 0.6  # the share of different groups of three characters, below which a text repeats itself
_FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)


def of_structure(replies: Sequence[Row], counting: Counting) -> Judged:
    """Yield the replies whose text is repeated, restarted, escaped, glued, or in a code fence.

    A single count may be odd by chance, so that several replies are escaped or in a fence. A model
    may write odd arguments in each try of a sample, and then their tokens are near its own.
    """
    made = ((row, entry) for row in replies for entry in islice(_structure(row, counting), 1))
    return convicted(_claim(row, entry, counting) for row, entry in made)


def _claim(row: Row, entry: Entry, counting: Counting) -> Claim:
    sure = entry.what is not What.FENCED and entry.kind == "added"
    fewest = SEVERAL
    if entry.place == "arguments" and entry.what in (What.ENCODED_TWICE, What.EMPTY_FIRST):
        sure = not counting.is_near(row)
        fewest = SEVERAL if sure else ALIKE
    if entry.what in (What.SPACES, What.INTERRUPTED):
        sure, fewest = False, ALIKE
    proof = sure or entry.witness == "tokens" or abs(counting.off(row) or 0) > SURELY
    return Claim(row, entry, proof, (entry.what, entry.detail), row.sample, fewest)


def _structure(row: Row, counting: Counting) -> Iterator[Entry]:
    yield from _spelled_otherwise(row)
    yield from _cot(row, counting)
    yield from _interrupted(row)
    for place, text in _texts(row):
        if place in row.twice and not (row.ledger and row.ledger.extra == 0):
            yield Entry(What.PIECES_TWICE, place, "structure", "each piece once", text)
        if place in row.restated and row.ledger and row.ledger.extra < 0:
            yield Entry(What.RESTATED, place, "structure", "each piece once", text)
        starts = [*islice(_once(text), _MOST_STARTS + 1)]
        for what, kept in starts if len(starts) <= _MOST_STARTS else ():
            # A text that appears twice may be in two items, whose headers count.
            if any(_fits_instead(row, counting, text, kept, n) for n in (0, PREAMBLE_HEADER)):
                yield Entry(what, place, "structure", kept, text)
        for what, written in undone(text):
            if _fits_instead(row, counting, text, written):
                yield Entry(what, place, "structure", written, text)
    for _, arguments in row.calls if not counting.fits(row) else ():
        yield from _arguments(arguments)
    inside = _FENCE.fullmatch(row.text.strip()) if row.format else None
    if inside and _fits_instead(row, counting, row.text, inside[1]):
        yield Entry(What.FENCED, "answer", "structure", inside[1], row.text)


def _has_no_spaces(text: str) -> bool:
    """Whether a CoT of several words in Latin letters has no white space; a loop shows nothing."""
    if len(text) < _SENTENCE or any(map(str.isspace, text)):
        return False
    letters = sum(character.isascii() and character.islower() for character in text)
    groups = [text[at : at + 3] for at in range(len(text) - 2)]
    return letters >= _SMALL_LETTERS * len(text) and len({*groups}) >= _LOOP * len(groups)


def _spelled_otherwise(row: Row) -> Iterator[Entry]:
    """Yield what was done to an answer whose tokens with logprobs spell what the model wrote.

    Lists of tokens may be damaged or lack some, so that only changes count that servers make to
    texts. White space of tokens is often lost; a detokenizer removes it before punctuation alone.
    """
    if not row.spelled or "\N{REPLACEMENT CHARACTER}" in row.spelled:
        return
    what = difference(row.spelled, row.text).what
    changed = what in CHANGES and not differ_in_space(row.spelled, row.text)
    masked = what is What.MASKED and is_masked(row.spelled, row.text)
    if what is What.PUNCTUATION or (what not in _OF_TOKENS and (changed or masked)):
        yield Entry(what, "answer", "tokens", row.spelled, row.text)


def _cot(row: Row, counting: Counting) -> Iterator[Entry]:
    if _has_no_spaces(row.reasoning):
        yield Entry(What.SPACES, "CoT", "structure", "words with spaces", row.reasoning)
    copied, text = row.reasoning.strip(), row.text.lstrip()
    if len(copied) >= LONG_TEXT and text.startswith(copied):
        kept = text.removeprefix(copied).lstrip()
        if _fits_instead(row, counting, row.text, kept):
            yield Entry(What.COT_IN_BOTH, "answer", "structure", kept, row.text, repr(copied))


def _arguments(arguments: str) -> Iterator[Entry]:
    rest = arguments.removeprefix(_EMPTY)
    if rest != arguments and parsed_object(rest):
        yield Entry(What.EMPTY_FIRST, "arguments", "structure", rest, arguments)
    inner = parsed_value(arguments)
    if isinstance(inner, str) and parsed_object(inner) is not None:
        yield Entry(What.ENCODED_TWICE, "arguments", "structure", inner, arguments)


def _once(text: str) -> Iterator[tuple[What, str]]:
    """Yield how a text may be repeated or restarted, and the text without the first part."""
    begin = text.find(text[:LONG_TEXT], LONG_TEXT) if len(text) > LONG_TEXT else -1
    while begin >= 0:
        rest = text[begin:]
        if rest.startswith(text[:begin].rstrip()):
            yield (What.TWICE if len(rest) <= begin + 1 else What.RESTARTED), rest
        begin = text.find(text[:LONG_TEXT], begin + 1)


def _interrupted(row: Row) -> Iterator[Entry]:
    """Yield the sentence within another one of a text, after which the text begins again."""
    for place, text in _texts(row):
        again = text.find(text[:LONG_TEXT], LONG_TEXT)
        before, _, sentence = text[: max(again, 0)].rstrip().rpartition("\n")
        if before.rstrip()[-1:].isalnum() and len(sentence.strip()) >= LONG_TEXT:
            wanted = "a text without it"
            yield Entry(What.INTERRUPTED, place, "structure", wanted, text, repr(sentence))


def _fits_instead(
    row: Row, counting: Counting, returned: str, written: str, headers: int = 0
) -> bool:
    """Whether the count is usual for a reply with a different text and less headers, not for this.

    `headers` are the tokens of those that it then lacks.
    """
    more = more_tokens(returned, written) if returned != written else None
    usual = more is not None and counting.fits(row, more - headers)
    return usual and not counting.is_near(row)


def _texts(row: Row) -> Iterator[tuple[Place, str]]:
    yield "CoT", row.reasoning
    yield "answer", row.text
    yield from (("arguments", arguments) for _, arguments in row.calls)
