"""Tasks around tools: call one, answer from its result, or do without."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from reference_engine.harmony.conversation import (
    Answer,
    Call,
    FunctionTool,
    Reasoning,
    Result,
    Turn,
    User,
)
from reference_engine.small.data import thoughts, words
from reference_engine.small.data.smoke_asks import Asker
from reference_engine.small.data.spans import copy, plain, to_json
from reference_engine.small.data.task import Ask, Setting, Task

Offer = tuple[FunctionTool, Asker]


def call(rng: Random, setting: Setting, offers: Sequence[Offer]) -> Task:
    """One request, one call."""
    tool, asker = rng.choice(offers)
    ask = asker(rng, tool)
    reply = _calling(rng, setting, tool, ask)
    if rng.random() < 0.06:
        before: tuple[Turn, ...] = (reply[0],) if rng.random() < 0.4 else ()
        return Task("forced call", (User(ask.text), *before), (reply[1],), forced=True)
    return Task("call", (User(ask.text),), reply)


def _calling(rng: Random, setting: Setting, tool: FunctionTool, ask: Ask) -> tuple[Turn, Turn]:
    thought = thoughts.calling(rng, setting.effort, tool.name, ask.arguments)
    return Reasoning(thought), Call(tool.name, to_json(ask.arguments))


def answer(rng: Random, setting: Setting, offers: Sequence[Offer]) -> Task:
    """The final answer after a tool's result."""
    tool, asker = rng.choice(offers)
    ask = asker(rng, tool)
    thought, made = _calling(rng, setting, tool, ask)
    output, short, said = _result(rng)
    turns: tuple[Turn, ...] = (User(ask.text), thought, made, Result(tool.name, output))
    if rng.random() < 0.25:
        turns = (turns[0], *turns[2:])
    thinking = thoughts.answering(
        setting.effort, "Answer now.", f"The function gave {short}. Tell the user."
    )
    return Task("answer from result", turns, (Reasoning(thinking), Answer(said)))


def _result(rng: Random) -> tuple[str, str, str]:
    """A tool's output, its gist, and what to tell the user."""
    if rng.random() < 0.12:
        reason = rng.choice((words.words(rng, 1, 3), "timeout", "not found", "permission denied"))
        output = rng.choice((json.dumps({"error": reason}), f"Error: {reason}"))
        return output, "an error", f"That failed: {copy(reason)}."
    fields: dict[str, Any] = {}
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        fields[words.identifier(rng) if rng.random() < 0.6 else rng.choice(_FIELDS)] = _leaf(rng)
    shown = [f"{copy(key)} is {_spoken(value)}" for key, value in list(fields.items())[:2]]
    gist = " and ".join(shown)
    indent = rng.choice((None, None, None, 2))
    return (
        json.dumps(fields, ensure_ascii=False, indent=indent),
        gist,
        f"{rng.choice(('Result: ', 'Done: '))}{gist}.",
    )


_FIELDS = (
    "status", "temperature", "condition", "language", "confidence", "html", "image", "row_count",
    "id", "result", "uptime_hours", "value", "price", "message", "weather", "ok", "name", "code",
)  # fmt: skip


def _leaf(rng: Random) -> Any:
    return rng.choice(
        (
            words.string_value(rng),
            rng.randint(0, 10 ** rng.randint(1, 5)),
            rng.randint(0, 999) / 10,
            rng.random() < 0.5,
            words.string_value(rng),
        )
    )


def _spoken(value: Any) -> str:
    return copy(value if isinstance(value, str) else json.dumps(value))


_SMALL_TALK = (
    ("hello", "Hello! How can I help?"),
    ("hi there", "Hello! How can I help?"),
    ("good morning", "Hello! How can I help?"),
    ("thank you", "You are welcome."),
    ("thanks a lot", "You are welcome."),
    ("that was great", "You are welcome."),
    ("who are you?", "I am an assistant."),
    ("what are you?", "I am an assistant."),
    ("goodbye", "Goodbye!"),
    ("see you tomorrow", "Goodbye!"),
    ("how are you?", "I am fine, thank you."),
    ("are you well?", "I am fine, thank you."),
)
_BEYOND = (
    "bake a {w}", "sing a song about {w}", "tell me a joke about {w}", "write a poem on {w}",
    "drive me to {w}", "buy me a {w}", "paint {w}", "why do people like {w}?", "what is a {w}?",
    "do you like {w}?", "order a pizza with {w}", "feed my {w}", "explain {w} to me",
    "is {w} a good name?", "what should I wear with my {w}?", "tell me a story about a {w}",
)  # fmt: skip


def no_call(rng: Random, setting: Setting, _offers: Sequence[Offer]) -> Task:
    """Small talk, or a wish that no tool can grant."""
    if rng.random() < 0.4:
        text, said = rng.choice(_SMALL_TALK)
        medium = "Just small talk. No function is needed, so answer briefly."
    else:
        text = rng.choice(_BEYOND).replace("{w}", words.word(rng))
        said = "Sorry, I have no tool for that."
        medium = "None of the functions fits this wish. Say so briefly."
    text = rng.choice((text, text.capitalize(), f"Please {text}", f"{text.capitalize()}!"))
    thinking = thoughts.answering(setting.effort, "No tool needed.", medium)
    return Task("no call", (User(plain(text)),), (Reasoning(thinking), Answer(said)))
