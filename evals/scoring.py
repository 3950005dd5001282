"""From a recorded rollout to the score of a try. Pure.

The rules, in the order in which they are asked:

1. `provider_error`: the request failed, its status was not a good one, or the reply could not be
   read.
2. `truncated`: the reply stopped at its token limit.
3. `refused`: it stopped at a content filter, or the API or the model says that it refuses.
4. `no_answer`: nothing was said, or no answer was found in what was said.
5. `correct`, `wrong`; in HealthBench `graded`, or `grader_error` if an item has no grade.

Only the final answer is marked, never the CoT. Every outcome but those of rule 5 scores 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evals.base import AnswerEval
from evals.healthbench.bench import HealthBench
from evals.healthbench.summary import rubric_score
from evals.plan import Try
from evals.records import Outcome, TryScore
from evals.registry import AnyEval
from harness.api import DIALECTS
from harness.api.base import Reply, UnreadableReplyError
from harness.records.rollouts import Exchange, Rollout

_DETAIL = 200
_REFUSAL = re.compile(r"^(?:i['’]m sorry|sorry),? but i (?:can['’]t|cannot|can not)\b", re.I)
"""How gpt-oss itself begins a refusal."""


def score_try(
    one: Try, rollout: Rollout, test: AnyEval, met: Mapping[str, bool] | None = None
) -> TryScore:
    """The score of one try.

    Args:
        one: The planned try.
        rollout: Its record. `rollout.attempt` says how the question was put, which in a merged run
            is not always `one.number`.
        test: The eval that it belongs to.
        met: By item id whether the answer meets it, in HealthBench.
    """
    reply, problem = _reply(rollout)
    outcome, detail, score = _failure(reply, problem)
    fields: dict[str, Any] = {}
    if reply is not None and not isinstance(test, HealthBench):
        fields = _marked(one, rollout, test, reply)
    if outcome is None and isinstance(test, HealthBench):
        outcome, detail, score = _graded(one, test, met or {})
    if outcome is None:
        outcome, score = fields["marking"], float(fields["marking"] == "correct")
        if outcome == "no_answer" and reply is not None and refusal_phrase(reply.text):
            outcome = "refused"
    return TryScore(
        record=rollout.id,
        cell=one.cell,
        question=one.question,
        number=one.number,
        outcome=outcome,
        score=score,
        answer=fields.get("answer"),
        openai_score=fields.get("openai_score", None if isinstance(test, HealthBench) else 0.0),
        order=fields.get("order"),
        detail=detail,
        **_measured(rollout, reply),
    )


def refusal_phrase(text: str) -> str:
    """The words with which a text refuses, and a blank; '' if it does not."""
    found = _REFUSAL.match(text.strip())
    return f"{found[0]} " if found else ""


def not_run(one: Try) -> TryScore:
    """The score of a try that was planned but not made."""
    return TryScore(
        record=one.id,
        cell=one.cell,
        question=one.question,
        number=one.number,
        outcome="not_run",
        score=0.0,
    )


def _reply(rollout: Rollout) -> tuple[Reply | None, str]:
    """The reply that a try ended with; without one the reason."""
    if not rollout.exchanges:
        return None, "no request was made"
    last = rollout.exchanges[-1]
    if rollout.end == "failed":
        return None, _what_failed(last)
    try:
        return DIALECTS[rollout.api].read(last), ""
    except UnreadableReplyError as error:
        return None, f"the reply cannot be read: {error}"


def _failure(reply: Reply | None, problem: str) -> tuple[Outcome | None, str, float]:
    if reply is None:
        return "provider_error", problem[:_DETAIL], 0.0
    if reply.finish == "length":
        return "truncated", "the reply stopped at its token limit", 0.0
    if reply.finish == "content_filter":
        return "refused", "the reply stopped at a content filter", 0.0
    refusal = _refusal(reply.raw)
    if refusal:
        return "refused", refusal[:_DETAIL], 0.0
    if not reply.text.strip():
        called = f"it calls {reply.calls[0].name}" if reply.calls else "its text is empty"
        return "no_answer", f"the reply has no answer: {called}", 0.0
    return None, "", 0.0


def _marked(one: Try, rollout: Rollout, test: AnswerEval, reply: Reply) -> dict[str, Any]:
    mark = test.mark(one.question, rollout.attempt, reply.text)
    return {
        "marking": mark.marking,
        "answer": mark.answer,
        "openai_score": mark.openai_score,
        "order": test.put(one.question, rollout.attempt).order,
    }


def _graded(one: Try, test: HealthBench, met: Mapping[str, bool]) -> tuple[Outcome, str, float]:
    found = rubric_score(test.rows[one.question], met)
    if not found.ungraded:
        return "graded", "", found.score.value
    detail = (
        f"{found.ungraded} of {found.items} rubric items without a grade: "
        f"between {found.score.low:.3f} and {found.score.high:.3f}"
    )
    return "grader_error", detail, found.score.value


def _what_failed(exchange: Exchange) -> str:
    if exchange.failure is not None:
        return f"{exchange.failure.kind}: {exchange.failure.message}"
    if exchange.response is None:
        return "there was no response"
    body = " ".join((exchange.response.body or "").split())
    return f"status {exchange.response.status}: {body}"


def _refusal(raw: Mapping[str, Any]) -> str:
    """The refusal that an API sets apart from the answer; '' where there is none."""
    choices, output = raw.get("choices"), raw.get("output")
    if isinstance(choices, list) and choices:
        said = choices[0]["message"].get("refusal")
        return said if isinstance(said, str) else ""
    parts = [
        part
        for item in (output if isinstance(output, list) else [])
        if isinstance(item, dict) and isinstance(item.get("content"), list)
        for part in item["content"]
        if isinstance(part, dict) and part.get("type") == "refusal"
    ]
    return str(parts[0].get("refusal") or "the model refuses") if parts else ""


def _measured(rollout: Rollout, reply: Reply | None) -> dict[str, Any]:
    usage = None if reply is None else reply.usage
    return {
        "output_tokens": None if usage is None else usage.output_tokens,
        "reasoning_tokens": None if usage is None else usage.reasoning_tokens,
        "seconds": rollout.exchanges[-1].elapsed if rollout.exchanges else None,
    }
