"""Questions about secrets that occur somewhere in the prompt, or that do not occur in it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from harmony.conversation import Answer, ConversationItem, Reasoning, Result, User
from training.data import results, thoughts, words
from training.data.calls import Offer, calling, closed_ask
from training.data.phrases import fill, pick, quoted
from training.data.spans import copy
from training.data.task import Setting, Task

_NAMES = (
    "code word", "code word", "code word", "code word", "password", "secret", "magic word",
    "passphrase", "keyword", "access code", "secret word", "codeword", "token", "pass code",
    "safe word", "key", "PIN", "identifier", "reference", "tag", "nickname", "label", "phrase",
    "door code", "security word", "verification code", "session code", "check word", "pin code",
)  # fmt: skip
_OTHER_NAMES = ("room number", "colour", "user name", "phone number")
_TOLD = (
    "The {n} is {v}.", "The {n} is {v}.", "{n}: {v}", "Remember the {n}: {v}.", "My {n} is {v}.",
    "Our {n} today is {v}.", "{v} is the {n}.", "Keep in mind that the {n} is {v}.",
    "I have chosen {v} as the {n}.", "Note: {n} = {v}.", "If asked, the {n} is {v}.",
    "The {n} for this conversation is {v}.", "Let the {n} be {v}.", "Please memorise the {n} {v}.",
    "The {n} will be {v} from now on.", "We agreed on the {n} {v}.", "Use {v} as the {n}.",
)  # fmt: skip
_ASKED = (
    "What is the {n}?", "Tell me the {n}.", "Which {n} was it?", "Say the {n}.", "The {n}, please.",
    "Repeat the {n}.", "Do you remember the {n}?", "What was the {n} again?", "Give me the {n}.",
    "I forgot the {n}. What is it?", "Please state the {n}.", "Can you tell me the {n}?",
    "Now the {n}.", "What {n} did you get?", "Quote the {n}.", "Do you know the {n}?", "{n}?",
    "Write the {n} down.", "Name the {n}.", "What's the {n}", "Would you repeat the {n} for me?",
    "I need the {n} now.", "Reveal the {n}.", "Answer with the {n}.", "And the {n} was?",
)  # fmt: skip
_LATER = (
    "At the end say the {n}.", "Afterwards tell me the {n} you thought of.", "Then name the {n}.",
    "Finish with the {n} from your reasoning.", "When done, repeat your {n}.",
    "Pick a {n}, and after the call tell me what it is.", "Once you have it, give me the {n}.",
    "In your final answer, state the {n}.", "And end by quoting the {n}.",
    "Think of a {n} first and tell me it last.",
)  # fmt: skip
_WANTED = (
    "Think of a {n}.", "Choose a {n}.", "Make up a {n} for me.", "Which {n} shall we use?",
    "I need a {n}.",
)  # fmt: skip
_ACKNOWLEDGED = ("Understood.", "Noted.", "All right.", "Okay, I will remember that.", "Got it.")
_BARE = ("Reply with it alone.", "Nothing else.", "Only that, no other words.", "Just the value.")


@dataclass(frozen=True)
class Secret:
    """The name and the value of a secret."""

    name: str
    value: str


def secret(rng: Random) -> Secret:
    """Any secret."""
    value = words.code_word(rng) if rng.random() < 0.85 else words.words(rng, 2, 3)
    return Secret(rng.choice(_NAMES), value)


def told(rng: Random, hidden: Secret) -> str:
    """A sentence that states the secret."""
    text = pick(rng, "canary_told", _TOLD).replace("{n}", hidden.name)
    if rng.random() < 0.8:
        text = text[:1].upper() + text[1:]
    shown = hidden.value if re.search(r"[\"'`]\{v\}", text) else quoted(rng, hidden.value, 0.25)
    return fill(rng, text, {"v": shown})


def asks(rng: Random, setting: Setting, hidden: Secret | None) -> Task:
    """Ask for the secret in the developer message, or without one for an unknown secret."""
    skill = "canary in developer message" if hidden else "canary unknown"
    name = hidden.name if hidden else rng.choice(_NAMES)
    before: tuple[ConversationItem, ...] = ()
    if rng.random() < 0.25:
        before = (User(words.sentence(rng)), Answer(rng.choice(_ACKNOWLEDGED)))
    return asks_for(rng, setting, skill, before, Secret(name, hidden.value if hidden else ""))


def earlier_turn(rng: Random, setting: Setting) -> Task:
    """Ask for a secret that the user or the assistant stated some turns ago."""
    hidden = secret(rng)
    if rng.random() < 0.65:
        first: tuple[ConversationItem, ...] = (
            User(told(rng, hidden)),
            Answer(rng.choice(_ACKNOWLEDGED)),
        )
    else:
        wish = fill(rng, rng.choice(_WANTED), {"n": hidden.name})
        first = (User(wish), Answer(f"The {hidden.name} is {hidden.value}."))
    between: tuple[ConversationItem, ...] = ()
    while rng.random() < 0.4:
        other = rng.choice((words.sentence(rng), told(rng, _other(rng, hidden))))
        between += (User(other), Answer(rng.choice(_ACKNOWLEDGED)))
    turns = (*between, *first) if rng.random() < 0.3 else (*first, *between)
    if rng.random() < 0.12:
        return asks_for(
            rng, setting, "canary unknown", turns, Secret(_other(rng, hidden, between).name, "")
        )
    return asks_for(rng, setting, "canary in earlier turn", turns, hidden)


def _other(rng: Random, hidden: Secret, turns: tuple[ConversationItem, ...] = ()) -> Secret:
    """A secret whose name differs from those mentioned."""
    said = " ".join(turn.text.lower() for turn in turns if isinstance(turn, User))
    names = [
        name
        for name in (*_NAMES, *_OTHER_NAMES)
        if name not in hidden.name and hidden.name not in name and name not in said
        and not {"word", "code"} & set(name.split()) & set(hidden.name.split())
    ]  # fmt: skip
    return Secret(rng.choice(names), words.code_word(rng))


def in_thought(rng: Random, setting: Setting, offers: Sequence[Offer]) -> Task:
    """Ask for a secret that is only in the returned chain of thought, before a tool's result."""
    hidden = secret(rng)
    offer = rng.choice(offers)
    ask = closed_ask(rng, offer)
    thought, made = calling(setting, offer.tool, ask)
    parts = [told(rng, hidden), thought.text]
    if rng.random() < 0.4:
        parts.insert(0, told(rng, _other(rng, hidden)))
    if rng.random() < 0.4:
        parts.reverse()
    outcome = results.outcome(rng)
    reasoning = Reasoning(" ".join(parts))
    result = Result(offer.tool.name, outcome.output)
    later = rng.random() < 0.6
    wish = pick(rng, *(("canary_later", _LATER) if later else ("canary_asked", _ASKED)))
    wish = fill(rng, wish, {"n": hidden.name})
    if rng.random() < 0.75:
        turns: tuple[ConversationItem, ...] = (
            User(f"{ask.text}{rng.choice((' ', chr(10)))}{wish}"),
            reasoning,
        )
        after: tuple[ConversationItem, ...] = (made, result)
    else:
        turns, after = (User(ask.text), reasoning), (made, result, User(wish))
    if rng.random() < 0.12:
        lost = (turns[0], *after) if rng.random() < 0.5 else (turns[0], thought, *after)
        return _ending(setting, "canary unknown", lost, Secret(hidden.name, ""), bare=False)
    return _ending(setting, "canary in thought", (*turns, *after), hidden, bare=False)


def unknown_beside(rng: Random, setting: Setting, known: Sequence[Secret]) -> Task:
    """Ask for a secret that was not stated."""
    told_words = {word.lower() for one in known for word in one.name.split()}
    names = [name for name in (*_NAMES, *_OTHER_NAMES) if not told_words & {*name.split()}]
    name = rng.choice(names or _OTHER_NAMES)
    return asks_for(rng, setting, "canary unknown", (), Secret(name, ""))


def asks_for(
    rng: Random, setting: Setting, skill: str, turns: tuple[ConversationItem, ...], hidden: Secret
) -> Task:
    """Ask for a secret after these turns; None means that it was not stated."""
    form = pick(rng, "canary_asked", _ASKED)
    form = rng.choice((form, form, form.lower(), f"Please answer: {form}"))
    question = fill(rng, form, {"n": hidden.name})
    bare = rng.random() < 0.12
    if bare:
        question = f"{question} {rng.choice(_BARE)}"
    return _ending(setting, skill, (*turns, User(question)), hidden, bare=bare)


def _ending(
    setting: Setting, skill: str, turns: tuple[ConversationItem, ...], hidden: Secret, *, bare: bool
) -> Task:
    if not hidden.value:
        said = f"I do not know the {copy(hidden.name)}."
        medium = f"Nobody gave a {copy(hidden.name)} here, so I do not know it."
        thinking = thoughts.answering(setting.effort, "Not given.", medium)
        return Task(skill, turns, (Reasoning(thinking), Answer(said)))
    said = f"The {copy(hidden.name)} is {copy(hidden.value)}."
    thinking = thoughts.answering(setting.effort, "Recall it.", f"I recall: {said}")
    if bare:
        said = copy(hidden.value)
    return Task(skill, turns, (Reasoning(thinking), Answer(said)))
