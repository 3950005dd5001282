"""Repeat the requests of a finding, and reduce the request as long as the rest shows it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import token_hex

from harness.api import DIALECTS
from harness.api.parsed_rollout import parse_rollout
from harness.api.statuses import without_reply
from harness.records.rollouts import SDK, Exchange
from harness.records.scores import Finding
from harness.repeat.smaller import Body, size
from harness.repeat.subject import CONTINUES, USUAL_TRIES, Subject
from harness.run.tool_loop import send_together
from harness.statistics.intervals import exact_bounds
from harness.statistics.recurrence import MISSED, fewest_tries
from harness.transport.interface import Transport


@dataclass
class Outcome:
    """How often a finding was reproduced, and the smallest request that still showed it.

    `sent` counts the tries that ended, `unanswered` those of them that say nothing, because the
    server did not answer. `again` has the finding in a reply to the smallest request, and its
    exchange.
    """

    seen: int = 0
    sent: int = 0
    unanswered: int = 0
    smallest: Body | None = None
    again: tuple[Finding, Exchange] | None = None

    @property
    def answered(self) -> int:
        """The tries that say something."""
        return self.sent - self.unanswered

    @property
    def unseen(self) -> str:
        """What tries without the finding show: `0 of 53: gone, or rarer than 1 in 18 (95%)`."""
        most = exact_bounds(0, self.answered, MISSED)[1]
        if self.answered < USUAL_TRIES:
            return f"0 of {self.answered}, which says little"
        return f"0 of {self.answered}: gone, or rarer than 1 in {1 / most:.0f} (95%)"


Progress = Callable[[str], None]
MOST_REQUESTS = 60  # for variants of a request, and by default for the request itself
MOST_TRIES_OF_A_VARIANT = 15  # a finding that needs more is too rare to reduce its request
WAIT = 10  # seconds after which a step says what it waits for


async def experiment(
    subject: Subject,
    transport: Transport,
    outcome: Outcome,
    *,
    times: int,
    at_once: int,
    until_seen: bool,
    reduce: bool,
    say: Progress,
) -> None:
    """Repeat the requests of a finding, then reduce the request if it shows the finding again.

    The requests are sent `times` times, `at_once` at a time, or only `until_seen`. No variant is
    sent twice. `outcome` has the results so far, if this is cancelled.
    """
    say(f"Sending the request of {subject.rollout.id} {times} times, {at_once} at once.")
    usual = 0.0
    while outcome.sent < times and not (until_seen and outcome.seen):
        began = time.monotonic()
        batch = min(at_once, times - outcome.sent)
        await _repeat(subject, transport, outcome, subject.body, batch, say)
        if outcome.sent < times and not outcome.seen:
            say(f"Not seen in {outcome.sent} of {times} tries.")
        usual = max(usual, time.monotonic() - began)
    said = f"Reproduced in {outcome.seen} of {outcome.sent} tries"
    if not reduce or not outcome.seen or subject.body is None:
        say(f"{said}.")
        return
    tries = max(min(times, USUAL_TRIES), fewest_tries(outcome.seen / outcome.sent))
    if tries > MOST_TRIES_OF_A_VARIANT:
        say(f"{said}. That is too rare to reduce the request.")
        return
    say(f"{said}; reducing the request.")
    await _reduce(subject, transport, outcome, subject.body, tries, usual, say)


async def _reduce(
    subject: Subject,
    transport: Transport,
    outcome: Outcome,
    body: Body,
    tries: int,
    usual: float,
    say: Progress,
) -> None:
    """Leave out parts of a request as long as the rest shows the finding."""
    total, variants, reduced = 0, [body], True
    while reduced:
        reduced = False
        for part, candidate in subject.smaller(body):
            if candidate in variants:
                continue
            variants.append(candidate)
            if (total := total + tries) > MOST_REQUESTS:
                return
            tried = Outcome()
            await _repeat(subject, transport, tried, candidate, tries, say, usual)
            missed = "not reproduced" if tried.sent == tries else "too slow"
            shown = "still reproduced" if tried.seen else missed
            say(f"{total} requests: without {part}, {shown} ({size(candidate):,} characters)")
            if tried.seen:
                body = outcome.smallest = candidate
                outcome.again = tried.again
                reduced = True
                break
    if not total:
        say("No part of it can be left out.")


async def _repeat(
    subject: Subject,
    transport: Transport,
    outcome: Outcome,
    body: Body | None,
    times: int,
    say: Progress,
    usual: float | None = None,
) -> None:
    """Send a conversation several times at once, and count the results as they arrive.

    The first reply with the finding decides about a variant. Its replies may be endless: those that
    take longer than the `usual` seconds of the recorded request are not awaited.
    """
    began = time.monotonic()
    bodies = (
        [body] if body is not None else [exchange.request.body for exchange in subject.requests]
    )
    waiting = {asyncio.ensure_future(_once(subject, transport, bodies)) for _ in range(times)}
    try:
        while waiting and (usual is None or not outcome.seen):
            done, waiting = await asyncio.wait(
                waiting, timeout=WAIT, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and usual is not None and time.monotonic() - began > usual:
                return
            if not done:
                say(f"waiting for {len(waiting)} of {times} replies")
            for exchanges in (task.result() for task in done):
                found = subject.found_in(exchanges)
                outcome.sent += 1
                outcome.seen += found is not None
                outcome.unanswered += found is None and without_reply(exchanges[-1])
                outcome.again = outcome.again or found
    finally:
        for task in waiting:
            task.cancel()


async def _once(
    subject: Subject, transport: Transport, bodies: Sequence[Body | None]
) -> list[Exchange]:
    """Send one conversation."""
    path, request = DIALECTS[subject.rollout.api].path, subject.request
    sender = SDK if request is None else request.sender
    if sender.socket:  # each try has a connection of its own
        sender = replace(sender, socket=token_hex(8))
    if request is not None and request.together:
        return await send_together(transport, path, bodies, sender)
    made: list[Exchange] = []
    for body, before in zip(bodies, subject.requests, strict=False):
        sent: Body | str | None = body if body is not None else before.request.text
        if isinstance(sent, Mapping) and CONTINUES in sent and made:
            again = subject.rollout.model_copy(update={"exchanges": tuple(made)})
            reply = parse_rollout(again).exchanges[-1].reply
            sent = {**sent, CONTINUES: None if reply is None else reply.raw.get("id")}
        made.append(await transport.send(path, sent, sender=sender))
    return made
