"""The expected cost of a run: requests, tokens, money and time. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from evals.grading.graded_eval import GradedEval
from evals.grading.requests import FinalAnswer, grading_tasks
from evals.task import EvalTask
from harness.providers.entries import CHARACTERS_PER_TOKEN, Provider
from harness.records.record import Record
from harness.records.runs import RunInfo
from harness.run.attempts import Attempt
from harness.tasks.probing import ProbeTask
from harness.tasks.task import Task
from harness.verdict.success_rate import forecast

SAMPLE_TOKENS = 300
"""Output tokens of an attempt at a sample question, CoT included: they are easy. Assumed."""

CALL_TOKENS = 150
"""Output tokens of a reply to a tool-call case or a probe, CoT included. Assumed: of the recorded
tool calls of real servers, 87% have fewer than 192."""

GRADE_TOKENS = 150
"""Output tokens of a grade: a JSON object with a short explanation. Assumed."""

ANSWER_TOKENS = 600
"""Tokens of an answer that is graded, without its CoT. Assumed."""

REQUESTS_WITH_PYTHON = 3
"""Requests of an attempt at an eval in which the model can call Python as a function. Assumed."""


class Cost(Record):
    """The expected requests to one provider.

    `dollars` is None if its entry has no prices. `minutes` is the shortest time that its rate
    limits allow, None without rate limits; its speed is not known in advance.
    """

    provider: str
    requests: int
    input_tokens: int
    output_tokens: int
    most_output_tokens: int | None
    dollars: float | None
    minutes: float | None


class Part(Record):
    """The requests of tool calling, the probes (which share requests), an eval or a long probe."""

    name: str
    requests: int
    input_tokens: int
    output_tokens: int


class Expectation(Record):
    """The cost of a run; `forecasts` are sentences about the verdict a good provider can expect.

    `all_tries` is the sampling of a run whose first tries find something, and `limits` has the most
    tokens of a reply by eval.
    """

    parts: tuple[Part, ...]
    sampling: Cost
    grading: Cost | None
    all_tries: Cost | None = None
    limits: Mapping[str, int | None] = {}
    forecasts: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Amount:
    requests: float = 0
    given: float = 0
    made: float = 0

    def __add__(self, other: _Amount) -> _Amount:
        return _Amount(
            self.requests + other.requests, self.given + other.given, self.made + other.made
        )

    def __mul__(self, share: float) -> _Amount:
        return _Amount(self.requests * share, self.given * share, self.made * share)

    @property
    def rounded(self) -> dict[str, int]:
        """The amounts as fields of a `Part` or a `Cost`."""
        names = ("requests", "input_tokens", "output_tokens")
        return dict(zip(names, map(round, (self.requests, self.given, self.made)), strict=True))


def expect(
    tasks: Sequence[Task], info: RunInfo, provider: Provider, grader: Provider | None
) -> Expectation:
    """Return the cost of a run if every attempt is made."""
    planned = {task.name: task.planned for task in info.tasks}
    amounts = {
        task.name: _sampling(task) * (planned[task.name] / max(1, task.info.planned))
        for task in tasks
    }
    evals = [task for task in tasks if isinstance(task, EvalTask)]
    share = sum(planned[task.name] for task in evals) / max(1, sum(t.info.planned for t in evals))
    graded = sum((_grading(task) for task in evals), _Amount()) * share
    limits = [task.info.sampling.max_tokens for task in tasks]
    most = None if None in limits else max((m for m in limits if m), default=0)
    return Expectation(
        parts=tuple(_parts(tasks, amounts)),
        limits={task.name: task.info.sampling.max_tokens for task in evals},
        sampling=_cost(
            provider,
            sum(amounts.values(), _Amount()),
            None if most is None else most * sum(planned.values()),
        ),
        grading=_cost(grader, graded, None) if grader and graded.requests else None,
        forecasts=(
            *(
                line
                for task in info.of_kind("tool_calling")
                if info.retest is None  # it is judged by its findings
                for line in forecast(
                    task.samples,
                    task.tries,
                    info.settings.thresholds,
                    alternating=any(condition.mode is None for condition in task.conditions),
                )
            ),
            *(line for task in evals for line in task.forecasts()),
        ),
    )


def _parts(tasks: Sequence[Task], amounts: Mapping[str, _Amount]) -> Iterator[Part]:
    grouped: dict[str, _Amount] = defaultdict(_Amount)
    for task in tasks:
        grouped["probes" if task.info.kind == "probes" else task.name] += amounts[task.name]
    for name, amount in grouped.items():
        yield Part(name=name, **amount.rounded)
    for task in tasks:
        for probe in task.probes if isinstance(task, ProbeTask) and task.expensive else ():
            used = (attempt for attempt in task.all_attempts() if attempt.sample.id in probe.uses)
            yield Part(name=probe.id, **sum(map(_attempt, used), _Amount()).rounded)


def _sampling(task: Task) -> _Amount:
    if not isinstance(task, EvalTask):
        return sum(map(_attempt, task.all_attempts()), _Amount())
    prompts = [task.test.prompt(question, 1).messages for question in task.question_ids]
    characters = sum(len(message.text) for messages in prompts for message in messages)
    total = _Amount()
    for condition in task.info.conditions:
        assumed = task.declared.facts.output_tokens[condition.effort or "medium"]
        if task.info.dataset is not None and task.info.dataset.shipped:
            assumed = min(assumed, SAMPLE_TOKENS)
        made = min(assumed, task.info.sampling.max_tokens or assumed)
        attempts = len(prompts) * task.info.tries
        turns = REQUESTS_WITH_PYTHON if task.info.sampling.max_turns > 1 else 1
        # Each request repeats the prompt and the earlier output, assumed to grow in equal steps.
        given = turns * characters * task.info.tries / CHARACTERS_PER_TOKEN
        given += attempts * made * (turns - 1) / 2
        total += _Amount(attempts * turns, given, made * attempts)
    return total


def _attempt(attempt: Attempt) -> _Amount:
    """Return the amount of a tool-call case or a probe."""
    sample, settings = attempt.sample, attempt.settings
    body = sample.raw or orjson.dumps(attempt.first_request())
    requests = attempt.usual_requests
    made = min(CALL_TOKENS, settings.max_tokens or CALL_TOKENS)
    return _Amount(requests, requests * len(body) / CHARACTERS_PER_TOKEN, requests * made)


def _grading(task: EvalTask) -> _Amount:
    test = task.test
    if not isinstance(test, GradedEval):
        return _Amount()
    total = _Amount()
    for request in grading_tasks(
        test, (FinalAnswer(question, question, "") for question in task.question_ids)
    ):
        characters = sum(len(message.text) for message in request.messages)
        given = characters / CHARACTERS_PER_TOKEN + ANSWER_TOKENS
        total += _Amount(1, given, GRADE_TOKENS)
    return total * (task.info.tries * len(task.info.conditions))


def _cost(provider: Provider, amount: _Amount, most: int | None) -> Cost:
    requests, given, made = amount.rounded.values()
    limits = [
        requests / provider.rpm if provider.rpm else 0.0,
        (given + made) / provider.tpm if provider.tpm else 0.0,
    ]
    return Cost(
        provider=provider.name,
        **amount.rounded,
        most_output_tokens=most,
        dollars=None if provider.prices is None else provider.prices.dollars(given, made),
        minutes=max(limits) or None,
    )
