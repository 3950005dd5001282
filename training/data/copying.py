"""Pure copy tasks: the fastest way to learn that a completion can contain any token."""

from random import Random

from harmony.conversation import Answer, Reasoning, User
from training.data import documents, samples, thoughts, words
from training.data.phrases import fill, quoted
from training.data.requests import written_values
from training.data.spans import copy, to_json
from training.data.task import Setting, Task

_FORMS = (
    "Repeat {v}", "Say {v}", "Copy this: {v}", "Write {v} back to me", "Echo {v}", "{v} - say it",
    "The word is {v}. Repeat it.", "Please repeat after me: {v}", "Give me back {v}", "repeat: {v}",
    "Copy the line below.\n{v}", "Could you say {v} again?", "Hand {v} back to the {w}",
    "I say {v}, you say the same.", "{v}\nSay that again.", "For the {w}: say {v}", "Type {v}",
)  # fmt: skip
_MEDIUM = "The user wants a text repeated, so repeat it as it is."


def _prose(rng: Random) -> str:
    return samples.prose(rng, 1, 8)


def _markdown(rng: Random) -> str:
    return rng.choice(written_values("markdown_to_html", "markdown"))


_MAKERS = (
    words.word, words.word, words.capital, words.capital, words.place, words.foreign, words.foreign,
    words.foreign_sentence, words.nonce, words.made_up, words.sentence, words.identifier,
    words.code_word, words.number_text, words.person, words.tokens, documents.document,
    documents.document, documents.document, documents.document, documents.document,
    samples.utterance, samples.utterance, samples.utterance, _prose, _prose, _prose, _prose,
    _markdown, _markdown,
)  # fmt: skip


def repeat(rng: Random, setting: Setting) -> Task:
    """Repeat the user's text: once, twice, or inside JSON."""
    value = rng.choice(_MAKERS)(rng)
    text = fill(rng, rng.choice(_FORMS), {"v": quoted(rng, value)})
    said = copy(value)
    draw = rng.random()
    if draw < 0.2:
        text, said = f"{text}\nUse JSON.", to_json({"text": said})
    elif draw < 0.3:
        text, said = f"{text}\nSay it twice.", f"{said} {said}"
    elif draw < 0.4:
        text, said = f"{text}\nUse quotes.", f'"{said}"'
    elif draw < 0.5:
        text, said = f"{text}\nBegin with So:", f"So: {said}"
    thinking = thoughts.answering(setting.effort, "Repeat it.", _MEDIUM)
    return Task("copy", (User(text),), (Reasoning(thinking), Answer(said)))
