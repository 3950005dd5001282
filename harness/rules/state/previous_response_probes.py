"""Responses that the provider stores, continued with `previous_response_id`.

A code word that only the first request contained shows that the conversation continues, also in
the third request. Otherwise the prompt tokens show it: with the earlier conversation in its prompt,
a short second request has more of them than the long first request, and a third one more than the
second. They also show whether the earlier answer and
the CoT of a tool call, and which instructions and tools, are in the prompt of the second request.
Where the first request has `store: false`, the second one must not know it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise

from harness.api.items import Message, Reasoning, Reply
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import MODES, Mode
from harness.rules.evidence.offers import MARKDOWN, WEATHER
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.evidence.rendering import Prompt, after_calls, differences
from harness.rules.missing import NotVerifiableError, Unlike, repeated, required, unlike
from harness.rules.probe import (
    MAY_BE_REFUSED,
    ProbeGroup,
    ProbeRequest,
    Sent,
    TrialResult,
    Trials,
    prompt_tokens,
)
from harness.rules.refusals import declined, is_damaged, outcome, refused
from harness.rules.rule import Problem

STATE = "https://platform.openai.com/docs/guides/conversation-state"
_UNKNOWN = "resp_gpt_oss_verify_never_got_this_id"
_CODE_WORD = "orchid596"
_NOT_FOUND = 404
FIRST = (
    f"The code word is {_CODE_WORD}. The door of the house by the old harbour is green, and the "
    "boat that lies in front of it has two sails. Keep all of that in mind, for I will ask later."
)
_QUESTION, LAST_QUESTION = "What colour is the door?", "What is the code word?"
_GREETING, _FAREWELL = "Hello, who are you?", "Goodbye!"
_OLD = "You are the porter of a small hotel."
_NEW = (
    "You are now the gardener of a large park by the sea, and look after roses, hedges, lawns and "
    "fountains. Visitors ask you for the way to the lighthouse, the glasshouse and the northern "
    "gate. Answer in one short sentence, mention no prices, and remain polite to everybody."
)
_PromptList = Iterator[tuple[str, Prompt]]
_Prompts = Callable[[Prompt, Reply], _PromptList]
"""The prompts that the second request may have, right ones first, from the first prompt and its
reply. Each has the message of its problem, which is empty for a right prompt."""

GROUP = ProbeGroup(
    "state",
    STATE,
    apis=("responses",),
    relations=UNRELIABLE_PROMPT_TOKENS,
    component="storage",
)
_stored = partial(
    ProbeRequest,
    history="response",
    tries=2,  # two requests, two modes: losing a third of the responses passes in 4%
    max_turns=2,
    provokes=MAY_BE_REFUSED,
)
_greeted = partial(_stored, turns=(Message("user", _GREETING),), then=(_FAREWELL,), effort="low")
_TOLD = GROUP.send(
    _stored("told", (Message("user", FIRST),), then=(_QUESTION, LAST_QUESTION), max_turns=3)
)
_CALLED = GROUP.send(
    _stored("called", (Message("user", "What is the weather in Lisbon?"),), (WEATHER,))
)
_INSTRUCTED = GROUP.send(_greeted("instructed", instructions=_OLD, later_instructions=_NEW))
_OFFERED = GROUP.send(_greeted("offered", tools=(WEATHER,), later_tools=(MARKDOWN,)))
_probe = partial(GROUP.probe, modes=MODES, needs="previous_response_id")


def _instructing(*texts: str | None) -> Iterator[Message]:
    return (Message("developer", text) for text in texts if text is not None)


_PROMPTS = {
    request.id: Prompt((*_instructing(request.instructions), *request.turns), request.tools)
    for request in (_TOLD, _CALLED, _INSTRUCTED, _OFFERED)
}
_TOLD_PROMPT = _PROMPTS[_TOLD.id]


@_probe("state.previous_response", _TOLD, _CALLED, (_INSTRUCTED, _OFFERED))
def _continues(told: Sent, called: Sent, others: Sent) -> Trials:
    """A stored response can be continued by its id, with the entire earlier conversation.

    Silently losing the conversation is worse than rejecting the request. Agents that use stored
    responses send tool results with only the id.
    """
    yield from map(_broken_continuation, _continued(told))
    for rollout in others.made:
        # They are judged by their prompts elsewhere, which a rejected request does not have.
        if len(rollout.exchanges) > 1 and rollout.exchanges[-1].status == _NOT_FOUND:
            yield _broken_continuation(rollout)
    with suppress(NotVerifiableError):
        yield from map(_broken_continuation, _continued(called))


_NEVER_STORED = GROUP.send(
    ProbeRequest(
        "unknown",
        (Message("user", "Hi there!"),),
        options={"previous_response_id": _UNKNOWN},
        whole=False,
        valid=False,
    )
)


@GROUP.probe(
    "state.previous_response.unknown",
    _NEVER_STORED,
    fix="Answer an unknown id with status 404.",
)
def _unknown(unknown: Sent) -> Trials:
    """An unknown previous_response_id is rejected with a 4xx status.

    A reply without the conversation misleads users, and clients retry a request that failed.
    """
    for rollout, last in unknown.last:
        if declined(rollout) and not refused(rollout):
            raise NotVerifiableError("continues_nothing", got=outcome(last))
        if last.unreadable:
            raise NotVerifiableError("unreadable")
        message = "A request with an unknown previous_response_id was not rejected."
        if not last.good_status:
            message = "A request with an unknown previous_response_id failed."
        got = "a reply" if last.good_status else outcome(last)
        wrong = Problem(last, message, "status 404 or 400", got, "$.previous_response_id")
        yield None if refused(rollout) else wrong


_UNKEPT = GROUP.send(
    _stored("unkept", (Message("user", FIRST),), then=(LAST_QUESTION,), options={"store": False})
)


@GROUP.probe(
    "state.unstored",
    _UNKEPT,
    modes=MODES,
    fix="Do not keep responses whose request sets store to false.",
)
def _unstored(unkept: Sent) -> Trials:
    """A response to a request with `store: false` cannot be continued by its id.

    The client forbade the provider to keep the conversation, often for privacy.
    """
    continued = [rollout for rollout in unkept.rollouts if len(rollout.exchanges) > 1]
    for rollout in required(continued, "not_continued"):
        first, second = rollout.exchanges[:2]
        message = "The provider kept a response, although its request set `store: false`."
        got = "a reply that knows the earlier conversation"
        kept = Problem(second, message, "status 404 or 400", got, "$.previous_response_id")
        known = first.reply and second.reply and continues_from(first.reply, second.reply)
        yield kept if known else None


def _continued(sent: Sent) -> Sequence[ParsedRollout]:
    """Return the rollouts in which a stored response was continued.

    Raises NotVerifiableError if there are none, or the provider stores no responses: it does not
    claim to store them, or it refuses to continue them with a status other than 404. Those with a
    damaged reply show nothing about it.
    """
    rollouts = sent.rollouts
    if all(declined(rollout) and len(rollout.exchanges) == 1 for rollout in rollouts):
        raise NotVerifiableError("refuses_to_store")
    continued = [rollout for rollout in rollouts if len(rollout.exchanges) > 1]
    if not continued:
        raise NotVerifiableError("not_continued")
    if all(declined(rollout) and stores_nothing(rollout) for rollout in continued):
        raise NotVerifiableError("refuses_to_continue", got=outcome(continued[0].exchanges[-1]))
    intact = (rollout for rollout in continued if not any(map(is_damaged, rollout.exchanges)))
    return required(intact, "unreadable")


def stores_nothing(rollout: ParsedRollout) -> bool:
    """Whether a provider does not claim to have stored a first response that it does not know."""
    reply = rollout.exchanges[0].reply
    claims = reply is not None and reply.raw.get("store") is True
    return not claims or rollout.exchanges[-1].status != _NOT_FOUND


def _broken_continuation(rollout: ParsedRollout) -> Problem | None:
    """Return the problem of a continued conversation, if any, in any of its requests."""
    for first, second in pairwise(rollout.exchanges):
        if second.reply is None or first.reply is None:
            message = "A stored response cannot be continued by its id."
            return Problem(second, message, "a reply", outcome(second))
        if not continues_from(first.reply, second.reply):
            before, after = prompt_tokens(first.reply), prompt_tokens(second.reply)
            message = "The prompt that continues a response has no more tokens than the one before."
            got = f"{after}, after {before} in the request before"
            return Problem(second, message, "more prompt tokens", got, "$.usage.input_tokens")
    return None


def continues_from(first: Reply, second: Reply) -> bool:
    """Whether the second reply shows the first conversation. Raises NotVerifiableError."""
    knows = _CODE_WORD in second.text.lower()
    return knows or prompt_tokens(second) > prompt_tokens(first)


def _replies(sent: Sent, told: Sent | None = None) -> Iterator[tuple[ParsedExchange, Reply, Reply]]:
    """Yield the exchange that continues each response, and the replies before and after it.

    Raises NotVerifiableError if no first prompt has the instructions of its request, as those of
    `told` show: a request that continues a response is not what loses them.
    """
    read = [
        (rollout.mode, second, first.reply, second.reply)
        for rollout in _continued(sent)
        for first, second in [rollout.exchanges[:2]]
        if first.reply is not None and second.reply is not None
    ]
    kept = [e for e in read if told is None or not _lacks_instructions(sent, told, e[0], e[2])]
    if read and not kept:
        raise NotVerifiableError("instructions_not_rendered")
    return ((second, earlier, reply) for _, second, earlier, reply in kept)


def _lacks_instructions(sent: Sent, told: Sent, mode: Mode, first: Reply) -> bool:
    """Whether a first prompt is as long as without the instructions of its request."""
    own, plain = _PROMPTS[sent.name], _PROMPTS[told.name]
    bare = replace(own, turns=own.turns[-1:])
    others = [reply for _, reply in told.within(mode).readable]
    more = {prompt_tokens(first) - prompt_tokens(reply) for reply in others}
    return bool(more) and more <= differences(bare, plain) - differences(own, plain)


_CHANNEL = 2
"""Tokens of an answer's channel. A right prompt may lack it; `prompt.history` reports this."""


def _by_prompt_tokens(prompts: _Prompts, sent: Sent, told: Sent | None = None) -> Trials:
    """Judge the content of the prompts of continued responses by their additional tokens."""
    before = _PROMPTS[sent.name]
    trials: list[TrialResult | Unlike] = []
    for second, earlier, reply in _replies(sent, told):
        more = prompt_tokens(reply) - prompt_tokens(earlier)
        sizes = [
            (message, differences(after, before)) for message, after in prompts(before, earlier)
        ]
        right = set().union(*(fitting for message, fitting in sizes if not message))
        if more not in right and more + _CHANNEL in right:
            continue
        expected, path = f"{min(sizes[0][1])} more prompt tokens", "$.usage.input_tokens"
        found = [
            Problem(second, message, expected, f"{more} more", path) if message else None
            for message, fitting in sizes
            if more in fitting
        ]
        trials += found[:1] or [unlike(f"{more} more prompt tokens")]
    yield from required(repeated(trials), "tokens_fit_no_prompt")


@_probe(
    "state.previous_response.usage",
    _TOLD,
    component="usage",
    fix="Count the prompt of this request only.",
)
def _usage(told: Sent) -> Trials:
    """The prompt tokens of a response that continues another count its own prompt.

    Providers bill by these counts, and clients compute from them how full the context is. A sum
    over all turns counts the earlier messages again in each turn.
    """
    trials: list[TrialResult | Unlike] = []
    for second, earlier, reply in _replies(told):
        before, after = prompt_tokens(earlier), prompt_tokens(reply)
        more = _added_tokens(_right_prompts(earlier))
        if after - before in more:
            trials.append(None)
        elif _is_sum(earlier, after - before, more):
            message = "The prompt tokens of a continued response include those of the earlier one."
            expected, path = f"{before + min(more)}", "$.usage.input_tokens"
            got = f"{after}, after {before} in the first request"
            trials.append(Problem(second, message, expected, got, path))
        else:
            trials.append(unlike(f"{after - before} more prompt tokens"))
    yield from required(repeated(trials), "tokens_fit_nothing")


def _right_prompts(earlier: Reply) -> list[Prompt]:
    """Return the right prompts of the request that continues the response to `told`."""
    return [prompt for wrong, prompt in _with_answer(_TOLD_PROMPT, earlier) if not wrong]


def _added_tokens(prompts: Iterable[Prompt]) -> frozenset[int]:
    """How many more tokens these prompts may have than that of `told`."""
    return frozenset[int]().union(*(differences(prompt, _TOLD_PROMPT) for prompt in prompts))


def _is_sum(earlier: Reply, more: int, right: frozenset[int]) -> bool:
    """Whether a count that is `more` than the earlier one includes the earlier one."""
    before = prompt_tokens(earlier)
    summed = {before, before + (earlier.output_tokens or 0)}
    return any(more - each in right for each in summed)


@_probe(
    "state.previous_response.once",
    _TOLD,
    fix="Put the stored conversation into the prompt once, before the input of the new request.",
)
def _once(told: Sent) -> Trials:
    """The prompt that continues a stored response has the earlier conversation once.

    With copies of it, the context fills up faster, the client pays for tokens that it did not send,
    and the model loses track of the order of the messages.
    """
    turns = _TOLD_PROMPT.turns
    copy = min(_added_tokens([replace(_TOLD_PROMPT, turns=turns * 2)]))
    trials: list[TrialResult | Unlike] = []
    for second, earlier, reply in _replies(told):
        more = prompt_tokens(reply) - prompt_tokens(earlier)
        prompts = _right_prompts(earlier)
        right = _added_tokens(prompts)
        repeats = (
            replace(prompt, turns=(*again, *prompt.turns))
            for prompt in prompts
            for again in (turns, prompt.turns[:-1])
        )
        if more in right or more + _CHANNEL in right:
            trials.append(None)
        elif not _is_sum(earlier, more, right):
            known, expected = more in _added_tokens(repeats), f"{min(right)} more prompt tokens"
            if known or more >= max(right) + copy:
                message = (
                    "The earlier conversation is twice in the prompt that continues a response."
                    if known
                    else "The prompt that continues a response has more than the conversation."
                )
                path = "$.usage.input_tokens"
                trials.append(Problem(second, message, expected, f"{more} more", path))
            else:
                trials.append(unlike(f"{more} more prompt tokens"))
    yield from required(repeated(trials), "tokens_fit_no_prompt")


@_probe(
    "state.previous_response.instructions",
    _INSTRUCTED,
    _TOLD,
    fix="Use the instructions of the new request, and not those of the earlier one.",
)
def _instructions(instructed: Sent, told: Sent) -> Trials:
    """The instructions of a request apply to it alone, also if it continues a stored response.

    Agents change them between turns. If this fails, the model ignores the new ones, or follows
    those that the client has replaced.
    """
    yield from _by_prompt_tokens(_with_instructions, instructed, told)


def _with_instructions(before: Prompt, reply: Reply) -> _PromptList:
    greeting, thought = before.turns[-1], Reasoning(reply.reasoning)
    answer, farewell = Message("assistant", reply.text), Message("user", _FAREWELL)
    for message, texts in (
        ("", (_NEW,)),
        ("The instructions of a request that continues a response are ignored.", (_OLD,)),
        ("The instructions of a request that continues a response are ignored.", ()),
        ("The instructions of an earlier request remain in the prompt.", (_OLD, _NEW)),
    ):
        for stale in ((), (thought,)):
            yield message, Prompt((*_instructing(*texts), greeting, *stale, answer, farewell))


@_probe(
    "state.previous_response.answer",
    _TOLD,
    fix="Render the answer of the stored response as the client received it.",
)
def _answer(told: Sent) -> Trials:
    """If a message continues a stored response, the prompt contains the answer of that response.

    A model that does not see its earlier answers contradicts them.
    """
    yield from _by_prompt_tokens(_with_answer, told)


def _with_answer(before: Prompt, reply: Reply) -> _PromptList:
    question, thought = Message("user", _QUESTION), Reasoning(reply.reasoning)
    for stale in ((), (thought,)):
        yield "", Prompt((*before.turns, *stale, Message("assistant", reply.text), question))
    message = "The prompt that continues a stored response lacks the answer of that response."
    for stale in ((), (thought,)):
        yield message, Prompt((*before.turns, *stale, question))


@_probe(
    "state.previous_response.tools",
    _OFFERED,
    fix="Offer the tools of the new request only.",
)
def _tools(offered: Sent) -> Trials:
    """A request that continues a stored response has its own tools, and not the earlier ones.

    Agents change tools between turns. The model cannot call a tool that it does not see, and
    clients cannot answer a call of a tool that they no longer offer.
    """
    yield from _by_prompt_tokens(_with_tools, offered)


def _with_tools(before: Prompt, reply: Reply) -> _PromptList:
    thought, farewell = Reasoning(reply.reasoning), Message("user", _FAREWELL)
    for message, tools in (
        ("", (MARKDOWN,)),
        ("The server ignores the tools of a request that continues a response.", (WEATHER,)),
        ("The prompt that continues a response has no tools.", ()),
        ("The tools of an earlier request remain in the prompt.", (WEATHER, MARKDOWN)),
    ):
        for stale in ((), (thought,)):
            turns = (*before.turns, *stale, Message("assistant", reply.text), farewell)
            yield message, Prompt(turns, tools)


@_probe(
    "state.previous_response.cot",
    _CALLED,
    fix="Keep the CoT before a call of a stored response until the final answer.",
)
def _cot(called: Sent) -> Trials:
    """If a tool result continues a stored response, the prompt contains the CoT before the call.

    The model calls tools from within its CoT; without it, the model forgets why it called them.
    """
    yield from _by_prompt_tokens(_with_cot, called)


def _with_cot(before: Prompt, reply: Reply) -> _PromptList:
    yield "", after_calls(before, reply)
    if reply.reasoning:
        message = "The prompt that continues a stored tool call lacks the CoT before the call."
        yield message, after_calls(before, replace(reply, reasoning=""))
