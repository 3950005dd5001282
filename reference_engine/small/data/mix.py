"""Groups of examples: a shared setting, then tasks of several kinds in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from reference_engine.harmony.conversation import Call, Conversation, Developer, Effort, Turn
from reference_engine.harmony.render import render_prompt
from reference_engine.small.data import calls, copying
from reference_engine.small.data.calls import Offer
from reference_engine.small.data.catalogue import COMPATIBILITY_TOOLS, OTHER_TOOLS, SMOKE_TOOLS
from reference_engine.small.data.other_asks import OTHER_ASKERS, synthetic
from reference_engine.small.data.smoke_asks import ASKERS
from reference_engine.small.data.spans import PromptText, complete, encode, plain
from reference_engine.small.data.task import Setting, Task
from reference_engine.small.data.wording import completion, forced_header, history

GROUP_SIZE = 8
_ASSISTANT = "<|start|>assistant"
_INSTRUCTIONS = (
    "You are a helpful assistant.", "Be brief.", "Use the functions where they fit.",
    "You help people with their work.", "Answer in English.", "Be polite and exact.",
    "Call a function whenever one fits the request.", "Keep answers short.",
)  # fmt: skip


@dataclass(frozen=True)
class Example:
    """A prompt without its group's prefix, and what the model must emit after it."""

    skill: str
    prompt: tuple[int, ...]
    completion: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Examples whose prompts all begin with the same system and developer messages."""

    prefix: tuple[int, ...]
    examples: tuple[Example, ...]


def groups(seed: int, *, copy_share: float) -> Iterator[Group]:
    """An endless, repeatable stream; `copy_share` of the groups are pure copy tasks."""
    rng = Random(seed)  # noqa: S311
    while True:
        setting = _setting(rng)
        if rng.random() < copy_share:
            tasks = [copying.repeat(rng, setting) for _ in range(GROUP_SIZE)]
        else:
            setting, tasks = _tool_tasks(rng, setting)
        prefix = _prefix(setting)
        yield Group(prefix, tuple(_example(prefix, task) for task in tasks))


def _setting(rng: Random) -> Setting:
    effort: Effort = rng.choice(("low", "medium", "medium", "high"))
    date = f"20{rng.randint(24, 29)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    return Setting((), effort, date if rng.random() < 0.6 else None, "")


def _tool_tasks(rng: Random, setting: Setting) -> tuple[Setting, list[Task]]:
    offers = _offers(rng)
    instructions = rng.choice(_INSTRUCTIONS) if rng.random() < 0.35 else ""
    setting = replace(setting, tools=tuple(tool for tool, _ in offers), instructions=instructions)
    tasks = []
    for _ in range(GROUP_SIZE):
        draw = rng.random()
        kind = calls.call if draw < 0.55 else calls.answer if draw < 0.87 else calls.no_call
        tasks.append(kind(rng, setting, offers))
    return setting, tasks


def _offers(rng: Random) -> list[Offer]:
    smoke = [(tool, ASKERS[tool.name]) for tool in SMOKE_TOOLS]
    draw = rng.random()
    if draw < 0.45:
        return smoke
    others = [(tool, OTHER_ASKERS[tool.name]) for tool in OTHER_TOOLS]
    compatible = [(tool, ASKERS[tool.name]) for tool in COMPATIBILITY_TOOLS]
    if draw < 0.55:
        return compatible
    pool = [*smoke[:2], *compatible[3:], *smoke[2:], *others, *(synthetic(rng) for _ in range(12))]
    count = 1 if draw < 0.7 else rng.randint(2, 6)
    chosen: dict[str, Offer] = {}
    for offer in rng.sample(pool, count):
        chosen[offer[0].name] = offer
    return list(chosen.values())


def _prefix(setting: Setting) -> tuple[int, ...]:
    turns: tuple[Turn, ...] = (Developer(setting.instructions),) if setting.instructions else ()
    conversation = Conversation(
        turns, setting.tools, setting.effort, current_date=setting.current_date
    )
    return tuple(render_prompt(conversation)[: -len(encode(_ASSISTANT))])


def _example(prefix: tuple[int, ...], task: Task) -> Example:
    said = plain("".join(history(turn) for turn in task.turns)) + _ASSISTANT
    last = task.reply[-1]
    written = completion(task.reply)
    if task.forced and isinstance(last, Call):
        said += forced_header(last)
        written = f"{last.arguments}<|call|>"
    prompt = encode(said)
    return Example(task.skill, prompt, complete(written, PromptText(prompt)))
