"""Probe groups judged on recorded responses of a simulated provider."""

import pickle
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from healthy import json_response, rollout
from replies import Reply

from harness.api import DIALECTS
from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.golden.content import Golden
from harness.golden.files import shipped
from harness.records.analysis import RuleResult
from harness.records.conditions import BOTH_APIS, MODES, Api
from harness.records.replies import Row
from harness.records.rollouts import SWITCHING, Exchange, Response
from harness.records.scores import Score
from harness.records.settings import CONTEXT
from harness.rules.account import account_of, account_of_replies
from harness.rules.evidence.rows import rows
from harness.rules.probe import Probe, ProbeGroup, ProbeOptions, ProbeRequest
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
) -> MutableMapping[str, RuleResult]:
    """The result of every probe of a group with this provider, by id; judged when it is read."""
    options = ProbeOptions(
        "gpt-oss-mock", tuple(apis), golden=golden or shipped(), max_context=max_context
    )
    return _Results(group, made(group, provider, options), options, replace(options, golden=golden))


class _Results(MutableMapping[str, RuleResult]):
    """The results of the probes of a group, by id; most tests read one of dozens."""

    def __init__(
        self,
        group: ProbeGroup,
        rollouts: Mapping[str, Sequence[ParsedRollout]],
        planned: ProbeOptions,
        options: ProbeOptions,
    ) -> None:
        self._probes: dict[str, Probe | None] = {probe.id: probe for probe in group.probes}
        self._rollouts, self._options = rollouts, options
        self._account = account_of_replies(list(_replies(group, rollouts, planned)))
        self._judged: dict[str, RuleResult] = {}

    def __getitem__(self, rule: str) -> RuleResult:
        probe = self._probes[rule]
        if rule not in self._judged and probe is not None:
            (self._judged[rule],) = probe_results(
                [probe], self._rollouts, self._options, account=self._account
            )
        return self._judged[rule]

    def __setitem__(self, rule: str, result: RuleResult) -> None:
        self._probes.setdefault(rule, None)
        self._judged[rule] = result

    def __delitem__(self, rule: str) -> None:
        del self._probes[rule]

    def __iter__(self) -> Iterator[str]:
        left = [e for name, e in self._probes.items() if e is not None and name not in self._judged]
        if left:  # Whoever lists them reads all, which share the responses over each API.
            found = probe_results(left, self._rollouts, self._options, account=self._account)
            self._judged |= {each.check.id: each for each in found}
        return iter(self._probes)

    def __len__(self) -> int:
        return len(self._probes)


def _replies(
    group: ProbeGroup, rollouts: Mapping[str, Sequence[ParsedRollout]], options: ProbeOptions
) -> Iterator[Row]:
    """Yield the replies of a group as the account reads them, without what checks find in them."""
    requests = {(api, one.id): one for api in options.apis for one in group.requests(api)}
    for one in (each for same in rollouts.values() for each in same):
        request = requests[one.rollout.api, one.rollout.sample]
        counted = request.valid and "usage.output.lost" not in request.provokes
        key = (id(group), id(one))
        made = _remembered(
            _ROWS,
            key,
            lambda o=one, r=request, c=counted: (
                o,
                tuple(rows(o, r.wanted, valid=r.valid, counted=c)),
            ),
        )
        yield from (row for row in made[1] if row.answered)


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
    task = _plan(group, options).task
    every = (one for same in rollouts.values() for one in same)
    found = [
        _remembered(_SCORED, (id(task), id(one)), lambda one=one: (one, task.score(one)))
        for one in every
    ]
    return [score for _, score in found if score is not None]


def made(
    group: ProbeGroup, provider: Provider, options: ProbeOptions
) -> dict[str, list[ParsedRollout]]:
    """The rollouts of a group with this provider, by request.

    Most answers are those of a healthy provider in every test, so equal ones are parsed once.
    """
    plan = _plan(group, options)
    rollouts: dict[str, list[ParsedRollout]] = defaultdict(list)
    for number, (request, attempt) in enumerate(plan.attempts):
        response = provider(request, attempt)
        answers = response if isinstance(response, Sequence) else [response]
        key = (id(plan), number, pickle.dumps(answers))
        parsed = _remembered(_PARSED, key, lambda a=answers, of=attempt: _parsed(group, a, of))
        rollouts[attempt.sample.id].append(parsed)
    return rollouts


@dataclass(frozen=True)
class _Plan:
    """The task of a group and its attempts; what its key names by identity is kept alive."""

    named: tuple[Any, ...]
    task: ProbeTask
    attempts: Sequence[tuple[ProbeRequest, Attempt]]


_T = TypeVar("_T")
_PLANS: dict[Hashable, _Plan] = {}
_PARSED: dict[Hashable, ParsedRollout] = {}
_SCORED: dict[Hashable, tuple[ParsedRollout, Score | None]] = {}
_ROWS: dict[Hashable, tuple[ParsedRollout, tuple[Row, ...]]] = {}
_KEPT = 3000  # rollouts


def _plan(group: ProbeGroup, options: ProbeOptions) -> _Plan:
    named = (group, options.golden, *group.probes)
    key = (*map(id, named), repr(replace(options, golden=None)))
    return _remembered(_PLANS, key, lambda: _planned(named, group, options))


def _planned(named: tuple[Any, ...], group: ProbeGroup, options: ProbeOptions) -> _Plan:
    task = ProbeTask(group, group.probes, options)
    requests = {api: {one.id: one for one in group.requests(api)} for api in options.apis}
    attempts = ((requests[one.condition.api][one.sample.id], one) for one in task.all_attempts())
    return _Plan(named, task, tuple(attempts))


def _remembered(memory: dict[Hashable, _T], key: Hashable, make: Callable[[], _T]) -> _T:
    if key not in memory:
        if len(memory) >= _KEPT:
            memory.clear()
        memory[key] = make()
    return memory[key]


def _parsed(group: ProbeGroup, answers: Sequence[Any], attempt: Attempt) -> ParsedRollout:
    recorded = rollout(
        answers,
        api=attempt.condition.api,
        streaming=attempt.condition.streaming,
        sample=attempt.sample.id,
        attempt=attempt.number,
        task=group.name,
    )
    return parse_rollout(with_own_request(recorded, attempt))


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


def statuses(results: Mapping[str, RuleResult]) -> dict[str, str]:
    return {name: each.status for name, each in results.items()}


Served = Mapping[str, tuple[Any, ...]]
"""Simulated servers by name: the group that judges one, its provider, and what `prove` expects."""


def prove(
    group: ProbeGroup,
    provider: Provider,
    found: Mapping[str, str],
    apis: Sequence[Api] = BOTH_APIS,
    golden: Golden | None = None,
    max_context: int = CONTEXT,
) -> None:
    """Assert what the probes of a group find in a server, and that no other one fails or warns.

    `found` has the status of some probes by id: `status`, or `status: words of the result`.
    """
    results = judged(group, provider, apis, golden, max_context)
    told = {name: said.partition(": ") for name, said in found.items()}
    bad = {
        name
        for name, each in results.items()
        if each.status in ("failed", "warned") or each.traceback
    }
    statuses_of = {name: results[name].status for name in {*found, *bad}}
    assert statuses_of == {name: status for name, (status, *_) in told.items()}
    for name, (*_, words) in told.items():
        assert words in _told(results[name])


def _told(result: RuleResult) -> str:
    shown = [
        f"{each.severity}: {each.message} | {each.evidence.expected} | {each.evidence.got}"
        for each in result.examples
    ]
    return " | ".join([*shown, result.reason or "", *(each.code for each in result.reasons)])
