"""The raw chain of thought (CoT): present, and in the place its API wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.checks.base import RAW_COT, Family, Problem
from harness.checks.subjects import (
    Answer,
    Item,
    after_thoughtful_calls,
    answers,
    forced,
    free_conversations,
    readable,
    reasoning_items,
)
from harness.parsing.events import objects
from harness.parsing.rollout import ParsedExchange, ParsedRollout

family = Family("cot")

# gpt-oss now and then answers without thinking; a provider that shows the CoT still does so in
# nearly every rollout.
_SOMETIMES_ABSENT = 0.2
_OFTEN_ABSENT = 0.7
_PATH = "$.choices[0].message"
_TEXT_FIELDS = ("reasoning", "reasoning_content")
_MISSING_WHY = "Without the CoT sent back, gpt-oss loses its thread between tool calls."


@family.check(
    "chat.reasoning.missing",
    over=free_conversations,
    severity="error",
    summary="Chat messages carry the CoT.",
    why=_MISSING_WHY,
    source=RAW_COT,
    apis=("chat",),
    tolerated=_SOMETIMES_ABSENT,
)
def _chat_missing(seen: ParsedRollout) -> Iterator[Problem]:
    replies = list(answers(seen))
    if not any(reply.reasoning for _, reply in replies):
        message = "No reply of this attempt carried any reasoning."
        yield Problem(replies[0].turn, message, "reasoning: text", "no reasoning", _PATH)


@family.check(
    "chat.reasoning.field",
    over=answers,
    severity="warning",
    summary="The CoT stands in the field `reasoning`.",
    why="The guide names that field; many clients know `reasoning_content` as well.",
    source=RAW_COT,
    apis=("chat",),
)
def _chat_field(answer: Answer) -> Iterator[Problem]:
    turn = answer.turn
    fields = {name for message in _messages(turn) for name, value in message.items() if value}
    if answer.reply.reasoning and "reasoning" not in fields:
        found = ", ".join(sorted(name for name in fields if "reason" in name)) or "elsewhere"
        yield Problem(turn, "The CoT is in another field.", "reasoning", found, _PATH)


@family.check(
    "chat.reasoning.type",
    over=readable,
    severity="error",
    summary="`reasoning` (or `reasoning_content`) is a string wherever it appears.",
    why="Clients join it as text and send it back.",
    source=RAW_COT,
    apis=("chat",),
)
def _chat_type(turn: ParsedExchange) -> Iterator[Problem]:
    for name in _TEXT_FIELDS:
        for message in _messages(turn):
            value = message.get(name)
            if value is not None and not isinstance(value, str):
                text = f"`{name}` is not a string."
                yield Problem(turn, text, "a string or null", repr(value), f"{_PATH}.{name}")
                break


@family.check(
    "responses.reasoning.missing",
    over=free_conversations,
    severity="error",
    summary="Responses carry the CoT in a reasoning item.",
    why=_MISSING_WHY,
    source=RAW_COT,
    apis=("responses",),
    tolerated=_SOMETIMES_ABSENT,
)
def _responses_missing(seen: ParsedRollout) -> Iterator[Problem]:
    if not any(reasoning_items(seen)):
        turn, reply = next(answers(seen))
        message = "No reply of this attempt holds a reasoning item."
        kinds = ", ".join(str(item.get("type")) for item in objects(reply.raw.get("output")))
        yield Problem(turn, message, "a reasoning item", kinds or "nothing", "$.output")


@family.check(
    "responses.reasoning.content",
    over=reasoning_items,
    severity="error",
    summary="A reasoning item's content is a list of reasoning_text parts that hold the raw CoT.",
    why="That is where clients of gpt-oss read it, and what they send back.",
    source=RAW_COT,
    apis=("responses",),
)
def _responses_content(found: Item) -> Iterator[Problem]:
    content = found.item.get("content")
    kinds = [part.get("type") for part in objects(content)]
    if not kinds or any(kind != "reasoning_text" for kind in kinds):
        message = "A reasoning item does not hold the raw CoT as reasoning_text."
        expected, path = '[{"type": "reasoning_text", …}]', f"{found.path}.content"
        yield Problem(found.turn, message, expected, repr(content), path)


@family.check(
    "responses.reasoning.summary",
    over=reasoning_items,
    severity="warning",
    summary="The raw CoT is not repeated as the reasoning summary.",
    why="Summaries are shown to users; the raw CoT is not meant to be.",
    source=RAW_COT,
    apis=("responses",),
)
def _responses_summary(found: Item) -> Iterator[Problem]:
    raw = [part.get("text") for part in objects(found.item.get("content"))]
    told = [part.get("text") for part in objects(found.item.get("summary"))]
    copies = [text for text in told if text and text in raw]
    if copies:
        message = "The summary is the raw CoT."
        expected, path = "[] or a real summary", f"{found.path}.summary"
        yield Problem(found.turn, message, expected, str(copies[0]), path)


@family.check(
    "reasoning.forced",
    over=forced,
    severity="info",
    summary="The model thinks before a call that it is forced to make.",
    why="Some servers skip the CoT where tool_choice forces a call, and say so.",
    source=RAW_COT,
)
def _forced(answer: Answer) -> Iterator[Problem]:
    if not answer.reply.reasoning:
        yield Problem(answer.turn, "A forced call came without CoT.", "reasoning", "none")


@family.check(
    "reasoning.missing.after_result",
    over=after_thoughtful_calls,
    severity="warning",
    summary="The CoT goes on after the result of a tool.",
    why="gpt-oss may well answer at once; a server that never shows CoT here drops it.",
    source=RAW_COT,
    tolerated=_OFTEN_ABSENT,
)
def _after_result(later: tuple[Answer, ...]) -> Iterator[Problem]:
    if not any(answer.reply.reasoning for answer in later):
        message = "No reply to a tool's result carried any reasoning, though the call did."
        yield Problem(later[0].turn, message, "reasoning", "no reasoning")


def _messages(turn: ParsedExchange) -> Iterator[Mapping[str, Any]]:
    """Every message and delta of a Chat reply."""
    for body in (turn.body, *(event.data for event in turn.events)):
        for choice in objects(None if body is None else body.get("choices")):
            for key in ("message", "delta"):
                if isinstance(choice.get(key), dict):
                    yield choice[key]
