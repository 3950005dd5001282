"""Invalid requests: each has one error, and the provider must reject it.

The required response is a 4xx status with an error in OpenAI's format. Some servers accept some
invalid requests; that is a warning if clients cope with it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from harness.api.fields import NAMES
from harness.api.items import Message, ToolCall, ToolResult
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import Api
from harness.records.scores import Severity
from harness.records.settings import CONTEXT
from harness.rules.evidence.offers import WEATHER
from harness.rules.evidence.tables import table
from harness.rules.missing import required
from harness.rules.probe import ProbeGroup, ProbeRequest, Sent, Trials, prompt_tokens
from harness.rules.refusals import outcome, refused
from harness.rules.rule import ERRORS, Problem

# One o200k token, including the leading space.
_OVERFLOWING_TEXT = "information " * (CONTEXT + 1_000)
_FEW_TOKENS = 16
# Where servers put the message of an error: OpenAI, FastAPI, and others.
_MESSAGES = ("error", "errors", "message", "Message", "detail", "msg")
_FIELDS = {"message": str, "type": str, "param": str | None, "code": str | None}
_INTEGER_CODE = "`code` is an integer"


@dataclass(frozen=True)
class InvalidRequest:
    """An invalid request; `requests.yaml` explains the fields."""

    name: str
    what: str
    why: str = ""
    chat: Mapping[str, Any] = field(default_factory=dict)
    responses: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "warning"
    raw: str | None = None
    partly: bool = False

    @property
    def reason(self) -> str:
        """Why it must be rejected."""
        lost = "it drops this part of the request, or shows the model what no client means"
        mistake = lost if self.partly else "the client's mistake goes unnoticed"
        return self.why or f"If the server answers, {mistake}."

    def members(self, api: Api) -> Mapping[str, Any]:
        """Return the members of its body over an API."""
        return self.chat if api == "chat" else self.responses


INVALID_REQUESTS = TypeAdapter(tuple[InvalidRequest, ...]).validate_python(
    table("errors")["requests"]
)
_OTHER_CALL = (
    Message("user", "How high is the tide at Brest?"),
    ToolCall("call_1", "get_tide", '{"harbour": "Brest"}'),
    ToolResult("call_1", '{"height_m": 2.4}'),
)
_HELLO = (Message("user", "Hi there!"),)
GROUP = ProbeGroup("errors", ERRORS, component="errors")
_few = partial(ProbeRequest, max_tokens=_FEW_TOKENS, whole=False)
_invalid = partial(_few, valid=False)
_INVALID = GROUP.send_all(
    _invalid(
        request.name,
        _HELLO,
        options_of=request.members,
        raw=request.raw,
        modes=("streaming",) if request.name == "wrong_type" else (),
    )
    for request in INVALID_REQUESTS
)
_OTHER_TOOL = GROUP.send(_invalid("other tool", _OTHER_CALL, (WEATHER,)))
_VALID = GROUP.send(_few("valid", _HELLO))


@GROUP.probe("errors.status", (*_INVALID, _OTHER_TOOL))
def _status(invalid: Sent) -> Trials:
    """An invalid request causes neither a server failure nor an unreadable 2xx response.

    Clients retry requests that failed with 5xx, and read every 2xx response as a reply. SDKs raise
    errors by status: few programs handle an error event in a stream. A stream that was not
    requested, and has no error, is a reply: `reply.unreadable` reports it.
    """
    for each in invalid:
        for rollout, last in each.last:
            message = f"An invalid request ({each.name}) got neither a rejection nor a reply."
            problem = Problem(last, message, "status 400 or another 4xx", outcome(last))
            streamed = last.good_status and last.events and not last.error_events
            if last.reply is not None or not streamed:
                yield None if refused(rollout) or last.reply is not None else problem


@GROUP.probe("errors.body", _INVALID)
def _body(invalid: Sent) -> Trials:
    """The body of a rejection says what is wrong, in OpenAI's form.

    Clients show the message. Without it, users cannot correct the request. A different form than
    `error` with message, type, and nullable param and code is a warning: SDKs read the message
    there, and programs distinguish errors by the other fields. The type must not be server_error,
    because clients retry requests that failed in the server. A code that is an integer is only
    noted: several engines send the status, and SDKs pass it on.
    """
    rejected = (last for rollout, last in invalid.last if refused(rollout))
    for exchange in required(rejected, "rejects_nothing"):
        got = _body_text(exchange)
        if not _has_message(_json_body(exchange)):
            message = "The body of the rejection is not JSON with an error message."
            yield Problem(exchange, message, '{"error": {"message": …}}', got, "$.error")
            continue
        error = (exchange.body or {}).get("error")
        wrong = ["the object `error` is missing"]
        if isinstance(error, dict):
            wrong = list(_wrong_fields(error))
        message = f"The error object of a rejection is not in OpenAI's format: {', '.join(wrong)}."
        expected = "error with message and type: string; param and code: string or null"
        severity: Severity = "info" if wrong == [_INTEGER_CODE] else "warning"
        problem = Problem(exchange, message, expected, got, "$.error", severity=severity)
        yield problem if wrong else None


def _wrong_fields(error: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with each field of an error object."""
    for name, kinds in _FIELDS.items():
        if name not in error:
            yield f"`{name}` is missing"
        elif not isinstance(error[name], kinds):
            yield f"`{name}` is {NAMES[type(error[name])]}"
    if "server_error" in str(error.get("type")):
        yield "`type` says that the server failed"


def _json_body(exchange: ParsedExchange) -> object:
    """Return the JSON value of a response; None for anything else."""
    try:
        return json.loads(_body_text(exchange))
    except (ValueError, RecursionError):
        return None


def _has_message(value: object) -> bool:
    """Whether an error has a message where a known server puts it: in an object or its `error`."""
    if isinstance(value, list):
        return any(map(_has_message, value))
    if not isinstance(value, dict):
        return False
    texts = [value.get(name) for name in _MESSAGES]
    return any(isinstance(text, str) and text for text in texts) or any(map(_has_message, texts))


def _body_text(exchange: ParsedExchange) -> str:
    response = exchange.recorded.response
    return "no body" if response is None else response.text or "no body"


def _is_rejected(invalid: InvalidRequest, sent: Sent, valid: Sent | None = None) -> Trials:
    for rollout, last in sent.last:
        if last.reply is None and not refused(rollout):
            continue  # `errors.status` reports it
        message = f"{invalid.what} is answered instead of rejected."
        if valid is not None:
            message += _fate(last, valid)
        got = last.reply.text or last.reply.generated if last.reply else ""
        got = got if got.strip() else "a reply"
        yield None if last.reply is None else Problem(last, message, "a 4xx status", got)


def _fate(answered: ParsedExchange, valid: Sent) -> str:
    """What the prompt tokens of a reply say of the invalid part: a sentence, or nothing."""
    plain = (rollout.exchanges[-1].reply for rollout in valid.made)
    counts = [reply.input_tokens for reply in (answered.reply, *plain) if reply is not None]
    if len(counts) < 2 or None in counts:
        return ""
    more = (counts[0] or 0) - min(filter(None, counts[1:]), default=0)
    if more > 0:
        return f" Its prompt has {more} more tokens than without this part, so the model sees it."
    return " Its prompt has no more tokens than without this part, so it was dropped."


for _request, _sent in zip(INVALID_REQUESTS, _INVALID, strict=True):
    GROUP.probe(
        f"errors.{_request.name}",
        *(_sent, _VALID)[: 1 + _request.partly],
        severity=_request.severity,
        text=f"{_request.what} is rejected. {_request.reason}",
    )(partial(_is_rejected, _request))


# A server that accepts the request bills 132,000 tokens, so only the full suite has it.
OVERFLOW_GROUP = ProbeGroup("errors.overflow", ERRORS, suite="full", component="messages")
_OVERFLOW = OVERFLOW_GROUP.send(_invalid("overflow", (Message("user", _OVERFLOWING_TEXT),)))


@OVERFLOW_GROUP.probe(
    "errors.overflow",
    _OVERFLOW,
    fix="Refuse prompts beyond the context length with a 4xx status instead of cutting them.",
)
def _overflow(overflowing: Sent) -> Trials:
    """A prompt that exceeds the context length is rejected.

    Silent truncation loses the client's input, and clients retry a request that failed.
    """
    for rollout, last in overflowing.intact:
        if refused(rollout):
            yield None
        elif last.reply is None:
            message = "A prompt that exceeds the context length was not rejected."
            yield Problem(last, message, "status 400 or 413", outcome(last))
        elif not last.reply.generated.strip():
            message = "A prompt that exceeds the context length got an empty reply."
            yield Problem(last, message, "status 400 or 413", "status 200 without text")
        else:
            count = prompt_tokens(last.reply)
            message = (
                "A prompt that exceeds the context length got a reply whose usage counts only a "
                "part of the prompt."
            )
            cut = Problem(last, message, f"more than {CONTEXT}", str(count), "$.usage")
            yield cut if count <= CONTEXT else None
