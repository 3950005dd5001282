"""The outcome of an attempt at a question of an eval. No I/O.

An attempt has exactly one outcome. The rules apply in this order:

1. `provider_error`: the request failed, its status was not 2xx, or the reply could not be read.
2. `truncated`: the reply stopped at its token limit.
3. `refused`: it stopped at a content filter, or the API or the model states that it refuses.
4. `no_answer`: the model still calls tools, or the reply has no text; `unread`: its text has none
   that the rules can read.
5. `correct`, `wrong`; in HealthBench `graded`, or `grader_error` if an item has no grade.

Only the final answer is marked, never the CoT. Every outcome except those of rule 5 scores 0.
"""

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedRollout
from harness.records.rollouts import Exchange
from harness.records.scores import Outcome
from harness.rules.evidence.subjects import Answer
from harness.tasks.task import ScoreFields

_DETAIL = 200  # characters


def ending(parsed: ParsedRollout) -> tuple[Reply | None, ScoreFields | None]:
    """Return the reply that ended an attempt, and its outcome unless it has an answer to mark."""
    if not parsed.exchanges:
        return None, _failed("provider_error", "no request was made")
    last = parsed.exchanges[-1]
    if parsed.rollout.end == "failed":
        return None, _failed("provider_error", _what_failed(last.recorded))
    if last.reply is None:
        return None, _failed("provider_error", f"the reply cannot be read: {last.unreadable}")
    return last.reply, _failure(parsed, Answer(last, last.reply))


def _failure(parsed: ParsedRollout, answer: Answer) -> ScoreFields | None:
    """Return the outcome of a reply that has no answer to mark."""
    reply, requests = answer.reply, len(parsed.exchanges)
    if reply.finish == "length":
        return _failed("truncated", "the reply stopped at its token limit")
    if reply.finish == "content_filter":
        return _failed("refused", "the reply stopped at a content filter")
    if answer.refusals:
        return _failed("refused", answer.refusals[0])
    if parsed.rollout.end == "max_turns" and requests > 1:
        return _failed("no_answer", f"the model still called tools after {requests} requests")
    if not reply.text.strip():
        called = f"it calls {reply.calls[0].name}" if reply.calls else "its text is empty"
        return _failed("no_answer", f"the reply has no answer: {called}")
    return None


def _failed(outcome: Outcome, detail: str) -> ScoreFields:
    return {"outcome": outcome, "value": 0.0, "detail": detail[:_DETAIL]}


def _what_failed(exchange: Exchange) -> str:
    if exchange.failure is not None:
        return f"{exchange.failure.kind}: {exchange.failure.message}"
    if exchange.response is None:
        return "there was no response"
    body = " ".join((exchange.response.body or "").split())
    return f"status {exchange.response.status}: {body}"
