"""From a rollout and its case to exactly one outcome.

The rules, in the order in which they are asked:

1. `timeout`, `provider_error`: the last exchange broke, or its status was not a good one. A
   response too large or not HTTP at all is an `invalid_response`.
2. `invalid_response`: a reply could not be read, or a check found an error in one.
3. `truncated`: a reply stopped at its token limit (or at a content filter).
4. `max_turns`: the model still called tools when the turns were used up.
5. `no_tool_call`: it answered without calling any tool.
6. `wrong_tool`: it called tools, but never the expected one.
7. `invalid_arguments`: its first call of the expected tool has arguments that are no JSON
   object or do not fit the tool's schema.
8. `wrong_arguments`: they fit, but are not the expected ones. Only where `strict` is asked for;
   otherwise this is recorded beside the success.

Arguments are the expected ones if they are equal as JSON after the schema's defaults are filled
in: the order of keys does not matter, 2 equals 2.0, and strings are compared exactly except for
Unicode normal form (NFC) and white space around them.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.api.base import Reply, Tool
from harness.api.conversation import ToolCall
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.records.judgements import Finding, Outcome
from harness.records.rollouts import Exchange
from harness.tasks.cases import Case
from harness.tasks.tools import schema_problem
from harness.text import strict_json


def judge(seen: ParsedRollout, case: Case, tool: Tool, *, strict: bool) -> Outcome:
    """The outcome of one attempt at `case`, which expects a call of `tool`, findings aside."""
    return _broken(seen) or _unreadable(seen) or _stopped(seen) or _called(seen, case, tool, strict)


def invalidated(outcome: Outcome, findings: Sequence[Finding]) -> Outcome:
    """The outcome once the findings are known: an error makes it an invalid response."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors or outcome.kind in ("timeout", "provider_error", "invalid_response"):
        return outcome
    first = errors[0]
    return Outcome(
        kind="invalid_response",
        detail=f"{first.id}: {first.message}",
        expected=first.evidence.expected,
        got=first.evidence.got,
    )


def same_arguments(expected: object, got: object, schema: Mapping[str, Any]) -> bool:
    """Whether two arguments mean the same; see the module's text."""
    return _normal(expected, schema) == _normal(got, schema)


def _broken(seen: ParsedRollout) -> Outcome | None:
    if seen.rollout.end != "failed":
        return None
    exchange = seen.rollout.exchanges[-1]
    if exchange.failure is None:
        return Outcome(kind="provider_error", detail=_status(exchange))
    if exchange.failure.kind == "timeout":
        return Outcome(kind="timeout", detail=exchange.failure.message)
    if exchange.failure.kind in ("too_large", "protocol"):
        return Outcome(kind="invalid_response", detail=exchange.failure.message)
    return Outcome(kind="provider_error", detail=exchange.failure.message)


def _status(exchange: Exchange) -> str:
    response = exchange.response
    if response is None:
        return "There was no response."
    body = " ".join((response.body or "").split())
    return f"Status {response.status}: {body[:200]}" if body else f"Status {response.status}."


def _unreadable(seen: ParsedRollout) -> Outcome | None:
    if seen.rollout.end != "unreadable":
        return None
    reason = next((turn.unreadable for turn in seen.exchanges if turn.unreadable), None)
    return Outcome(kind="invalid_response", detail=reason or "The reply could not be read.")


def _stopped(seen: ParsedRollout) -> Outcome | None:
    if any(reply.finish in ("length", "content_filter") for _, reply in seen.replies):
        return Outcome(kind="truncated", detail="A reply was cut off before its end.")
    if seen.rollout.end == "max_turns":
        turns = len(seen.exchanges)
        detail = f"The model was still calling tools after {turns} requests."
        return Outcome(kind="max_turns", detail=detail)
    return None


def _called(seen: ParsedRollout, case: Case, tool: Tool, strict: bool) -> Outcome:
    calls = [call for _, reply in seen.replies for call in reply.calls]
    expected = f"{tool.name}({_compact(case.expected_arguments)})"
    if not calls:
        return Outcome(
            kind="no_tool_call",
            detail="The model answered without calling a tool.",
            expected=expected,
            got=_last_text(seen.replies),
        )
    call = next((call for call in calls if call.name == tool.name), None)
    if call is None:
        return Outcome(
            kind="wrong_tool",
            detail=f"The model called {calls[0].name}, never {tool.name}.",
            expected=expected,
            got=f"{calls[0].name}({calls[0].arguments})",
        )
    return _arguments(call, case, tool, strict)


def _arguments(call: ToolCall, case: Case, tool: Tool, strict: bool) -> Outcome:
    expected = f"{tool.name}({_compact(case.expected_arguments)})"
    got = f"{call.name}({call.arguments})"
    try:
        problem, exact = _argument_problem(call.arguments, case, tool)
    except RecursionError:
        problem, exact = "The arguments are nested too deeply.", False
    if problem is not None:
        return Outcome(kind="invalid_arguments", detail=problem, expected=expected, got=got)
    if exact:
        return Outcome(kind="success", exact=True)
    detail = "The arguments fit the schema but are not the expected ones."
    kind = "wrong_arguments" if strict else "success"
    return Outcome(kind=kind, detail=detail, expected=expected, got=got, exact=False)


def _argument_problem(text: str, case: Case, tool: Tool) -> tuple[str | None, bool]:
    """Why the arguments are invalid, if they are; and whether they are the expected ones."""
    try:
        arguments = strict_json.loads(text)
    except ValueError as error:
        return f"The arguments are not JSON: {error}.", False
    if not isinstance(arguments, dict):
        return "The arguments are not a JSON object.", False
    problem = schema_problem(arguments, tool)
    if problem is not None:
        return f"The arguments do not fit the schema: {problem}", False
    return None, same_arguments(case.expected_arguments, arguments, tool.parameters)


def _normal(value: object, schema: object) -> object:
    known: Mapping[str, Any] = schema if isinstance(schema, dict) else {}
    if isinstance(value, dict):
        properties = known.get("properties")
        parts: Mapping[str, Any] = properties if isinstance(properties, dict) else {}
        defaults = {
            name: part["default"]
            for name, part in parts.items()
            if isinstance(part, dict) and "default" in part
        }
        filled = defaults | value
        return {name: _normal(entry, parts.get(name)) for name, entry in filled.items()}
    if isinstance(value, list):
        return [_normal(entry, known.get("items")) for entry in value]
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value).strip()
    # In Python True == 1; in JSON they differ.
    return ("boolean", value) if isinstance(value, bool) else value


def _last_text(replies: Iterable[tuple[ParsedExchange, Reply]]) -> str:
    texts = [reply.text for _, reply in replies]
    return texts[-1] if texts and texts[-1] else "(no text)"


def _compact(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False)
