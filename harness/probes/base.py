"""Probes: rules about several requests that are judged together.

A probe group defines requests, and each of its probes judges the responses to some of them, so that
probes share requests. A probe is a pure function from recorded responses to trial results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.api.base import ConversationItem, Reply, Settings, Tool
from harness.findings import BOTH_APIS, Problem, Rule, description
from harness.golden.records import Golden
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import Api, Mode
from harness.records.rollouts import Key
from harness.records.runs import Capability, SuiteName
from harness.records.scores import Severity

MOST_TOKENS = 512
NON_STREAMING: tuple[Mode, ...] = ("non-streaming",)


class NotVerifiableError(Exception):
    """The responses do not allow a judgement; the message says why in one sentence."""


@dataclass(frozen=True)
class ProbeRequest:
    """One conversation, sent over every API and mode of the probes that use it.

    `options` are additional members of the request body. `then` and `raw` are as in `Sample`,
    `stored` as in `Settings`, `key` as in `Attempt`. `provokes` names the checks that the response
    may violate because of the request.
    """

    name: str
    turns: tuple[ConversationItem, ...]
    tools: tuple[Tool, ...] = ()
    instructions: str | None = None
    effort: str | None = None
    temperature: float | None = None
    max_tokens: int | None = MOST_TOKENS
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 1
    max_turns: int = 1
    then: tuple[str, ...] = ()
    raw: str | None = None
    stored: bool = False
    key: Key = "right"
    provokes: frozenset[str] = frozenset()

    def settings(self, shared: Settings) -> Settings:
        """The settings of the run with those of this request."""
        return replace(
            shared,
            reasoning_effort=self.effort,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed,
            stored=self.stored,
            extra_body={**(shared.extra_body or {}), **self.options},
        )


@dataclass(frozen=True)
class ProbeResponses:
    """The rollouts of a group's requests over one API, in all modes and tries, by request name.

    `golden` is the golden file of the run, if it has one.
    """

    api: Api
    rollouts: Mapping[str, Sequence[ParsedRollout]]
    golden: Golden | None = None

    def all(self, *names: str, mode: Mode | None = None) -> tuple[ParsedRollout, ...]:
        """The rollouts of some requests. Raises NotVerifiableError if one has none."""
        found: list[ParsedRollout] = []
        for name in names:
            rollouts = [each for each in self.rollouts.get(name, ()) if mode in (None, each.mode)]
            if not rollouts:
                raise NotVerifiableError(f"The request {name!r} was not sent.")
            found += rollouts
        return tuple(found)

    def last(self, *names: str, mode: Mode | None = None) -> Iterator[ParsedExchange]:
        """The last exchange of each of these rollouts. Raises NotVerifiableError."""
        return (rollout.exchanges[-1] for rollout in self.all(*names, mode=mode))

    def replies(
        self, *names: str, mode: Mode | None = None
    ) -> Iterator[tuple[ParsedExchange, Reply]]:
        """The first readable reply of each rollout of some requests.

        Raises:
            NotVerifiableError: A request has no readable reply; says what came instead.
        """
        for name in names:
            rollouts = self.all(name, mode=mode)
            found = [next(iter(rollout.replies), None) for rollout in rollouts]
            readable = [each for each in found if each is not None]
            if not readable:
                reason = _unreadable(rollouts[0])
                raise NotVerifiableError(f"The request {name!r} got no reply: {reason}.")
            yield from readable

    def reply(self, name: str, mode: Mode | None = None) -> tuple[ParsedExchange, Reply]:
        """The first of `replies`. Raises NotVerifiableError."""
        return next(self.replies(name, mode=mode))


TrialResult = Problem | None
"""The result of one repetition of an experiment: a problem, or None if it passed."""

Trials = Iterator[TrialResult]
Judge = Callable[[ProbeResponses], Iterable[TrialResult]]


@dataclass(frozen=True)
class Probe(Rule):
    """A probe: the group and the names of the requests that it uses, and its judge."""

    group: ProbeGroup
    uses: tuple[str, ...]
    judge: Judge


@dataclass
class ProbeGroup:
    """Requests that belong together, and the probes that judge the responses.

    Attributes:
        name: Names the group; the part before the first dot is the family of its probes.
        requests: The requests over an API; their names are unique in the group.
        source: Documents the requirements of its probes, unless a probe names another source.
        suite: The smallest suite that includes its probes, unless a probe says otherwise.
        modes: The modes of its probes, unless a probe says otherwise.
        needs: The capability that its probes need, unless a probe says otherwise.
        burst: Send the requests after all others, this many at once.
        golden: Send the requests only if the run has a golden file.
        probes: Filled by `probe`.
    """

    name: str
    requests: Callable[[Api], Sequence[ProbeRequest]]
    source: str
    suite: SuiteName = "quick"
    modes: tuple[Mode, ...] = NON_STREAMING
    needs: Capability | None = None
    burst: int | None = None
    golden: bool = False
    probes: list[Probe] = field(default_factory=list)

    def probe(
        self,
        rule_id: str,
        uses: Iterable[str],
        *,
        severity: Severity = "error",
        source: str | None = None,
        suite: SuiteName | None = None,
        apis: Iterable[Api] = BOTH_APIS,
        modes: Iterable[Mode] | None = None,
        needs: Capability | None = None,
        tolerated: float = 0.0,
        text: str | None = None,
    ) -> Callable[[Judge], Judge]:
        """Register the decorated function, which judges the responses over one API, as a probe.

        `uses` names the requests that it judges. `text` is the summary and reason if the function
        has no docstring. The other arguments are as in `Family.check`.
        """

        def add(judge: Judge) -> Judge:
            about = description(
                text or judge.__doc__,
                rule_id,
                kind="probe",
                family=self.name.partition(".")[0],
                severity=severity,
                source=source or self.source,
                apis=apis,
                modes=modes or self.modes,
            )
            self.probes.append(
                Probe(
                    about,
                    tolerated,
                    needs or self.needs,
                    suite or self.suite,
                    self,
                    tuple(uses),
                    judge,
                )
            )
            return judge

        return add


def _unreadable(rollout: ParsedRollout) -> str:
    """Why a rollout has no readable reply, in a few words."""
    if not rollout.exchanges:
        return "nothing was sent"
    last = rollout.exchanges[-1]
    if last.recorded.failure is not None:
        return last.recorded.failure.message
    if last.status is not None and not last.good_status:
        return f"status {last.status}"
    return last.unreadable or "it is empty"
