"""Texts that users pass along: some words of prose, or a line in some language."""

from functools import cache
from random import Random

from training.data import phrasings, words
from training.data.requests import written_values


@cache
def _sentences() -> tuple[tuple[str, ...], ...]:
    parts = (part.split() for line in phrasings.fragments() for part in line.said)
    return tuple(tuple(part) for part in parts if len(part) > 3)


def prose(rng: Random, low: int, high: int) -> str:
    """Some consecutive words of prose, without punctuation at either end."""
    sentence = rng.choice(_sentences())
    count = min(rng.randint(low, high), len(sentence))
    at = rng.randint(0, len(sentence) - count)
    return " ".join(sentence[at : at + count]).strip("\"'`,.:;!?()-–—[]{} ") or words.word(rng)


def utterance(rng: Random) -> str:
    """A word or a line in some language with realistic punctuation, not entirely in quotes."""
    text = _utterance(rng)
    return text[1:-1] if text[:1] == "«" and text.find("»") == len(text) - 1 > 1 else text


def _utterance(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.3:
        text = _written(rng)
        return _signed(rng, text) if rng.random() < 0.15 else text
    if draw < 0.42:
        return _excerpt(rng)
    if draw < 0.52:
        return prose(rng, 2, 9)
    maker = rng.choice(
        (words.foreign_sentence, words.foreign_sentence, words.sentence, words.foreign)
    )
    text = maker(rng)
    while rng.random() < 0.3:
        text = _signed(rng, text)
    return _echoing(rng, text) if rng.random() < 0.2 else text


def _written(rng: Random) -> str:
    """A sentence or some lines of prose in any language."""
    if rng.random() < 0.3:
        return rng.choice(phrasings.lines("sentences"))
    return rng.choice(written_values("identify_language", "text"))


def _echoing(rng: Random, text: str) -> str:
    """The text with a word repeated elsewhere, so that its next word is not always the same."""
    parts = text.split(" ")
    parts.insert(rng.randint(0, len(parts)), rng.choice(parts))
    return " ".join(parts).strip()


def _excerpt(rng: Random) -> str:
    """Some consecutive words of a sentence, or two sentences."""
    text = _written(rng)
    parts = text.split(" ")
    if len(parts) < 3:
        return f"{text} {_written(rng)}"
    at = rng.randrange(len(parts) - 1)
    return " ".join(parts[at : rng.randint(at + 1, len(parts))])


def _signed(rng: Random, text: str) -> str:
    """The text with one more punctuation mark somewhere."""
    parts = text.split(" ")
    at = rng.randrange(len(parts))
    part = parts[at]
    middle = rng.randint(1, max(1, len(part) - 1))
    parts[at] = rng.choice(
        (
            f"{part[:middle]}'{part[middle:]}", f"{part}'s", f"{part},", f"{part} –", f"{part}...",
            f"({part})", f"{part}:", f"{words.number_text(rng)} {part}", f"«{part}»",
            f"{part[:middle]}-{part[middle:]}", f"{part}!", f"{part};", f"{part}/{part}",
            f"“{part}”", f'"{part}"', f"{part} {words.number_text(rng)}", f"{part}: {part}",
        )
    )  # fmt: skip
    return " ".join(parts)
