"""Chain of thought in conversations: returned, accepted back, used while needed, then dropped.

A code word that occurs only in the CoT shows whether the model sees that CoT. A model cannot guess
it, so one repeated stale code word proves that stale CoT was in the prompt. A code word given by
the user shows whether the model repeats code words at all. A model may call another tool instead of
answering, or keep the code word to itself: if the prompt has the tokens of the CoT, this reply is
not evidence. Chat requests send CoT back in the field in which the provider returns it.
"""

from functools import cache, partial

from harness.api.fields import objects
from harness.api.items import Message, Reasoning, Reply, ToolCall, ToolResult
from harness.api.ledger import has_lost_cot, ledger
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import MODES
from harness.rules.evidence.offers import WEATHER
from harness.rules.evidence.rendering import Prompt, differences
from harness.rules.habits import NO_COT, unmeasured
from harness.rules.missing import NotVerifiableError, required, unlike
from harness.rules.probe import (
    MAY_BE_REFUSED,
    ProbeGroup,
    ProbeRequest,
    Sent,
    Trials,
    prompt_tokens,
)
from harness.rules.refusals import is_of_upstream, outcome, refused
from harness.rules.rule import RAW_COT, Problem

_CODE_WORDS = ("zulu4182", "orchid596", "kestrel73")
_PROMPT = "What is the weather in Lisbon? In your final answer, state the code word."
_PROMPT_TWO = (
    "What is the weather in Lisbon and in Oslo? In your final answer, state the code word."
)
_QUESTION = "What is the code word?"
_LATER = Message("user", _QUESTION)
_LISBON = ToolCall("call_1", WEATHER.name, '{"location": "Lisbon"}')
_OSLO = ToolCall("call_2", WEATHER.name, '{"location": "Oslo"}')
_LISBON_RESULT = ToolResult("call_1", '{"temperature": 21}')
_OSLO_RESULT = ToolResult("call_2", '{"temperature": 9}')
_SECOND_REASONING = Reasoning(f"The user wants {WEATHER.name}. With location: Oslo.")
_ANSWER = Message("assistant", "It is 21 degrees in Lisbon.")
_FORGOTTEN = unmeasured(0.2)


def _reasoning(word: str) -> Reasoning:
    return Reasoning(f"The code word is {word}. The user wants {WEATHER.name}, with Lisbon.")


GROUP = ProbeGroup("cot", RAW_COT, component="refusals")
_USER, _TWO = Message("user", _PROMPT), Message("user", _PROMPT_TWO)
_with_tool = partial(ProbeRequest, tools=(WEATHER,))
_CALL = (_LISBON, _LISBON_RESULT)
_KEPT = GROUP.send_all(
    _with_tool(f"kept {word}", (_USER, _reasoning(word), *_CALL), tries=2, confirming=1)
    for word in _CODE_WORDS
)
_ACROSS = GROUP.send_all(
    _with_tool(
        f"kept across calls {word}",
        (_TWO, _reasoning(word), *_CALL, _SECOND_REASONING, _OSLO, _OSLO_RESULT),
        tries=3,
        confirming=1,
    )
    for word in _CODE_WORDS[:2]
)
_TOLD = GROUP.send_all(
    ProbeRequest(
        f"told {word}",
        (
            Message("user", f"The code word is {word}."),
            Message("assistant", "Understood."),
            _LATER,
        ),
    )
    for word in _CODE_WORDS[:2]
)
_STALE = (
    *GROUP.send_all(
        ProbeRequest(
            f"stale {word}",
            (
                Message("user", "Think of a code word."),
                _reasoning(word),
                Message("assistant", "I have one."),
                _LATER,
            ),
        )
        for word in _CODE_WORDS[:2]
    ),
    *GROUP.send_all(
        _with_tool(
            f"stale call {word}",
            (
                Message("user", "What is the weather in Lisbon?"),
                _reasoning(word),
                *_CALL,
                _ANSWER,
                _LATER,
            ),
        )
        for word in _CODE_WORDS[:2]
    ),
)
_OWN = GROUP.send(_with_tool("own", (_USER,), max_turns=4, then=(_QUESTION,)))
_CALLED = GROUP.send(_with_tool("called", (_USER, *_CALL)))


@GROUP.probe("cot.returned", (*_TOLD, *_STALE), habit=NO_COT, component="output")
def _returned(asked: Sent) -> Trials:
    """Replies whose tokens include a CoT contain it in the field that the API defines.

    Clients must send it back between tool calls. The model occasionally answers without CoT.
    """
    replies = list(asked.replies)
    thought = [answer for answer in replies if answer[1].reasoning or has_lost_cot(answer[0])]
    yield from [unlike("a reply without CoT")] * (len(replies) - len(thought))
    for exchange, reply in required(thought, "no_cot_tokens"):
        items = objects(reply.raw.get("output"))
        summarized = any(item.get("summary") and not item.get("content") for item in items)
        message, got = "The reply contains no CoT.", "none"
        if summarized:
            message, got = "The CoT is in a summary, where clients do not look for it.", "a summary"
        missing = Problem(exchange, message, "chain of thought in the content", got)
        yield missing if summarized or not reply.reasoning else None


_SUMMARY = GROUP.send(
    ProbeRequest(
        "with a summary",
        (
            Message("user", "The code word is orchid596."),
            Message("assistant", "Understood."),
            _LATER,
        ),
        apis=("responses",),
        options={"reasoning": {"summary": "auto"}},
        provokes=MAY_BE_REFUSED,
    )
)


@GROUP.probe(
    "cot.returned.unasked",
    _TOLD,
    _SUMMARY,
    apis=("responses",),
    component="output",
    fix="Return the CoT of every response; in a gateway or bridge, forward it from every reply.",
)
def _unasked(told: Sent, summarized: Sent) -> Trials:
    """The CoT is returned also if the request does not set reasoning.summary.

    That option asks for a summary. Clients of gpt-oss need the CoT itself, and do not send it.
    """
    replies = list(told.replies)
    lacking = [exchange for exchange, reply in replies if not reply.reasoning]
    asked = [reply.reasoning for _, reply in summarized.replies]
    if len(lacking) == len(replies) and all(asked) and all(map(has_lost_cot, lacking)):
        message = "The reply contains CoT only if the request sets reasoning.summary."
        for exchange in lacking:
            yield Problem(exchange, message, "the CoT, whatever the request sets", "none")
    else:
        yield None


def _accepted(sent: Sent, called: Sent) -> Trials:
    """Whether the last request of each rollout, whose history contains CoT, succeeded.

    Where the call without CoT is refused as well, one with CoT is not refused for its CoT.
    """
    plain = [rollout.exchanges[-1].good_status for rollout in called.made]
    calls_fail = bool(plain) and not any(plain)
    judged = [
        e
        for _, e in sent.last
        if e.good_status or not ((calls_fail and e.request.functions) or is_of_upstream(e))
    ]
    if not judged:
        raise NotVerifiableError("plain_request_fails", request=called.name)
    for exchange in judged:
        message = "The provider rejects or fails on a conversation that contains CoT."
        problem = Problem(exchange, message, "a reply", outcome(exchange))
        yield None if exchange.good_status else problem


@GROUP.probe(
    "cot.accepted",
    (*_KEPT, *_ACROSS, *_STALE),
    _CALLED,
    fix="Accept CoT in the field that the API defines, and with text and calls.",
)
def _accepts(thinking: Sent, called: Sent) -> Trials:
    """The provider accepts CoT in the field that the API defines.

    The model calls tools from within its CoT, so clients must send it back.
    """
    return _accepted(thinking, called)


_BESIDE_TEXT = GROUP.send(
    _with_tool(
        "beside text",
        (
            _USER,
            _reasoning(_CODE_WORDS[0]),
            Message("assistant", "I will look it up."),
            *_CALL,
        ),
    )
)


@GROUP.probe(
    "cot.accepted.beside_text",
    _BESIDE_TEXT,
    _CALLED,
    fix="Accept CoT in the field that the API defines, and with text and calls.",
)
def _accepts_with_text(thinking: Sent, called: Sent) -> Trials:
    """The provider accepts a message that combines text, CoT and a tool call.

    gpt-oss generates such messages when it announces a tool call to the user.
    """
    return _accepted(thinking, called)


def _knows(reply: Reply, name: str) -> bool:
    """Whether the reply repeats the code word that ends the name of a request."""
    return name.rpartition(" ")[2] in reply.text.lower()


def _code_word_replies(sent: Sent, told: Sent) -> list[tuple[str, ParsedExchange, Reply]]:
    """Return the replies, each with the name of its request.

    Raises NotVerifiableError also if the model does not even repeat the user's code word.
    """
    replies = []
    for each in sent:
        if all(map(refused, each.rollouts)):
            raise NotVerifiableError("refuses_cot")
        replies += [(each.name, *reply) for reply in each.replies]
    if not any(_knows(reply, name) for name, _, reply in replies):
        repeated = (_knows(reply, each.name) for each in told for _, reply in each.replies)
        if not all(repeated):
            raise NotVerifiableError("forgets_user")
    return replies


def _used(sent: Sent, told: Sent, own: Sent) -> Trials:
    replies = _code_word_replies(sent, told)
    evident = [
        (name, exchange, reply)
        for name, exchange, reply in replies
        if _knows(reply, name) or (reply.text and not _has_tokens_of_cot(name, reply, own))
    ]
    yield from (unlike(each[2].text) for each in replies if each not in evident)
    for name, exchange, reply in required(evident, "has_cot_in_prompt"):
        message = "The model does not know a code word from the CoT that was sent back."
        missed = Problem(exchange, message, name.rpartition(" ")[2], reply.text)
        yield None if _knows(reply, name) else missed


def _has_tokens_of_cot(name: str, reply: Reply, own: Sent) -> bool:
    """Whether a prompt exceeds that of the question alone by all that was sent back."""
    try:
        added = prompt_tokens(reply) - own.prompt
    except NotVerifiableError:
        return False
    return added in _added_tokens(name)


@cache
def _added_tokens(name: str) -> frozenset[int]:
    prompts = {
        request.id: Prompt(request.turns, request.tools) for request in (*_KEPT, *_ACROSS, _OWN)
    }
    return differences(prompts[name], prompts[_OWN.id])


for _id, _sent, _text in (
    (
        "cot.used",
        _KEPT,
        "After a tool result, the model sees the CoT that led to the tool call. Without it, the "
        "model forgets why it called the tool.",
    ),
    (
        "cot.used.across_calls",
        _ACROSS,
        "The model sees all CoT since the last final answer, not only the latest. The prompt must "
        "keep CoT back to the last final answer.",
    ),
):
    GROUP.probe(
        _id,
        _sent,
        _TOLD,
        _OWN,
        habit=_FORGOTTEN,
        component="history",
        witness=True,
        behaviour=True,
        text=_text,
    )(_used)


@GROUP.probe("cot.dropped", _STALE, _TOLD, component="history", witness=True)
def _dropped(stale: Sent, told: Sent) -> Trials:
    """The model does not see CoT from before the last final answer.

    The model was not trained on stale CoT. It costs tokens and misleads the model.
    """
    for name, exchange, reply in _code_word_replies(stale, told):
        message = "The model knows a code word that occurs only in CoT from before a final answer."
        kept = Problem(exchange, message, "a reply without the code word", reply.text)
        yield kept if _knows(reply, name) else None


ALONE_GROUP = ProbeGroup("cot.alone", RAW_COT, family="cot", component="output")
_ALONE = ALONE_GROUP.send(
    ProbeRequest(
        "alone",
        (Message("user", "When is high water at Horta tomorrow?"),),
        provokes=frozenset({"reply.empty"}),
    )
)
"""The reference engine has a prescribed reply to it."""


@ALONE_GROUP.probe(
    "cot.alone",
    _ALONE,
    modes=MODES,
    unjudged="no_lone_cot",
    fix="Return a CoT without an answer as CoT, and no content.",
)
def _alone(alone: Sent) -> Trials:
    """A CoT that no answer follows is returned as CoT, and the content stays empty.

    A model ends a reply so now and then. If the CoT becomes the answer, users read what is not
    meant for them, and agents take a plan for a result.
    """
    for exchange, reply in alone.readable if alone.rollouts else ():
        cot, text, counted = reply.reasoning.strip(), reply.text.strip(), ledger(exchange)
        if not cot or reply.calls:
            continue
        if not text:
            yield None
        elif text == cot and counted is not None and counted.reported < counted.texts:
            message = "The reply ends after its CoT, and its content is a copy of the CoT."
            path = "$.output" if exchange.api == "responses" else "$.choices[0].message"
            yield Problem(exchange, message, "no content", reply.text, path)
        elif text == cot:
            yield unlike(reply.text)
