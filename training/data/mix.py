"""Groups of examples: tasks of several kinds in a shared setting."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from harmony.conversation import (
    Builtin,
    Call,
    Conversation,
    ConversationItem,
    Developer,
    Effort,
)
from harmony.render import render_prompt
from training.data import (
    builtin_tasks,
    calls,
    canary,
    chains,
    copying,
    grading,
    handovers,
    long_contexts,
    offered_tools,
    orders,
    phrasings,
    puzzles,
    words,
)
from training.data.calls import Offer
from training.data.canary import Secret
from training.data.long_texts import LongText, long_text
from training.data.orders import Manner
from training.data.phrases import fill
from training.data.spans import PromptText, Unit, complete, encode, plain, units
from training.data.task import Setting, Task
from training.data.wording import CANONICAL, Style, completion, forced_header, history
from training.data.wording import style as draw_style

GROUP_SIZE = 8
LONG_GROUP_SIZE = 10
BUILTIN_GROUP_SIZE = 12
"""Larger, because the examples share the declaration of the tools, a fifth of the tokens."""
LENGTHS = (150, 4096)
"""Minimum and maximum number of tokens of a long text; skipped positions extend it further."""
_BUILTIN: tuple[tuple[Builtin, ...], ...] = (
    ("browser",), ("browser",), ("python",), ("python",), ("browser", "python"),
    ("browser", "python"),
)  # fmt: skip
_EFFORTS: tuple[Effort, ...] = ("low", "low", "medium", "medium", "medium", "high")
_ASSISTANT = "<|start|>assistant"


@dataclass(frozen=True)
class Example:
    """A prompt without its group's prefix, and what the model must emit after it."""

    skill: str
    prompt: tuple[int, ...]
    completion: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Examples whose prompts begin with the same tokens, usually the leading messages.

    Attributes:
        skips: places in the prefix and the number of positions skipped before each, so that a
            prefix of some hundred tokens has the distances of one with thousands.
    """

    prefix: tuple[int, ...]
    examples: tuple[Example, ...]
    skips: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Scene:
    """A setting with everything that its tasks may refer to.

    Attributes:
        is_long: whether the instructions or the opening contain a long text.
        opening: turns before all tasks, as harmony text; the last may be left open.
    """

    setting: Setting
    offers: tuple[Offer, ...] = ()
    secret: Secret | None = None
    manner: Manner | None = None
    style: Style = CANONICAL
    is_long: bool = False
    opening: str = ""

    @property
    def open_turn(self) -> bool:
        """Whether the opening ends within the user's turn."""
        return bool(self.opening) and not self.opening.endswith("<|end|>")


@dataclass(frozen=True)
class Shares:
    """The share of groups of each kind; the others have ordinary tasks."""

    copy: float  # pure copy tasks; the other shares are of the remaining groups
    long: float = 0.16  # a long text
    builtin: float = 0.09  # built-in tools
    client: float = 0.05  # tools as defined by clients' libraries and agents


def groups(seed: int, shares: Shares, lengths: tuple[int, int] = LENGTHS) -> Iterator[Group]:
    """An endless, repeatable stream; `lengths` bounds the number of tokens of a long text."""
    rng = Random(seed)  # noqa: S311
    while True:
        scene, tasks = scene_tasks(rng, shares, lengths)
        group = encoded(scene, tasks)
        if scene.is_long:
            group = replace(group, skips=long_contexts.skips(rng, len(group.prefix)))
        yield group


def scene_tasks(
    rng: Random, shares: Shares, lengths: tuple[int, int] = LENGTHS
) -> tuple[Scene, list[Task]]:
    """One group before it becomes tokens."""
    if rng.random() < shares.copy:
        setting = _setting(rng)
        return Scene(setting), [copying.repeat(rng, setting) for _ in range(GROUP_SIZE)]
    draw = rng.random()
    if draw < shares.long:
        return _long_scene(rng, lengths)
    if draw < shares.long + shares.builtin:
        return _builtin_scene(rng)
    if draw < shares.long + shares.builtin + shares.client:
        return _client_scene(rng)
    return _usual_scene(rng)


def _usual_scene(rng: Random) -> tuple[Scene, list[Task]]:
    scene = _scene(rng, _setting(rng), offered_tools.some(rng, 0.14))
    tasks = [_task(rng, scene) for _ in range(GROUP_SIZE)]
    if scene.manner:
        tasks = [scene.manner.applied(task) for task in tasks]
    return scene, tasks


def _long_scene(rng: Random, lengths: tuple[int, int]) -> tuple[Scene, list[Task]]:
    """A long text, questions about it and, if it is in the instructions, ordinary tasks."""
    scene = _scene(rng, _setting(rng), offered_tools.some(rng, 0.4))
    said = long_text(rng, *lengths)
    if rng.random() < 0.4:
        setting = replace(scene.setting, instructions=said.text)
        scene = replace(scene, setting=setting, secret=None, manner=None, is_long=True)
    else:
        opening = long_contexts.turn_with(rng, said, scene.style)
        scene = replace(scene, opening=opening, secret=None, manner=None, is_long=True)
    return scene, [_after_long(rng, scene, said) for _ in range(LONG_GROUP_SIZE)]


def _after_long(rng: Random, scene: Scene, said: LongText) -> Task:
    if scene.opening or not scene.offers or rng.random() < 0.5:
        return long_contexts.question(rng, scene.setting, said.secrets)
    maker = rng.choice((calls.call, calls.call, calls.call, calls.answer, calls.no_call))
    return maker(rng, scene.setting, scene.offers)


def _builtin_scene(rng: Random) -> tuple[Scene, list[Task]]:
    """Built-in tools, in one of four scenes together with functions."""
    setting = replace(_setting(rng), builtin=rng.choice(_BUILTIN))
    scene = _scene(rng, setting, offered_tools.some(rng, 0.75))
    scene = replace(scene, manner=None, style=CANONICAL)
    return scene, [
        _task(rng, scene)
        if scene.offers and rng.random() < 0.35
        else builtin_tasks.task(rng, scene.setting)
        for _ in range(BUILTIN_GROUP_SIZE)
    ]


def _client_scene(rng: Random) -> tuple[Scene, list[Task]]:
    """Tools as defined by a client's library, most of them called."""
    if rng.random() < 0.3:
        return _agents_scene(rng)
    scene = _scene(rng, _setting(rng), offered_tools.of_client(rng))
    scene = replace(scene, manner=None)
    return scene, [
        calls.call(rng, scene.setting, scene.offers) if rng.random() < 0.8 else _task(rng, scene)
        for _ in range(GROUP_SIZE)
    ]


def _agents_scene(rng: Random) -> tuple[Scene, list[Task]]:
    """An agent that hands requests over, or one that receives them."""
    tools = list(offered_tools.few(rng) if rng.random() < 0.4 else offered_tools.of_client(rng))
    tools = rng.sample(tools, min(len(tools), rng.choice((1, 1, 2, 3))))
    setting = _setting(rng)
    rules = None
    if rng.random() < 0.5:
        tools, rules = handovers.agents_for(rng, tools)
    scene = _scene(rng, setting, offered_tools.in_style(rng, tools))
    scene = replace(scene, secret=None, manner=None)
    if rules is not None:
        scene = replace(scene, setting=replace(scene.setting, instructions=rules))
        return scene, [calls.call(rng, scene.setting, scene.offers) for _ in range(GROUP_SIZE)]
    made = [rng.choice((calls.call, calls.answer)) for _ in range(GROUP_SIZE)]
    tasks = [make(rng, scene.setting, scene.offers) for make in made]
    return scene, [handovers.handed_over(rng, scene.setting, task) for task in tasks]


def _setting(rng: Random) -> Setting:
    effort: Effort = rng.choice(_EFFORTS)
    date = f"20{rng.randint(24, 29)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    return Setting((), effort, date if rng.random() < 0.6 else None, "")


def _scene(rng: Random, setting: Setting, offers: tuple[Offer, ...]) -> Scene:
    secret = canary.secret(rng) if rng.random() < 0.2 else None
    manner = orders.manner(rng) if rng.random() < 0.08 else None
    setting = replace(
        setting,
        tools=tuple(offer.tool for offer in offers),
        instructions=_instructions(rng, secret, manner),
    )
    return Scene(setting, offers, secret, manner, draw_style(rng))


def _instructions(rng: Random, secret: Secret | None, manner: Manner | None) -> str:
    """The developer message: empty, or sentences that include the secret and the order."""
    count = rng.choice((1, 1, 2, 3)) if rng.random() < 0.35 else 0
    if secret or manner:
        count = rng.choice((0, 0, 1, 1, 2, 2, 3, 5))
    drawn = words.some(rng, phrasings.lines("instructions"), count, count)
    parts = [fill(rng, line, {}) for line in drawn]
    if secret:
        parts.insert(rng.randint(0, len(parts)), canary.told(rng, secret))
    if manner:
        parts.insert(rng.randint(0, len(parts)), manner.instruction)
    if len(parts) > 1 and rng.random() < 0.15:
        return "\n".join(f"- {part}" for part in parts)
    return rng.choice((" ", " ", "\n", "\n\n")).join(parts)


def _task(rng: Random, scene: Scene) -> Task:
    setting, offers = scene.setting, scene.offers
    if scene.secret and rng.random() < 0.3:
        return canary.asks(rng, setting, scene.secret)
    if not offers or rng.random() < 0.04:
        return _plain_task(rng, scene)
    draw = rng.random()
    if draw < 0.09:
        task = chains.chain(rng, setting, offers)
        if task:
            return task
    if draw < 0.75:
        return calls.call(rng, setting, offers)
    if draw < 0.81:
        return calls.answer(rng, setting, offers)
    if draw < 0.88:
        return calls.no_call(rng, setting, offers)
    if scene.secret:
        return canary.asks(rng, setting, scene.secret)
    if draw < 0.96:
        return canary.in_thought(rng, setting, offers)
    return canary.earlier_turn(rng, setting)


def _plain_task(rng: Random, scene: Scene) -> Task:
    setting = scene.setting
    draw = rng.random()
    if draw < 0.3:
        return puzzles.total(rng, setting)
    if draw < 0.5:
        return puzzles.choice(rng, setting)
    if draw < 0.59:
        return grading.grade(rng, setting)
    if draw < 0.78:
        return orders.obey(rng, setting)
    if draw < 0.95 and scene.secret:
        return canary.asks(rng, setting, scene.secret)
    if draw < 0.92:
        return canary.earlier_turn(rng, setting)
    if draw < 0.95:
        return canary.asks(rng, setting, None)
    return calls.no_call(rng, setting, scene.offers)


def encoded(scene: Scene, tasks: list[Task]) -> Group:
    """The group as tokens."""
    prefix = _prefix(scene)
    known = units(prefix)
    return Group(prefix, tuple(_example(known, task, scene) for task in tasks))


def _prefix(scene: Scene) -> tuple[int, ...]:
    setting = scene.setting
    turns: tuple[ConversationItem, ...] = (
        (Developer(setting.instructions),) if setting.instructions else ()
    )
    tokens = render_prompt(
        Conversation(
            turns,
            setting.tools,
            setting.effort,
            current_date=setting.current_date,
            builtin=setting.builtin,
        )
    )
    leading = tuple(tokens[: -len(encode(_ASSISTANT))])
    leading = scene.style.prefix(leading, bool(setting.instructions))
    return leading + encode(scene.opening)


def _example(prefix: tuple[Unit, ...], task: Task, scene: Scene) -> Example:
    said = plain("".join(history(turn, scene.style) for turn in task.turns)) + _ASSISTANT
    if scene.open_turn:
        said = said.removeprefix(long_contexts.OPEN_TURN)
    last = task.reply[-1]
    written = completion(task.reply)
    if task.prefill and isinstance(last, Call):
        done = forced_header(last) if task.prefill == "header" else f"<|channel|>{task.prefill}"
        said += done
        written = written.removeprefix(done)
    prompt = encode(plain(said))
    return Example(task.skill, prompt, complete(written, PromptText((*prefix, *units(prompt)))))
