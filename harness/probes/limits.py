"""Where a reply ends: at the limit of tokens, at none, or at a stop string.

Whether a reply was long enough to be cut, or held the stop string, depends on the model: it is
asked so that either is all but certain, and asked once without to compare.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.api.base import Reply
from harness.api.conversation import Message
from harness.checks.base import CHAT, RESPONSES, Problem
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import fate, served
from harness.probes.tools.offers import WEATHER
from harness.records.conditions import Api

LIMIT = 16
"""Output tokens; the least that OpenAI's own Responses API takes."""
LEAST = 1024
"""Output tokens that a reply without any limit may have at the very least."""
STOP = "code word"

_LONG = (Message("user", "Write the numbers from 1 to 200 in words."),)
_TOOL_LONG = (Message("user", "What is the weather in Lisbon, and how will it change this week?"),)
_QUESTION = (
    Message("developer", "The code word is orchid596. Answer in a whole sentence."),
    Message("user", "What is the code word?"),
)
_OTHER_LIMIT = "max_completion_tokens"


def _asks(api: Api) -> tuple[Ask, ...]:
    provokes = frozenset({"request.refused", "request.failed"})
    asks = [
        Ask("cut", _LONG, effort="high", max_tokens=LIMIT),
        Ask("cut tool", _TOOL_LONG, (WEATHER,), effort="high", max_tokens=LIMIT),
        Ask("unlimited", _QUESTION, effort="high", max_tokens=None),
        Ask("whole", _QUESTION, temperature=0.0),
        Ask("stopped", _QUESTION, temperature=0.0, options={"stop": [STOP]}, provokes=provokes),
    ]
    if api == "chat":
        other = {_OTHER_LIMIT: LIMIT}
        asks.append(
            Ask("cut otherwise", _LONG, effort="high", max_tokens=None, options=other,
                provokes=provokes)
        )  # fmt: skip
    return tuple(asks)


BENCH = Bench("limits", _asks)


@BENCH.probe(
    "limits.finish",
    uses=("cut", "cut tool"),
    modes=("non-streaming", "streaming"),
    severity="error",
    summary="A reply that would be longer ends at the limit of tokens, and says that it was cut.",
    why="Half an answer is taken for a whole one; an endless one costs without end.",
    source=RESPONSES,
)
def _finish(answers: Answers) -> Iterator[Trial]:
    yield from _at_limit([view for name in ("cut", "cut tool") for view in answers.all(name)])


@BENCH.probe(
    "limits.finish.max_completion_tokens",
    uses=("cut otherwise",),
    apis=("chat",),
    severity="error",
    summary="max_completion_tokens limits a Chat reply as max_tokens does.",
    why="It is the name that OpenAI's SDKs and agents use today.",
    source=CHAT,
)
def _finish_otherwise(answers: Answers) -> Iterator[Trial]:
    served(answers, "cut otherwise", _OTHER_LIMIT)
    yield from _at_limit(answers.all("cut otherwise"))


def _at_limit(views: list[ParsedRollout] | tuple[ParsedRollout, ...]) -> Iterator[Trial]:
    judged = [trial for view in views for trial in _limited(view.turns[-1])]
    if not judged:
        raise NotVerifiableError("The model's replies are shorter than the limit.")
    yield from judged


def _limited(turn: ParsedExchange) -> Iterator[Trial]:
    """What there is to say of one reply; nothing if it ended by itself before the limit."""
    reply = turn.reply
    if reply is None:
        message = "A reply that the limit of tokens cuts off does not come."
        yield Problem(turn, message, "a reply that says it was cut", fate(turn))
        return
    count = reply.output_tokens
    if count is not None and count > LIMIT:
        message = "The reply is longer than the limit."
        yield Problem(turn, message, f"{LIMIT} tokens at most", f"{count}", "$.usage")
    elif reply.finish == "length":
        yield None
    elif count == LIMIT or not (reply.text or reply.calls):
        message = "The reply ended at the limit of tokens, and does not say so."
        yield Problem(turn, message, _cut(turn), f"{reply.finish}, {count} tokens")


def _cut(turn: ParsedExchange) -> str:
    if turn.api == "chat":
        return "finish_reason length"
    return 'status incomplete, incomplete_details {"reason": "max_output_tokens"}'


@BENCH.probe(
    "limits.default",
    uses=("unlimited",),
    severity="error",
    summary="A request without a limit is not cut off early.",
    why="A reasoning model's replies end before they begin to answer.",
    source=RESPONSES,
)
def _default(answers: Answers) -> Iterator[Trial]:
    for turn, reply in answers.replies("unlimited"):
        count = reply.output_tokens
        if reply.finish != "length":
            yield None
        elif count is None:
            raise NotVerifiableError("The provider does not report output tokens.")
        else:
            message = "A reply without a limit was cut off."
            early = Problem(turn, message, f"at least {LEAST} tokens", f"{count}", "$.usage")
            yield early if count < LEAST else None


@BENCH.probe(
    "limits.stop",
    uses=("whole", "stopped"),
    apis=("chat",),
    needs="stop",
    severity="error",
    summary="A stop string ends the answer before it, and does not act on the CoT.",
    why="Programs cut texts by it; one that acts on the CoT leaves them without an answer.",
    source=CHAT,
)
def _stop(answers: Answers) -> Iterator[Trial]:
    stopped = served(answers, "stopped", "stop strings")
    _, whole = answers.reply("whole")
    before, found, _ = whole.text.partition(STOP)
    if not found:
        raise NotVerifiableError("The model's answer does not hold the stop string.")
    for view in stopped:
        turn = view.turns[-1]
        reply = turn.reply
        if reply is None:
            message = "A reply that is to be stopped does not come."
            yield Problem(turn, message, "a reply", fate(turn))
        else:
            yield _wrong_stop(turn, reply, whole, before)


def _wrong_stop(turn: ParsedExchange, reply: Reply, whole: Reply, before: str) -> Trial:
    got = repr(reply.text)
    if STOP in reply.text:
        return Problem(turn, "The stop string is part of the answer.", f"no {STOP!r}", got)
    silent = before.strip() and not reply.text
    if silent and STOP in whole.reasoning and STOP not in reply.reasoning:
        message = "The stop string ended the reply within its CoT."
        return Problem(turn, message, f"an answer, such as {before!r}", got)
    return None
