"""Ways people ask: a request form around a verb phrase, a noun phrase or a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

_OPENERS = (
    "Hi,", "Hello,", "Hello there.", "Ok,", "Okay, next:", "So,", "Alright,", "Good morning.",
    "Quick one:", "One more thing:", "Now,", "Excuse me,", "Right,", "Hi again!", "Dear assistant,",
    "For my notes:", "Before lunch:", "Sorry to bother you.", "Next task.", "Well,", "Hey there,",
)  # fmt: skip
_TAILS = (
    "Thanks!", "Thank you.", "It is for a report.", "No rush.", "Asap.", "Much appreciated.",
    "I am curious.", "Cheers.", "My boss wants it.", "That is all.", "Thx", "I would be grateful.",
    "Be quick.", "Use a tool for that.", "You have a function for this.",
)  # fmt: skip
_VERB = (
    "{x}.", "{x}", "please {x}.", "{x}, please.", "could you {x}?", "can you {x}?",
    "would you {x}?", "I'd like you to {x}.", "I want you to {x}.", "go ahead and {x}.",
    "I need you to {x}.", "will you {x} for me?", "kindly {x}.", "you should {x}.",
    "your job is to {x}.", "let's {x}.", "help me {x}.", "could you please {x}", "try to {x}.",
    "is it possible to {x}?", "may I ask you to {x}?", "do me a favour and {x}.", "time to {x}.",
)  # fmt: skip
_NOUN = (
    "I need {x}.", "give me {x}.", "{x}, please.", "show me {x}.", "what about {x}?", "{x}?",
    "I'm after {x}.", "let me have {x}.", "I'd like {x}.", "fetch {x}.", "can I have {x}?",
    "could I get {x}?", "tell me {x}.", "I want to know {x}.", "looking for {x}.", "{x} needed.",
    "I wonder about {x}.", "do you have {x}?", "find out {x}.", "{x}", "we need {x} here.",
    "I could use {x}.", "how about {x}?",
)  # fmt: skip


def request(
    rng: Random,
    values: Mapping[str, str],
    *,
    verbs: Sequence[str] = (),
    nouns: Sequence[str] = (),
    questions: Sequence[str] = (),
    tails: bool = True,
) -> str:
    """Compose a request; the templates hold `{name}` for each value, which is left as it is."""
    core = rng.choice((*verbs, *nouns, *questions))
    if core in verbs:
        core = rng.choice(_VERB).replace("{x}", core)
    elif core in nouns:
        core = rng.choice(_NOUN).replace("{x}", core)
    if rng.random() < 0.3:
        core = f"{rng.choice(_OPENERS)} {core}"
    core = _roughened(rng, core)
    if tails and rng.random() < 0.15:
        core = f"{core.rstrip('.')}{'' if core.endswith('?') else '.'} {rng.choice(_TAILS)}"
    for name, value in values.items():
        core = core.replace("{" + name + "}", value)
    return core


def quoted(rng: Random, value: str, chance: float = 0.3) -> str:
    """The value, in some kind of quotes or bare."""
    if rng.random() >= chance:
        return value
    left, right = rng.choice(
        (('"', '"'), ("'", "'"), ("`", "`"), ("“", "”"), ("«", "»"), ("‘", "’"), ('"', '"'))
    )
    return value if left in value or right in value else f"{left}{value}{right}"


def listed(rng: Random, values: Sequence[str]) -> str:
    """Several values as people list them."""
    if len(values) == 1:
        return values[0]
    if rng.random() < 0.5:
        return ", ".join(values)
    joint = rng.choice((" and ", " and ", ", and ", " & ", " plus "))
    return ", ".join(values[:-1]) + joint + values[-1]


def _roughened(rng: Random, text: str) -> str:
    draw = rng.random()
    if draw < 0.7:
        return text[:1].upper() + text[1:]
    if draw < 0.85:
        return text
    if draw < 0.95:
        return text.rstrip(".?!")
    return text.replace("please", "pls").replace("you", "u").rstrip(".")
