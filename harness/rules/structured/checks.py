"""Request options that the reply must follow."""

from collections.abc import Iterator

from harness.api.fields import nested
from harness.api.items import Reply
from harness.api.json_schema import text_misfit, validator_of
from harness.api.json_text import (
    is_padded,
    parsed_object,
    parsed_value,
)
from harness.api.ledger import ANSWER_HEADER, ledger_of
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import BOTH_APIS
from harness.rules.account.counting import SURELY
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, every_choice, exchanges
from harness.rules.habits import MALFORMED_HEADERS, unmeasured
from harness.rules.rule import CHAT, STRUCTURED, Problem

family = Family("structured", CHAT, component="structured")

_ENDED = ("stop", "tool_calls")
_OF_HEADERS = frozenset({"analysis", "assistant", "commentary", "final", "json", "json_schema"})
_EMPTY_MESSAGES = 2
"""Messages without text that the model itself may have written."""


def _whole(parsed: ParsedRollout) -> Iterator[Answer]:
    """Choices that ended on their own, or with white space up to the token limit."""
    for answer in every_choice(parsed):
        padded = answer.reply.finish == "length" and is_padded(answer.reply.text)
        if answer.reply.finish == "stop" or padded:
            yield answer


@family.check(
    "answer.json",
    _whole,
    lambda answer: (
        answer.exchange.request.wants_json
        and not (answer.reply.calls or answer.misplaced or lost_answer(*answer))
        and not _only_thought(*answer)
    ),
    source=STRUCTURED,
    habit=unmeasured(0.02),
    needs="json_schema",
)
def _structured_answer(answer: Answer) -> Iterator[Problem]:
    """An answer with a JSON response format is JSON that conforms to the requested schema.

    Programs parse it. A provider that does not support it must reject the request. A grammar that
    allows white space after the JSON lets the model write it up to the token limit: then the answer
    does not end. A reply that is a CoT alone, with no more tokens than that, is the model's: it
    ended before its answer, where a schema holds.
    """
    exchange, reply = answer
    if reply.finish == "length":
        message = "The answer is complete JSON, followed by white space up to the token limit."
        got = f"{len(reply.text) - len(reply.text.rstrip())} characters of white space"
        yield Problem(exchange, message, "the end of the reply after the JSON", got)
        return
    schema = exchange.request.answer_schema
    value = parsed_value(reply.text.strip())
    if value is None or (schema is None and not isinstance(value, dict)):
        expected = "a JSON object" if schema is None else "a JSON value"
        message = f"The request set a JSON response format, but the answer is not {expected}."
        if any(_surrounded_answer(answer)):
            return
        if around := _around_object(reply.text):
            place = "before" if around[0] else "after"
            message = f"Text stands {place} the JSON of the answer."
        yield Problem(exchange, message, expected, reply.text or "no text")
    elif schema is not None:
        problem = text_misfit(reply.text, schema, strict=exchange.request.strict_answer)
        if problem is not None:
            message = "The answer violates the schema of the requested response format."
            yield Problem(exchange, message, problem, reply.text)


def _not_judged(exchange: ParsedExchange) -> Iterator[tuple[str, str]]:
    """Each schema of a request that judges nothing, or not all that it says, with the reason."""
    request = exchange.request
    tools = [(f"the function {tool.name}", tool.parameters) for tool in request.functions.values()]
    answer = [] if request.answer_schema is None else [("the answer", request.answer_schema)]
    for of_what, schema in (*tools, *answer):
        validator = validator_of(schema)
        if validator.unusable is not None:
            yield f"The schema of {of_what} cannot be used, and judges nothing.", validator.unusable
        elif validator.left_out:
            message = f"A pattern of the schema of {of_what} cannot be read, and judges nothing."
            yield message, validator.left_out[0]


@family.check(
    "request.schema",
    exchanges,
    lambda exchange: any(_not_judged(exchange)),
    severity="info",
    source="https://json-schema.org/draft/2020-12/json-schema-core",
    witness=True,
)
def _usable_schema(exchange: ParsedExchange) -> Iterator[Problem]:
    """The schemas of a request are JSON schemas, and their patterns are those of ECMA-262.

    Arguments and answers are not judged by any other schema or pattern: nobody knows what it means.
    """
    for message, reason in _not_judged(exchange):
        expected = "a JSON schema without references to other documents"
        yield Problem(exchange, message, expected, reason)


def _around_object(text: str) -> tuple[str, str] | None:
    """Return what is before and after the JSON object of a text; None if it has no such object."""
    before, opening, rest = text.strip().partition("{")
    inner, closing, after = rest.rpartition("}")
    if parsed_object(f"{opening}{inner}{closing}") is None or not before + after:
        return None
    return before.strip(), after.strip()


@family.check(
    "answer.surrounded",
    _whole,
    lambda answer: answer.exchange.request.answer_schema is not None and answer.reply.text.strip(),
    source=STRUCTURED,
    habit=MALFORMED_HEADERS,
    needs="json_schema",
    component="output",
    fix="Return only the text of the final message, without parts of its header or of the request.",
)
def _surrounded_answer(answer: Answer) -> Iterator[Problem]:
    """Around the JSON of an answer is no part of a header, and no name of the schema.

    Programs cannot parse the answer. A model writes a malformed header occasionally, and never the
    name of the schema; a parser that cuts the header at the wrong place leaves them.
    """
    exchange, reply = answer
    given = exchange.request.answer_format
    name = nested(given, "json_schema", "name") or given.get("name")
    for part in _around_object(reply.text) or ():
        if part and (part == name or part.lower() in _OF_HEADERS):
            what = "the name of its schema" if part == name else "a word of a harmony header"
            message = f"Around the JSON of the answer is {what}: {part}."
            yield Problem(exchange, message, "only the JSON", reply.text, proven=part == name)
            return


def _misplaced_answer(answer: Answer) -> Iterator[Problem]:
    """An answer with a JSON response format is the text of a message.

    Otherwise the provider's harmony parser took the content type of the answer for the name of a
    tool, and programs find no answer. An answer that shows only in the token count is lost, too.
    """
    item = answer.misplaced
    if lost := lost_answer(*answer):
        yield missing_answer(*answer, lost)
    if item is not None:
        message = f"The JSON answer was returned as an item of type {item.get('type')}."
        path = "$.output"
        if answer.exchange.api == "chat":
            message = f"The JSON answer was returned as a {item.get('type')}, which is not offered."
            path = "$.choices[0].message.tool_calls"
        yield Problem(answer.exchange, message, "a message", repr(item), path, proven=True)


def _only_thought(exchange: ParsedExchange, reply: Reply) -> bool:
    """Whether a reply is a CoT without an answer, and its tokens are exactly those of the CoT."""
    if reply.text.strip() or reply.calls or not reply.reasoning.strip():
        return False
    counted = ledger_of(exchange, reply)
    return counted is not None and counted.exact and counted.difference == 0


def lost_answer(exchange: ParsedExchange, reply: Reply) -> int:
    """Return how many tokens an answer had that is missing in a reply; 0 if headers explain them.

    The reply has no text and no call, and its reported tokens can be counted.
    """
    if reply.text.strip() or reply.calls:
        return 0
    counted = ledger_of(exchange, reply)
    headers = _EMPTY_MESSAGES * ANSWER_HEADER
    if counted is None or counted.difference <= max(headers, counted.spelling):
        return 0
    return counted.difference


def missing_answer(exchange: ParsedExchange, reply: Reply, lost: int) -> Problem:
    """Return the problem of a reply without the answer that its tokens include."""
    message = "The reply has no answer, although its tokens include one."
    got = f"no text, and {lost} of {reply.output_tokens} tokens unexplained"
    return Problem(exchange, message, "the JSON answer", got, proven=lost > SURELY)


for _api in BOTH_APIS[::-1]:
    family.check(
        f"{_api}.answer.item",
        every_choice,
        lambda answer: (
            answer.exchange.request.wants_json
            and (answer.reply.finish in _ENDED or answer.reply.text.strip() or answer.misplaced)
        ),
        apis=(_api,),
        source=STRUCTURED,
        habit=MALFORMED_HEADERS,
        component="output",
        fix=(
            "Return the content of a message of the channel final as the answer, also if its "
            "header names a content type."
        ),
    )(_misplaced_answer)
