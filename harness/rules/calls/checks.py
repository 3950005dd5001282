"""Tool calls: ids of their own, and none that is lost, stands in a text, or is made again."""

import re
from collections.abc import Iterator
from itertools import pairwise

from harness.api import DIALECTS
from harness.api.fields import objects
from harness.api.items import Tool
from harness.api.json_text import parsed_object, strings, trailing_object
from harness.api.ledger import ANSWER_HEADER, call_header, may_be_headers
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.rules.account.counting import LONGEST_HEADER
from harness.rules.calls.name_checks import tool_of
from harness.rules.check import Family
from harness.rules.evidence.subjects import (
    Answer,
    Call,
    calls,
    conversations,
    ended,
    exchanges,
    repeats,
)
from harness.rules.habits import recorded, unmeasured
from harness.rules.rule import CHAT, GUIDE, HARMONY, Problem

family = Family("calls", CHAT, component="calls")
# What an error says, or the member that has the call, if a server refuses what its model wrote.
_OWN_CALL = re.compile(
    r"failed_generation|tool_use_failed|tool call validation failed"
    r"|model (?:output|generated|made|returned|called)[^.]{0,40}\b(?:tool|function)"
    r"|(?:generated|output) (?:tool|function) call",
    re.IGNORECASE,
)
# What is before the arguments of a call: a header of harmony, or of the format of other models.
_OTHER_FORMAT = "<function="
_CALL_HEADER = re.compile(rf"(?:\bto=functions\.|{_OTHER_FORMAT})([\w-]+)")
_CONTENT_TYPE = 5  # the most tokens of a content type in the header of a call, and of its spelling
_FAILED = re.compile(r"error|exception|traceback|fail|unavailable|time.?out|retry|again", re.I)


@family.check("calls.id.missing", calls, fix="Give every call an id of its own.")
def _call_id(call: Call) -> Iterator[Problem]:
    """Every tool call has an id. Without an id, a client cannot send the tool result back."""
    if not call.call.id:
        message = f"The call of {call.call.name} has no id."
        yield Problem(call.exchange, message, "a non-empty string", repr(call.call.id))


def _call_ids(parsed: ParsedRollout) -> list[tuple[ParsedExchange, str | None]]:
    """Return the ids of the calls in a conversation, each with its exchange."""
    before = ((parsed.exchanges[0], call_id) for call_id in _recorded_ids(parsed))
    return [*before, *((exchange, call.id or None) for exchange, call in calls(parsed))]


@family.check(
    "calls.id.repeated",
    conversations,
    lambda parsed: len(_call_ids(parsed)) > 1,
    fix="Give every call an id of its own.",
)
def _repeated_call_id(parsed: ParsedRollout) -> Iterator[Problem]:
    """Tool calls within a conversation have distinct ids.

    Otherwise their results cannot be told apart. In recorded traffic, the calls in its requests
    count as earlier calls.
    """
    for exchange, call_id in repeats(_call_ids(parsed)):
        message = "The tool call reuses the id of an earlier call in the conversation."
        yield Problem(exchange, message, "a new id", call_id)


def _recorded_ids(parsed: ParsedRollout) -> Iterator[str]:
    """Yield the ids of calls in the history of the first request of recorded traffic.

    A client may send a call again, so an id counts once, but for each different call of one turn.
    """
    if parsed.rollout.recording is None:
        return
    known: set[str] = set()
    parallel: dict[str, object] = {}
    for turn in DIALECTS[parsed.rollout.api].turns(parsed.exchanges[0].request.body):
        if not isinstance(turn, dict) or turn.get("type") not in ("function_call", "reasoning"):
            parallel = {}
        for call in (turn, *objects(turn.get("tool_calls"))) if isinstance(turn, dict) else ():
            made = call.get("type") in ("function", "function_call")
            call_id = call.get("call_id", call.get("id"))
            said = call.get("function") or (call.get("name"), call.get("arguments"))
            if not made or not isinstance(call_id, str):
                continue
            if call_id not in known or parallel.get(call_id, said) != said:
                yield call_id
            known.add(call_id)
            parallel[call_id] = said


@family.check(
    "calls.in_text",
    ended,
    lambda answer: answer.exchange.request.functions and not answer.reply.calls,
    source=HARMONY,
    habit=recorded(0.01),
    component="output",
)
def _in_text(answer: Answer) -> Iterator[Problem]:
    """A tool call is returned as a tool call, not as text.

    The provider's harmony parser failed. Agents show the arguments to the user and stop. The words
    of a call's header before the arguments, or the tokens of one in the count, prove it.
    """
    exchange, reply = answer
    text, functions = reply.text.strip(), exchange.request.functions
    text = text[1:-1] if text.startswith("[") and text.endswith("]") else text  # a list of calls
    headers = [name for name in _CALL_HEADER.findall(text) if name in functions]
    # Of several tools that the arguments fit, the one whose name the text has last.
    tools = sorted(functions.values(), key=lambda tool: text.rfind(tool.name), reverse=True)
    tool = tool_of(trailing_object(text), [functions[headers[-1]]] if headers else tools)
    if tool is not None and not exchange.request.wants_json:
        message = f"The answer contains what looks like the arguments of {tool.name}."
        counted = answer.ledger
        own = counted is not None and counted.exact and counted.difference <= 0
        asked = _OTHER_FORMAT in exchange.prompt
        foreign = _OTHER_FORMAT in text and not asked  # The model knows only harmony.
        proven = (bool(headers) and (foreign or not (own or asked))) or _counts_call(answer, tool)
        yield Problem(exchange, message, "a tool call", reply.text[-200:], proven=proven)


def _counts_call(answer: Answer, tool: Tool) -> bool:
    """Whether the count of a reply with the arguments as text is that of a call.

    It then includes the header of the call instead of that of an answer, and that of the CoT if its
    text is before the arguments.
    """
    counted = answer.ledger
    texts = answer.reply.reasoning, answer.reply.text
    if counted is None or not counted.exact or may_be_headers(counted.difference, *texts):
        return False
    header = call_header(tool.name)
    least = header if not answer.reply.reasoning else header - ANSWER_HEADER
    return least <= counted.difference <= least + _CONTENT_TYPE


@family.check(
    "calls.refused",
    exchanges,
    lambda exchange: exchange.request.functions,
    source=GUIDE,
    component="failures",
    fix="Pass on the calls that the model makes; the client checks their arguments.",
    example=(
        "A call that does not match the schema becomes an error within the stream.",
        "https://github.com/BerriAI/litellm/issues/40566",
    ),
)
def _refuses_own(exchange: ParsedExchange) -> Iterator[Problem]:
    """The server passes on the calls of its own model, and does not answer with an error.

    A client tells the model what is wrong with a call. After an error, an agent has no call.
    """
    response = exchange.recorded.response
    errors: list[tuple[str, int | None]] = [(e.text, e.number) for e in exchange.error_events]
    if response is not None and not response.good_status:
        errors = [(f"status {response.status}: {response.text}", None)]
    for text, number in errors:
        if _OWN_CALL.search(text):
            message = "The server refuses a call that its own model made."
            yield Problem(exchange, message, "the call", text, event=number)


@family.check(
    "calls.lost",
    ended,
    lambda answer: answer.exchange.request.functions and not answer.reply.calls,
    source=HARMONY,
    habit=unmeasured(0.02),
    counts=True,
    component="output",
    reads=("extras",),
)
def _lost(answer: Answer) -> Iterator[Problem]:
    """The CoT does not end with a tool call that is missing from the reply.

    Otherwise the provider's harmony parser took the call for reasoning, or dropped it. Agents stop
    without an answer. A CoT that only announces a call is reported if the reply also lacks the
    tokens of a call.
    """
    exchange, reply = answer
    request = exchange.request
    counted = answer.ledger
    if counted is not None and counted.difference <= 0:
        return  # The model itself wrote no call.
    whole = parsed_object(reply.reasoning.strip())
    last = whole if whole or reply.text.strip() else trailing_object(reply.reasoning)
    tool = tool_of(last, request.functions.values())
    if tool is not None and not request.wants_json:
        header = call_header(tool.name)
        if counted is not None and counted.difference < header and not reply.text.strip():
            return  # The model wrote an empty answer instead.
        message = f"The CoT ends with the arguments of {tool.name}, and the reply has no tool call."
        proven = counted is not None  # else the model may have ended its reply after a draft
        yield Problem(exchange, message, "a tool call", reply.reasoning[-200:], proven=proven)
    elif counted is not None and counted.exact and reply.text.strip():
        end = reply.reasoning[-200:]
        named = [name for name in request.functions if name in end]
        shortest = min(map(call_header, named), default=None)
        lost = shortest is not None and counted.difference >= max(shortest, counted.spelling)
        if lost and not may_be_headers(counted.difference, reply.reasoning, reply.text):
            message = f"The CoT announces a call of {named[0]}, whose tokens are not in the reply."
            got = f"{counted.difference} unexplained tokens"
            proven = counted.difference > LONGEST_HEADER  # else it may be a malformed header
            yield Problem(exchange, message, "a tool call", got, "$.usage", proven=proven)


def _after_results(parsed: ParsedRollout) -> Iterator[tuple[Answer, Answer]]:
    """Yield each reply with calls, and the reply to their results, unless a result is a failure."""
    for (before, reply), (exchange, later) in pairwise(parsed.replies):
        called = {call.id for call in reply.calls}
        items = objects(DIALECTS[exchange.api].turns(exchange.request.body))
        results = [
            item for item in items if (item.get("tool_call_id") or item.get("call_id")) in called
        ]
        outputs = [item.get("content", item.get("output", "")) for item in results]
        texts = [text for output in outputs for text in strings(output)]
        if any(texts) and not any(map(_FAILED.search, texts)):
            yield Answer(before, reply), Answer(exchange, later)


@family.check(
    "calls.again",
    _after_results,
    habit=unmeasured(0.05),
    component="history",
    behaviour=True,
    fix="Render every tool result, and reuse no cached prompt beyond the tokens that both share.",
)
def _again(pair: tuple[Answer, Answer]) -> Iterator[Problem]:
    """The reply to a tool result does not repeat the call that led to it.

    A model that does not see the result makes the same call again, and agents never end. Results
    that report a failure do not count.
    """
    before, later = pair
    made = {(call.name, call.arguments) for call in before.reply.calls}
    for call in later.reply.calls[:1]:
        if (call.name, call.arguments) in made:
            message = f"The reply to the result of {call.name} makes the same call again."
            yield Problem(later.exchange, message, "a different reply", call.arguments)
