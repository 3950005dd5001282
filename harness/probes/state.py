"""Responses that the provider stores, continued with `previous_response_id`.

A code word that only the first request contained shows that the conversation continues. Otherwise
the prompt tokens show it: with the earlier conversation in its prompt, a short second request has
more of them than the long first request.
"""

from functools import partial

from harness.api.base import Message
from harness.findings import Problem
from harness.parsing.rollout import ParsedRollout
from harness.probes.base import (
    NotVerifiableError,
    ProbeGroup,
    ProbeRequest,
    ProbeResponses,
    Trials,
    prompt_tokens,
)
from harness.probes.refusals import outcome, refused
from harness.probes.tools.offers import WEATHER
from harness.records.conditions import MODES

_STATE = "https://platform.openai.com/docs/guides/conversation-state"
_UNKNOWN = "resp_gpt_oss_verify_never_got_this_id"
_CODE_WORD = "orchid596"
_NOT_FOUND = 404
_TRIES = 2
"""With two requests in two modes, a server that loses one response in three passes by 4 %."""
_FIRST = (
    f"The code word is {_CODE_WORD}. The door of the house by the old harbour is green, and the "
    "boat that lies in front of it has two sails. Keep all of that in mind, for I will ask later."
)

_stored = partial(
    ProbeRequest,
    stored=True,
    tries=_TRIES,
    max_turns=2,
    provokes=frozenset({"request.refused"}),
)
_REQUESTS = (
    _stored("told", (Message("user", _FIRST),), then=("What is the code word?",)),
    _stored("called", (Message("user", "What is the weather in Lisbon?"),), (WEATHER,)),
    ProbeRequest(
        "unknown",
        (Message("user", "Hi there!"),),
        options={"previous_response_id": _UNKNOWN},
        whole=False,
        valid=False,
    ),
)
GROUP = ProbeGroup("state", lambda _api: _REQUESTS, _STATE, apis=("responses",))


def _continues(name: str, responses: ProbeResponses) -> Trials:
    return map(_broken_continuation, _continued(responses, name))


for _id, _name, _text in (
    (
        "state.previous_response",
        "told",
        "A stored response can be continued by its id, with the entire earlier conversation. "
        "Silently losing the conversation is worse than rejecting the request.",
    ),
    (
        "state.previous_response.calls",
        "called",
        "A tool result can be sent with only the id of the stored response. Agents that use stored "
        "responses send it this way.",
    ),
):
    GROUP.probe(
        _id,
        (_name,),
        modes=MODES,
        needs="previous_response_id",
        text=_text,
    )(partial(_continues, _name))


@GROUP.probe("state.previous_response.unknown", ("unknown",))
def _unknown(responses: ProbeResponses) -> Trials:
    """An unknown previous_response_id is rejected with a 4xx status.

    A reply without the conversation misleads users, and clients retry a request that failed.
    """
    for rollout in responses.all("unknown"):
        last = rollout.exchanges[-1]
        message = "A request with an unknown previous_response_id was not rejected."
        got = "a reply" if last.good_status else outcome(last)
        wrong = Problem(last, message, "status 404 or 400", got, "$.previous_response_id")
        yield None if refused(rollout) else wrong


def _continued(responses: ProbeResponses, name: str) -> list[ParsedRollout]:
    """The rollouts in which a stored response was continued.

    Raises NotVerifiableError if there are none, or the provider stores no responses: it does not
    claim to, or refuses to continue one otherwise than by not finding it.
    """
    rollouts = responses.all(name)
    if all(refused(rollout) and len(rollout.exchanges) == 1 for rollout in rollouts):
        raise NotVerifiableError("The provider refuses to store responses.")
    found = [rollout for rollout in rollouts if len(rollout.exchanges) > 1]
    if not found:
        raise NotVerifiableError("The first reply cannot be continued.")
    if all(refused(rollout) and _stores_nothing(rollout) for rollout in found):
        reason = outcome(found[0].exchanges[-1])
        raise NotVerifiableError(f"The provider refuses to continue a response ({reason}).")
    return found


def _stores_nothing(rollout: ParsedRollout) -> bool:
    reply = rollout.exchanges[0].reply
    claims = reply is not None and reply.raw.get("store") is True
    return not claims or rollout.exchanges[-1].status != _NOT_FOUND


def _broken_continuation(rollout: ParsedRollout) -> Problem | None:
    """The problem of a continued conversation, if it has one."""
    first, second = rollout.exchanges[:2]
    if second.reply is None or first.reply is None:
        message = "A stored response cannot be continued by its id."
        return Problem(second, message, "a reply", outcome(second))
    if _CODE_WORD not in second.reply.text.lower():
        before, after = prompt_tokens(first.reply), prompt_tokens(second.reply)
        if after <= before:
            message = "The continued prompt does not contain the stored response."
            got = f"{after}, after {before} in the first request"
            return Problem(second, message, "more prompt tokens", got, "$.usage.input_tokens")
    return None
