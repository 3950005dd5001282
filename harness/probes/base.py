"""What a probe is: an experiment of several requests, judged together, and what is said of it.

Requests are described as asks. Those that belong together stand on a bench, and every probe of a
bench judges the answers to some of its asks, so that probes share requests. A probe is to a run
what a check is to a rollout: a pure function from records to problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.api.base import Reply, Tool
from harness.api.conversation import ConversationItem as Said
from harness.checks.base import Problem
from harness.golden.records import Golden
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import Api, Mode
from harness.records.rollouts import Key
from harness.records.runs import Capability
from harness.records.scores import Description, Severity

Level = Literal["quick", "full"]
"""The smallest suite that holds a probe."""

MOST_TOKENS = 512


class NotVerifiableError(Exception):
    """The answers do not allow a judgement; the message says in one sentence why."""


@dataclass(frozen=True)
class Ask:
    """One conversation to put to a provider, over every API and mode of the probes that use it.

    `options` are further members of the request's body, in the words of its API. `then` and `raw`
    are as in `Sample`, `stored` as in `Settings`, `key` as in `Attempt`. `provokes` names the
    checks of single rollouts that the answer may break by intent.
    """

    name: str
    turns: tuple[Said, ...]
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


@dataclass(frozen=True)
class Answers:
    """What came of a bench's asks over one API: the rollouts of each, in all modes and tries.

    `golden` is what a trusted engine answered, if the run has a golden file.
    """

    api: Api
    views: Mapping[str, Sequence[ParsedRollout]]
    golden: Golden | None = None

    def all(self, name: str, mode: Mode | None = None) -> tuple[ParsedRollout, ...]:
        """The rollouts of one ask. Raises NotVerifiableError where there are none."""
        found = tuple(v for v in self.views.get(name, ()) if mode in (None, v.mode))
        if not found:
            raise NotVerifiableError(f"The request {name!r} was not made.")
        return found

    def replies(
        self, name: str, mode: Mode | None = None
    ) -> Iterator[tuple[ParsedExchange, Reply]]:
        """The first reply of each rollout of one ask that could be read.

        Raises:
            NotVerifiableError: None could; says what came instead.
        """
        views = self.all(name, mode)
        found = [next(iter(view.replies), None) for view in views]
        readable = [each for each in found if each is not None]
        if not readable:
            raise NotVerifiableError(f"The request {name!r} got no reply: {_fate(views[0])}.")
        yield from readable

    def reply(self, name: str, mode: Mode | None = None) -> tuple[ParsedExchange, Reply]:
        """The first of `replies`. Raises NotVerifiableError."""
        return next(self.replies(name, mode))


Trial = Problem | None
"""What came of one repetition of an experiment: a problem, or None where all was well."""

Judge = Callable[[Answers], Iterable[Trial]]


@dataclass(frozen=True)
class Probe:
    """A probe and what is known about it.

    `needs` names a capability that a provider's entry may declare missing. At least `required` of
    the trials must be good: short of certainty that fewer are, problems are mere information.
    """

    about: Description
    bench: Bench
    uses: tuple[str, ...]
    level: Level
    needs: Capability | None
    required: float
    judge: Judge

    @property
    def id(self) -> str:
        """Stable dotted id."""
        return self.about.id


@dataclass
class Bench:
    """Asks that belong together, and the probes that judge their answers.

    `asks` gives the requests to make over an API; their names are unique on the bench. With
    `burst`, they are made when all else is done, this many at once. With `golden`, they are made
    only if the run has a golden file. A name may have dots: what stands before the first is the
    family of the probes.
    """

    name: str
    asks: Callable[[Api], Sequence[Ask]]
    probes: list[Probe] = field(default_factory=list)
    burst: int | None = None
    golden: bool = False

    @property
    def family(self) -> str:
        """The family of its probes, which several benches may share."""
        return self.name.partition(".")[0]

    def probe(
        self,
        probe_id: str,
        *,
        uses: Iterable[str],
        severity: Severity,
        summary: str,
        why: str,
        source: str,
        level: Level = "quick",
        apis: Iterable[Api] = ("responses", "chat"),
        modes: Iterable[Mode] = ("non-streaming",),
        needs: Capability | None = None,
        required: float = 1.0,
    ) -> Callable[[Judge], Judge]:
        """Register the decorated function, which judges the answers over one API, as a probe.

        Args:
            probe_id: Stable dotted id.
            uses: Names of the asks it judges.
            severity: Error for what breaks a spec or the model, warning for what clients survive.
            summary: What must hold, in one line.
            why: Why it has this severity.
            source: Where the expectation stands.
            level: The smallest suite that holds it.
            apis: The APIs it is about.
            modes: In which modes the asks are made.
            needs: See `Probe`.
            required: See `Probe`.
        """
        about = Description(
            id=probe_id,
            kind="probe",
            family=self.family,
            severity=severity,
            summary=summary,
            why=why,
            source=source,
            apis=tuple(apis),
            modes=tuple(modes),
        )

        def add(judge: Judge) -> Judge:
            self.probes.append(Probe(about, self, tuple(uses), level, needs, required, judge))
            return judge

        return add


def _fate(view: ParsedRollout) -> str:
    """What became of a rollout without a readable reply, in a few words."""
    exchange = view.rollout.exchanges[-1] if view.rollout.exchanges else None
    if exchange is None:
        return "nothing was sent"
    if exchange.failure is not None:
        return exchange.failure.message
    if exchange.response is not None and not view.turns[-1].good_status:
        return f"status {exchange.response.status}"
    return view.turns[-1].unreadable or "it is empty"
