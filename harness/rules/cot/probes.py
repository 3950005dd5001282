"""Chain of thought in conversations: returned, accepted back, used while needed, then dropped.

A code word that occurs only in the CoT shows whether the model sees that CoT. A model cannot guess
it, so one repeated stale code word proves that stale CoT was in the prompt. A code word given by
the user shows whether the model repeats code words at all. A model may call another tool instead of
answering, or keep the code word to itself: if the prompt has the tokens of the CoT, this reply is
not evidence. Chat requests send CoT back in the field in which the provider returns it.
"""

from collections.abc import Iterable, Sequence
from functools import cache, partial

from harness.api.fields import objects
from harness.api.items import Message, Reasoning, Reply, ToolCall, ToolResult
from harness.api.ledger import has_lost_cot, ledger
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import MODES
from harness.rules.evidence.fetched import first_replies
from harness.rules.evidence.offers import WEATHER
from harness.rules.evidence.rendering import Prompt, differences
from harness.rules.habits import NO_COT, Habit
from harness.rules.missing import NotVerifiableError, required
from harness.rules.probe import (
    MAY_BE_REFUSED,
    ProbeGroup,
    ProbeRequest,
    ProbeResponses,
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
_OWN = "own"
_CALLED = "called"
_LATER = Message("user", _QUESTION)
_LISBON = ToolCall("call_1", WEATHER.name, '{"location": "Lisbon"}')
_OSLO = ToolCall("call_2", WEATHER.name, '{"location": "Oslo"}')
_LISBON_RESULT = ToolResult("call_1", '{"temperature": 21}')
_OSLO_RESULT = ToolResult("call_2", '{"temperature": 9}')
_SECOND_REASONING = Reasoning(f"The user wants {WEATHER.name}. With location: Oslo.")
_ANSWER = Message("assistant", "It is 21 degrees in Lisbon.")
_FORGOTTEN = Habit(0.2)


def _reasoning(word: str) -> Reasoning:
    return Reasoning(f"The code word is {word}. The user wants {WEATHER.name}, with Lisbon.")


def _requests() -> tuple[ProbeRequest, ...]:
    first, second, _ = _CODE_WORDS
    tools = (WEATHER,)
    user, two = Message("user", _PROMPT), Message("user", _PROMPT_TWO)
    requests = [
        ProbeRequest(
            f"kept {word}",
            (user, _reasoning(word), _LISBON, _LISBON_RESULT),
            tools,
            tries=2,
            confirming=1,
        )
        for word in _CODE_WORDS
    ]
    for word in (first, second):
        loop = (_reasoning(word), _LISBON, _LISBON_RESULT, _SECOND_REASONING, _OSLO, _OSLO_RESULT)
        told = (Message("user", f"The code word is {word}."), Message("assistant", "Understood."))
        secret = (Message("user", "Think of a code word."), _reasoning(word))
        called = (Message("user", "What is the weather in Lisbon?"), _reasoning(word), _LISBON)
        stale = (*secret, Message("assistant", "I have one."), _LATER)
        requests += [
            ProbeRequest(f"kept across calls {word}", (two, *loop), tools, tries=3, confirming=1),
            ProbeRequest(f"told {word}", (*told, _LATER)),
            ProbeRequest(f"stale {word}", stale),
            ProbeRequest(f"stale call {word}", (*called, _LISBON_RESULT, _ANSWER, _LATER), tools),
        ]
    preamble = Message("assistant", "I will look it up.")
    announced = (user, _reasoning(first), preamble, _LISBON, _LISBON_RESULT)
    requests += [
        ProbeRequest(_OWN, (user,), tools, max_turns=4, then=(_QUESTION,)),
        ProbeRequest(_CALLED, (user, _LISBON, _LISBON_RESULT), tools),
        ProbeRequest("beside text", announced, tools),
    ]
    return tuple(requests)


_REQUESTS = _requests()
_SUMMARY = "with a summary"
_SUMMARIZED = ProbeRequest(
    _SUMMARY,
    (Message("user", "The code word is orchid596."), Message("assistant", "Understood."), _LATER),
    options={"reasoning": {"summary": "auto"}},
    provokes=MAY_BE_REFUSED,
)
GROUP = ProbeGroup(
    "cot",
    RAW_COT,
    generated=lambda api: (*_REQUESTS, _SUMMARIZED) if api == "responses" else _REQUESTS,
    component="refusals",
)
_KEPT = tuple(f"kept {word}" for word in _CODE_WORDS)
_ACROSS = tuple(f"kept across calls {word}" for word in _CODE_WORDS[:2])
_TOLD = tuple(f"told {word}" for word in _CODE_WORDS[:2])
_STALE = tuple(f"{kind} {word}" for kind in ("stale", "stale call") for word in _CODE_WORDS[:2])


@GROUP.probe("cot.returned", (*_TOLD, *_STALE), habit=NO_COT, component="output")
def _returned(responses: ProbeResponses) -> Trials:
    """Replies whose tokens include a CoT contain it in the field that the API defines.

    Clients must send it back between tool calls. The model occasionally answers without CoT.
    """
    replies = responses.replies(*_TOLD, *_STALE)
    thought = (answer for answer in replies if answer[1].reasoning or has_lost_cot(answer[0]))
    for exchange, reply in required(thought, "no_cot_tokens"):
        items = objects(reply.raw.get("output"))
        summarized = any(item.get("summary") and not item.get("content") for item in items)
        message, got = "The reply contains no CoT.", "none"
        if summarized:
            message, got = "The CoT is in a summary, where clients do not look for it.", "a summary"
        missing = Problem(exchange, message, "chain of thought in the content", got)
        yield missing if summarized or not reply.reasoning else None


@GROUP.probe(
    "cot.returned.unasked",
    (*_TOLD, _SUMMARY),
    apis=("responses",),
    component="output",
    fix="Return the CoT of every response; in a gateway or bridge, forward it from every reply.",
    example=(
        "Responses without `reasoning.summary` have no CoT.",
        "https://github.com/ai-dynamo/dynamo/issues/14069",
    ),
)
def _unasked(responses: ProbeResponses) -> Trials:
    """The CoT is returned also if the request does not set reasoning.summary.

    That option asks for a summary. Clients of gpt-oss need the CoT itself, and do not send it.
    """
    replies = list(responses.replies(*_TOLD))
    lacking = [exchange for exchange, reply in replies if not reply.reasoning]
    asked = [reply.reasoning for _, reply in responses.replies(_SUMMARY)]
    if len(lacking) == len(replies) and all(asked) and all(map(has_lost_cot, lacking)):
        message = "The reply contains CoT only if the request sets reasoning.summary."
        for exchange in lacking:
            yield Problem(exchange, message, "the CoT, whatever the request sets", "none")
    else:
        yield None


def _accepted(rollouts: Iterable[ParsedRollout], plain: Sequence[ParsedRollout] = ()) -> Trials:
    """Whether the last request of each rollout, whose history contains CoT, succeeded.

    Where the `plain` call without CoT is refused as well, one with CoT is not refused for its CoT.
    """
    calls_fail = bool(plain) and not any(each.exchanges[-1].good_status for each in plain)
    last = [rollout.exchanges[-1] for rollout in rollouts]
    judged = [
        e
        for e in last
        if e.good_status or not ((calls_fail and e.request.functions) or is_of_upstream(e))
    ]
    if not judged:
        raise NotVerifiableError("plain_request_fails", request=_CALLED)
    for exchange in judged:
        message = "The provider rejects or fails on a conversation that contains CoT."
        problem = Problem(exchange, message, "a reply", outcome(exchange))
        yield None if exchange.good_status else problem


@GROUP.probe(
    "cot.accepted",
    (*_KEPT, *_ACROSS, *_STALE, _CALLED),
    fix="Accept CoT in the field that the API defines, and with text and calls.",
)
def _accepts(responses: ProbeResponses) -> Trials:
    """The provider accepts CoT in the field that the API defines.

    The model calls tools from within its CoT, so clients must send it back.
    """
    return _accepted(responses.all(*_KEPT, *_ACROSS, *_STALE), responses.rollouts.get(_CALLED, ()))


@GROUP.probe(
    "cot.accepted.beside_text",
    ("beside text", _CALLED),
    fix="Accept CoT in the field that the API defines, and with text and calls.",
)
def _accepts_with_text(responses: ProbeResponses) -> Trials:
    """The provider accepts a message that combines text, CoT and a tool call.

    gpt-oss generates such messages when it announces a tool call to the user.
    """
    return _accepted(responses.all("beside text"), responses.rollouts.get(_CALLED, ()))


def _knows(reply: Reply, name: str) -> bool:
    """Whether the reply repeats the code word that ends the name of a request."""
    return name.rpartition(" ")[2] in reply.text.lower()


def _code_word_replies(
    responses: ProbeResponses, names: tuple[str, ...]
) -> list[tuple[str, ParsedExchange, Reply]]:
    """Return the replies, each with the name of its request.

    Raises NotVerifiableError also if the model does not even repeat the user's code word.
    """
    replies = []
    for name in names:
        if all(refused(rollout) for rollout in responses.all(name)):
            raise NotVerifiableError("refuses_cot")
        replies += [(name, *reply) for reply in responses.replies(name)]
    if not any(_knows(reply, name) for name, _, reply in replies):
        told = ((name, reply) for name in _TOLD for _, reply in responses.replies(name))
        if not all(_knows(reply, name) for name, reply in told):
            raise NotVerifiableError("forgets_user")
    return replies


def _used(names: tuple[str, ...], responses: ProbeResponses) -> Trials:
    replies = _code_word_replies(responses, names)
    evident = [
        (name, exchange, reply)
        for name, exchange, reply in replies
        if _knows(reply, name) or (reply.text and not _has_tokens_of_cot(responses, name, reply))
    ]
    for name, exchange, reply in required(evident, "has_cot_in_prompt"):
        message = "The model does not know a code word from the CoT that was sent back."
        missed = Problem(exchange, message, name.rpartition(" ")[2], reply.text)
        yield None if _knows(reply, name) else missed


def _has_tokens_of_cot(responses: ProbeResponses, name: str, reply: Reply) -> bool:
    """Whether a prompt exceeds that of the question alone by all that was sent back."""
    try:
        added = prompt_tokens(reply) - responses.prompt_tokens(_OWN)[1]
    except NotVerifiableError:
        return False
    return added in _added_tokens(name)


@cache
def _added_tokens(name: str) -> frozenset[int]:
    prompts = {request.id: Prompt(request.turns, request.tools) for request in _REQUESTS}
    return differences(prompts[name], prompts[_OWN])


for _id, _names, _text in (
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
        (*_names, *_TOLD, _OWN),
        habit=_FORGOTTEN,
        component="history",
        witness=True,
        behaviour=True,
        text=_text,
    )(partial(_used, _names))


@GROUP.probe("cot.dropped", (*_STALE, *_TOLD), component="history", witness=True)
def _dropped(responses: ProbeResponses) -> Trials:
    """The model does not see CoT from before the last final answer.

    The model was not trained on stale CoT. It costs tokens and misleads the model.
    """
    for name, exchange, reply in _code_word_replies(responses, _STALE):
        message = "The model knows a code word that occurs only in CoT from before a final answer."
        kept = Problem(exchange, message, "a reply without the code word", reply.text)
        yield kept if _knows(reply, name) else None


_ALONE = ProbeRequest(
    "alone",
    (Message("user", "When is high water at Horta tomorrow?"),),
    provokes=frozenset({"reply.empty"}),
)
"""The reference engine has a prescribed reply to it."""
ALONE_GROUP = ProbeGroup(
    "cot.alone", RAW_COT, generated=lambda _api: (_ALONE,), family="cot", component="output"
)


@ALONE_GROUP.probe(
    "cot.alone",
    ("alone",),
    modes=MODES,
    unjudged="no_lone_cot",
    fix="Return a CoT without an answer as CoT, and no content.",
    example=(
        "If the content is empty, a gateway fills it with the CoT.",
        "https://github.com/rogerai-fyi/roger/pull/34",
    ),
)
def _alone(responses: ProbeResponses) -> Trials:
    """A CoT that no answer follows is returned as CoT, and the content stays empty.

    A model ends a reply so now and then. If the CoT becomes the answer, users read what is not
    meant for them, and agents take a plan for a result.
    """
    for exchange, reply in first_replies(responses.all("alone")):
        cot, text, counted = reply.reasoning.strip(), reply.text.strip(), ledger(exchange)
        if not cot or reply.calls:
            continue
        if not text:
            yield None
        elif text == cot and counted is not None and counted.reported < counted.texts:
            message = "The reply ends after its CoT, and its content is a copy of the CoT."
            path = "$.output" if exchange.api == "responses" else "$.choices[0].message"
            yield Problem(exchange, message, "no content", reply.text, path)
