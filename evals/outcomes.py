"""The outcome of an attempt at a question of an eval. No I/O.

An attempt has exactly one outcome. The rules apply in this order:

1. `provider_error`: the request failed, its status was not 2xx, or the reply could not be read.
2. `truncated`: the reply stopped at its token limit.
3. `refused`: it stopped at a content filter, or the API or the model states that it refuses.
4. `no_answer`: the model still calls tools, the reply has no text, or no answer was found in it.
5. `correct`, `wrong`; in HealthBench `graded`, or `grader_error` if an item has no grade.

Only the final answer is marked, never the CoT. Every outcome except those of rule 5 scores 0.
"""

import re
from collections.abc import Mapping
from typing import Any

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedRollout
from harness.records.rollouts import Exchange
from harness.records.scores import Outcome
from harness.tasks.task import ScoreFields

_DETAIL = 200
_REFUSAL = re.compile(r"^(?:i['’]m sorry|sorry),? but i (?:can['’]t|cannot|can not)\b", re.I)
"""The words with which gpt-oss begins a refusal."""


def ending(parsed: ParsedRollout) -> tuple[Reply | None, ScoreFields | None]:
    """Return the reply that ended an attempt, and its outcome unless it has an answer to mark."""
    reply, problem = _reply(parsed)
    return reply, _failure(reply, problem)


def refusal_phrase(text: str) -> str:
    """Return the words with which a text refuses, and a space; '' if it does not refuse."""
    found = _REFUSAL.match(text.strip())
    return f"{found[0]} " if found else ""


def _reply(parsed: ParsedRollout) -> tuple[Reply | None, str]:
    """Return the reply that ended an attempt, and without a reply the reason."""
    if not parsed.exchanges:
        return None, "no request was made"
    last = parsed.exchanges[-1]
    if parsed.rollout.end == "failed":
        return None, _what_failed(last.recorded)
    if last.reply is None:
        return None, f"the reply cannot be read: {last.unreadable}"
    if parsed.rollout.end == "max_turns" and len(parsed.exchanges) > 1:
        return last.reply, f"the model still called tools after {len(parsed.exchanges)} requests"
    return last.reply, ""


def _failure(reply: Reply | None, problem: str) -> ScoreFields | None:
    """Return the outcome of an attempt without an answer to mark."""
    if reply is None:
        return _failed("provider_error", problem[:_DETAIL])
    if reply.finish == "length":
        return _failed("truncated", "the reply stopped at its token limit")
    if reply.finish == "content_filter":
        return _failed("refused", "the reply stopped at a content filter")
    refusal = _refusal(reply.raw)
    if refusal:
        return _failed("refused", refusal[:_DETAIL])
    if problem:
        return _failed("no_answer", problem)
    if not reply.text.strip():
        called = f"it calls {reply.calls[0].name}" if reply.calls else "its text is empty"
        return _failed("no_answer", f"the reply has no answer: {called}")
    return None


def _failed(outcome: Outcome, detail: str) -> ScoreFields:
    return {"outcome": outcome, "value": 0.0, "detail": detail}


def _what_failed(exchange: Exchange) -> str:
    if exchange.failure is not None:
        return f"{exchange.failure.kind}: {exchange.failure.message}"
    if exchange.response is None:
        return "there was no response"
    body = " ".join((exchange.response.body or "").split())
    return f"status {exchange.response.status}: {body}"


def _refusal(raw: Mapping[str, Any]) -> str:
    """Return the refusal that an API reports separately from the answer; '' without a refusal."""
    choices, output = raw.get("choices"), raw.get("output")
    if isinstance(choices, list) and choices:
        refusal = (choices[0].get("message") or {}).get("refusal")
        return refusal if isinstance(refusal, str) else ""
    parts = [
        part
        for item in (output if isinstance(output, list) else [])
        if isinstance(item, dict) and isinstance(item.get("content"), list)
        for part in item["content"]
        if isinstance(part, dict) and part.get("type") == "refusal"
    ]
    return str(parts[0].get("refusal") or "the model refuses") if parts else ""
