"""What the checks of single rollouts report about a rollout."""

from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Rollout
from harness.records.scores import Finding
from harness.rules import catalogue


def details(recorded: Rollout) -> tuple[Finding, ...]:
    """The findings."""
    return catalogue.examine(parse_rollout(recorded))[1]


def findings(recorded: Rollout) -> set[str]:
    """The ids of the findings."""
    return {finding.id for finding in details(recorded)}
