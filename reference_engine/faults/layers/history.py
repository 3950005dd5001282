"""Faults of earlier turns: chain of thought, calls, results and stored responses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

from harmony.conversation import (
    Call,
    Conversation,
    Preamble,
    Reasoning,
    Result,
    Turn,
    User,
)
from harmony.render import render_all
from reference_engine.faults.base import HYPOTHETICAL, Family
from reference_engine.faults.messages import Message, rewritten
from reference_engine.faults.orders import with_turns
from reference_engine.faults.seams import ORDER, PROMPT
from reference_engine.server.generation import Order

family = Family("history")

_FINAL = "assistant<|channel|>final"
_ANALYSIS = "assistant<|channel|>analysis"


def _without(order: Order, *kinds: type[Turn]) -> Order:
    return with_turns(order, (t for t in order.conversation.turns if not isinstance(t, kinds)))


def _headed(tokens: list[int], old: str, new: str) -> list[int]:
    """The prompt with one header replaced by another wherever it stands."""

    def change(message: Message) -> Iterable[Message]:
        return [replace(message, header=new) if message.header == old else message]

    return rewritten(tokens, change)


def _ended(tokens: list[int], header: str, end: str) -> list[int]:
    """The prompt with another end mark after messages whose header begins so."""

    def change(message: Message) -> Iterable[Message]:
        ours = message.content is not None and message.header.startswith(header)
        return [replace(message, end=end) if ours else message]

    return rewritten(tokens, change)


@family.fault(
    ORDER,
    "tool-loop-reasoning-dropped",
    "The chain of thought that led to a call is gone when the call's result comes.",
    source="vllm PR#35907",
    detectors=("prompt.cot.kept",),
)
def _tool_loop_reasoning_dropped(order: Order) -> Order:
    return _without(order, Reasoning)


@family.fault(
    PROMPT,
    "stale-reasoning-kept",
    "The chain of thought stays in the prompt after the final answer that concluded it.",
    source="vllm PR#45048",
    detectors=("prompt.cot.dropped", "prompt.cot.dropped.no_tools"),
)
def _stale_reasoning_kept(_: list[int], conversation: Conversation) -> list[int]:
    return render_all(conversation)


@family.fault(
    ORDER,
    "preamble-not-replayed",
    "Text that stood beside a tool call is lost from the history.",
    source="ollama 203c13781",
    detectors=("prompt.preamble",),
)
def _preamble_not_replayed(order: Order) -> Order:
    return _without(order, Preamble)


@family.fault(
    ORDER,
    "result-names-mixed-up",
    "All tool results are attributed to the function that was called last.",
    source="ollama PR#12988",
    detectors=("prompt.results.names",),
)
def _result_names_mixed_up(order: Order) -> Order:
    turns = order.conversation.turns
    names = [turn.name for turn in turns if isinstance(turn, Call)]
    return with_turns(
        order, (replace(t, name=names[-1]) if isinstance(t, Result) else t for t in turns)
    )


@family.fault(
    ORDER,
    "result-order-reversed",
    "Several tool results of one turn reach the prompt in the wrong order.",
    source="vllm PR#28729",
    detectors=("tools.results.order", "numerics.greedy", "numerics.logprobs"),
)
def _result_order_reversed(order: Order) -> Order:
    turns: list[Turn] = []
    for results, group in groupby(order.conversation.turns, lambda t: isinstance(t, Result)):
        run = list(group)
        turns += reversed(run) if results else run
    return with_turns(order, turns)


@family.fault(
    PROMPT,
    "result-without-recipient",
    "Tool results do not say that they go to the assistant.",
    source="vllm PR#28729",
    detectors=("prompt.call",),
    visible=False,  # It has as many tokens as a healthy prompt without the call's content type.
)
def _result_without_recipient(tokens: list[int], _: Conversation) -> list[int]:
    return rewritten(tokens, lambda m: [replace(m, header=m.header.replace(" to=assistant", ""))])


@family.fault(
    ORDER,
    "arguments-escaped-twice-in-history",
    "The arguments of earlier calls are rendered as a JSON string of JSON.",
    source="llama.cpp PR#19553",
    detectors=("prompt.call.quotes", "prompt.call"),
)
def _arguments_escaped_twice_in_history(order: Order) -> Order:
    turns = (
        replace(turn, arguments=json.dumps(turn.arguments)) if isinstance(turn, Call) else turn
        for turn in order.conversation.turns
    )
    return with_turns(order, turns)


@family.fault(
    PROMPT,
    "answer-without-channel",
    "Earlier answers are rendered without the channel final.",
    source="vllm PR#28729",
    detectors=("prompt.history",),
)
def _answer_without_channel(tokens: list[int], _: Conversation) -> list[int]:
    return _headed(tokens, _FINAL, "assistant")


@family.fault(
    PROMPT,
    "reasoning-without-channel",
    "Replayed chain of thought is rendered without the channel analysis.",
    source="vllm#28262",
    detectors=("prompt.cot.kept",),
)
def _reasoning_without_channel(tokens: list[int], _: Conversation) -> list[int]:
    return _headed(tokens, _ANALYSIS, "assistant")


@family.fault(
    PROMPT,
    "history-ends-with-return",
    "Earlier answers end with the stop token <|return|> and not with <|end|>.",
    source="openai/harmony PR#59",
    detectors=("numerics.logprobs",),
)
def _history_ends_with_return(tokens: list[int], _: Conversation) -> list[int]:
    return _ended(tokens, _FINAL, "<|return|>")


@family.fault(
    PROMPT,
    "calls-end-with-end",
    "Earlier calls end with <|end|> and not with <|call|>.",
    source=HYPOTHETICAL,
    detectors=("numerics.logprobs",),
)
def _calls_end_with_end(tokens: list[int], _: Conversation) -> list[int]:
    return _ended(tokens, "assistant to=functions.", "<|end|>")


@family.fault(
    ORDER,
    "only-last-user-message",
    "Nothing of the conversation but instructions and the last turn of the user is read.",
    source=HYPOTHETICAL,
    detectors=("prompt.history",),
)
def _only_last_user_message(order: Order) -> Order:
    turns = order.conversation.turns
    users = [at for at, turn in enumerate(turns) if isinstance(turn, User)]
    return with_turns(order, turns[users[-1] :]) if users else order
