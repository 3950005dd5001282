"""Responses that their client reads again by id, or that run in the background."""

from collections.abc import Iterator
from functools import partial

from harness.api.items import Message
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, answers
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeRequest, Sent, Trials
from harness.rules.refusals import declined, outcome, refused, require_intact
from harness.rules.rule import Problem
from harness.rules.state.previous_response_probes import GROUP, STATE, stores_nothing

_POLLS = 40  # requests, 1 s apart, in which a short answer is finished
_IGNORED = "The provider accepts `background`, and ignores it."
family = Family("state", STATE, component="storage")


_hello = partial(
    ProbeRequest, turns=(Message("user", "Hi there!"),), whole=False, valid=False, follow="retrieve"
)
_KEPT = GROUP.send(_hello("kept", options={"store": True}, max_turns=2))


@GROUP.probe(
    "state.retrieved",
    _KEPT,
    severity="warning",
    fix="Return a stored response by its id, or answer `store: false`.",
)
def _retrieved(kept: Sent) -> Trials:
    """A stored response can be retrieved by its id, with the output that it had.

    Clients read it again after a broken stream.
    """
    for rollout, last in kept.last:
        first = rollout.exchanges[0]
        if first.reply is None or last is first:
            raise NotVerifiableError("not_continued")
        if declined(rollout) and stores_nothing(rollout):
            raise NotVerifiableError("refuses_to_store")
        require_intact(last)
        message, got = "A stored response cannot be retrieved by its id.", outcome(last)
        if last.reply is not None:
            message, got = "A retrieved response has another output.", last.reply.generated
        wrong = Problem(last, message, first.reply.generated, got)
        yield None if got == first.reply.generated else wrong


@family.check(
    "state.background.ignored",
    answers,
    lambda answer: answer.exchange.request.body.get("background"),
    severity="warning",
    apis=("responses",),
    fix="Run the response in the background, or refuse `background` with an error naming it.",
)
def _background_ignored(answer: Answer) -> Iterator[Problem]:
    """A background response says so. Otherwise its client waited for the whole reply."""
    echoed = answer.reply.raw.get("background")
    if echoed is not True and answer.exchange.request.body.get("background"):
        yield Problem(answer.exchange, _IGNORED, "background: true", repr(echoed), "$.background")


_in_background = partial(_hello, options={"store": True, "background": True})
_BACKGROUND = GROUP.send(_in_background("background", max_turns=_POLLS))
_CANCELLED = GROUP.send(_in_background("cancelled", follow="cancel", max_turns=2))


@GROUP.probe(
    "state.background",
    (_BACKGROUND, _CANCELLED),
    severity="warning",
    fix="Run background responses to their end, or refuse `background` with an error naming it.",
)
def _background(followed: Sent) -> Trials:
    """A background response is finished, or cancelled, as its client asks.

    Its client gets the id at once, and the response later. A provider that does not support this
    must reject the request.
    """
    for rollout, last in followed.last:
        first = rollout.exchanges[0]
        if last is first and declined(rollout):
            raise NotVerifiableError(
                "refuses_feature", feature="background responses", status=first.status or 0
            )
        require_intact(first, last)
        cancels = rollout.rollout.sample == _CANCELLED.id
        read = [exchange.reply.raw.get("status") for exchange in (first, last) if exchange.reply]
        ended = "completed" in read or (cancels and ("cancelled" in read or refused(rollout)))
        problems = [Problem(last, "A background response does not end.", "an end", outcome(last))]
        if first.reply is not None:
            problems = [*_background_ignored(Answer(first, first.reply)), *problems]
        yield None if ended and len(problems) == 1 else problems[0]
