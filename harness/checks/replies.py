"""What every reply says of itself: its id, its model, when it was made, its choices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from harness.checks.base import CHAT, RAW_COT, RESPONSES, Family, Problem
from harness.checks.subjects import Answer, Item, answers, conversations, items
from harness.parsing.events import objects
from harness.parsing.rollout import ParsedExchange, ParsedRollout

family = Family("schema")

_SIZE = re.compile(r"(?<![0-9a-z])(20|120)b(?![0-9a-z])", re.IGNORECASE)
# Clocks differ, and a reply may have waited; a day is beyond both.
_SECONDS_OFF = 86_400


@family.check(
    "reply.id",
    over=answers,
    severity="error",
    summary="Every reply has an id.",
    why="Logs, support and previous_response_id hang on it.",
    source=CHAT,
)
def _reply_id(answer: Answer) -> Iterator[Problem]:
    if not answer.reply.raw.get("id"):
        got = repr(answer.reply.raw.get("id"))
        message = "The reply has no id."
        yield Problem(answer.turn, message, "a string that is not empty", got, "$.id")


@family.check(
    "reply.id.repeated",
    over=conversations,
    severity="warning",
    summary="No two replies of a conversation share an id.",
    why="Logs cannot tell them apart; conversations go on without.",
    source=CHAT,
)
def _repeated_reply_id(seen: ParsedRollout) -> Iterator[Problem]:
    known: set[object] = set()
    for turn, reply in answers(seen):
        reply_id = reply.raw.get("id")
        if isinstance(reply_id, str) and reply_id:
            if reply_id in known:
                message = "A reply has the id of an earlier one."
                yield Problem(turn, message, "a new id", reply_id, "$.id")
            known.add(reply_id)


@family.check(
    "responses.item_id.repeated",
    over=answers,
    severity="error",
    summary="No two items of a response share an id.",
    why="Streaming clients gather text by item id.",
    source=RESPONSES,
    apis=("responses",),
)
def _repeated_item_id(answer: Answer) -> Iterator[Problem]:
    known: set[str] = set()
    for index, item in enumerate(objects(answer.reply.raw.get("output"))):
        item_id = item.get("id")
        if isinstance(item_id, str) and item_id in known:
            message = "Two items of a response have the same id."
            yield Problem(answer.turn, message, "a new id", item_id, f"$.output[{index}].id")
        elif isinstance(item_id, str):
            known.add(item_id)


@family.check(
    "responses.item_type.undeclared",
    over=items,
    severity="error",
    summary="A response holds the CoT, messages and calls of functions that were on offer, only.",
    why="A call of a tool that nobody declared cannot be answered; such items come from headers "
    "that were parsed wrongly.",
    source=RESPONSES,
    apis=("responses",),
    tolerated=0.02,
)
def _undeclared_item(found: Item) -> Iterator[Problem]:
    kind = str(found.item.get("type"))
    tool = kind.removesuffix("_call")
    declared = any(tool in each or each in kind for each in found.turn.asked.built_in)
    if kind not in ("reasoning", "message", "function_call") and not declared:
        message = f"The response holds an item of type {kind}, of which the request said nothing."
        expected = "reasoning, message or function_call"
        yield Problem(found.turn, message, expected, kind, f"{found.path}.type")


@family.check(
    "responses.item.repeated",
    over=answers,
    severity="warning",
    summary="No CoT and no message stands twice in a response.",
    why="Clients show it twice, and send it back twice.",
    source=RESPONSES,
    apis=("responses",),
    tolerated=0.02,
)
def _repeated_item(answer: Answer) -> Iterator[Problem]:
    known: set[str] = set()
    for index, item in enumerate(objects(answer.reply.raw.get("output"))):
        content = repr(item.get("content")) if item.get("content") else None
        if content in known:
            message = "Two items of a response have the same content."
            yield Problem(answer.turn, message, "one of them", content, f"$.output[{index}]")
        elif content is not None:
            known.add(content)


@family.check(
    "responses.item.order",
    over=answers,
    severity="warning",
    summary="The CoT of a response stands before what it led to.",
    why="The model is given it back in this order.",
    source=RAW_COT,
    apis=("responses",),
)
def _item_order(answer: Answer) -> Iterator[Problem]:
    kinds = [item.get("type") for item in objects(answer.reply.raw.get("output"))]
    complete = answer.reply.finish != "length"
    if complete and kinds[-1:] == ["reasoning"] and {"message", "function_call"} & set(kinds):
        message = "The response ends with its CoT."
        yield Problem(
            answer.turn, message, "a message or a call at the end", str(kinds), "$.output"
        )


@family.check(
    "reply.model",
    over=answers,
    severity="warning",
    summary="A reply names a model, and not one of another size than was asked for.",
    why="Names are the provider's own; another size is another model.",
    source=CHAT,
)
def _model(answer: Answer) -> Iterator[Problem]:
    asked, named = answer.turn.asked.body.get("model"), answer.reply.raw.get("model")
    sizes = [{*_SIZE.findall(name)} if isinstance(name, str) else {} for name in (asked, named)]
    if not named or (all(sizes) and sizes[0] != sizes[1]):
        message = "The reply is said to come from another model." if named else "No model is named."
        yield Problem(answer.turn, message, str(asked), repr(named), "$.model")


@family.check(
    "reply.created",
    over=answers,
    severity="warning",
    summary="A reply says when it was made, in seconds of Unix time.",
    why="Few clients look; milliseconds and constants spoil logs.",
    source=CHAT,
)
def _created(answer: Answer) -> Iterator[Problem]:
    turn: ParsedExchange = answer.turn
    key = "created" if turn.api == "chat" else "created_at"
    made = answer.reply.raw.get(key)
    sent = datetime.fromisoformat(turn.exchange.started_at).timestamp()
    if isinstance(made, int | float) and abs(made - sent) > _SECONDS_OFF:
        message = "The time at which the reply was made is more than a day off."
        yield Problem(turn, message, f"about {sent:.0f}", str(made), f"$.{key}")


@family.check(
    "chat.choices",
    over=answers,
    severity="error",
    summary="There are as many choices as were asked for, numbered from 0.",
    why="Clients read the first and drop, or wait for, the others.",
    source=CHAT,
    apis=("chat",),
    needs="n",
)
def _choices(answer: Answer) -> Iterator[Problem]:
    turn = answer.turn
    bodies = [event.data for event in turn.events] if turn.events else [turn.body]
    choices = [choice for body in bodies for choice in objects((body or {}).get("choices"))]
    numbers = {repr(choice.get("index", 0)) for choice in choices}
    expected = {repr(number) for number in range(turn.asked.choices)}
    if numbers != expected or (not turn.events and len(choices) != len(expected)):
        message = "The choices are not those that were asked for."
        got = f"{len(choices)} with index {sorted(numbers)}"
        yield Problem(turn, message, f"index {sorted(expected)}", got, "$.choices")
