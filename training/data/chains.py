"""Second calls: with a value from the first result, or for the second of two requests."""

from collections.abc import Sequence
from random import Random

from harmony.conversation import (
    Answer,
    Call,
    ConversationItem,
    FunctionTool,
    Reasoning,
    Result,
    User,
)
from training.data import results, thoughts, words
from training.data.calls import Offer, calling, closed_ask
from training.data.phrases import fill
from training.data.phrasings import lines, second_wishes
from training.data.spans import copy, to_json
from training.data.task import Setting, Task

_DEPENDENT = (
    "Then call {b} with the {f} it gives.", "After that use {b} on its {f}.",
    "Then pass the {f} on to {b}.", "When you have the {f}, run {b} with it.",
    "With the {f} from the answer, do {b}.", "And then {b} for that {f}.",
    "Next, {b} on the {f} you get.", "Take the {f} and give it to {b}.",
    "The {f} you find there goes into {b}.", "Use its {f} for {b} afterwards.",
    "Whatever {f} it has, hand it to {b}.", "Whichever {f} turns up, do {b} with it.",
    "It has a {f}; run {b} on that.", "There should be a {f} in it, meant for {b}.",
    "What became of the {f} in it? {b} will tell.", "You need {b} for the {f} afterwards.",
    "The {f} it returns is for {b}.", "I want {b} done with that {f}.", "Feed the {f} to {b}.",
    "Look at its {f}, then {b}.", "Its {f} is what {b} needs.", "Call {b} on the {f} as well.",
)  # fmt: skip
_ORDERED = (
    "{one} {two}", "{one}\n{two}", "First this: {one} Then: {two}", "Two things. {one} {two}",
    "{one} When that is done: {two}", "Step one: {one}\nStep two: {two}", "{one} Next: {two}",
    "Start with this. {one} {two}", "1. {one}\n2. {two}", "{one} And afterwards: {two}",
)  # fmt: skip


def chain(rng: Random, setting: Setting, offers: Sequence[Offer]) -> Task | None:
    """A task with two calls, at any of its stages; None if the tools do not allow it."""
    takers = [offer for offer in offers if _only_string(offer.tool)]
    if not takers:
        return None
    second = rng.choice(takers)
    if len(offers) == 1 or rng.random() < 0.25:
        return _twice(rng, setting, second)
    first = rng.choice([offer for offer in offers if offer is not second])
    return _dependent(rng, setting, first, second)


def _only_string(tool: FunctionTool) -> str | None:
    """The only required parameter of a tool, if it is a string."""
    schema = tool.parameters or {}
    required = schema.get("required", [])
    if len(required) != 1 or schema["properties"][required[0]].get("type") != "string":
        return None
    name = str(required[0])
    return None if "enum" in schema["properties"][name] else name


def _dependent(rng: Random, setting: Setting, first: Offer, second: Offer) -> Task:
    ask = closed_ask(rng, first)
    found = results.fields(rng)
    field = rng.choice(
        ("id", "name", "city", "city", "town", "place", "code", "order_id", "text", "topic",
         "email", "headline", "author", "region", "street", "previous_order", "newest_order",
         "first_hit", "best_match", "home_town", words.word(rng), words.identifier(rng))
    )  # fmt: skip
    value = rng.choice(
        (words.nonce, words.nonce, words.word, words.capital, words.capital, words.person,
         words.foreign, _few_words)
    )(rng)  # fmt: skip
    found = dict(rng.sample([*found.items(), (field, value)], len(found) + 1)) | {field: value}
    outcome = results.of_fields(found, rng)
    meant = second_wishes().get(second.family, ())
    forms = meant if meant and rng.random() < 0.7 else _DEPENDENT
    spoken = rng.choice((second.tool.name, second.tool.name, second.tool.name.replace("_", " ")))
    spoken_field = rng.choice((field, field, field.replace("_", " ")))
    wish = fill(rng, rng.choice(forms), {"b": spoken, "f": spoken_field})
    text = fill(rng, rng.choice(_ORDERED), {"one": ask.text, "two": wish})
    parameter = _only_string(second.tool) or ""
    arguments = to_json({parameter: copy(value)})
    thought, made = calling(setting, first.tool, ask)
    result = Result(first.tool.name, outcome.output)
    thinking = _second_thought(setting, copy(field), value, second.tool, parameter)
    reply = (Reasoning(thinking), Call(second.tool.name, arguments))
    return _stage(rng, setting, (User(text), thought, made, result), reply, second.tool)


def _few_words(rng: Random) -> str:
    return words.words(rng, 2, 3)


def _second_thought(
    setting: Setting, field: str, value: str, tool: FunctionTool, parameter: str
) -> str:
    if setting.effort == "low":
        return f"Now use {copy(tool.name)}."
    medium = (
        f"The {field} is {copy(value)}. Now use {copy(tool.name)} "
        f"with {copy(parameter)}: {copy(value)}."
    )
    if setting.effort == "medium":
        return medium
    return (
        "The first function has answered, so let me look at what it gave and what the user "
        f"wanted next. {medium} There is still a call to make before I can answer, so I write it."
    )


def _twice(rng: Random, setting: Setting, offer: Offer) -> Task:
    ask = closed_ask(rng, offer)
    parameter = _only_string(offer.tool) or ""
    value = rng.choice((words.capital, words.place, words.word))(rng)
    stop = "" if ask.text[-1] in ".?!" else "."
    again = fill(rng, rng.choice(lines("twice")), {"v": value})
    text = f"{ask.text}{stop} {again}"
    outcome = results.outcome(rng)
    thought, made = calling(setting, offer.tool, ask)
    result = Result(offer.tool.name, outcome.output)
    thinking = _second_thought(setting, "second one", value, offer.tool, parameter)
    reply = (Reasoning(thinking), Call(offer.tool.name, to_json({parameter: copy(value)})))
    return _stage(rng, setting, (User(text), thought, made, result), reply, offer.tool)


def _stage(
    rng: Random,
    setting: Setting,
    turns: tuple[ConversationItem, ...],
    reply: tuple[Reasoning, Call],
    second: FunctionTool,
) -> Task:
    """The task before the first call, between the calls, or after both."""
    draw = rng.random()
    if draw < 0.2:
        asked, thought, made = turns[:3]
        return Task("first of two calls", (asked,), (thought, made))
    if draw < 0.74:
        shown = turns if rng.random() < 0.8 else (turns[0], *turns[2:])
        return Task("second call", shown, reply)
    outcome = results.outcome(rng)
    thinking = thoughts.answering(
        setting.effort, "Answer now.", f"The function gave {outcome.gist}."
    )
    after = (*turns, *reply, Result(second.name, outcome.output))
    return Task("answer after two calls", after, (Reasoning(thinking), Answer(outcome.said)))
