"""What all checks report about a rollout alone."""

from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Rollout
from harness.records.scores import Finding
from harness.rules.account import account_of
from harness.rules.catalogue import compare_rollouts
from harness.rules.measured import measured_score


def details(recorded: Rollout) -> tuple[Finding, ...]:
    """The findings, those of cross-checks last."""
    score = measured_score(parse_rollout(recorded), {"outcome": "answered"})
    ((_, compared),) = compare_rollouts([score], account=account_of([score]))
    return (*score.findings, *compared)


def findings(recorded: Rollout) -> set[str]:
    """The ids of the findings."""
    return {finding.id for finding in details(recorded)}
