"""Pure copy tasks: the shortest way to learn that a completion can hold any token."""

from __future__ import annotations

from random import Random

from reference_engine.harmony.conversation import Answer, Reasoning, User
from reference_engine.small.data import thoughts, words
from reference_engine.small.data.phrases import quoted
from reference_engine.small.data.spans import copy
from reference_engine.small.data.task import Setting, Task

_FORMS = (
    "Repeat {v}", "Say {v}", "Copy this: {v}", "Write {v} back to me", "Echo {v}", "{v} - say it",
    "The word is {v}. Repeat it.", "Please repeat after me: {v}", "Give me back {v}", "repeat: {v}",
)  # fmt: skip


def repeat(rng: Random, setting: Setting) -> Task:
    """Say again what the user wrote."""
    maker = rng.choice(
        (words.word, words.capital, words.place, words.foreign, words.foreign_sentence, words.nonce,
         words.made_up, words.sentence, words.identifier, words.code_word, words.number_text)
    )  # fmt: skip
    value = maker(rng)
    text = rng.choice(_FORMS).replace("{v}", quoted(rng, value))
    thinking = thoughts.answering(
        setting.effort, "Repeat it.", "The user wants a text repeated, so repeat it as it is."
    )
    return Task("copy", (User(text),), (Reasoning(thinking), Answer(copy(value))))
