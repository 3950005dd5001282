"""Simple instructions on the form of an answer, from the user or for the whole conversation."""

from dataclasses import dataclass
from random import Random

from harmony.conversation import Answer, Reasoning, User
from training.data import thoughts, words
from training.data.phrases import fill, quoted
from training.data.phrasings import lines
from training.data.spans import copy, to_json
from training.data.task import Setting, Task

_CAPITALS = (
    "yes", "no", "stop", "go", "red", "blue", "green", "hello", "world", "cat", "dog", "sun",
    "moon", "star", "tree", "house", "car", "book", "fish", "bird", "water", "fire", "north",
    "south", "east", "west", "apple", "bread", "milk", "king", "queen", "gold", "iron", "love",
    "peace", "time", "music",
)  # fmt: skip
_COUNTS = {2: ("2", "two"), 3: ("3", "three"), 4: ("4", "four")}
_BRACKETS = (
    ("square brackets", "[{v}]"), ("round brackets", "({v})"), ("double quotes", '"{v}"'),
    ("parentheses", "({v})"), ("curly braces", "{{v}}"), ("asterisks", "*{v}*"),
)  # fmt: skip


def obey(rng: Random, setting: Setting) -> Task:
    """A user's instruction, and the answer that follows it."""
    value = rng.choice((words.word, words.capital, words.nonce, words.foreign, words.filler))(rng)
    if rng.random() < 0.2:
        value = words.words(rng, 2, 4)
    draw = rng.random()
    if draw < 0.25:
        text, said = (
            fill(rng, rng.choice(lines("order_exactly")), {"v": quoted(rng, value)}),
            copy(value),
        )
    elif draw < 0.4:
        word = rng.choice(_CAPITALS)
        text, said = (
            fill(rng, rng.choice(lines("order_shout")), {"v": quoted(rng, word)}),
            word.upper(),
        )
    elif draw < 0.55:
        count = rng.choice((2, 2, 3, 3, 4))
        shown = {"v": quoted(rng, value), "n": rng.choice(_COUNTS[count])}
        text, said = (
            fill(rng, rng.choice(lines("order_times")), shown),
            " ".join([copy(value)] * count),
        )
    elif draw < 0.8:
        text, said = _with_other(rng, value)
    elif draw < 0.92:
        name, form = rng.choice(_BRACKETS)
        text = fill(
            rng, rng.choice(lines("order_wrap")), {"v": quoted(rng, value, 0.15), "b": name}
        )
        said = form.replace("{v}", copy(value))
    else:
        key = words.word(rng)
        text = fill(
            rng, rng.choice(lines("order_keyed")), {"k": quoted(rng, key), "v": quoted(rng, value)}
        )
        said = to_json({copy(key): copy(value)})
    thinking = thoughts.answering(
        setting.effort, "Do as told.", "The user gave an order for the answer, so I follow it."
    )
    return Task("output order", (User(text),), (Reasoning(thinking), Answer(said)))


def _with_other(rng: Random, value: str) -> tuple[str, str]:
    other = rng.choice((words.word, words.capital, words.nonce))(rng)
    shown = {"v": quoted(rng, value), "p": quoted(rng, other)}
    if rng.random() < 0.5:
        return fill(rng, rng.choice(lines("order_begin")), shown), f"{copy(other)} {copy(value)}"
    return fill(rng, rng.choice(lines("order_end")), shown), f"{copy(value)} {copy(other)}"


@dataclass(frozen=True)
class Manner:
    """A standing instruction of the developer: text before and after every final answer."""

    instruction: str
    before: str = ""
    after: str = ""

    def applied(self, task: Task) -> Task:
        """The task with its final answer, if it ends in one, in this manner."""
        last = task.reply[-1]
        if not isinstance(last, Answer) or task.skill == "grader":
            return task
        said = Answer(f"{self.before}{last.text}{self.after}")
        return Task(task.skill, task.turns, (*task.reply[:-1], said), task.prefill)


def manner(rng: Random) -> Manner:
    """A random standing instruction."""
    mark = rng.choice((words.word, words.capital, words.nonce, words.filler))(rng)
    if rng.random() < 0.5:
        text = fill(rng, rng.choice(lines("manner_before")), {"p": quoted(rng, mark, 0.5)})
        return Manner(text, before=f"{copy(mark)} ")
    text = fill(rng, rng.choice(lines("manner_after")), {"p": quoted(rng, mark, 0.5)})
    return Manner(text, after=f" {copy(mark)}")
