"""From recorded rollouts to judgements. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from harness import checks
from harness.findings import as_warning
from harness.parsing.rollout import ParsedRollout, parse_rollout
from harness.records.judgements import Examination, Finding, Judgement, Mode, Outcome, Tokens
from harness.records.rollouts import Api, Rollout
from harness.scoring import outcomes
from harness.scoring.latency import speed
from harness.statistics.intervals import clustered_rate
from harness.tasks.cases import Suite

E = TypeVar("E", bound=Examination)


class Judge:
    """Judges the rollouts of one run: knows its cases and whether exact arguments are asked."""

    def __init__(self, suite: Suite, *, strict: bool) -> None:
        self._cases = {case.id: case for case in suite.cases}
        self._tools = {tool.name: tool for tool in suite.tools}
        self._strict = strict

    def knows(self, rollout: Rollout) -> bool:
        """Whether the rollout belongs to a case of this suite."""
        return rollout.sample in self._cases

    def glance(self, rollout: Rollout) -> tuple[Outcome, Tokens]:
        """Outcome and tokens without the checks: cheap, and preliminary."""
        seen = parse_rollout(rollout)
        case = self._cases[rollout.sample]
        tool = self._tools[case.tool_name]
        return outcomes.judge(seen, case, tool, strict=self._strict), _tokens(seen)

    def judge(self, rollout: Rollout) -> Judgement:
        """Everything there is to say about one rollout by itself.

        Its findings may yet turn out to be tolerable, which only all rollouts together can tell:
        `settle` decides that, and with it whether the response is invalid.
        """
        seen = parse_rollout(rollout)
        examined = checks.examination(seen)
        case = self._cases[rollout.sample]
        tool = self._tools[case.tool_name]
        return Judgement(
            **dict(examined),
            attempt=rollout.attempt,
            outcome=outcomes.judge(seen, case, tool, strict=self._strict),
            tokens=_tokens(seen),
            speeds=tuple(speed(turn) for turn in seen.delivered),
            requests=len(rollout.exchanges),
            retries=sum(len(exchange.retries) for exchange in rollout.exchanges),
        )


def settle(examinations: Iterable[E], may_warn: Collection[str] = ()) -> tuple[E, ...]:
    """Compare the rollouts, lower what is rare enough to be healthy, name invalid responses.

    A check may tolerate its problem in a share of the rollouts of one API in one mode. Findings
    become information while no more than that share has them, or while some rollouts are free of
    them and the exact 95 % interval of the share still reaches down to what is tolerated.
    Errors of checks that `may_warn` become warnings.
    """
    groups: dict[tuple[Api, Mode], list[E]] = defaultdict(list)
    for examination in _compared(list(examinations)):
        groups[examination.api, examination.mode].append(examination)
    return tuple(settled for group in groups.values() for settled in _settle_group(group, may_warn))


def _compared(examinations: Sequence[E]) -> Iterable[E]:
    found = checks.compare_rollouts(examinations)
    for each in examinations:
        applicable, findings = found[each.record]
        yield each.model_copy(
            update={
                "applicable": each.applicable | applicable,
                "findings": (*each.findings, *findings),
            }
        )


def _settle_group(group: Sequence[E], may_warn: Collection[str]) -> Iterable[E]:
    applicable = Counter(check_id for each in group for check_id in each.applicable)
    affected = Counter(check_id for each in group for check_id in {f.id for f in each.findings})
    tolerated = {
        check_id
        for check_id, count in affected.items()
        if _tolerable(count, applicable[check_id], checks.CHECKS[check_id].tolerated)
    }
    for each in group:
        found = tuple(_settled(finding, tolerated, may_warn) for finding in each.findings)
        changed = each.model_copy(update={"findings": found})
        if isinstance(changed, Judgement):
            outcome = outcomes.invalidated(changed.outcome, found)
            changed = changed.model_copy(update={"outcome": outcome})
        yield changed


def _settled(finding: Finding, tolerated: Collection[str], may_warn: Collection[str]) -> Finding:
    if finding.id in tolerated:
        return finding.model_copy(update={"severity": "info"})
    return as_warning(finding) if finding.id in may_warn else finding


def _tolerable(count: int, applicable: int, tolerated: float) -> bool:
    if not tolerated or count >= applicable:
        return False
    return clustered_rate([(count, applicable)]).low <= tolerated


def _tokens(seen: ParsedRollout) -> Tokens:
    usages = [reply.usage for _, reply in seen.replies]
    known = [usage for usage in usages if usage is not None]
    return Tokens(
        input=sum(usage.input_tokens or 0 for usage in known),
        output=sum(usage.output_tokens or 0 for usage in known),
        reasoning=sum(usage.reasoning_tokens or 0 for usage in known),
        unreported=len(usages) - len(known),
    )
