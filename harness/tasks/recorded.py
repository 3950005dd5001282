"""Imported traffic as a task: conversations of other clients, judged by the checks alone.

Requests in recordings were not made for this tool. It is unknown whether a rejected request was
valid, so rejections are not judged. A check is skipped for a conversation whose recording does not
preserve what the check reads. A recorded stream without an end is a warning: the client may have
left it.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.api.parsed_rollout import ParsedRollout
from harness.records.replies import Traits
from harness.records.rollouts import Lost, Rollout
from harness.records.runs import ImportInfo, TaskInfo
from harness.records.scores import Outcome, Score
from harness.rules.catalogue import CHECKS
from harness.rules.measured import measured_score
from harness.run.attempts import Attempt
from harness.tasks.task import ScoreFields, Task

NAME = "traffic"

_MASKED = re.compile(r"[<>\[\]*]|redacted|x{6}", re.IGNORECASE)  # an id that the recorder replaced


class ImportedTraffic(Task):
    """The conversations of an import; there is nothing to sample."""

    def __init__(self, info: TaskInfo) -> None:
        """Use the description from `traffic_info` or `run.json`."""
        self.info = info

    def attempts(self, number: int) -> Iterator[Attempt]:
        """Return nothing: no attempt is missing."""
        return iter(())

    def score(self, parsed: ParsedRollout) -> Score | None:
        """Judge one conversation."""
        if parsed.rollout.recording is None:
            return None
        recording = parsed.rollout.recording
        lost = recording.missing
        score = measured_score(parsed, _outcome(parsed), except_for=not_judged(lost))
        traits, rows = score.traits, score.rows
        if "fields" in lost or any(map(_MASKED.search, score.reply_ids)):
            rows = tuple(replace(row, reply_id="") for row in rows)
        if not recording.timed:
            score = replace(score, timing=(), seconds=None)
        return replace(
            score,
            rows=rows,
            # Requests of one client may share words, state and replies on purpose.
            traits=Traits(traits.first_input, traits.least_input, host=traits.host),
        )


def not_judged(lost: Collection[Lost]) -> frozenset[str]:
    """Return the ids of the checks that a recording without these parts cannot decide."""
    return frozenset(
        check.id
        for check in CHECKS.values()
        if not check.recordings or not set(lost).isdisjoint(check.reads)
    )


def _outcome(parsed: ParsedRollout) -> ScoreFields:
    """Return whether the last request of a conversation was answered."""
    last, end = parsed.exchanges[-1], parsed.rollout.end
    if (missing := last.recorded.failure) is not None:
        return {"outcome": "provider_error", "detail": missing.message}
    if last.good_status and not last.delivered:
        return {"outcome": "provider_error", "detail": "the reply broke off"}
    if end == "failed":
        return {"outcome": "provider_error", "detail": f"the status was {last.status}"}
    return {"outcome": _OUTCOMES[end]}


def traffic_info(rollouts: Sequence[Rollout], imported: ImportInfo) -> TaskInfo:
    """Imported traffic as `run.json` describes it."""
    return TaskInfo(
        name=NAME,
        kind="traffic",
        conditions=tuple(dict.fromkeys(rollout.condition for rollout in rollouts)),
        samples=len({rollout.sample for rollout in rollouts}),
        tries=max((rollout.attempt for rollout in rollouts), default=0),
        planned=len(rollouts),
        imported=imported,
    )


_OUTCOMES: Mapping[str, Outcome] = {
    "answered": "answered",
    "max_turns": "answered",
    "unreadable": "invalid_response",
}
