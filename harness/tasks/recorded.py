"""Imported traffic as a task: conversations of other clients, judged by the checks alone.

Requests in recordings were not made for this tool. It is unknown whether a rejected request was
valid, so rejections are not judged. A check is skipped for a conversation whose recording does not
preserve what the check reads. A recorded stream without an end is a warning: the client may have
left it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from harness.api.parsed_rollout import ParsedRollout
from harness.records.rollouts import Lost, Rollout
from harness.records.runs import ImportInfo, TaskInfo
from harness.records.scores import Outcome, Score
from harness.records.traits import Traits
from harness.rules.measured import measured_score
from harness.rules.rule import as_warning
from harness.run.attempts import Attempt
from harness.tasks.task import ScoreFields, Task

NAME = "traffic"

NOT_IN_RECORDINGS = frozenset(
    # Whether the request was valid, or harmless; whether it was repeated; when each part of a
    # stream arrived.
    {"request.refused", "reply.refused", "request.server_error", "stream.burst"}
)
"""Checks that no recording can decide."""

_MASKED = re.compile(r"[<>\[\]*]|redacted|x{6}", re.IGNORECASE)  # an id that the recorder replaced

READ: Mapping[Lost, frozenset[str]] = {
    "framing": frozenset({"stream.json", "chat.stream.done", "responses.stream.event_name"}),
    "fields": frozenset(
        """
        chat.schema chat.schema.minor chat.schema.required responses.schema responses.schema.minor
        responses.schema.required responses.options reply.id reply.id.repeated reply.created
        chat.stream.id chat.stream.constant chat.stream.role
        """.split()
    ),
    "extras": frozenset(
        """
        chat.reasoning.missing reasoning.missing.after_result reasoning.forced
        responses.reasoning.missing responses.reasoning.content reasoning.rare reasoning.absent
        reasoning.missing.truncated reasoning.in_answer.untagged usage.output.unseen calls.lost
        reply.lost reply.lost.truncated
        """.split()
    ),
    "headers": frozenset({"stream.content_type", "reply.content_type"}),
    "date": frozenset({"reply.created"}),
}
"""The checks that read what a recording may lack."""


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
        outcome, lost = _outcome(parsed), parsed.rollout.recording.lost
        unverifiable = NOT_IN_RECORDINGS.union(*(READ[part] for part in lost))
        score = measured_score(parsed, outcome, except_for=unverifiable)
        found = score.traits
        masked = "fields" in lost or any(map(_MASKED.search, found.reply_ids))
        return replace(
            score,
            findings=tuple(
                as_warning(finding) if finding.id == "stream.cut" else finding
                for finding in score.findings
            ),
            timing=(),
            seconds=None,
            # Requests of one client may share words, state and replies on purpose.
            traits=Traits(
                reply_ids=() if masked else found.reply_ids,
                first_input=found.first_input,
                host=found.host,
                ledgers=found.ledgers,
                cuts=found.cuts,
                edges=tuple(edge for edge in found.edges if edge.place == "CoT"),
            ),
        )


def _outcome(parsed: ParsedRollout) -> ScoreFields:
    """Return whether the last request of a conversation was answered."""
    last, end = parsed.exchanges[-1], parsed.rollout.end
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
