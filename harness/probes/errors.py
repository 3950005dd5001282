"""Requests that are wrong in one way each, and what a provider has to say to them.

Whatever is wrong, the answer is a 4xx status and an error in OpenAI's shape. Some servers let some
of it pass: that is a warning where clients can live with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.api.conversation import Message, ToolCall, ToolResult
from harness.checks.base import Problem
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import fate, refused, require_heard
from harness.probes.tools.offers import WEATHER
from harness.records.conditions import Api
from harness.records.scores import Severity

ERRORS = "https://platform.openai.com/docs/guides/error-codes/api-errors"

_FEW_TOKENS = 16
_CALL_ID = "call_nobody_made"
_HI = {"role": "user", "content": "Hi there!"}
_MANNER = frozenset({"request.refused", "request.failed"})
_CONFUSED = "Clients that make the mistake never learn of it."
_LOST = "Part of the conversation is lost in silence."


@dataclass(frozen=True)
class Mistake:
    """A wrong request: what it holds by API, and how bad it is to answer it all the same."""

    name: str
    options: Mapping[Api, Mapping[str, Any]]
    summary: str
    why: str = _CONFUSED
    severity: Severity = "warning"
    raw: str | None = None


def _both(**options: object) -> dict[Api, dict[str, Any]]:
    return {"chat": options, "responses": options}


def _history(chat: Mapping[str, Any], responses: Mapping[str, Any]) -> dict[Api, dict[str, Any]]:
    """A conversation with one odd message after the first."""
    return {"chat": {"messages": [_HI, chat]}, "responses": {"input": [_HI, responses]}}


def _tool(**function: object) -> dict[Api, dict[str, Any]]:
    chat = {"type": "function", "function": function}
    return {"chat": {"tools": [chat]}, "responses": {"tools": [{"type": "function", **function}]}}


_NOWHERE: Mapping[Api, Mapping[str, Any]] = _both()

MISTAKES = (
    Mistake("malformed", _NOWHERE, "A body that is not JSON is refused.", severity="error",
            raw='{"model": "gpt-oss", "messages": [{"role": "user", "content": "Hi'),
    Mistake("no_object", _NOWHERE, "A body that is no JSON object is refused.", severity="error",
            raw='["Hi"]'),
    Mistake("unknown_model", _both(model="no-such-model-gpt-oss-verify"),
            "A model that is not there is refused.",
            "Whoever mistypes a name is answered by another model than they believe."),
    Mistake("wrong_type", _both(temperature="hot"), "A text where a number belongs is refused."),
    Mistake("no_messages", {"chat": {"messages": "Hi there!"}, "responses": {"input": 7}},
            "A conversation that is neither text nor a list is refused."),
    Mistake("empty", {"chat": {"messages": []}, "responses": {"input": []}},
            "A conversation without any message is refused."),
    Mistake("negative_limit", {"chat": {"max_tokens": -5}, "responses": {"max_output_tokens": -5}},
            "A negative limit of tokens is refused."),
    Mistake("unknown_role", _history({"role": "narrator", "content": "It is late."},
                                     {"role": "narrator", "content": "It is late."}),
            "A role that does not exist is refused.", _LOST),
    Mistake("unmatched_result",
            _history({"role": "tool", "tool_call_id": _CALL_ID, "content": "21"},
                     {"type": "function_call_output", "call_id": _CALL_ID, "output": "21"}),
            "The result of a call that nobody made is refused.", _LOST),
    Mistake("bad_tool", _tool(name="get_tide", description="Tide.", parameters="a harbour"),
            "A tool whose parameters are no schema is refused.", _LOST),
)  # fmt: skip
_OTHER_TOOL = "other tool"
_OTHER_CALL = (
    Message("user", "How high is the tide at Brest?"),
    ToolCall("call_1", "get_tide", '{"harbour": "Brest"}'),
    ToolResult("call_1", '{"height_m": 2.4}'),
)
_NAMES = tuple(mistake.name for mistake in MISTAKES)


def _asks(api: Api) -> tuple[Ask, ...]:
    hello = (Message("user", "Hi there!"),)
    wrong = [
        Ask(
            mistake.name,
            hello,
            max_tokens=_FEW_TOKENS,
            options=mistake.options[api],
            raw=mistake.raw,
            provokes=_MANNER,
        )
        for mistake in MISTAKES
    ]
    return (
        *wrong,
        Ask(_OTHER_TOOL, _OTHER_CALL, (WEATHER,), max_tokens=_FEW_TOKENS, provokes=_MANNER),
        Ask("right key", hello, max_tokens=_FEW_TOKENS),
        Ask("wrong key", hello, max_tokens=_FEW_TOKENS, key="wrong", provokes=_MANNER),
        Ask("no key", hello, max_tokens=_FEW_TOKENS, key="none", provokes=_MANNER),
    )


BENCH = Bench("errors", _asks)


@BENCH.probe(
    "errors.status",
    uses=(*_NAMES, _OTHER_TOOL),
    severity="error",
    summary="Odd requests do not make the server fail, or hide an error behind a good status.",
    why="Clients repeat requests that failed with 5xx, and take what comes with 200 for an answer.",
    source=ERRORS,
)
def _status(answers: Answers) -> Iterator[Trial]:
    for name in (*_NAMES, _OTHER_TOOL):
        for view in answers.all(name):
            turn = view.turns[-1]
            message = f"An odd request ({name}) is answered with neither a refusal nor a reply."
            broken = Problem(turn, message, "status 400 or another 4xx", fate(turn))
            yield None if refused(view) or turn.reply is not None else broken


@BENCH.probe(
    "errors.stream",
    uses=("wrong_type",),
    modes=("streaming",),
    severity="error",
    summary="A wrong request for a stream is refused by its status, before the stream begins.",
    why="SDKs raise errors by the status; an error event in a stream reaches few programs.",
    source=ERRORS,
)
def _stream(answers: Answers) -> Iterator[Trial]:
    for view in answers.all("wrong_type", "streaming"):
        turn = view.turns[-1]
        message = "A wrong request for a stream is not refused by its status."
        broken = Problem(turn, message, "status 400 or another 4xx", fate(turn))
        yield None if refused(view) or turn.reply is not None else broken


@BENCH.probe(
    "errors.body",
    uses=_NAMES,
    severity="error",
    summary="A refusal is JSON with an error object that has a message.",
    why="Clients show the message, and SDKs look for it there.",
    source=ERRORS,
)
def _body(answers: Answers) -> Iterator[Trial]:
    for turn in _refusals(answers):
        error = (turn.body or {}).get("error")
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            message = "The refusal is not an error object with a message."
            yield Problem(turn, message, '{"error": {"message": …}}', _said(turn), "$.error")
        else:
            yield None


@BENCH.probe(
    "errors.body.fields",
    uses=_NAMES,
    severity="warning",
    summary="An error object has a type, and a param and a code that are text or null.",
    why="Programs tell errors apart by them.",
    source=ERRORS,
)
def _fields(answers: Answers) -> Iterator[Trial]:
    for turn in _refusals(answers):
        error = (turn.body or {}).get("error")
        if not isinstance(error, dict):
            continue
        wrong = not isinstance(error.get("type"), str) or any(
            name not in error or not isinstance(error[name], str | None)
            for name in ("param", "code")
        )
        message = "The error object lacks a field, or has it with another type."
        expected = "type: text; param and code: text or null"
        yield Problem(turn, message, expected, _said(turn), "$.error") if wrong else None


def _refusals(answers: Answers) -> list[ParsedExchange]:
    """The turns in which a wrong request was refused. Raises NotVerifiableError."""
    views = [view for name in _NAMES for view in answers.all(name) if refused(view)]
    if not views:
        raise NotVerifiableError("The provider refuses none of the wrong requests.")
    return [view.turns[-1] for view in views]


def _said(turn: ParsedExchange) -> str:
    response = turn.exchange.response
    return "nothing" if response is None else response.body or "nothing"


def _judge(mistake: Mistake, answers: Answers) -> Iterator[Trial]:
    for view in answers.all(mistake.name):
        require_heard(view)
        turn = view.turns[-1]
        message = "A wrong request is answered."
        passed = Problem(turn, message, "a refusal", turn.reply.text if turn.reply else "")
        yield None if turn.reply is None else passed


def _register(mistake: Mistake) -> None:
    @BENCH.probe(
        f"errors.{mistake.name}",
        uses=(mistake.name,),
        severity=mistake.severity,
        summary=mistake.summary,
        why=mistake.why,
        source=ERRORS,
    )
    def judge(answers: Answers) -> Iterator[Trial]:
        return _judge(mistake, answers)


for _mistake in MISTAKES:
    _register(_mistake)


@BENCH.probe(
    "errors.key",
    uses=("right key", "wrong key", "no key"),
    severity="warning",
    summary="A request with a wrong key, or with none, is refused with status 401 or 403.",
    why="Whoever finds the address can use it; and a mistyped key is not told from another fault.",
    source=ERRORS,
)
def _key(answers: Answers) -> Iterator[Trial]:
    with_key, without = (_headers(answers.all(name)[0]) for name in ("right key", "no key"))
    if with_key == without:
        raise NotVerifiableError("The provider's entry has no key.")
    for name in ("wrong key", "no key"):
        for view in answers.all(name):
            turn = view.turns[-1]
            response = turn.exchange.response
            status = None if response is None else response.status
            got = "an answer" if turn.good_status else fate(turn)
            wrong = Problem(turn, f"A request with {name} is not refused as such.", "401", got)
            yield None if status in (401, 403) else wrong


def _headers(view: ParsedRollout) -> set[str]:
    return set(view.turns[0].exchange.request.headers)
