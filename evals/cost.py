"""What evals will cost before a run is started: requests, tokens, money and time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.healthbench.answers import Answer
from evals.healthbench.bench import HealthBench
from evals.healthbench.grader import grading_tasks
from evals.task import EvalTask
from harness.providers.entries import CHARACTERS_PER_TOKEN, Provider
from harness.records.base import Record
from harness.records.runs import RunInfo

OUTPUT_TOKENS: Mapping[str, Mapping[str, int]] = {
    "aime25": {"low": 2_000, "medium": 7_000, "high": 20_000},
    "gpqa": {"low": 800, "medium": 2_500, "high": 10_000},
    "healthbench": {"low": 800, "medium": 1_200, "high": 2_500},
    "basic": {"low": 50, "medium": 50, "high": 50},
}
"""Output tokens of an attempt, CoT included. Assumed, to distinguish a dollar from a thousand.

Lengths by effort are not published. Reports of gpt-oss-20b on AIME at high effort mention more than
20,000; the other figures are our own assumptions.
"""

GRADE_TOKENS = 150
"""Output tokens of a grade: a JSON object with a short explanation. Assumed."""

ANSWER_TOKENS = 600
"""Tokens of an answer to a health question, without its CoT. Assumed."""


class Cost(Record):
    """What will be requested from one provider.

    `dollars` is None if its entry has no prices. `minutes` is the shortest time that its rate
    limits allow, None if it has none; its speed is not known in advance.
    """

    provider: str
    requests: int
    input_tokens: int
    output_tokens: int
    most_output_tokens: int | None
    dollars: float | None
    minutes: float | None


class Expectation(Record):
    """The cost of the evals of a run: sampling, and grading if answers are graded.

    `forecasts` say what verdict a good provider can expect, a sentence for each condition.
    """

    conditions: int
    sampling: Cost
    grading: Cost | None
    forecasts: tuple[str, ...] = ()


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
    tasks: Sequence[EvalTask], info: RunInfo, provider: Provider, grader: Provider | None
) -> Expectation:
    """What the evals of a run need if every attempt is made.

    Args:
        tasks: The evals.
        info: `run.json` of the planned run.
        provider: The provider.
        grader: The provider that grades, if any eval is graded.
    """
    planned = sum(task.planned for task in info.of_kind("eval"))
    share = planned / max(1, sum(task.info.planned for task in tasks))
    sampled = sum((_sampling(task) for task in tasks), _Amount())
    graded = sum((_grading(task) for task in tasks), _Amount())
    limits = [task.info.sampling.max_tokens for task in tasks]
    most = None if None in limits else max((m for m in limits if m), default=0) * planned
    return Expectation(
        conditions=sum(len(task.info.conditions) for task in tasks),
        sampling=_cost(provider, sampled, share, most),
        grading=_cost(grader, graded, share, None) if grader and graded.requests else None,
        forecasts=tuple(line for task in tasks for line in task.forecasts()),
    )


def _sampling(task: EvalTask) -> _Amount:
    prompts = [task.test.prompt(question, 1).messages for question in task.asked]
    characters = sum(len(message.text) for messages in prompts for message in messages)
    total = _Amount()
    for condition in task.info.conditions:
        assumed = OUTPUT_TOKENS[task.name.split("_")[0]][condition.effort or "medium"]
        made = min(assumed, task.info.sampling.max_tokens or assumed)
        requests = len(prompts) * task.info.tries
        given = characters * task.info.tries / CHARACTERS_PER_TOKEN
        total += _Amount(requests, given, made * requests)
    return total


def _grading(task: EvalTask) -> _Amount:
    test = task.test
    if not isinstance(test, HealthBench):
        return _Amount()
    total = _Amount()
    for each in grading_tasks(test, (Answer(question, question, "") for question in task.asked)):
        characters = sum(len(message.text) for message in each.messages)
        given = characters / CHARACTERS_PER_TOKEN + ANSWER_TOKENS
        total += _Amount(1, given, GRADE_TOKENS)
    times = task.info.tries * len(task.info.conditions)
    return _Amount(total.requests * times, total.given * times, total.made * times)


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
