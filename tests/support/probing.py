"""Benches judged over recorded answers: what a provider says to each ask, and what comes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from healthy import Say, json_response, rollout

from harness.api import DIALECTS
from harness.api.base import Settings
from harness.golden.records import Golden
from harness.parsing.rollout import ParsedRollout, parse_rollout
from harness.probes.base import Ask, Bench
from harness.probes.judging import probe_results
from harness.probes.plan import attempts
from harness.records.analysis import CheckResult
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Response
from harness.sampling.attempts import Attempt

Provider = Callable[[Ask, Attempt], Sequence[Say | Response | Exchange] | Say | Response]
"""What is said to an ask: one answer, or those of several turns."""


def refusal(status: int = 400) -> Response:
    error = {"message": "This is not supported.", "type": "invalid_request_error", "code": None}
    return json_response({"error": error}, status)


def judged(
    bench: Bench,
    provider: Provider,
    apis: Sequence[Api] = ("responses", "chat"),
    golden: Golden | None = None,
) -> dict[str, CheckResult]:
    """The result of every probe of a bench over this provider, by id."""
    views: dict[str, list[ParsedRollout]] = defaultdict(list)
    for attempt in attempts(bench.probes, Settings("gpt-oss-mock"), apis):
        name = attempt.sample.id.partition("/")[2]
        ask = next(each for each in bench.asks(attempt.api) if each.name == name)
        said = provider(ask, attempt)
        answers = said if isinstance(said, Sequence) else [said]
        recorded = rollout(
            answers,
            api=attempt.api,
            streaming=attempt.streaming,
            sample=attempt.sample.id,
            attempt=attempt.number,
        )
        views[attempt.sample.id].append(parse_rollout(_asked(recorded, attempt)))
    results = probe_results(bench.probes, views, apis, golden=golden)
    return {each.check.id: each for each in results}


def _asked(recorded: Any, attempt: Attempt) -> Any:
    """The rollout with the attempt's own request in place of that of the shipped cases."""
    body = DIALECTS[attempt.api].first_request(
        attempt.sample.turns,
        instructions=attempt.sample.instructions,
        tools=attempt.sample.tools,
        streaming=attempt.streaming,
        settings=attempt.settings,
    )
    exchanges = [
        each.model_copy(update={"request": each.request.model_copy(update={"body": body})})
        for each in recorded.exchanges
    ]
    return recorded.model_copy(update={"exchanges": tuple(exchanges), "id": attempt.id})


def statuses(results: dict[str, CheckResult]) -> dict[str, str]:
    return {name: each.status for name, each in results.items()}
