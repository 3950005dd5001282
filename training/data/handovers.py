"""Requests that a first agent hands over to a second one, which has the tools for them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from harmony.conversation import Call, ConversationItem, FunctionTool, Reasoning, Result, User
from training.data import thoughts
from training.data.agent_tools import agent_name, transfer
from training.data.calls import Offer
from training.data.phrases import fill
from training.data.task import Ask, Asker, Setting, Task

_NOTHING = {"type": "object", "properties": {}, "required": []}
_VERBS = {"get", "set", "find", "list", "show", "create", "make", "read", "fetch", "search", "look"}
_RULES = (
    "Hand questions about {t} to the {n}.", "Hand everything about {t} over to the {n}.",
    "You route requests. The {n} deals with {t}.", "Leave {t} to the {n}.",
    "Do not answer yourself: transfer to the agent that fits.", "Send {t} on to {n}.",
    "You are the first contact. For {t}, transfer to the {n}.", "{t} is for the {n}.",
    "Never handle {t} yourself; the {n} does that.", "Triage each request and hand it over.",
)  # fmt: skip
_KNOWS = (
    "", "{d}", "{d}", "Handles {t}.", "Knows all about {t}. {d}", "For {t}: {d}",
    "Can do this: {d}",
)  # fmt: skip
_ANNOUNCED = ('{{"assistant": {n}}}', '{{"assistant": {n}}}', '{{"agent": {n}}}')
"""Only objects, because a plain text is the result of a function."""


def agents_for(rng: Random, offers: Sequence[Offer]) -> tuple[list[Offer], str]:
    """The functions that hand over to an agent for each tool, and the first agent's instructions.

    The requests are those for the tools.
    """
    agents: list[Offer] = []
    rules: list[str] = []
    for offer in offers:
        topic = _topic(offer.tool)
        name = agent_name(rng, topic)
        slots = {"t": topic, "n": name, "d": offer.tool.description.split("\n")[0]}
        tool = FunctionTool(*transfer(rng, name, fill(rng, rng.choice(_KNOWS), slots)), _NOTHING)
        agents.append(Offer(tool, _passing_on(offer), offer.family))
        rules.append(fill(rng, rng.choice(_RULES), slots))
    shown = rules if rng.random() < 0.7 else rules[: rng.randint(0, 1)]
    return agents, rng.choice((" ", "\n")).join(shown)


def _topic(tool: FunctionTool) -> str:
    parts = tool.name.replace("-", "_").replace(".", "_").split("_")
    return " ".join(part for part in parts if part not in _VERBS) or tool.name


def _passing_on(offer: Offer) -> Asker:
    def ask(rng: Random, _tool: FunctionTool) -> Ask:
        return Ask(offer.asker(rng, offer.tool).text)

    return ask


def handed_over(rng: Random, setting: Setting, task: Task) -> Task:
    """The task in the second agent's conversation: a handover follows the user's request."""
    asked = max(at for at, turn in enumerate(task.turns) if isinstance(turn, User))
    name = agent_name(rng, _topic(rng.choice(setting.tools)))
    tool, _ = transfer(rng, name, "")
    announced = rng.choice(_ANNOUNCED).format(n=json.dumps(rng.choice((name, name.title()))))
    passed_on: tuple[ConversationItem, ...] = (Call(tool, "{}"), Result(tool, announced))
    if rng.random() < 0.5:
        passed_on = (Reasoning(thoughts.calling(setting.effort, tool, {})), *passed_on)
    turns = (*task.turns[: asked + 1], *passed_on, *task.turns[asked + 1 :])
    return replace(task, turns=turns)
