"""Probe groups judged on recorded responses of a simulated provider."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from healthy import json_response, rollout
from replies import Reply

from harness.api import DIALECTS
from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.golden.content import Golden
from harness.golden.files import shipped
from harness.records.analysis import RuleResult
from harness.records.conditions import MODES, Api
from harness.records.rollouts import SWITCHING, Exchange, Response
from harness.records.scores import Score
from harness.records.settings import CONTEXT
from harness.rules.account import account_of
from harness.rules.probe import ProbeGroup, ProbeOptions, ProbeRequest
from harness.rules.results import check_results, probe_results
from harness.run.attempts import Attempt
from harness.tasks.probing import ProbeTask
from harness.verdict.tolerances import apply_tolerances

Provider = Callable[
    [ProbeRequest, Attempt], Sequence[Reply | Response | Exchange] | Reply | Response
]
"""The response to a request: one reply, or those of several exchanges."""


def refusal(status: int = 400) -> Response:
    error = {"message": "This is not supported.", "type": "invalid_request_error", "code": None}
    return json_response({"error": error}, status)


def judged(
    group: ProbeGroup,
    provider: Provider,
    apis: Sequence[Api] = ("responses", "chat"),
    golden: Golden | None = None,
    max_context: int = CONTEXT,
) -> dict[str, RuleResult]:
    """The result of every probe of a group with this provider, by id."""
    options = ProbeOptions(
        "gpt-oss-mock", tuple(apis), golden=golden or shipped(), max_context=max_context
    )
    rollouts = made(group, provider, options)
    account = account_of(scores(group, rollouts, options))
    results = probe_results(
        group.probes, rollouts, replace(options, golden=golden), account=account
    )
    return {each.check.id: each for each in results}


def checked(
    group: ProbeGroup, provider: Provider, apis: Sequence[Api] = ("responses", "chat")
) -> dict[str, RuleResult]:
    """The result of every check of the replies to the requests of a group, by id."""
    options = ProbeOptions("gpt-oss-mock", tuple(apis), golden=shipped())
    measured = scores(group, made(group, provider, options), options)
    planned = [(api, mode) for api in apis for mode in MODES]
    judged = apply_tolerances(measured, account=account_of(measured))
    return {each.check.id: each for each in check_results(judged, planned)}


def scores(
    group: ProbeGroup, rollouts: Mapping[str, Sequence[ParsedRollout]], options: ProbeOptions
) -> list[Score]:
    """The scores of all rollouts of a group."""
    task = ProbeTask(group, group.probes, options)
    found = [task.score(each) for same in rollouts.values() for each in same]
    return [each for each in found if each is not None]


def made(
    group: ProbeGroup, provider: Provider, options: ProbeOptions
) -> dict[str, list[ParsedRollout]]:
    """The rollouts of a group with this provider, by request."""
    task = ProbeTask(group, group.probes, options)
    rollouts: dict[str, list[ParsedRollout]] = defaultdict(list)
    for attempt in task.all_attempts():
        api, name = attempt.condition.api, attempt.sample.id
        request = next(each for each in group.requests(api) if each.id == name)
        response = provider(request, attempt)
        answers = response if isinstance(response, Sequence) else [response]
        recorded = rollout(
            answers,
            api=api,
            streaming=attempt.condition.streaming,
            sample=name,
            attempt=attempt.number,
            task=group.name,
        )
        rollouts[name].append(parse_rollout(with_own_request(recorded, attempt)))
    return rollouts


def with_own_request(recorded: Any, attempt: Attempt) -> Any:
    """The rollout with the attempt's request instead of that of the shipped cases."""
    body = DIALECTS[attempt.condition.api].first_request(
        attempt.sample.turns,
        instructions=attempt.sample.instructions,
        tools=attempt.sample.tools,
        streaming=attempt.condition.streaming,
        settings=attempt.settings,
    )
    bodies = [body, *({**body, **more} for more in attempt.sample.together)]
    bodies += [body] * (len(recorded.exchanges) - len(bodies))
    exchanges = [
        each.model_copy(update={"request": each.request.model_copy(update={"body": own})})
        for each, own in zip(recorded.exchanges, bodies, strict=False)
    ]
    if attempt.sender.socket:
        exchanges = [over_websocket(each) for each in exchanges]
    return recorded.model_copy(update={"exchanges": tuple(exchanges), "id": attempt.id})


def over_websocket(recorded: Exchange) -> Exchange:
    """The exchange as messages over WebSocket."""
    request = recorded.request.model_copy(update={"url": "ws://test/v1/responses"})
    response = recorded.response
    if response is not None and response.parts:
        raws = [part.raw.partition("data: ")[2] for part in response.parts]
        parts = tuple(
            replace(part, raw=raw) for part, raw in zip(response.parts, raws, strict=True)
        )
        response = Response(status=SWITCHING, headers={}, parts=parts)
    return recorded.model_copy(update={"request": request, "response": response})


def statuses(results: dict[str, RuleResult]) -> dict[str, str]:
    return {name: each.status for name, each in results.items()}
