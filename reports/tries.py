"""The tries of a run as pages show them: what each came to, and little enough for many of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.records.judgements import Examination, Judgement

from harness.records.scores import Finding, Outcome


@dataclass(frozen=True, slots=True)
class Try:
    """One finished try. `row` is the case or question asked, `kind` the name of its outcome.

    `score` is 1 for a success. `errors` are the findings that are errors or warnings, `mark` is
    what a cell shows in place of its outcome's letter, `notes` are pairs of a label and a text.
    """

    record: str
    row: str
    group: str
    number: int
    kind: str
    good: bool
    score: float
    detail: str = ""
    expected: str | None = None
    got: str | None = None
    errors: tuple[Finding, ...] = ()
    mark: str | None = None
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def signature(self) -> tuple[str, ...]:
        """Tries with the same one went wrong in the same way, as far as can be told."""
        return (self.group, self.kind, *sorted({finding.id for finding in self.errors}))


class Tries:
    """Everything that the judgements of a smoke test say try by try, gathered in one pass.

    Attributes:
        every: The attempts at cases.
        probes: The rollouts of probes that a check had an error or a warning for.
        measures: By name of a measure, then by group, all measurements.
    """

    def __init__(self, judged: Iterable[Examination]) -> None:
        """Read all judgements."""
        self.every: list[Try] = []
        self.probes: list[Try] = []
        self._measures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for examination in judged:
            if isinstance(examination, Judgement):
                self.every.append(_attempt(examination))
                self._measure(examination)
            elif _grave(examination):
                self.probes.append(_probe(examination))

    def measured(self, name: str) -> Mapping[str, list[float]]:
        """The measurements of one measure by group."""
        return self._measures[name]

    def _measure(self, one: Judgement) -> None:
        if one.requests and not one.tokens.unreported and one.tokens.output:
            self._measures["output tokens"][one.group].append(one.tokens.output)
            self._measures["reasoning tokens"][one.group].append(one.tokens.reasoning)
        for speed in one.speeds:
            self._measures["request"][one.group].append(speed.total)
            if speed.first_token is not None:
                self._measures["first token"][one.group].append(speed.first_token)
            if speed.tokens_per_second is not None:
                self._measures["tokens per second"][one.group].append(speed.tokens_per_second)


def _attempt(one: Judgement) -> Try:
    return _try(one, one.outcome, one.attempt)


def _probe(one: Examination) -> Try:
    number = one.record.rpartition("/")[2]
    return _try(one, Outcome(kind="success"), int(number) if number.isdecimal() else 1)


def _try(one: Examination, outcome: Outcome, number: int) -> Try:
    return Try(
        record=one.record,
        row=one.sample,
        group=one.group,
        number=number,
        kind=outcome.kind,
        good=outcome.success,
        score=float(outcome.success),
        detail=outcome.detail,
        expected=outcome.expected,
        got=outcome.got,
        errors=_grave(one),
    )


def _grave(one: Examination) -> tuple[Finding, ...]:
    return tuple(finding for finding in one.findings if finding.severity != "info")
