"""Chain of thought there and back: returned, taken back, used while it is needed, and then dropped.

Whether it is used shows by a code word that stands in the CoT and nowhere else. No model guesses
it, so that one stale code word repeated proves that stale CoT was in the prompt. That the model
repeats what it was told at all is seen from a code word told by the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.api.base import Reply
from harness.api.conversation import Message, Reasoning, ToolCall, ToolResult
from harness.checks.base import RAW_COT, Problem
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import fate, refused
from harness.probes.tools.offers import WEATHER
from harness.records.conditions import Api

_WORDS = ("zulu4182", "orchid596", "kestrel73")
_ASK = "What is the weather in Lisbon? In your final answer, state the code word."
_ASK_TWO = "What is the weather in Lisbon and in Oslo? In your final answer, state the code word."
_QUESTION = "What is the code word?"
_LATER = Message("user", _QUESTION)
_LISBON_WEATHER = '{"temperature": 21}'
_LISBON = ToolCall("call_1", WEATHER.name, '{"location": "Lisbon"}')
_OSLO = ToolCall("call_2", WEATHER.name, '{"location": "Oslo"}')
_LISBON_RESULT = ToolResult("call_1", _LISBON_WEATHER)
_OSLO_RESULT = ToolResult("call_2", '{"temperature": 9}')
_MORE_THOUGHT = Reasoning(f"The user wants {WEATHER.name}. With location: Oslo.")
_ANSWER = Message("assistant", "It is 21 degrees in Lisbon.")
_ENOUGH = 0.5


def _thought(word: str) -> Reasoning:
    return Reasoning(f"The code word is {word}. The user wants {WEATHER.name}, with Lisbon.")


def _asks(api: Api) -> tuple[Ask, ...]:
    first, second, _ = _WORDS
    tools = (WEATHER,)
    user, two = Message("user", _ASK), Message("user", _ASK_TWO)
    asks = [
        Ask(f"kept {word}", (user, _thought(word), _LISBON, _LISBON_RESULT), tools, tries=2)
        for word in _WORDS
    ]
    for word in (first, second):
        loop = (_thought(word), _LISBON, _LISBON_RESULT, _MORE_THOUGHT, _OSLO, _OSLO_RESULT)
        told = (Message("user", f"The code word is {word}."), Message("assistant", "Understood."))
        wish = (Message("user", "Think of a code word."), _thought(word))
        called = (Message("user", "What is the weather in Lisbon?"), _thought(word), _LISBON)
        asks += [
            Ask(f"kept across calls {word}", (two, *loop), tools, tries=2),
            Ask(f"told {word}", (*told, _LATER)),
            Ask(f"stale {word}", (*wish, Message("assistant", "I have one."), _LATER)),
            Ask(f"stale call {word}", (*called, _LISBON_RESULT, _ANSWER, _LATER), tools),
        ]
    asks += [
        Ask("own", (user,), tools, max_turns=4, then=(_QUESTION,)),
        Ask("beside text", (user,), tools, options=_beside_text(api)),
    ]
    if api == "chat":
        asks.append(Ask("other field", (user,), tools, options=_in_other_field()))
    return tuple(asks)


def _called_in_chat(**cot: str) -> dict[str, Any]:
    function = {"name": _LISBON.name, "arguments": _LISBON.arguments}
    calls = [{"id": _LISBON.id, "type": "function", "function": function}]
    result = {"role": "tool", "tool_call_id": _LISBON.id, "content": _LISBON_RESULT.text}
    assistant = {"role": "assistant", "content": None, "tool_calls": calls, **cot}
    return {"messages": [{"role": "user", "content": _ASK}, assistant, result]}


def _in_other_field() -> dict[str, Any]:
    return _called_in_chat(reasoning_content=_thought(_WORDS[0]).text)


def _beside_text(api: Api) -> dict[str, Any]:
    """The model thinks, tells the user what it is about to do, and calls the tool."""
    said, thought = "I will look it up.", _thought(_WORDS[0]).text
    if api == "chat":
        return _called_in_chat(content=said, reasoning=thought)
    cot = {"type": "reasoning_text", "text": thought}
    called = {"call_id": _LISBON.id, "name": _LISBON.name, "arguments": _LISBON.arguments}
    return {
        "input": [
            {"type": "message", "role": "user", "content": _ASK},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [cot]},
            {"type": "message", "role": "assistant", "content": said},
            {"type": "function_call", **called},
            {"type": "function_call_output", "call_id": _LISBON.id, "output": _LISBON_WEATHER},
        ]
    }


BENCH = Bench("cot", _asks)
_KEPT = tuple(f"kept {word}" for word in _WORDS)
_ACROSS = tuple(f"kept across calls {word}" for word in _WORDS[:2])
_TOLD = tuple(f"told {word}" for word in _WORDS[:2])
_STALE = tuple(f"{kind} {word}" for kind in ("stale", "stale call") for word in _WORDS[:2])


@BENCH.probe(
    "cot.returned",
    uses=(*_TOLD, *_STALE),
    severity="error",
    summary="Most replies come with the CoT, where the API has its place for it.",
    why="Clients must send it back while tools are called; the model may do without now and then.",
    source=RAW_COT,
    required=_ENOUGH,
)
def _returned(answers: Answers) -> Iterator[Trial]:
    for name in (*_TOLD, *_STALE):
        for turn, reply in answers.replies(name):
            missing = Problem(turn, "The reply has no CoT.", "chain of thought", "none")
            yield None if reply.reasoning else missing


def _taken(view: ParsedRollout) -> Trial:
    """Whether the last request, whose history has CoT, was answered."""
    last = view.turns[-1]
    if last.good_status:
        return None
    message = "A conversation with CoT in it is not answered."
    return Problem(last, message, "an answer", fate(last))


@BENCH.probe(
    "cot.accepted",
    uses=(*_KEPT, *_ACROSS, *_STALE),
    severity="error",
    summary="CoT is taken back in the place where the API has it.",
    why="The model calls tools inside its CoT: it must be sent back.",
    source=RAW_COT,
)
def _accepted(answers: Answers) -> Iterator[Trial]:
    for name in (*_KEPT, *_ACROSS, *_STALE):
        yield from map(_taken, answers.all(name))


@BENCH.probe(
    "cot.accepted.own",
    uses=("own",),
    modes=("non-streaming", "streaming"),
    severity="error",
    summary="What the provider returned, CoT and calls and all, is taken back as it came.",
    why="Agents send back what they got.",
    source=RAW_COT,
)
def _accepted_own(answers: Answers) -> Iterator[Trial]:
    went_on = [view for view in answers.all("own") if len(view.turns) > 1]
    if not any(reply.reasoning for view in went_on for _, reply in view.replies):
        raise NotVerifiableError("No reply that the conversation went on after had CoT.")
    yield from map(_taken, went_on)


@BENCH.probe(
    "cot.accepted.beside_text",
    uses=("beside text",),
    severity="error",
    summary="An earlier message may hold text, CoT and a tool call together.",
    why="gpt-oss writes so when it tells the user what it is about to do.",
    source=RAW_COT,
)
def _accepted_beside_text(answers: Answers) -> Iterator[Trial]:
    yield from map(_taken, answers.all("beside text"))


@BENCH.probe(
    "cot.accepted.reasoning_content",
    uses=("other field",),
    apis=("chat",),
    severity="warning",
    summary="CoT is taken back as reasoning_content, too.",
    why="Many servers and clients have it under that name; those that only know reasoning must "
    "not fail at it.",
    source=RAW_COT,
)
def _accepted_other_field(answers: Answers) -> Iterator[Trial]:
    yield from map(_taken, answers.all("other field"))


def _knows(reply: Reply, name: str) -> bool:
    """Whether the reply repeats the code word of an ask, which is the last of its name."""
    return name.rpartition(" ")[2] in reply.text.lower()


def _require_able(answers: Answers) -> None:
    """Raise NotVerifiableError if the model does not even repeat what the user told it."""
    if not all(_knows(reply, name) for name in _TOLD for _, reply in answers.replies(name)):
        raise NotVerifiableError("The model does not repeat a code word that it was told.")


def _used(answers: Answers, names: tuple[str, ...]) -> Iterator[Trial]:
    found = [(name, *answer) for name in names for answer in _served(answers, name)]
    if not any(_knows(reply, name) for name, _, reply in found):
        _require_able(answers)
    for name, turn, reply in found:
        message = "The model does not know what stands in the CoT that was sent back."
        missed = Problem(turn, message, name.rpartition(" ")[2], reply.text)
        yield None if _knows(reply, name) else missed


def _served(answers: Answers, name: str) -> Iterator[tuple[ParsedExchange, Reply]]:
    if all(refused(view) for view in answers.all(name)):
        raise NotVerifiableError("The provider refuses CoT that is sent back.")
    return answers.replies(name)


@BENCH.probe(
    "cot.used",
    uses=(*_KEPT, *_TOLD),
    severity="error",
    summary="The model knows the CoT that led to its tool call when the result comes.",
    why="Without it, the model forgets why it called the tool.",
    source=RAW_COT,
    required=_ENOUGH,
)
def _used_after_call(answers: Answers) -> Iterator[Trial]:
    return _used(answers, _KEPT)


@BENCH.probe(
    "cot.used.across_calls",
    uses=(*_ACROSS, *_TOLD),
    severity="error",
    summary="The model knows the CoT since the last final answer, not just the latest.",
    why="CoT is to be kept as far back as the last final answer.",
    source=RAW_COT,
    required=0.7,
)
def _used_across_calls(answers: Answers) -> Iterator[Trial]:
    return _used(answers, _ACROSS)


@BENCH.probe(
    "cot.dropped",
    uses=(*_STALE, *_TOLD),
    severity="error",
    summary="The model does not know the CoT that a final answer has concluded.",
    why="The model was not trained on stale CoT; it costs tokens and misleads.",
    source=RAW_COT,
)
def _dropped(answers: Answers) -> Iterator[Trial]:
    found = [(name, *answer) for name in _STALE for answer in _served(answers, name)]
    if not any(_knows(reply, name) for name, _, reply in found):
        _require_able(answers)
    for name, turn, reply in found:
        message = "The model knows what stands only in CoT that a final answer has concluded."
        kept = Problem(turn, message, "another answer", reply.text)
        yield kept if _knows(reply, name) else None
