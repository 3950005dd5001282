"""What a check is: a pure function from what it is about to problems, and what is said of it.

A check names what of a rollout it is about (see `harness.checks.subjects`), and judges each such
subject by itself; a rollout that has none is outside its reach. Families of checks are modules
with a `Family`; its decorator takes everything there is to know about a check, so that lists,
reports and documentation all come from one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from harness.parsing.events import Breach
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import Api, Mode
from harness.records.runs import Capability
from harness.records.scores import Description, Evidence, Finding, Severity

GUIDE = "https://cookbook.openai.com/articles/gpt-oss/verifying-implementations"
RAW_COT = "https://cookbook.openai.com/articles/gpt-oss/handle-raw-cot"
HARMONY = "https://cookbook.openai.com/articles/openai-harmony"
CHAT = "https://platform.openai.com/docs/api-reference/chat/object"
CHAT_STREAM = "https://platform.openai.com/docs/api-reference/chat-streaming"
RESPONSES = "https://platform.openai.com/docs/api-reference/responses/object"
RESPONSES_STREAM = "https://platform.openai.com/docs/api-reference/responses-streaming"
OPEN_RESPONSES = "https://www.openresponses.org/specification"
SERVER_SENT_EVENTS = "https://html.spec.whatwg.org/multipage/server-sent-events.html"

_LONGEST_EXCERPT = 300


@dataclass(frozen=True)
class Problem:
    """What a check found wrong in one turn; `event` or `path` say where in it."""

    turn: ParsedExchange
    message: str
    expected: str
    got: str
    path: str | None = None
    event: int | None = None

    @classmethod
    def of(cls, turn: ParsedExchange, breach: Breach) -> Problem:
        """The problem that a breach of a stream's grammar is."""
        return cls(turn, breach.message, breach.expected, breach.got, breach.path, breach.event)


S = TypeVar("S")
Look = Callable[[ParsedRollout], tuple[int, list[Problem]]]


@dataclass(frozen=True)
class Known:
    """What is known about a check.

    A finding of severity error makes the response it was found in invalid, in the sense of the
    guide's "0 invalid requests". `tolerated` is the share of rollouts of one API in one mode in
    which the problem may stand without being a defect: up to it, findings are information.
    `needs` names a capability that a provider's entry may declare missing.
    """

    about: Description
    tolerated: float
    needs: Capability | None

    @property
    def id(self) -> str:
        """Stable dotted id."""
        return self.about.id

    @property
    def tolerance(self) -> str:
        """Why findings of this check may be mere information."""
        return (
            f"Rare enough to be healthy: up to {self.tolerated:.0%} of the attempts of a group "
            "may show it."
        )


@dataclass(frozen=True)
class Check(Known):
    """A check of single rollouts; `look` counts the subjects in one, and finds their problems."""

    look: Look

    def examine(self, seen: ParsedRollout) -> tuple[bool, list[Finding]]:
        """Whether the rollout held anything to judge, and everything there is to say of it."""
        if seen.rollout.api not in self.about.apis or seen.mode not in self.about.modes:
            return False, []
        subjects, problems = self.look(seen)
        return subjects > 0, [
            finding_of(self.about, seen.rollout.id, problem) for problem in problems
        ]


def finding_of(about: Description, record: str, problem: Problem) -> Finding:
    """A problem of a check or probe, seen in the rollout `record`, as it is written down."""
    evidence = Evidence(
        record=record,
        exchange=problem.turn.index,
        path=problem.path and excerpt(problem.path),
        event=problem.event,
        expected=excerpt(problem.expected),
        got=excerpt(problem.got),
    )
    message = excerpt(problem.message)
    return Finding(id=about.id, severity=about.severity, message=message, evidence=evidence)


@dataclass
class Family:
    """Checks that belong together; `check` adds one. Modules may share a family's name."""

    name: str
    checks: list[Check] = field(default_factory=list)

    def check(
        self,
        check_id: str,
        *,
        over: Callable[[ParsedRollout], Iterable[S]],
        severity: Severity,
        summary: str,
        why: str,
        source: str,
        apis: Iterable[Api] = ("responses", "chat"),
        modes: Iterable[Mode] = ("streaming", "non-streaming"),
        tolerated: float = 0.0,
        needs: Capability | None = None,
    ) -> Callable[[Callable[[S], Iterable[Problem]]], Callable[[S], Iterable[Problem]]]:
        """Register the decorated function, which judges one subject, as a check.

        Args:
            check_id: Stable dotted id.
            over: The subjects of a rollout that the check is about.
            severity: Error for what breaks a spec or the model, warning for what clients survive.
            summary: The check in one line.
            why: Why it has this severity.
            source: Where the expectation stands.
            apis: The APIs it is about.
            modes: Streamed replies, whole ones, or both.
            tolerated: See `Known`.
            needs: See `Known`.
        """
        about = Description(
            id=check_id,
            family=self.name,
            severity=severity,
            summary=summary,
            why=why,
            source=source,
            apis=tuple(apis),
            modes=tuple(modes),
        )

        def add(judge: Callable[[S], Iterable[Problem]]) -> Callable[[S], Iterable[Problem]]:
            def look(seen: ParsedRollout) -> tuple[int, list[Problem]]:
                subjects = list(over(seen))
                return len(subjects), [found for each in subjects for found in judge(each)]

            self.checks.append(Check(about, tolerated, needs, look))
            return judge

        return add


def excerpt(text: str) -> str:
    """The text, cut where it is too long for a report, and always fit to be written as UTF-8."""
    text = text[: _LONGEST_EXCERPT + 1].encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST_EXCERPT else f"{text[:_LONGEST_EXCERPT]}…"
