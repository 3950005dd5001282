"""What the checks of single rollouts report about a rollout."""

from harness import checks
from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Rollout
from harness.records.scores import Finding


def details(recorded: Rollout) -> tuple[Finding, ...]:
    """The findings."""
    return checks.examine(parse_rollout(recorded))[1]


def findings(recorded: Rollout) -> set[str]:
    """The ids of the findings."""
    return {finding.id for finding in details(recorded)}
