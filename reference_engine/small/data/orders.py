"""Simple orders on the form of an answer, from the user or for the whole conversation."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from reference_engine.harmony.conversation import Answer, Reasoning, User
from reference_engine.small.data import thoughts, words
from reference_engine.small.data.phrases import fill, quoted
from reference_engine.small.data.spans import copy, to_json
from reference_engine.small.data.task import Setting, Task

_CAPITALS = (
    "yes", "no", "stop", "go", "red", "blue", "green", "hello", "world", "cat", "dog", "sun",
    "moon", "star", "tree", "house", "car", "book", "fish", "bird", "water", "fire", "north",
    "south", "east", "west", "apple", "bread", "milk", "king", "queen", "gold", "iron", "love",
    "peace", "time", "music",
)  # fmt: skip
_SHOUT = (
    "Write {v} in capitals.", "Say {v} in capital letters.", "Put {v} in upper case.",
    "Answer in capitals only: {v}", "Uppercase {v}.", "{v} in all caps, please.",
    "Use capital letters to write {v}.", "Shout {v} in capitals.", "Make {v} upper case.",
)  # fmt: skip
_EXACTLY = (
    "Say exactly: {v}", "Reply with {v} and nothing else.", "Answer only with {v}.",
    "Your whole answer must be {v}", "Output just {v}", "Respond with the text {v}",
    "Say exactly {v}, no more.", "Write nothing but {v}", "Answer with one word: {v}",
    "Print {v} and stop.", "The only thing you may say is {v}", "Respond exactly like this: {v}",
)  # fmt: skip
_TIMES = ("Repeat {v} {n} times.", "Say {v} {n} times.", "Write {v} {n} times in a row.",
          "{n} times {v}, please.", "Print {v} exactly {n} times.")  # fmt: skip
_COUNTS = {2: ("2", "two"), 3: ("3", "three"), 4: ("4", "four")}
_BEGIN = (
    "Begin your answer with {p} and then say {v}.", "Start with {p}, then write {v}.",
    "Say {v}, but put {p} before it.", "First {p}, then {v}: say both.",
    "Prefix your answer with {p}. Say {v}.",
)  # fmt: skip
_END = (
    "Say {v} and end with {p}.", "Write {v}, then {p} at the end.", "Say {v}. Finish with {p}.",
    "End your answer with {p}. Say {v}.",
)  # fmt: skip
_BRACKETS = (
    ("square brackets", "[{v}]"), ("round brackets", "({v})"), ("double quotes", '"{v}"'),
    ("parentheses", "({v})"), ("curly braces", "{{v}}"), ("asterisks", "*{v}*"),
)  # fmt: skip
_WRAP = ("Say {v} in {b}.", "Put {v} in {b}.", "Write {v} between {b}.", "Wrap {v} in {b}.")
_KEYED = (
    "Answer in JSON with the key {k}: {v}", "Give a JSON object whose {k} is {v}.",
    "Write JSON with {k} set to {v}.", "As JSON please, {k} is {v}.",
)  # fmt: skip


def obey(rng: Random, setting: Setting) -> Task:
    """One order by the user, carried out."""
    value = rng.choice((words.word, words.capital, words.nonce, words.foreign, words.filler))(rng)
    if rng.random() < 0.2:
        value = words.words(rng, 2, 4)
    draw = rng.random()
    if draw < 0.25:
        text, said = fill(rng, rng.choice(_EXACTLY), {"v": quoted(rng, value)}), copy(value)
    elif draw < 0.4:
        word = rng.choice(_CAPITALS)
        text, said = fill(rng, rng.choice(_SHOUT), {"v": quoted(rng, word)}), word.upper()
    elif draw < 0.55:
        count = rng.choice((2, 2, 3, 3, 4))
        shown = {"v": quoted(rng, value), "n": rng.choice(_COUNTS[count])}
        text, said = fill(rng, rng.choice(_TIMES), shown), " ".join([copy(value)] * count)
    elif draw < 0.8:
        text, said = _with_other(rng, value)
    elif draw < 0.92:
        name, form = rng.choice(_BRACKETS)
        text = fill(rng, rng.choice(_WRAP), {"v": quoted(rng, value, 0.15), "b": name})
        said = form.replace("{v}", copy(value))
    else:
        key = words.word(rng)
        text = fill(rng, rng.choice(_KEYED), {"k": quoted(rng, key), "v": quoted(rng, value)})
        said = to_json({copy(key): copy(value)})
    thinking = thoughts.answering(
        setting.effort, "Do as told.", "The user gave an order for the answer, so I follow it."
    )
    return Task("output order", (User(text),), (Reasoning(thinking), Answer(said)))


def _with_other(rng: Random, value: str) -> tuple[str, str]:
    other = rng.choice((words.word, words.capital, words.nonce))(rng)
    shown = {"v": quoted(rng, value), "p": quoted(rng, other)}
    if rng.random() < 0.5:
        return fill(rng, rng.choice(_BEGIN), shown), f"{copy(other)} {copy(value)}"
    return fill(rng, rng.choice(_END), shown), f"{copy(value)} {copy(other)}"


@dataclass(frozen=True)
class Manner:
    """A standing order of the developer: what stands before and after every final answer."""

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


_BEFORE = (
    "Start every answer with {p}.", "Begin all final answers with {p}.", "Put {p} first, always.",
    "Each answer must open with {p}.", "Every reply starts with {p}.",
)  # fmt: skip
_AFTER = (
    "End every answer with {p}.", "Close all final answers with {p}.", "Always finish with {p}.",
    "Each answer must end with {p}.", "The last word of each reply is {p}.",
)  # fmt: skip


def manner(rng: Random) -> Manner:
    """A standing order."""
    mark = rng.choice((words.word, words.capital, words.nonce, words.filler))(rng)
    if rng.random() < 0.5:
        text = fill(rng, rng.choice(_BEFORE), {"p": quoted(rng, mark, 0.5)})
        return Manner(text, before=f"{copy(mark)} ")
    text = fill(rng, rng.choice(_AFTER), {"p": quoted(rng, mark, 0.5)})
    return Manner(text, after=f" {copy(mark)}")
