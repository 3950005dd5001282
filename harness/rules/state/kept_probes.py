"""Responses that their client reads again by id, or that run in the background."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.api.items import Follow, Message
from harness.records.conditions import Api
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, answers
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeRequest, ProbeResponses, Trials
from harness.rules.refusals import declined, outcome, refused, require_intact
from harness.rules.rule import Problem
from harness.rules.state.previous_response_probes import GROUP, STATE, stores_nothing

_POLLS = 40  # requests, 1 s apart, in which a short answer is finished
_FOLLOWED: Sequence[tuple[str, Mapping[str, Any], Follow, int]] = (
    ("kept", {"store": True}, "retrieve", 2),
    ("background", {"store": True, "background": True}, "retrieve", _POLLS),
    ("cancelled", {"store": True, "background": True}, "cancel", 2),
)
_IGNORED = "The provider accepts `background`, and ignores it."
family = Family("state", STATE, component="storage")


def _requests(_api: Api, _own: Mapping[str, ProbeRequest]) -> Iterator[ProbeRequest]:
    for name, options, follow, turns in _FOLLOWED:
        yield ProbeRequest(
            name,
            (Message("user", "Hi there!"),),
            options=options,
            follow=follow,
            max_turns=turns,
            whole=False,
            valid=False,
        )


GROUP.also_send(_requests)


@GROUP.probe(
    "state.retrieved",
    ("kept",),
    severity="warning",
    fix="Return a stored response by its id, or answer `store: false`.",
)
def _retrieved(responses: ProbeResponses) -> Trials:
    """A stored response can be retrieved by its id, with the output that it had.

    Clients read it again after a broken stream.
    """
    for rollout in responses.all("kept"):
        first, last = rollout.exchanges[0], rollout.exchanges[-1]
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


@GROUP.probe(
    "state.background",
    ("background", "cancelled"),
    severity="warning",
    fix="Run background responses to their end, or refuse `background` with an error naming it.",
)
def _background(responses: ProbeResponses) -> Trials:
    """A background response is finished, or cancelled, as its client asks.

    Its client gets the id at once, and the response later. A provider that does not support this
    must reject the request.
    """
    for rollout in responses.all("background", "cancelled"):
        first, last = rollout.exchanges[0], rollout.exchanges[-1]
        if last is first and declined(rollout):
            raise NotVerifiableError(
                "refuses_feature", feature="background responses", status=first.status or 0
            )
        require_intact(first, last)
        cancels = rollout.rollout.sample == "cancelled"
        read = [exchange.reply.raw.get("status") for exchange in (first, last) if exchange.reply]
        ended = "completed" in read or (cancels and ("cancelled" in read or refused(rollout)))
        problems = [Problem(last, "A background response does not end.", "an end", outcome(last))]
        if first.reply is not None:
            problems = [*_background_ignored(Answer(first, first.reply)), *problems]
        yield None if ended and len(problems) == 1 else problems[0]
