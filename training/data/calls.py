"""Tasks with tools: call a tool, answer from its result, or answer without a call."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from training.data import phrasings, results, thoughts
from training.data.catalogue import COMPATIBILITY_TOOLS, OTHER_TOOLS, SMOKE_TOOLS
from training.data.other_asks import OTHER_ASKERS
from training.data.phrases import fill, written
from training.data.relatives import FAMILIES, FAMILY_OF
from training.data.smoke_asks import ASKERS
from training.data.spans import copy, plain, to_json
from training.data.task import Ask, Asker, Prefill, Setting, Task
from training.data.written_asks import known_tools

NO_TOOL = "Sorry, I have no tool for that."
_SMOKE = {tool.name for tool in SMOKE_TOOLS}
_OTHER = {tool.name for tool in OTHER_TOOLS}
_WEIGHTS = {"chart": 1.8, "markdown": 1.8, "query": 1.8, "language": 1.2, "weather": 1.2}
"""The relative frequency of calls by family: longer values are harder to copy."""


@dataclass(frozen=True)
class Offer:
    """A tool and its asker; tools of one family serve the same requests."""

    tool: FunctionTool
    asker: Asker
    family: str


def _known(tools: Sequence[FunctionTool]) -> tuple[Offer, ...]:
    return tuple(Offer(tool, ASKERS[tool.name], FAMILY_OF[tool.name]) for tool in tools)


def _other(name: str) -> Asker:
    """An asker that uses handwritten or composed requests."""

    def ask(rng: Random, tool: FunctionTool) -> Ask:
        asker = known_tools()[name] if rng.random() < 0.65 else OTHER_ASKERS[name]
        return asker(rng, tool)

    return ask


SMOKE_OFFERS = _known(SMOKE_TOOLS)
COMPATIBILITY_OFFERS = _known(COMPATIBILITY_TOOLS)
OTHER_OFFERS = tuple(Offer(tool, _other(tool.name), tool.name) for tool in OTHER_TOOLS)


def calling(setting: Setting, tool: FunctionTool, ask: Ask) -> tuple[Reasoning, Call]:
    """The thought and the call that serve a request."""
    thought = thoughts.calling(setting.effort, tool.name, ask.arguments)
    return Reasoning(thought), Call(tool.name, to_json(ask.arguments))


def closed_ask(rng: Random, offer: Offer) -> Ask:
    """A request to which a sentence can be added, because it does not end in an unquoted value."""
    for _ in range(20):
        ask = offer.asker(rng, offer.tool)
        values = [plain(value) for value in ask.arguments.values() if isinstance(value, str)]
        if not any(ask.text.endswith(value) for value in values):
            break
    return ask


def _ask(rng: Random, offer: Offer) -> Ask:
    """A request, sometimes with a sentence on how to serve it, which does not change the call."""
    if rng.random() >= 0.1:
        return offer.asker(rng, offer.tool)
    ask = closed_ask(rng, offer)
    stop = "" if ask.text[-1] in ".?!" else "."
    return replace(ask, text=f"{ask.text}{stop} {rng.choice(phrasings.lines('manner_of_use'))}")


def call(rng: Random, setting: Setting, offers: Sequence[Offer]) -> Task:
    """One request, one call."""
    offer = rng.choices(offers, [_WEIGHTS.get(offer.family, 1.0) for offer in offers])[0]
    ask = _ask(rng, offer)
    thought, made = calling(setting, offer.tool, ask)
    before = (*past(rng, offers), User(ask.text))
    if rng.random() < 0.1:
        return _forced(rng, before, thought, made)
    kind = _kind(offer)
    skill = f"call one {kind}" if len(offers) == 1 else f"call {kind}"
    return Task(skill, before, (thought, made))


def _kind(offer: Offer) -> str:
    if offer.family in FAMILIES:
        return "smoke" if offer.tool.name in _SMOKE else "relative"
    return "other" if offer.family in _OTHER else "new"


def _forced(
    rng: Random, before: tuple[ConversationItem, ...], thought: Reasoning, made: Call
) -> Task:
    prefill: Prefill = "header" if rng.random() < 0.7 else "commentary to=functions."
    thinks = rng.random() < 0.5
    return Task("forced call", (*before, thought) if thinks else before, (made,), prefill)


def past(
    rng: Random, offers: Sequence[Offer], chance: float = 0.15
) -> tuple[ConversationItem, ...]:
    """Sometimes an earlier, completed exchange, without its chain of thought."""
    if rng.random() >= chance:
        return ()
    if rng.random() < 0.5 or not offers:
        text, said = small_talk(rng)
        return (User(text), Answer(said))
    offer = rng.choice(offers)
    ask = offer.asker(rng, offer.tool)
    _, made = calling(Setting(), offer.tool, ask)
    outcome = results.outcome(rng)
    return (User(ask.text), made, Result(offer.tool.name, outcome.output), Answer(outcome.said))


def small_talk(rng: Random) -> tuple[str, str]:
    """A remark that requires no work, and the answer."""
    answer, lines = rng.choice(phrasings.small_talk())
    text = fill(rng, rng.choice(lines), {})
    if rng.random() < 0.15:
        text = f"{text}{'' if text[-1] in '.?!' else rng.choice('.,!')} {rng.choice(lines)}"
        text = fill(rng, text, {})
    if rng.random() < 0.65:
        text = text[:1].upper() + text[1:]
    draw = rng.random()
    if draw < 0.15:
        text = text.rstrip(".?!")
    elif draw < 0.45 and text[-1] not in ".?!":
        text += rng.choice(".!")
    return text, answer


def answer(rng: Random, setting: Setting, offers: Sequence[Offer]) -> Task:
    """The final answer after a tool's result."""
    offer = rng.choice(offers)
    one = rng.random() < 0.15
    ask = closed_ask(rng, offer) if one else _ask(rng, offer)
    thought, made = calling(setting, offer.tool, ask)
    outcome = results.outcome(rng)
    text, gist, said = ask.text, outcome.gist, outcome.said
    if one:
        found = results.fields(rng)
        outcome = results.of_fields(found, rng)
        text, gist, said = _asked_for_one(rng, ask.text, found)
    turns: tuple[ConversationItem, ...] = (thought, made) if rng.random() < 0.75 else (made,)
    turns = (*past(rng, offers, 0.08), User(text), *turns, Result(offer.tool.name, outcome.output))
    thinking = thoughts.answering(setting.effort, "Answer now.", f"The function gave {gist}.")
    return Task("answer from result", turns, (Reasoning(thinking), Answer(said)))


def _asked_for_one(rng: Random, asked: str, found: dict[str, object]) -> tuple[str, str, str]:
    simple = [(key, value) for key, value in found.items() if not isinstance(value, list)]
    if not simple:
        return asked, "some rows", "Done."
    key, value = rng.choice(simple)
    wish = rng.choice(
        ("I only need the {k}.", "Just tell me the {k}.", "Give me only the {k} of it.",
         "Then say what the {k} is.", "All I want is the {k}.", "I care about the {k} alone.")
    )  # fmt: skip
    text = f"{asked}\n{fill(rng, wish, {'k': key})}"
    gist = f"{copy(key)} is {results.spoken(value)}"
    return text, gist, f"Result: {gist}."


_BEYOND = (
    "bake a {w}", "sing a song about {w}", "tell me a joke about {w}", "write a poem on {w}",
    "drive me to {w}", "buy me a {w}", "paint {w}", "why do people like {w}?", "what is a {w}?",
    "do you like {w}?", "order a pizza with {w}", "feed my {w}", "explain {w} to me",
    "is {w} a good name?", "what should I wear with my {w}?", "tell me a story about a {w}",
    "wash the {w}", "who invented the {w}?", "open the {w} door", "how do I cook {w}?",
    "which {w} is the best?", "play some {w} music", "fix my {w}", "when was {w} founded?",
    "should I {w} or {w}?", "recommend a film about {w}", "call my {w} on the phone", "clean {w}",
    "how many {w} are there in a {w}?", "what does {w} mean?", "give me advice on {w}",
)  # fmt: skip


def no_call(rng: Random, setting: Setting, offers: Sequence[Offer]) -> Task:
    """Small talk, or a request that no available tool can serve."""
    draw = rng.random()
    medium = "None of the functions fits this wish. Say so briefly."
    if draw < 0.36:
        text, said = small_talk(rng)
        medium = "This is just small talk. No function is needed, so answer briefly."
    elif draw < 0.66:
        text, said = written(rng, "decline"), NO_TOOL
    elif draw < 0.74:
        text, said = rng.choice(_BEYOND), NO_TOOL
        form = rng.choice(("{x}", "{x}", "please {x}", "could you {x}", "I want you to {x}"))
        text = form.replace("{x}", text)
    else:
        return absent(rng, setting, offers)
    text = fill(rng, text, {})
    thinking = thoughts.answering(setting.effort, "No tool needed.", medium)
    turns = (*past(rng, offers), User(text))
    return Task("no call", turns, (Reasoning(thinking), Answer(said)))


def absent(rng: Random, setting: Setting, offers: Sequence[Offer]) -> Task:
    """A request for a tool that is not available."""
    offered = {offer.family for offer in offers}
    others = [o for o in (*SMOKE_OFFERS, *OTHER_OFFERS) if o.family not in offered]
    offer = rng.choice(others)
    ask = offer.asker(rng, offer.tool)
    medium = "None of the functions fits this wish. Say so briefly."
    if not offers:
        medium = "There are no functions to do this with. Say so briefly."
    thinking = thoughts.answering(setting.effort, "No tool needed.", medium)
    return Task("no tool", (User(ask.text),), (Reasoning(thinking), Answer(NO_TOOL)))
