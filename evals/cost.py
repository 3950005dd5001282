"""What a run will take before it is begun: requests, tokens, money and time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evals.healthbench.answers import Answer
from evals.healthbench.bench import HealthBench
from evals.healthbench.prompt import grading_prompt
from evals.healthbench.tasks import grading_tasks
from evals.plan import Plan
from evals.records import Cell, EvalSettings
from harness.providers.entries import CHARACTERS_PER_TOKEN, Provider
from harness.records.base import Record

OUTPUT_TOKENS: Mapping[str, Mapping[str, int]] = {
    "aime25": {"low": 2_000, "medium": 7_000, "high": 20_000},
    "gpqa": {"low": 800, "medium": 2_500, "high": 10_000},
    "healthbench": {"low": 800, "medium": 1_200, "high": 2_500},
    "basic": {"low": 50, "medium": 50, "high": 50},
}
"""Output tokens of a try, CoT included: assumed, to tell a dollar from a thousand.

Per-effort lengths are not published. Reports of gpt-oss-20b on AIME at high effort speak of more
than 20,000; the other figures are our own assumptions.
"""

GRADE_TOKENS = 150
"""Output tokens of a grade: a JSON object with a short explanation. Assumed."""

ANSWER_TOKENS = 600
"""Tokens of an answer to a health question, without its CoT. Assumed."""


class Cost(Record):
    """What one provider will be asked. `dollars` is None where the entry has no prices.

    `minutes` is what its limits allow at best, None where it has none: how fast it answers is not
    known before it has.
    """

    provider: str
    requests: int
    input_tokens: int
    output_tokens: int
    most_output_tokens: int | None
    dollars: float | None
    minutes: float | None


class Expectation(Record):
    """What a run will take: sampling, and grading where answers are graded."""

    cells: int
    sampling: Cost
    grading: Cost | None


@dataclass(frozen=True)
class _Amount:
    requests: int = 0
    given: float = 0
    made: float = 0

    def __add__(self, other: _Amount) -> _Amount:
        return _Amount(
            self.requests + other.requests, self.given + other.given, self.made + other.made
        )


def expect(
    plan: Plan, settings: EvalSettings, provider: Provider, grader: Provider | None
) -> Expectation:
    """What a run will take, with every try of the plan made."""
    share = plan.planned / max(1, sum(_tries(plan, cell) for cell in plan.cells))
    asked = sum((_sampling(plan, settings, cell) for cell in plan.cells), _Amount())
    graded = sum((_grading(plan, cell) for cell in plan.cells), _Amount())
    most = None if settings.max_tokens is None else settings.max_tokens * plan.planned
    return Expectation(
        cells=len(plan.cells),
        sampling=_cost(provider, asked, share, most),
        grading=_cost(grader, graded, share, None) if grader and graded.requests else None,
    )


def _tries(plan: Plan, cell: Cell) -> int:
    return plan.tries(cell) * len(plan.questions[cell.eval])


def _sampling(plan: Plan, settings: EvalSettings, cell: Cell) -> _Amount:
    test, tries = plan.evals[cell.eval], plan.tries(cell)
    asked = [test.put(question.id, 1).messages for question in plan.questions[cell.eval]]
    characters = sum(len(message.text) for messages in asked for message in messages)
    assumed = OUTPUT_TOKENS[cell.eval.split("_")[0]][cell.effort]
    made = min(assumed, settings.max_tokens or assumed)
    requests = len(asked) * tries
    return _Amount(requests, characters * tries / CHARACTERS_PER_TOKEN, made * requests)


def _grading(plan: Plan, cell: Cell) -> _Amount:
    test = plan.evals[cell.eval]
    if not isinstance(test, HealthBench):
        return _Amount()
    answers = (Answer(question.id, question.id, "") for question in plan.questions[cell.eval])
    total = _Amount()
    for task in grading_tasks(test, answers):
        prompt = grading_prompt(task.conversation, task.answer, task.item)
        given = len(prompt) / CHARACTERS_PER_TOKEN + ANSWER_TOKENS
        total += _Amount(1, given, GRADE_TOKENS)
    tries = plan.tries(cell)
    return _Amount(total.requests * tries, total.given * tries, total.made * tries)


def _cost(provider: Provider, amount: _Amount, share: float, most: int | None) -> Cost:
    given, made = round(amount.given * share), round(amount.made * share)
    requests = round(amount.requests * share)
    limits = [
        requests / provider.rpm if provider.rpm else 0.0,
        (given + made) / provider.tpm if provider.tpm else 0.0,
    ]
    return Cost(
        provider=provider.name,
        requests=requests,
        input_tokens=given,
        output_tokens=made,
        most_output_tokens=most,
        dollars=None if provider.prices is None else provider.prices.dollars(given, made),
        minutes=max(limits) or None,
    )
