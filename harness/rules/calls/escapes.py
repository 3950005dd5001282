"""What JSON requires arguments to escape, judged over the calls that have it in their texts."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.api.json_text import strings
from harness.records.replies import Row
from harness.records.scores import Score
from harness.rules.check import Difference, Family, evidence
from harness.rules.habits import UNUSABLE_CALLS, Habit
from harness.rules.rule import FUNCTION_CALLING
from harness.text import strict_json

family = Family("calls", FUNCTION_CALLING, component="calls")

_SLIPS = Habit(0.05, "none of 170 recorded calls has a raw line break")
_STRAY = Habit(0.2, "2 of 170 recorded calls; the small model breaks 2 of 10 with quotes")
"""Of the calls with line breaks, and of those with quotes or escapes."""
_FEWEST_CALLS = 2  # different ones, that show that a server decodes all escapes
_LINE_BREAKS = "\r\n"
_AS_WRITTEN = "Pass on the JSON of the arguments as the model wrote it, with its escapes."
_AFTER_QUOTE = frozenset('"{[:,]}')
"""What follows the quote at the end of a string, also if a model forgets the comma between."""

Judge = Callable[[str], bool | None]
"""Whether arguments are broken by what the rule is about; None if they have nothing of it."""


def _judge(
    has: Callable[[str], bool], breaks: Callable[[str, json.JSONDecodeError], bool]
) -> Judge:
    def judge(arguments: str) -> bool | None:
        try:
            value = strict_json(arguments)
        except json.JSONDecodeError as error:
            return breaks(arguments, error) or None
        except ValueError:
            return None
        return False if any(map(has, strings(value))) else None

    return judge


def _is_inner_quote(text: str, error: json.JSONDecodeError) -> bool:
    """Whether the text of a string seems to go on after the quote that ends it."""
    inside = error.msg.startswith("Expecting ','") and text[: error.pos].rstrip().endswith('"')
    return inside and text[error.pos :][:1] not in {"", *_AFTER_QUOTE}


_BREAKS = _judge(
    lambda text: any(char in text for char in _LINE_BREAKS),
    lambda text, error: (
        error.msg.startswith("Invalid control character") and text[error.pos] in _LINE_BREAKS
    ),
)
_QUOTES = _judge(lambda text: '"' in text, _is_inner_quote)
_ESCAPES = _judge(
    lambda text: "\\" in text or not text.isascii(),
    lambda _, error: error.msg.startswith("Invalid \\"),
)


def _judged(score: Score, judge: Judge) -> Iterator[tuple[Row, str, bool]]:
    for row in score.replies:
        for _, arguments in row.calls if row.end != "limit" else ():
            if (broken := judge(arguments)) is not None:
                yield row, arguments, broken


def _has(judge: Judge) -> Callable[[Score], bool]:
    return lambda score: any(_judged(score, judge))


def _compared(
    examined: Sequence[Score],
    judge: Judge,
    message: str,
    what: str,
    expected: str,
    *,
    proves: bool = False,
) -> Iterator[Difference]:
    """Yield the rollouts with broken arguments.

    If it `proves` that the server does it that no call with this is intact, several replies must
    show it: equal greedy ones are one.
    """
    calls = [(score, *call) for score in examined for call in _judged(score, judge)]
    broken = [call for call in calls if call[-1]]
    written = {
        (row.request, arguments) if row.greedy else score.reply_ids or score.record
        for score, row, arguments, _ in broken
    }
    always = proves and len(broken) == len(calls) and len(written) >= _FEWEST_CALLS
    for score, row, arguments, _ in broken:
        share = f"{message}, as in {len(broken)} of {len(calls)} calls with {what}."
        yield share, evidence(score.record, "$", expected, arguments, row.exchange), always


@family.cross_check(
    "calls.arguments.line_breaks",
    _has(_BREAKS),
    habit=_SLIPS,
    fix=_AS_WRITTEN,
)
def raw_line_breaks(examined: Sequence[Score]) -> Iterable[Difference]:
    r"""Line breaks in the texts of arguments are escaped, as `\n`.

    Clients cannot parse the JSON otherwise. A model forgets this occasionally; a server that
    decodes the escapes, or that writes the JSON itself, does so in every text with them.
    """
    message = "A string in the arguments has a raw line break"
    wanted = r"escaped line breaks, \n"
    return _compared(examined, _BREAKS, message, "line breaks", wanted, proves=True)


def raw_quotes(examined: Sequence[Score]) -> Iterable[Difference]:
    r"""Quotes within the texts of arguments are escaped, as `\"`.

    Clients cannot parse the JSON otherwise. A model forgets this occasionally. More often, the
    server decodes the escapes.
    """
    message = "A string in the arguments has a quote that is not escaped"
    return _compared(examined, _QUOTES, message, "quotes", r"escaped quotes, \"")


def foreign_escapes(examined: Sequence[Score]) -> Iterable[Difference]:
    r"""The escapes in the texts of arguments are those of JSON.

    Clients cannot parse other ones, such as `\xe9`, `\'` or a single backslash. A model writes one
    occasionally. More often, the server writes the arguments in the notation of its language.
    """
    message = "A string in the arguments has an escape that JSON does not know"
    return _compared(examined, _ESCAPES, message, "escapes", r"escapes of JSON, such as \u00e9")


for _id, _its, _rule in (
    ("quotes", _QUOTES, raw_quotes),
    ("escapes", _ESCAPES, foreign_escapes),
):
    family.cross_check(
        f"calls.arguments.{_id}",
        _has(_its),
        severity="warning",
        habit=_STRAY,
        error_above=UNUSABLE_CALLS,
        fix=_AS_WRITTEN,
    )(_rule)
