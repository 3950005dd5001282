"""What is a refusal, and what is a failure.

A refusal has a 4xx status, or 501, and concerns what its request asks for. Any other 5xx status is
a failure. A 4xx status whose reason is something that its request does not have, such as a
parameter, a tool or its length, shows no missing feature (`foreign_reason`). One without any reason
counts as a refusal of what was asked for, which other requests lack.
"""

import json
import re

from harness.api.fields import both_ends, json_object
from harness.api.parsed_request import ParsedRequest
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.api.statuses import explanation, meaning
from harness.rules.missing import NotVerifiableError
from harness.rules.rule import Problem

_REFUSED = range(400, 500)
_TOO_LONG = re.compile(
    r"context[_ ](?:length|window|size|limit)|maximum (?:context|prompt|input)|\btoken limit"
    r"|too many (?:input )?tokens"
    r"|(?:prompt|input|request|messages?) (?:is|are|was) too (?:long|large)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{4,}")  # a length that an error message names
_SHOWN = 270  # characters of an error; a report has 300
_SHORT, _FEW = 4_000, 2_048
"""Characters of a request, and its output tokens, that every provider has room for."""
_PARAMETER = re.compile(
    r"(?:un(?:known|supported|recognized|expected)|extra) (?:request )?"
    r"(?:parameter|argument|field|keyword argument)s?(?: supplied)?"
    r"(?:: *\W{0,3}| \W{1,3})(?P<name>[A-Za-z_][\w.\[\]]{2,60})",
    re.IGNORECASE,
)
_REQUIRED = re.compile(r"\b(?:missing|required|requires|needs)\b", re.IGNORECASE)
_NAME = re.compile(r"[a-z_]\w*")
_SAME_NAMES = (
    frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"}),
    frozenset({"messages", "input", "prompt", "instructions"}),
    frozenset({"response_format", "text", "format"}),
    frozenset({"reasoning", "reasoning_effort", "effort"}),
    frozenset({"stop", "stop_sequences"}),
    frozenset({"functions", "tools", "tool_choice"}),
)
"""Names that the APIs have for one parameter."""
_IN_EVERY = frozenset({"model", "messages", "input", "max_tokens", "max_output_tokens"})
_TOPICS = (
    ("images or files", r"\bimages?\b|\bvision\b|multi-?modal|\baudio\b", r"image|audio|file"),
    ("tools", r"\btools?\b|\bfunction[ _-]call", r"tool|function"),
    ("streams", r"\bstream(?:s|ing)?\b", r'"stream\w*": (?:true|\{)'),
    ("a format of answers", r"json[ _](?:schema|mode|object)|structured|_format", r"json|schema"),
)  # fmt: skip
"""Names, patterns of error messages, and patterns of the requests that they may be about."""
_ABSENT = "which it does not have"


def refused(rollout: ParsedRollout) -> bool:
    """Whether the last response has a 4xx status."""
    return rollout.exchanges[-1].status in _REFUSED


def declined(rollout: ParsedRollout) -> bool:
    """Whether the provider refused what the last request asks for."""
    last = rollout.exchanges[-1]
    return is_refusal(last) and foreign_reason(last) is None


def is_of_upstream(exchange: ParsedExchange) -> bool:
    """Whether a status of the client has the words of a failure behind the server.

    It says nothing about what the request asks for; `request.failed` reports it.
    """
    response = exchange.recorded.response
    return bool(response and response.status in _REFUSED and meaning(response) == "server_error")


def is_refusal(exchange: ParsedExchange) -> bool:
    """Whether a response refuses its request."""
    response = exchange.recorded.response
    return response is not None and meaning(response) == "refusal"


def foreign_reason(exchange: ParsedExchange) -> str | None:
    """Return the reason of a refusal if the request gives no cause for it; None otherwise.

    The reason is a parameter, the length, or a topic; a message that also names a member of the
    request, or a type in it, may be about that.
    """
    response, body = exchange.recorded.response, exchange.request.body
    if not is_refusal(exchange) or response is None or not body:
        return None
    said = response.text.lower()
    sent = json.dumps({name: value for name, value in body.items() if value}).lower()
    if is_about_length(said):
        short = not may_be_too_long(exchange.request, said)
        return "its length, although it is short" if short else None
    if _REQUIRED.search(said):
        return None
    if parameter := _named_parameter(response.text):
        known = _is_of_request(parameter, body)
        return None if known else f"the parameter {parameter!r}, {_ABSENT}"
    named = {name for name, value in body.items() if value is not None} - _IN_EVERY
    own = named | set(re.findall(r'"type": "(\w+)"', sent))
    if not own.isdisjoint(_NAME.findall(said)):
        return None
    topics = [topic for topic in _TOPICS if re.search(topic[1], said)]
    foreign = topics and not any(re.search(topic[2], sent) for topic in topics)
    return f"{topics[0][0]}, {_ABSENT}" if foreign else None


def is_about_length(said: str) -> bool:
    """Whether an error message is about the length of a request."""
    return _TOO_LONG.search(said) is not None


def may_be_too_long(request: ParsedRequest, said: str) -> bool:
    """Whether a request may be as long as an error message says, or too long for some provider.

    It has at most as many tokens as bytes, unless the server stores a part of it.
    """
    if request.body.get("previous_response_id"):
        return True
    size, output = len(json.dumps(request.body)), request.limit or 0
    lengths = [int(number) for number in _NUMBER.findall(re.sub(r"(?<=\d)[,_](?=\d{3})", "", said))]
    if lengths:
        return size + output >= min(lengths)
    return size > _SHORT or output > _FEW


def _named_parameter(body: str) -> str | None:
    """Return the parameter that an error names, in `param` or in its message."""
    error = (json_object(body) or {}).get("error")
    param = error.get("param") if isinstance(error, dict) else None
    match = _PARAMETER.search(body)
    return param if isinstance(param, str) and param else match and match["name"]


def _is_of_request(name: str, body: object) -> bool:
    """Whether a request has a name, or a longer one: `previous_response_id` for `response_id`.

    The name may be a path such as `tools[0].function`; some names have the same meaning.
    """
    parts = set(_NAME.findall(name.lower()))
    alike = parts.union(*(same for same in _SAME_NAMES if not parts.isdisjoint(same)))
    ends = tuple(f"_{part}" for part in alike)
    return any(f"_{word}".endswith(ends) for word in _NAME.findall(json.dumps(body).lower()))


def is_damaged(exchange: ParsedExchange) -> bool:
    """Whether a response has a 2xx status and is unreadable, which `reply.unreadable` reports.

    It shows nothing about what its request asks for.
    """
    return exchange.reply is None and exchange.good_status and bool(exchange.unreadable)


def require_intact(*exchanges: ParsedExchange) -> None:
    """Raise NotVerifiableError if one of the responses is damaged."""
    if any(map(is_damaged, exchanges)):
        raise NotVerifiableError("unreadable")


def failure(rollout: ParsedRollout, feature: str) -> Problem | None:
    """Return the problem of a rollout without a final readable reply; None if it has one.

    `feature` is what was requested, as the object of a sentence. Raises NotVerifiableError if the
    response is damaged, or is not about the request.
    """
    last = rollout.exchanges[-1]
    if last.reply is not None:
        return None
    if is_damaged(last):
        raise NotVerifiableError("unreadable_with", feature=feature, got=str(last.unreadable))
    if is_of_upstream(last):
        raise NotVerifiableError("fails_on_feature", feature=feature, got=outcome(last))
    alone = ", also if it is sent alone" if rollout.rollout.alone else ""
    return Problem(last, f"The provider fails on {feature}{alone}.", "a reply", outcome(last))


def outcome(exchange: ParsedExchange) -> str:
    """What an exchange without a readable reply returned, in a few words."""
    if exchange.recorded.failure is not None:
        return exchange.recorded.failure.message
    response = exchange.recorded.response
    if response is None:
        return "no response"
    got = exchange.unreadable if exchange.good_status else response.text
    if got and len(got) > _SHOWN:
        got = both_ends(got, _SHOWN) if json_object(got) is None else explanation(response, _SHOWN)
    return f"status {response.status}: {got or 'no body'}"
