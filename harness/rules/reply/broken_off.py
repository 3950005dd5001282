"""Replies that end normally in the middle of a text with which equal requests go on."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from harness.records.scores import Score
from harness.records.traits import Sheet
from harness.rules.account.differences import LONG_TEXT
from harness.rules.check import Difference, Family, evidence
from harness.rules.rule import CHAT

family = Family("reply", CHAT, component="failures")

_FEWEST = 2  # requests whose replies end within a sentence; a model may end one early
_INSIDE = re.compile(r"[ ,;:-]*\w")
"""How a text continues within a line; a model may omit punctuation at the end."""


def _broken(text: str, whole: str) -> bool:
    """Whether a text ends within a sentence of the whole one."""
    rest = whole.removeprefix(text)
    inside = text[-1:].isalnum() or text[-1:] in (" ", ",", ";", ":")
    return rest != whole and inside and _INSIDE.match(rest) is not None


def _cut_of(sheet: Sheet, twins: Sequence[Sheet]) -> str | None:
    """Return the whole text of which a reply has only a part; None if it has all of one.

    Most equal requests are right: more of them have the whole text, or the part ends in a word.
    """
    times = Counter((twin.reasoning, twin.text) for twin in twins)
    for twin in twins:
        place = (sheet.reasoning, twin.reasoning) if not sheet.text else (sheet.text, twin.text)
        same = not sheet.text or sheet.reasoning == twin.reasoning
        if same and not sheet.calls and _broken(*place):
            more = times[twin.reasoning, twin.text] - times[sheet.reasoning, sheet.text]
            if more > 0 or (more == 0 and _in_word(*place)):
                return place[1]
    return None


def _in_word(text: str, whole: str) -> bool:
    """Whether a text ends within a word of the whole one, which does not have it twice."""
    ends = len(text) >= LONG_TEXT and text[-1].isalpha() and whole[len(text)].isalpha()
    return ends and not whole.startswith(text[:LONG_TEXT], len(text))


@family.cross_check(
    "reply.broken_off",
    lambda score: score.traits.sheets,
    fix="If the generation breaks off, end the stream with an error, and no reply with `stop`.",
    example=(
        "A stream that breaks off in the gateway ends with the finish reason stop.",
        "https://github.com/BerriAI/litellm/issues/33404",
    ),
)
def _broken_off(examined: Sequence[Score]) -> Iterator[Difference]:
    """A reply that ends normally is whole: greedy replies to the same request do not go on.

    Clients take the part of a broken reply for the answer. Two requests whose replies end within a
    sentence show it, or one whose reply ends within a word.
    """
    groups: dict[tuple[str, str], list[tuple[Score, Sheet]]] = defaultdict(list)
    for score in examined:
        for sheet in score.traits.sheets:
            if sheet.greedy and sheet.request and sheet.end == "model":
                groups[sheet.request, sheet.format].append((score, sheet))
    found: dict[str, tuple[Score, Sheet, str]] = {}
    for group in groups.values():
        twins = [sheet for _, sheet in group]
        for score, sheet in group if len(group) > 1 else ():
            if (whole := _cut_of(sheet, twins)) is not None:
                found.setdefault(score.record, (score, sheet, whole))
    texts = [(sheet.text or sheet.reasoning, whole) for _, sheet, whole in found.values()]
    in_words = any(_in_word(text, whole) for text, whole in texts)
    requests = {sheet.request for _, sheet, _ in found.values()}
    for score, sheet, whole in found.values() if in_words or len(requests) >= _FEWEST else ():
        message = "The reply breaks off in the middle of its text, and ends as if it was whole."
        got = sheet.text or sheet.reasoning
        yield message, evidence(score.record, "$", whole, got, sheet.exchange)
