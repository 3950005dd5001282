"""A recorded healthy run as if its model had other habits: law 9 (variety) of the verdict.

Each recorded reply is turned into the tokens that the model wrote, rewritten by habits, and served
again by the reference engine's own server. Later requests of a conversation follow from the new
replies, because the tool loop of a run makes them.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

import orjson

from harness.api import DIALECTS
from harness.api.items import Reply, UnreadableReplyError
from harness.api.parsed_request import ParsedRequest
from harness.api.sse import blocks
from harness.records.analysis import Analysis
from harness.records.conditions import BOTH_APIS, MODES
from harness.records.rollouts import SDK, Exchange, Response, Rollout, Sender, StreamPart
from harness.run.attempts import Attempt
from harness.run.tool_loop import run_attempt
from harness.selftest.completions import (
    Completion,
    answer,
    completion_of,
    cot,
    is_beginning,
    tokens_of,
)
from harness.selftest.habits import HABITS, MIXTURES, SLIPS, ModelHabit, Written
from harness.selftest.recorded_run import RecordedRun
from harness.tasks.attempt_order import planned_attempts
from harness.transport.http import sdk_order
from harness.transport.interface import Payload

_NEXT = (cot("The tool gave no result that I can use."), answer("I could not find that out."))
"""What the model writes if a conversation goes on longer than the recorded one."""


class StyledServer(Protocol):
    """The reference engine's server in this process."""

    async def answer(
        self, method: str, path: str, body: bytes, completions: Sequence[Sequence[int]]
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of a reply with the first completion that is allowed."""


SHARES = (0.02, 0.05, 0.2, 1.0)
"""Of the replies that can have a habit: as documented, more often than documented, always."""
SAMPLES = (1, 2)
"""Of a run, in each try of which the model makes one slip."""
_SEEDS = 3  # of a mixture
_FINGERPRINT = re.compile(r'"system_fingerprint":\s*"[^"]*"')
_CREATED = re.compile(r'"(?:created|created_at|completed_at)":\s*(?P<time>\d+)')
_NARROW = 0.1  # a top_p below which only the most probable token is drawn
PARTS: Mapping[str, Mapping[str, Any]] = {
    "whole": {},
    **{api: {"apis": (api,)} for api in BOTH_APIS},
    **{mode: {"modes": (mode,)} for mode in MODES},
    "tool cases": {"suite": "tools"},
    "100 attempts": {},
}
"""Parts of a run, with their settings; the last has the first attempts of its log."""


@dataclass(frozen=True)
class Style:
    """Habits, each with the share of the replies that can have it and do."""

    shares: Mapping[ModelHabit, float]
    seed: int = 0
    part: str = "whole"  # the part of the run that has it; the rest is not judged
    samples: int | None = None
    """Of the run that have it, with all their tries, in all APIs and modes; None for all samples.
    They are those that come first if all are in a random order."""

    def applied(
        self, written: Written, prompt: str, attempt: str, *, greedy: bool
    ) -> Completion | None:
        """Return a completion with the habits; None if it has none of them.

        Equal greedy requests, and those with one seed, have equal completions, except for a habit
        that makes them differ.
        """
        made: Completion | None = None
        for habit, share in self.shares.items():
            own = greedy and not habit.each_try
            place = (prompt, written.completion) if own else (attempt, written.turn)
            random = Random(f"{self.seed} {habit.name} {place}")  # noqa: S311 (not a secret)
            if random.random() < share and (other := habit.rewrite(written, random)) is not None:
                made, written = other, written.with_completion(other)
        return made


@dataclass(frozen=True)
class HealthyReplies:
    """The replies of a recorded run, and the attempts that it planned, by id."""

    attempts: Mapping[str, Attempt]
    rollouts: Sequence[Rollout]
    _written: dict[str, Sequence[Completion]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wholes: dict[str, list[Completion]] = defaultdict(list)
        read = {one.id: self._replies(one) for one in self.rollouts}
        replies = {id_: found for id_, found in read.items() if found is not None}
        for id_, found in replies.items():
            whole = (one for one in found if not _is_part(*one))
            wholes[_prompt(self.attempts[id_])] += (completion_of(*one) for one in whole)
        for id_, found in replies.items():
            known = wholes[_prompt(self.attempts[id_])]
            self._written[id_] = [_completion(*one, known) for one in found]

    def _replies(self, rollout: Rollout) -> Sequence[tuple[Reply, ParsedRequest]] | None:
        """Return the replies of a rollout; None if one is not a text that tokens prescribe."""
        attempt = self.attempts.get(rollout.id)
        if attempt is None or attempt.sample.raw is not None or attempt.sample.follow is not None:
            return None
        replies: list[tuple[Reply, ParsedRequest]] = []
        for exchange in rollout.exchanges:
            request = ParsedRequest(rollout.api, exchange.request.body or {})
            asks_logprobs = request.body.get("logprobs") or request.body.get("top_logprobs")
            try:
                reply = DIALECTS[rollout.api].read(exchange)
            except UnreadableReplyError:
                return None
            # Replies over one WebSocket depend on one another.
            if reply.others or request.built_in or asks_logprobs or exchange.request.over_websocket:
                return None
            replies.append((reply, request))
        return replies

    async def with_style(self, rollout: Rollout, style: Style, server: StyledServer) -> Rollout:
        """Return a rollout with its replies in a style; itself if none can be or is changed."""
        if rollout.id not in self._written:
            return rollout
        attempt = self.attempts[rollout.id]
        model = _Model(rollout, attempt, self._written[rollout.id], style, server)
        made = await run_attempt(attempt, model, DIALECTS[rollout.api])
        return made if model.changed else rollout


def _is_part(reply: Reply, request: ParsedRequest) -> bool:
    """Return whether the server may have ended a reply before the model did."""
    return reply.finish == "length" or bool(request.stops)


def _completion(reply: Reply, request: ParsedRequest, wholes: Sequence[Completion]) -> Completion:
    """Return what the model wrote, beyond a cut or a stop string if a whole reply shows it."""
    if _is_part(reply, request):
        for whole in wholes:
            if is_beginning(reply, whole):
                return whole
    return completion_of(reply, request)


def _prompt(attempt: Attempt) -> str:
    sample = attempt.sample
    names = [tool.name for tool in sample.tools]
    return f"{sample.turns} {sample.instructions} {names} {attempt.settings.reasoning_effort}"


class _Model:
    """The transport of one attempt: each reply is the recorded one in a style."""

    def __init__(
        self,
        rollout: Rollout,
        attempt: Attempt,
        completions: Sequence[Completion],
        style: Style,
        server: StyledServer,
    ) -> None:
        self.changed = False
        self._rollout, self._attempt = rollout, attempt
        self._completions = completions
        self._style, self._server = style, server
        self._turn = -1
        self._sent: object = None

    async def send(self, path: str, body: Payload = None, *, sender: Sender = SDK) -> Exchange:
        """See `Transport`."""
        assert isinstance(body, Mapping)
        request = ParsedRequest(self._rollout.api, body)
        turns = DIALECTS[self._rollout.api].turns(body)
        self._turn += turns != self._sent  # the same turns with a larger limit: the same reply
        self._sent = turns
        last = len(self._completions) - 1
        usual = self._completions[self._turn] if self._turn <= last else _NEXT
        written = Written(usual, request, self._turn)
        styled = self._style.applied(
            written,
            _prompt(self._attempt),
            self._attempt.id,
            greedy=_draws_alike(body),
        )
        recorded = self._rollout.exchanges[min(self._turn, len(self._rollout.exchanges) - 1)]
        stateful = self._attempt.settings.history != "sent"
        if styled is None and not self.changed and not stateful and self._turn <= last:
            return recorded
        self.changed = self.changed or styled is not None
        styled = usual if styled is None else styled
        ordered = sdk_order(body)
        status, headers, data = await self._server.answer(
            "POST", f"/v1{path}", orjson.dumps(ordered), [tokens_of(styled), tokens_of(usual)]
        )
        sent = recorded.request.model_copy(update={"body": ordered})
        response = _response(recorded, status, headers, data)
        return recorded.model_copy(update={"request": sent, "response": response})


def _draws_alike(body: Mapping[str, Any]) -> bool:
    """Whether equal requests get equal replies: nothing is drawn, or with one seed."""
    top_p = body.get("top_p")
    narrow = top_p is not None and top_p < _NARROW
    return body.get("temperature") == 0 or narrow or body.get("seed") is not None


def _response(recorded: Exchange, status: int, headers: dict[str, str], data: bytes) -> Response:
    """Return a response of the recorded replica and time, whose events arrive evenly in it."""
    text, known = data.decode(), recorded.response.text if recorded.response else ""
    if replica := _FINGERPRINT.search(known):
        text = _FINGERPRINT.sub(replica[0], text)
    if (made := _CREATED.search(known)) and (created := _CREATED.search(text)):
        since = int(made["time"]) - int(created["time"])
        text = _CREATED.sub(
            lambda found: found[0].replace(found["time"], str(int(found["time"]) + since)), text
        )
    if not headers.get("content-type", "").startswith("text/event-stream"):
        return Response(status=status, headers=headers, body=text)
    raw = [block for block, _ in blocks(bytearray(text.encode()))]
    times = [part.at for part in recorded.response.parts] if recorded.response else []
    first, last = (times[0], times[-1]) if times else (0.0, recorded.elapsed)
    step = (last - first) / max(1, len(raw) - 1)
    parts = tuple(StreamPart(first + number * step, block) for number, block in enumerate(raw))
    return Response(status=status, headers=headers, parts=parts)


async def styled(
    healthy: HealthyReplies, rollouts: Sequence[Rollout], style: Style, server: StyledServer
) -> list[Rollout]:
    """Return rollouts of a run in a style; those without a changed reply are the same objects."""
    at_once = asyncio.Semaphore(64)

    async def one(rollout: Rollout) -> Rollout:
        async with at_once:
            return await healthy.with_style(rollout, style, server)

    return list(await asyncio.gather(*map(one, rollouts)))


class StyledRun:
    """A recorded healthy run that is judged as if its model had other habits."""

    def __init__(self, run: RecordedRun, server: Callable[[], StyledServer]) -> None:
        """Read the replies; `server` is called for each style."""
        self._run, self._server = run, server
        attempts = {attempt.id: attempt for attempt in planned_attempts(run.tasks)}
        self._healthy = HealthyReplies(attempts, run.rollouts)

    def judged(self, style: Style) -> Analysis:
        """Judge the part of the run that has the style."""
        part = self._run.with_settings(PARTS[style.part]) if PARTS[style.part] else self._run
        rollouts = part.rollouts[:100] if style.part == "100 attempts" else part.rollouts
        return part.analyzed(asyncio.run(self._styled(rollouts, style)))[0]

    async def _styled(self, rollouts: Sequence[Rollout], style: Style) -> Sequence[Rollout]:
        """Return the rollouts in a style, or those of as many samples as it has and can have it."""
        server = self._server()
        if style.samples is None:
            return await styled(self._healthy, rollouts, style, server)
        every: dict[tuple[str, str], list[int]] = defaultdict(list)
        for at, one in enumerate(rollouts):
            every[one.task, one.sample].append(at)
        made, left = list(rollouts), style.samples
        for tries in Random(style.seed).sample([*every.values()], len(every)):  # noqa: S311
            if not left:
                break
            others = await styled(self._healthy, [rollouts[at] for at in tries], style, server)
            for at, other in zip(tries, others, strict=True):
                made[at] = other
            left -= any(made[at] is not rollouts[at] for at in tries)
        return made


def styles_of(name: str) -> Sequence[Style]:
    """Return the styles that test a habit, a slip, or a mixture, in each part.

    A habit is in each share of the replies, and as a slip in one and in two samples.
    """
    if name in HABITS or name in SLIPS:
        habit = HABITS.get(name) or SLIPS[name]
        shares = [Style({habit: share}) for share in SHARES] if name in HABITS else []
        return [*shares, *(Style({habit: 1.0}, samples=samples) for samples in SAMPLES)]
    return [Style(MIXTURES[name], seed, part) for seed in range(_SEEDS) for part in PARTS]
