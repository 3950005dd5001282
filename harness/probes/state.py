"""Responses that the provider keeps, continued by `previous_response_id`.

That a conversation goes on shows in a code word that only the first request told; or else in the
prompt tokens: with all that came before in its prompt, a short second request has more of them than
the long first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from harness.api.conversation import Message
from harness.checks.base import Problem
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import fate, refused
from harness.probes.tools.offers import WEATHER
from harness.records.conditions import Api

_STATE = "https://platform.openai.com/docs/guides/conversation-state"
_UNKNOWN = "resp_gpt_oss_verify_never_got_this_id"
_WORD = "orchid596"
_TOLD = (
    f"The code word is {_WORD}. The door of the house by the old harbour is green, and the boat "
    "that lies in front of it has two sails. Keep all of that in mind, for I will ask later."
)


def _asks(_api: Api) -> tuple[Ask, ...]:
    hello = (Message("user", "Hi there!"),)
    weather = (Message("user", "What is the weather in Lisbon?"),)
    refusal = frozenset({"request.refused"})
    return (
        Ask(
            "told",
            (Message("user", _TOLD),),
            then=("What is the code word?",),
            stored=True,
            max_turns=2,
            provokes=refusal,
        ),
        Ask("called", weather, (WEATHER,), stored=True, max_turns=2, provokes=refusal),
        Ask(
            "unknown",
            hello,
            options={"previous_response_id": _UNKNOWN},
            provokes=refusal | {"request.failed"},
        ),
    )


BENCH = Bench("state", _asks)


@BENCH.probe(
    "state.previous_response",
    uses=("told",),
    apis=("responses",),
    modes=("non-streaming", "streaming"),
    needs="previous_response_id",
    severity="error",
    summary="A stored response is continued by its id, with all that came before.",
    why="Forgetting the conversation in silence is worse than refusing the request.",
    source=_STATE,
)
def _continued(answers: Answers) -> Iterator[Trial]:
    for view in _went_on(answers, "told"):
        yield _break_in(view)


@BENCH.probe(
    "state.previous_response.calls",
    uses=("called",),
    apis=("responses",),
    modes=("non-streaming", "streaming"),
    needs="previous_response_id",
    severity="error",
    summary="The result of a stored response's tool call can be sent with nothing but its id.",
    why="Agents that use stored responses send it so.",
    source=_STATE,
)
def _continued_calls(answers: Answers) -> Iterator[Trial]:
    for view in _went_on(answers, "called"):
        yield _break_in(view)


@BENCH.probe(
    "state.previous_response.unknown",
    uses=("unknown",),
    apis=("responses",),
    severity="error",
    summary="An unknown previous_response_id is refused with a 4xx status.",
    why="An answer that knows nothing of the conversation misleads; a failure is repeated.",
    source=_STATE,
)
def _unknown(answers: Answers) -> Iterator[Trial]:
    for view in answers.all("unknown"):
        turn = view.turns[-1]
        message = "A previous_response_id that nobody gave out is not refused."
        got = "an answer" if turn.good_status else fate(turn)
        wrong = Problem(turn, message, "status 404 or 400", got, "$.previous_response_id")
        yield None if refused(view) else wrong


def _went_on(answers: Answers, name: str) -> list[ParsedRollout]:
    """The rollouts in which a stored response was continued.

    Raises:
        NotVerifiableError: There are none, or the provider keeps no responses, and does not say
            that it does.
    """
    views = answers.all(name)
    if all(refused(view) and len(view.turns) == 1 for view in views):
        raise NotVerifiableError("The provider refuses to store responses.")
    found = [view for view in views if len(view.turns) > 1]
    if not found:
        raise NotVerifiableError("The first reply is nothing that could be continued.")
    if all(refused(view) and not _claims_to_store(view) for view in found):
        said = fate(found[0].turns[-1])
        raise NotVerifiableError(f"The provider refuses to continue a response ({said}).")
    return found


def _claims_to_store(view: ParsedRollout) -> bool:
    reply = view.turns[0].reply
    return reply is not None and reply.raw.get("store") is True


def _break_in(view: ParsedRollout) -> Trial:
    """Where a continued conversation breaks off, if it does."""
    first, second = view.turns[:2]
    if second.reply is None or first.reply is None:
        message = "A stored response cannot be continued by its id."
        return Problem(second, message, "a reply", fate(second))
    if _WORD not in second.reply.text.lower():
        before, after = first.reply.input_tokens, second.reply.input_tokens
        if before is None or after is None:
            raise NotVerifiableError("The provider does not report prompt tokens.")
        if after <= before:
            message = "Nothing of the stored response is in the prompt of what continues it."
            got = f"{after}, after {before} in the first request"
            return Problem(second, message, "more prompt tokens", got, "$.usage.input_tokens")
    return _wrong_echo(second, second.reply.raw)


def _wrong_echo(turn: ParsedExchange, raw: Mapping[str, Any]) -> Trial:
    sent = turn.asked.body.get("previous_response_id")
    echoed = raw.get("previous_response_id")
    if echoed == sent:
        return None
    message = "The response does not name the one that it continues."
    expected, got = (orjson.dumps(value).decode() for value in (sent, echoed))
    return Problem(turn, message, expected, got, "$.previous_response_id")
