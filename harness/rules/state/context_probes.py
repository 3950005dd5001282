"""A context that the provider keeps or shortens: `conversation`, and compaction.

A provider that does not support a member must refuse it. One that ignores it answers without what
its client no longer sends.
"""

from harness.api.fields import objects
from harness.api.items import Message
from harness.rules.probe import (
    MAY_BE_REFUSED,
    ProbeRequest,
    Sent,
    Trials,
    prompt_tokens,
)
from harness.rules.refusals import outcome, refused, require_intact
from harness.rules.rule import Problem
from harness.rules.state.previous_response_probes import (
    FIRST,
    GROUP,
    LAST_QUESTION,
    continues_from,
)

_CONVERSATION = "conv_gpt_oss_verify_never_got_this_id"
_THRESHOLD = 1_000  # tokens, the fewest that OpenAI's API accepts
_COMPACTION = {"type": "compaction", "compact_threshold": _THRESHOLD}
_LONG = "The harbour was quiet, and the tide came in slowly. " * 200 + "What was quiet?"
"""About 2,200 tokens, so that the prompt exceeds the threshold."""
_COMPACTION_ITEM = {
    "type": "compaction",
    "id": "cmp_1",
    "encrypted_content": "Z3B0LW9zcy12ZXJpZnk=",
}
"""What no provider has made, and none can read."""


_NAMED = GROUP.send(
    ProbeRequest(
        "conversation",
        (Message("user", FIRST),),
        then=(LAST_QUESTION,),
        history="conversation",
        options={"conversation": _CONVERSATION},
        max_turns=2,
        tries=2,
        provokes=MAY_BE_REFUSED,
        valid=False,
    )
)


@GROUP.probe(
    "state.conversation",
    _NAMED,
    fix="Keep the items of the conversation, or refuse `conversation` with an error naming it.",
    example=(
        "A named conversation has copies of its messages.",
        "https://github.com/NousResearch/hermes-agent/issues/101644",
    ),
)
def _conversation(named: Sent) -> Trials:
    """A request in a `conversation` knows the earlier ones, or is refused.

    Its client sends only what is new. A server that ignores the member answers without the rest.
    """
    for rollout, last in named.last:
        first = rollout.exchanges[0]
        require_intact(first)
        if first.reply is None:
            problem = Problem(first, "A conversation fails.", "a reply or 4xx", outcome(first))
            yield None if refused(rollout) else problem
        elif last is not first and last.reply is not None:
            message = "The provider accepts `conversation`, and ignores it."
            got = "a reply without the request before"
            wrong = Problem(last, message, "status 404 or 400", got, "$.conversation")
            yield None if continues_from(first.reply, last.reply) else wrong


_COMPACTED = GROUP.send(
    ProbeRequest(
        "compacted",
        (Message("user", _LONG),),
        options={"context_management": [_COMPACTION]},
        whole=False,
        valid=False,
    )
)


@GROUP.probe(
    "state.compaction",
    _COMPACTED,
    severity="warning",
    fix="Compact the context, or refuse `context_management` with an error naming it.",
)
def _compaction(compacted: Sent) -> Trials:
    """Above the threshold of `context_management`, a response has a compaction item.

    Its client relies on it when a session gets long. A provider that does not support this must
    refuse the request, so that the client compacts the context itself.
    """
    for rollout, last in compacted.intact:
        reply = last.reply
        if reply is None:
            problem = Problem(last, "Compaction fails.", "a reply or 4xx", outcome(last))
            yield None if refused(rollout) else problem
        elif prompt_tokens(reply) > _THRESHOLD:
            kinds = [str(item.get("type")) for item in objects(reply.raw.get("output"))]
            message = "The provider accepts `context_management`, and compacts nothing."
            wrong = Problem(last, message, "a compaction item", ", ".join(kinds), "$.output")
            yield None if "compaction" in kinds else wrong
        else:
            yield None


_QUESTION = {"type": "message", "role": "user", "content": LAST_QUESTION}
_COMPACTED_BEFORE = GROUP.send(
    ProbeRequest(
        "compacted before",
        (Message("user", LAST_QUESTION),),
        options={"input": [_COMPACTION_ITEM, _QUESTION]},
        whole=False,
        valid=False,
    )
)


@GROUP.probe(
    "state.compaction.item",
    _COMPACTED_BEFORE,
    fix="Refuse a compaction item that this server has not made with status 400.",
)
def _compaction_item(compacted: Sent) -> Trials:
    """A compaction item that the provider cannot read is refused.

    It is all that a client still has of a long conversation. A reply without it misleads the user.
    """
    for rollout, last in compacted.intact:
        message = "The provider accepts a compaction item that it cannot read, and drops it."
        if not last.good_status:
            message = "A request with a compaction item that the provider cannot read fails."
        got = "a reply" if last.good_status else outcome(last)
        wrong = Problem(last, message, "status 400", got, "$.input[0]")
        yield None if refused(rollout) else wrong
