"""What a check is: a pure function from a rollout's view to problems, and what is said of it.

Each family of checks is one module with a `Family`; its decorator takes everything there is to
know about a check, so that lists, reports and documentation all come from one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from harness.checks.view import Turn, View
from harness.judgement import Evidence, Finding, Mode, Severity
from harness.records import Api

GUIDE = "https://cookbook.openai.com/articles/gpt-oss/verifying-implementations"
RAW_COT = "https://cookbook.openai.com/articles/gpt-oss/handle-raw-cot"
HARMONY = "https://cookbook.openai.com/articles/openai-harmony"
CHAT = "https://platform.openai.com/docs/api-reference/chat/object"
CHAT_STREAM = "https://platform.openai.com/docs/api-reference/chat-streaming"
RESPONSES = "https://platform.openai.com/docs/api-reference/responses/object"
RESPONSES_STREAM = "https://platform.openai.com/docs/api-reference/responses-streaming"
SERVER_SENT_EVENTS = "https://html.spec.whatwg.org/multipage/server-sent-events.html"

_LONGEST_EXCERPT = 300


@dataclass(frozen=True)
class Problem:
    """What a check found wrong in one turn; `event` or `path` say where in it."""

    turn: Turn
    message: str
    expected: str
    got: str
    path: str | None = None
    event: int | None = None


Run = Callable[[View], Iterable[Problem]]


@dataclass(frozen=True)
class Check:
    """A check and what is known about it.

    A finding of severity error makes the response it was found in invalid, in the sense of the
    guide's "0 invalid requests". `tolerated` is the share of rollouts of one API in one mode in
    which the problem may stand without being a defect: up to it, findings are information.
    """

    id: str
    severity: Severity
    summary: str
    why: str
    source: str
    apis: frozenset[Api]
    modes: frozenset[Mode]
    tolerated: float
    run: Run

    @property
    def invalidates(self) -> bool:
        """Whether a finding makes the response invalid."""
        return self.severity == "error"

    def findings(self, seen: View) -> Iterator[Finding]:
        """Everything this check has to say about a rollout."""
        rollout = seen.rollout
        mode: Mode = "stream" if rollout.streaming else "whole"
        if rollout.api not in self.apis or mode not in self.modes:
            return
        for problem in self.run(seen):
            evidence = Evidence(
                record=rollout.id,
                exchange=problem.turn.index,
                path=problem.path and excerpt(problem.path),
                event=problem.event,
                expected=excerpt(problem.expected),
                got=excerpt(problem.got),
            )
            message = excerpt(problem.message)
            yield Finding(id=self.id, severity=self.severity, message=message, evidence=evidence)


@dataclass
class Family:
    """Checks that belong together; `check` adds one."""

    checks: list[Check] = field(default_factory=list)

    def check(
        self,
        check_id: str,
        *,
        severity: Severity,
        summary: str,
        why: str,
        source: str,
        apis: Iterable[Api] = ("responses", "chat"),
        modes: Iterable[Mode] = ("stream", "whole"),
        tolerated: float = 0.0,
    ) -> Callable[[Run], Run]:
        """Register the decorated function as a check.

        Args:
            check_id: Stable dotted id.
            severity: Error for what breaks a spec or the model, warning for what clients survive.
            summary: The check in one line.
            why: Why it has this severity.
            source: Where the expectation stands.
            apis: The APIs it is about.
            modes: Streamed replies, whole ones, or both.
            tolerated: See `Check`.
        """

        def add(run: Run) -> Run:
            check = Check(
                id=check_id,
                severity=severity,
                summary=summary,
                why=why,
                source=source,
                apis=frozenset(apis),
                modes=frozenset(modes),
                tolerated=tolerated,
                run=run,
            )
            self.checks.append(check)
            return run

        return add


def excerpt(text: str) -> str:
    """The text, cut where it is too long for a report, and always fit to be written as UTF-8."""
    text = text[: _LONGEST_EXCERPT + 1].encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST_EXCERPT else f"{text[:_LONGEST_EXCERPT]}…"
