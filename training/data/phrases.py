"""Wordings of requests: a request form around a verb phrase, a noun phrase or a question."""

import re
from collections.abc import Mapping, Sequence
from random import Random

from training.data import phrasings, words

_WRITTEN_SHARE = 0.75
_OPENERS = (
    "Hi,", "Hello,", "Hello there.", "Ok,", "Okay, next:", "So,", "Alright,", "Good morning.",
    "Quick one:", "One more thing:", "Now,", "Excuse me,", "Right,", "Hi again!", "Dear assistant,",
    "For my notes:", "Before lunch:", "Sorry to bother you.", "Next task.", "Well,", "Hey there,",
    "My {w} asked me this:", "I am busy with {w}.", "For the {w} {w}:", "Since you can help:",
    "We talked about {w} before.", "After the {w} I must know:", "I have a small favour to ask.",
    "The {w} is late again, so", "Hmm,", "Yo,", "Greetings.", "If you have a moment,", "Listen,",
    "My {w} is {w} and I am {w}.", "As part of our {w} project,", "When you can,", "Morning!",
    "I forgot to ask:", "Someone at {w} wants to know:", "Today we do {w}.", "Just wondering:",
)  # fmt: skip
_TAILS = (
    "Thanks!", "Thank you.", "It is for a report.", "No rush.", "Asap.", "Much appreciated.",
    "I am curious.", "Cheers.", "My boss wants it.", "That is all.", "Thx", "I would be grateful.",
    "Be quick.", "Use a tool for that.", "You have a function for this.", "We are {w} people.",
    "I need it for my {w}.", "It is about the {w} {w}.", "My {w} will be happy.", "Ta!",
    "Do not tell the {w}.", "I cannot do it myself.", "The {w} depends on it.", "Many thanks",
    "Otherwise I have to {w}.", "It matters for {w}.", "Let me know.", "And then we are done.",
)  # fmt: skip
_VERB = (
    "{x}.", "{x}", "please {x}.", "{x}, please.", "could you {x}?", "can you {x}?",
    "would you {x}?", "I'd like you to {x}.", "I want you to {x}.", "go ahead and {x}.",
    "I need you to {x}.", "will you {x} for me?", "kindly {x}.", "you should {x}.",
    "your job is to {x}.", "let's {x}.", "help me {x}.", "could you please {x}", "try to {x}.",
    "is it possible to {x}?", "may I ask you to {x}?", "do me a favour and {x}.", "time to {x}.",
    "I was told you can {x}.", "we have to {x}.", "please be so kind and {x}.", "now {x}!",
    "would it be ok to {x}?", "it would be great if you could {x}.", "I am asking you to {x}.",
    "why don't you {x}?", "somebody has to {x}.", "my {w} told me to {x}.", "quickly {x}.",
    "you may now {x}.", "it is time you {x}.", "I hope you can {x}.", "first {x}.", "just {x}.",
)  # fmt: skip
_NOUN = (
    "I need {x}.", "give me {x}.", "{x}, please.", "show me {x}.", "what about {x}?", "{x}?",
    "I'm after {x}.", "let me have {x}.", "I'd like {x}.", "fetch {x}.", "can I have {x}?",
    "could I get {x}?", "tell me {x}.", "I want to know {x}.", "looking for {x}.", "{x} needed.",
    "I wonder about {x}.", "do you have {x}?", "find out {x}.", "{x}", "we need {x} here.",
    "I could use {x}.", "how about {x}?", "please get {x}.", "I have to see {x}.", "report {x}.",
    "my {w} wants {x}.", "any chance of {x}?", "bring me {x}.", "{x} would be nice.",
    "I am interested in {x}.", "what I want is {x}.", "send me {x}.", "{x} for me please.",
    "may I see {x}?", "now {x}.", "I still miss {x}.", "then {x}.", "return {x}.", "hand me {x}.",
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
    """Compose a request; the templates contain `{name}` for each value, which stays unchanged."""
    core = composed(rng, verbs=verbs, nouns=nouns, questions=questions, tails=tails)
    return fill(rng, core, values)


def template(
    rng: Random,
    name: str,
    *,
    verbs: Sequence[str],
    nouns: Sequence[str],
    questions: Sequence[str],
    tails: bool = True,
) -> str:
    """A request with open slots, usually handwritten, otherwise composed."""
    if rng.random() < _WRITTEN_SHARE:
        return written(rng, name, tails=tails)
    return composed(rng, verbs=verbs, nouns=nouns, questions=questions, tails=tails)


def written(rng: Random, name: str, *, tails: bool = False) -> str:
    """A handwritten request with open slots, sometimes slightly changed."""
    text = rng.choice(phrasings.lines(name))
    if rng.random() < 0.2:
        text = _disturbed(rng, text, gently=True)
    draw = 1.0 if text.startswith("{") else rng.random()
    if draw < 0.09:
        text = f"{rng.choice(_OPENERS)} {text}"
    elif draw < 0.19:
        text = f"{rng.choice(phrasings.lines('chatter'))}{rng.choice((' ', ' ', chr(10)))}{text}"
    draw = rng.random()
    if draw < 0.08:
        text = text.lower()
    elif draw < 0.16:
        text = text.rstrip(".?!")
    elif tails and draw < 0.24:
        tail = rng.choice((*_TAILS, *phrasings.lines("chatter")))
        text = f"{text}{'' if text[-1] in '.?!' else '.'} {tail}"
    return text


def one_of(rng: Random, lines: Sequence[str], values: Mapping[str, str]) -> str:
    """A line with the values in its slots, sometimes slightly changed."""
    text = fill(rng, rng.choice(lines), values)
    draw = rng.random()
    if draw < 0.08:
        return text[:1].lower() + text[1:]
    if draw < 0.16:
        return text.rstrip(".?!")
    return f"{rng.choice(phrasings.lines('chatter'))} {text}" if draw < 0.22 else text


def pick(rng: Random, name: str, templates: Sequence[str]) -> str:
    """A line of the file `name`, or one of the templates, with open slots."""
    return rng.choice(phrasings.lines(name) if rng.random() < _WRITTEN_SHARE else templates)


def composed(
    rng: Random,
    *,
    verbs: Sequence[str],
    nouns: Sequence[str],
    questions: Sequence[str],
    tails: bool,
) -> str:
    """A request form around a verb phrase, a noun phrase or a question, with open slots."""
    core = rng.choice((*verbs, *nouns, *questions))
    if core in verbs:
        core = rng.choice(_VERB).replace("{x}", core)
    elif core in nouns:
        core = rng.choice(_NOUN).replace("{x}", core)
    while rng.random() < 0.22:
        core = _disturbed(rng, core)
    if rng.random() < 0.3:
        core = f"{rng.choice(_OPENERS)} {core}"
    core = _roughened(rng, core)
    if tails and rng.random() < 0.2:
        core = f"{core.rstrip('.')}{'' if core.endswith(('?', '!')) else '.'} {rng.choice(_TAILS)}"
    return core


def fill(rng: Random, template: str, values: Mapping[str, str]) -> str:
    """Fill the slots with the values, and every `{w}` with a random word."""
    while "{w}" in template:
        template = template.replace("{w}", words.filler(rng), 1)
    parts = re.split(r"\{(\w+)\}", template)
    return "".join(values[part] if at % 2 else part for at, part in enumerate(parts))


def quoted(rng: Random, value: str, chance: float = 0.3) -> str:
    """The value, in a random kind of quotes or bare."""
    if rng.random() >= chance:
        return value
    clear = [pair for pair in _QUOTE_PAIRS if not any(mark.strip() in value for mark in pair)]
    left, right = rng.choice(clear or [("", "")])
    return f"{left}{value}{right}"


_QUOTE_PAIRS = (
    ('"', '"'), ("'", "'"), ("`", "`"), ("“", "”"), ("«", "»"), ("‘", "’"), ('"', '"'),
    ("„", "“"), ("「", "」"), ("'", "'"), ("« ", " »"),
)  # fmt: skip
_STOPS = ".?!。…"
_QUOTES = "\"'`“«‘„「”"


def shown_at(rng: Random, template: str, slot: str, value: str, chance: float) -> str:
    """A value as shown in a template's slot: quoted if its end would not be clear."""
    before, _, after = template.partition(slot)
    if before.endswith(tuple(_QUOTES)) and after.startswith(tuple(_QUOTES)):
        return value
    return quoted(rng, value, 0.8 if after.strip(_STOPS) else chance)


def settled(asked: str, shown: str, value: str) -> tuple[str, str]:
    """A request and its text value, such that it is clear what the full stop belongs to.

    After a colon or a line break, an unquoted value extends to the end of the request; elsewhere,
    it does not end with a full stop.
    """
    if shown != value:
        return asked, value
    at = asked.rindex(value)
    if at + len(value) >= len(asked.rstrip(_STOPS)) and asked[:at].rstrip(" ").endswith(
        (":", "\n")
    ):
        return asked[: at + len(value)], value
    bare = value.rstrip(_STOPS).rstrip() or value
    return asked[:at] + bare + asked[at + len(value) :], bare


def listed(rng: Random, values: Sequence[str]) -> str:
    """Several values as a list in words."""
    if len(values) == 1:
        return values[0]
    if rng.random() < 0.5:
        return rng.choice((", ", ", ", ",", " , ")).join(values)
    joint = rng.choice((" and ", " and ", ", and ", " & ", " plus "))
    return ", ".join(values[:-1]) + joint + values[-1]


def _disturbed(rng: Random, template: str, *, gently: bool = False) -> str:
    """Replace, insert or mistype one word that touches no value, to vary the phrasing.

    With `gently`, no word of a short template is lost.
    """
    parts = template.split(" ")
    free = [
        at
        for at in range(len(parts))
        if not any("{" in part for part in parts[max(0, at - 1) : at + 2])
    ]
    if not free:
        return template
    at = rng.choice(free)
    match rng.randrange(1 if gently and len(parts) < 9 else 0, 3):
        case 0:
            parts[at] = "{w}"
        case 1:
            parts.insert(at, "{w}")
        case _:
            parts[at] = _mistyped(rng, parts[at])
    return " ".join(parts)


def _mistyped(rng: Random, word: str) -> str:
    if len(word) < 4:
        return word
    at = rng.randrange(1, len(word) - 1)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _roughened(rng: Random, text: str) -> str:
    draw = rng.random()
    if draw < 0.65:
        return text[:1].upper() + text[1:]
    if draw < 0.83:
        return text
    if draw < 0.95:
        return text.rstrip(".?!")
    return text.replace("please", "pls").replace("you ", "u ").rstrip(".")
