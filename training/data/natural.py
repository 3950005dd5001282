"""Everyday sentences: handwritten patterns, filled with everyday words."""

import re
from collections.abc import Callable
from random import Random

from training.data import phrasings, places, words

_NOUNS = (
    "apple", "apron", "bag", "bakery", "ball", "bank", "basket", "bath", "bed", "bell", "bicycle",
    "bike", "bill", "bird", "blanket", "boat", "book", "bottle", "bowl", "box", "bread", "bridge",
    "brochure", "brush", "bucket", "button", "cable", "cake", "calendar", "camera", "candle",
    "car", "card", "carpet", "cat", "cellar", "chair", "cheese", "choir", "church", "cinema",
    "clock", "cloud", "coat", "coffee", "comb", "concert", "cookie", "corner", "cow", "cup",
    "cupboard", "curtain", "dentist", "desk", "diary", "doctor", "dog", "door", "drawer", "drum",
    "egg", "engine", "envelope", "essay", "farm", "fence", "ferry", "field", "film", "flag",
    "floor", "flower", "fork", "fridge", "garage", "garden", "gate", "ghost", "glass", "goose",
    "guitar", "hammer", "harbour", "hat", "hill", "horse", "hotel", "house", "island", "jacket",
    "jar", "kettle", "key", "kitchen", "kite", "ladder", "lake", "lamp", "lawyer", "leaf",
    "lemon", "letter", "library", "lock", "machine", "map", "market", "meadow", "melon", "menu",
    "mirror", "moon", "morning", "mountain", "museum", "needle", "neighbour", "newspaper", "night",
    "nurse", "office", "onion", "orange", "oven", "owl", "page", "painter", "pan", "paper", "park",
    "party", "pen", "pencil", "phone", "piano", "picture", "pillow", "plan", "plate", "pocket",
    "poem", "pond", "potato", "present", "printer", "queen", "radio", "receipt", "recipe", "ring",
    "river", "roof", "room", "rope", "rose", "sandwich", "scarf", "school", "screen", "shirt",
    "shoe", "shop", "sofa", "song", "soup", "spoon", "stamp", "station", "stone", "storm",
    "story", "street", "suitcase", "table", "teacher", "tent", "theatre", "ticket", "tooth",
    "towel", "tower", "town", "toy", "tractor", "train", "tree", "trip", "umbrella", "village",
    "violin", "wall", "watch", "wedding", "wheel", "window", "winter", "workshop", "yard",
)  # fmt: skip
_ADJECTIVES = (
    "old", "new", "red", "blue", "green", "cold", "warm", "wet", "dry", "quiet", "loud", "empty",
    "full", "heavy", "light", "long", "short", "small", "big", "huge", "tiny", "clean", "dirty",
    "sweet", "sour", "salty", "fresh", "late", "early", "slow", "fast", "open", "closed", "broken",
    "wooden", "golden", "yellow", "purple", "grey", "pink", "dark", "bright", "cheap", "expensive",
    "funny", "strange", "lovely", "ugly", "kind", "rude", "tired", "lazy", "happy", "sad", "brave",
    "famous", "rare", "common", "local", "foreign", "homemade", "round", "square", "flat", "steep",
    "spicy", "crisp", "soft", "hard", "lost", "safe", "dangerous", "free", "ready", "second-hand",
)  # fmt: skip
_VERBS = (
    "paint", "buy", "sell", "find", "fix", "clean", "carry", "move", "open", "close", "count",
    "draw", "eat", "cook", "cut", "wash", "fold", "read", "borrow", "lend", "send", "show", "hide",
    "check", "order", "bring", "fetch", "hold", "keep", "leave", "lift", "measure", "pack", "plant",
    "print", "pull", "push", "repair", "replace", "return", "share", "shut", "sign", "stop", "test",
    "throw", "visit", "water", "weigh", "wrap", "update", "delete", "save", "rename", "install",
)  # fmt: skip
_NAMES = (
    "Ada", "Agnieszka", "Aisha", "Amélie", "Anders", "Ben", "Björn", "Carlos", "Chloé", "Daniel",
    "Dörte", "Émile", "Eva", "Fatima", "François", "Grace", "Hannah", "Håkon", "Inés", "Ivan",
    "Jürgen", "José", "Kenji", "Lars", "Leila", "Łukasz", "Maria", "Márta", "Mei", "Mrs. Brown",
    "Mr. Okafor", "Nils", "Noor", "Olga", "Oskar", "Paul", "Pelin", "Priya", "Renée", "Rosa",
    "Sanjay", "Seán", "Søren", "Tariq", "Tom", "Uwe", "Vera", "Wei", "Yusuf", "Zoë", "Dr. Vogel",
    "Grandma", "my uncle", "my boss", "the plumber", "our landlord", "Aunt May", "O'Neill",
)  # fmt: skip
_TIMES = (
    "today", "tomorrow", "tonight", "next week", "on Friday", "on Tuesday", "in May", "at noon",
    "at {D}", "after lunch", "before dawn", "every Sunday", "in the evening", "last spring",
    "this summer", "at {D}:30", "on 3 June", "in an hour", "after midnight", "from 9 to 5",
    "on Mondays", "twice a week", "this morning", "next month", "in winter", "at half past six",
    "on the {D}th", "by Thursday", "after the game", "during the break", "at seven", "at dusk",
)  # fmt: skip
_PHRASES = (
    "the {A} {N}", "a {A} {N}", "{S}", "{A} {S}", "{N}", "{S} and {S}", "{D} {S}", "the {N}",
    "{M}'s {N}", "{V} the {N}", "{V} {M}", "{N} {T}", "{S} for {M}", "{A}", "{A} and {A}",
    "very {A}", "no {S}", "{N} ({A})", "{N} or {N}", "{S}, {S}", "the {N} in {P}", "{P}", "{M}",
    "how to {V} {S}", "why {S}?", "new {S}!", "{N} no. {D}", "more {S}", "{V} {D} {S}", "{T}",
    "{N} of the {N}", "never {V} {S}", "{D} x {N}", "{w} {S}", "{w} {N}", "{V} the {w}", "{w}",
    "{M} & {M}", "{N}: {A}", "your {N}", "only {T}", "not {A}", "{A}, {A} {S}", "{N}/{N}",
)  # fmt: skip
_EMOJI = ("🎉", "🙂", "✅", "🌧️", "❤️", "🚀", "👍", "☕", "🎂", "⚠️", "🐛", "🍎")
_FOREIGN_SHARE = 0.05


def _plural(noun: str) -> str:
    irregular = {"goose": "geese", "tooth": "teeth", "leaf": "leaves", "scarf": "scarves"}
    if noun in irregular:
        return irregular[noun]
    if noun.endswith(("s", "x", "ch", "sh")) or noun == "potato":
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def _noun(rng: Random) -> str:
    return words.filler(rng) if rng.random() < 0.12 else rng.choice(_NOUNS)


_WORDS: dict[str, Callable[[Random], str]] = {
    "N": _noun,
    "S": lambda rng: _plural(rng.choice(_NOUNS)),
    "A": lambda rng: rng.choice(_ADJECTIVES),
    "V": lambda rng: rng.choice(_VERBS),
    "M": lambda rng: rng.choice(_NAMES),
    "P": places.named,
    "T": lambda rng: filled(rng, rng.choice(_TIMES)),
    "D": lambda rng: str(rng.randint(2, 10 ** rng.choice((1, 2, 2, 3)))),
    "w": words.word,
}


def filled(rng: Random, pattern: str) -> str:
    """The pattern with words in its slots; slots with names not in `everyday.txt` stay."""
    said = re.sub(r"\{(\w)\}", lambda s: _WORDS[s[1]](rng) if s[1] in _WORDS else s[0], pattern)
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", said)


def sentence(rng: Random) -> str:
    """One of many thousands of sentences, with its punctuation."""
    if rng.random() < _FOREIGN_SHARE:
        return rng.choice(phrasings.lines("sentences"))
    text = capitalised(filled(rng, rng.choice(phrasings.lines("everyday"))))
    if rng.random() < 0.04:
        text = f"{text} {rng.choice(_EMOJI)}"
    return text


def without_place(rng: Random) -> str:
    """A sentence that names no place."""
    patterns = [line for line in phrasings.lines("everyday") if "{P}" not in line]
    return filled(rng, rng.choice(patterns))


def phrase(rng: Random) -> str:
    """One to five words that belong together."""
    text = filled(rng, rng.choice(_PHRASES))
    if rng.random() < 0.04:
        text = f"{rng.choice(_EMOJI)} {text}"
    return text


def capitalised(text: str) -> str:
    """The text with its first letter capitalized."""
    return text[:1].upper() + text[1:]
