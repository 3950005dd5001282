"""One recorded healthy run, the faults of replies applied to it in process, and its judge.

`healthy_run.tar.xz` is a default run (`-k 1`, both APIs, both modes) against the bundled reference.
There is no socket, no clock and no randomness: the same records give the same judgement.

    run = healthy()
    judgement = run.judged(damaged(run.rollouts, "done-missing"))
    judgement.verdict, judgement.causes, judgement.findings

`with_fault` changes one exchange.
"""

import asyncio
import itertools
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch
from zlib import crc32

import httpx
import orjson

from harness.api import DIALECTS
from harness.api.items import UnreadableReplyError
from harness.api.sse import blocks
from harness.records.analysis import Analysis
from harness.records.rollouts import (
    Exchange,
    LoopEnd,
    Response,
    Rollout,
    StreamPart,
    TransportFailure,
)
from harness.records.scores import Score, Severity
from harness.run.attempts import Attempt
from harness.run.run_log import read_rollouts, read_run_info
from harness.run.tool_loop import attempt_seed
from harness.selftest.recorded_run import RecordedRun
from harness.tasks.attempt_order import planned_attempts
from harness.tasks.suite import restored_tasks
from reference_engine.faults.catalogue import CATALOGUE
from reference_engine.faults.fault import Fault
from reference_engine.faults.http import Api, ClientRequest, Reply
from reference_engine.faults.layers import streaming
from reference_engine.faults.replies import damaged as damaged_reply

_STORED = Path(__file__).with_name("healthy_run.tar.xz")
_OF_REPLIES = frozenset({"payload", "reply", "stream"})
"""The points of faults that act on replies that the healthy server has made."""
_APIS: Mapping[str, Api] = {"chat/completions": "chat", "responses": "responses"}
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "date"})
"""Headers that a server adds around an app."""


class Accusation(NamedTuple):
    """One finding: its rule, its severity, the id of the accused rollout, and its sentence."""

    rule: str
    severity: Severity
    record: str
    message: str


@dataclass(frozen=True)
class Judgement:
    """What a run is said to be; `causes` are components, the first one first.

    `findings` has every finding of a check, and up to three examples of each probe.
    """

    verdict: str
    causes: tuple[str, ...]
    findings: tuple[Accusation, ...]
    analysis: Analysis = field(repr=False)

    def rules(self, *severities: Severity) -> frozenset[str]:
        """Return the rules that accuse, with one of these severities (error and warning)."""
        wanted = severities or ("error", "warning")
        return frozenset(one.rule for one in self.findings if one.severity in wanted)

    def accused(self, *severities: Severity) -> frozenset[str]:
        """Return the ids of the rollouts that a finding names, with one of these severities."""
        wanted = severities or ("error", "warning")
        return frozenset(one.record for one in self.findings if one.severity in wanted)


@dataclass(frozen=True)
class Recorded(RecordedRun):
    """A recorded run. `rollouts` are in the order of its log."""

    def judged(
        self, rollouts: Iterable[Rollout] | None = None, *, clients: bool = False
    ) -> Judgement:
        """Judge these records as if the run had only them; its own by default.

        With `clients`, the conversations of clients are read, too.
        """
        judged = self.rollouts if rollouts is None else rollouts
        return _judgement(*self.analyzed(judged, clients=clients))

    def without_golden(self) -> "Recorded":
        """Return the same run as that of a provider without a golden file."""
        info = self.info.model_copy(update={"golden": None})
        return Recorded(self.folder, info, restored_tasks(self.folder, info), self.rollouts)


def _judgement(analysis: Analysis, scores: Iterable[Score]) -> Judgement:
    of_checks = (
        Accusation(found.id, found.severity, found.evidence.record, found.message)
        for score in scores
        for found in score.findings
    )
    of_probes = (
        Accusation(result.check.id, found.severity, found.evidence.record, found.message)
        for result in analysis.checks
        for found in result.examples
    )
    diagnosis = analysis.diagnosis
    causes = () if diagnosis is None else tuple(cause.component for cause in diagnosis.causes)
    findings = tuple(dict.fromkeys((*of_checks, *of_probes)))
    return Judgement(analysis.verdict.decision or "scored", causes, findings, analysis)


@cache
def healthy() -> Recorded:
    """Return the recorded healthy run; unpacked and parsed once per process."""
    folder = Path(tempfile.mkdtemp(prefix="healthy-run-"))
    with tarfile.open(_STORED) as archive:
        archive.extractall(folder, filter="data")
    folder = folder / "healthy"
    info = read_run_info(folder)
    tasks = restored_tasks(folder, info)
    planned = {attempt.id: attempt for attempt in planned_attempts(tasks)}
    rollouts = (one for one in read_rollouts(folder) if _is_sent(one, planned.get(one.id)))
    return Recorded(folder, info, tasks, tuple(rollouts))


def _is_sent(rollout: Rollout, attempt: Attempt | None) -> bool:
    """Whether the run of today begins with this request; one that was changed since is left out."""
    if attempt is None:
        return False
    sent = rollout.exchanges[0].request
    if attempt.sample.raw is not None:
        return sent.text == attempt.sample.raw
    settings = attempt.settings
    if settings.seed is not None:
        settings = replace(settings, seed=attempt_seed(settings.seed, attempt.id))
    return sent.body == replace(attempt, settings=settings).first_request()


def faults_of_replies() -> tuple[Fault, ...]:
    """Return the faults of the self-test, and variations, that `damaged` applies to replies."""
    return tuple(
        fault
        for fault in CATALOGUE.values()
        if "selftest" in fault.use and _OF_REPLIES.issuperset(fault.changes)
    )


def damaged(rollouts: Sequence[Rollout], fault: str) -> list[Rollout]:
    """Return the rollouts with a fault of replies, `NAME` or `NAME:RATE`.

    Rollouts that it does not change are the same objects. An attempt ends where the changed reply
    would end it.
    """
    numbers = itertools.count()
    return [_resent(one, fault, numbers) for one in rollouts]


def _resent(rollout: Rollout, fault: str, numbers: Iterator[int]) -> Rollout:
    made: list[Exchange] = []
    ids: dict[str, str] = {}  # of recorded responses, and of those that replace them
    for recorded in rollout.exchanges:
        exchange = _sent_again(recorded, ids, fault, numbers)
        made.append(exchange)
        if exchange is recorded:
            continue
        end = _ends(rollout, recorded, exchange)
        if end is not None:
            return rollout.model_copy(update={"exchanges": tuple(made), "end": end})
    if all(one is other for one, other in zip(made, rollout.exchanges, strict=True)):
        return rollout
    return rollout.model_copy(update={"exchanges": tuple(made)})


def _sent_again(
    recorded: Exchange, ids: dict[str, str], fault: str, numbers: Iterator[int]
) -> Exchange:
    request = recorded.request
    text = request.text if request.text is not None else orjson.dumps(request.body).decode()
    for old, new in ids.items():
        text = text.replace(old, new)
    asked = request
    if ids and request.text is None:
        asked = request.model_copy(update={"body": orjson.loads(text)})
    changed = with_fault(recorded.model_copy(update={"request": asked}), fault, next(numbers))
    if changed.response == recorded.response:
        return recorded
    if request.url.endswith("/responses") and (old := _id(recorded)) and (new := _id(changed)):
        ids |= {old: new} if old != new else {}
    return changed


def with_fault(recorded: Exchange, fault: str, number: int | None = None) -> Exchange:
    """Return an exchange with a fault in its reply; itself if this does not change it.

    A fault with a rate is that of request `number`, which by default follows from the reply.
    """
    before, path = recorded.response, recorded.request.url.rpartition("/v1/")[2]
    if before is None or recorded.request.over_websocket or path not in _APIS:
        return recorded
    request = ClientRequest(_APIS[path], recorded.request.body or {}, "gpt-oss-small", gzip=True)
    reply = reply_of(before)
    number = crc32(reply.body) if number is None else number
    with patch.object(streaming, "SILENT_SECONDS", 0):  # events arrive at the recorded times
        made = asyncio.run(damaged_reply([fault], request, reply, number))
    try:
        answer = httpx.Response(made.status, headers=made.headers, content=made.body)
    except httpx.DecodingError as error:
        return recorded.model_copy(
            update={
                "response": Response(status=made.status, headers=dict(made.headers), body=""),
                "failure": TransportFailure(kind="protocol", message=str(error)),
            }
        )
    response = _response(before, answer)
    return recorded if response == before else recorded.model_copy(update={"response": response})


def reply_of(recorded: Response) -> Reply:
    """Return a recorded response as faults see it."""
    headers = {name.lower(): value for name, value in recorded.headers.items()}
    return Reply(
        recorded.status, headers, recorded.text.encode() + (b"\n\n" if recorded.parts else b"")
    )


def _ends(rollout: Rollout, recorded: Exchange, changed: Exchange) -> LoopEnd | None:
    """Return how a changed reply ends the attempt; None if the recorded requests still follow."""
    if changed.response is None or not changed.response.good_status:
        return "failed"
    dialect = DIALECTS[rollout.condition.api]
    try:
        lost = bool(dialect.read(recorded).calls) and not dialect.read(changed).calls
    except UnreadableReplyError:
        return "unreadable"
    return "answered" if lost else None


def _response(before: Response, answer: httpx.Response) -> Response:
    """Return what a server sent, with the recorded framing; events arrive at the recorded times."""
    headers = {name.lower(): value for name, value in before.headers.items()}
    framing = {name: value for name, value in headers.items() if name in _FRAMING}
    headers = {name: value for name, value in answer.headers.items() if name not in _FRAMING}
    headers = framing | headers
    if not headers.get("content-type", "").startswith("text/event-stream"):
        return Response(status=answer.status_code, headers=headers, body=answer.text)
    raw = [block for block, _ in blocks(bytearray(answer.content))]
    times = [part.at for part in before.parts] or [0.0]
    last = max(1, len(raw) - 1)
    at = (times[number * (len(times) - 1) // last] for number in range(len(raw)))
    parts = tuple(map(StreamPart, at, raw))
    return Response(status=answer.status_code, headers=headers, parts=parts)


def _id(exchange: Exchange) -> str:
    """Return the id of a Responses reply, which later requests may name; "" without one."""
    try:
        raw = DIALECTS["responses"].read(exchange).raw
    except UnreadableReplyError:
        return ""
    return str(raw.get("id", ""))
