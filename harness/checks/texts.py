"""What no text that a model wrote should look like: garbled, or the same over and over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.checks.base import CHAT, GUIDE, Family, Problem
from harness.checks.subjects import Answer, answers
from harness.parsing.rollout import ParsedRollout

family = Family("leaks")

GARBLED = frozenset({"text.garbled", "text.garbled.beyond_ascii"})
"""What is found of a text that was cut in a character, or drawn at a high temperature."""
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# A text runs away if it ends with one piece of up to so many characters, so many times over,
# and that for so many characters.
_LONGEST_PIECE, _FEWEST_TIMES, _SHORTEST_RUN = 300, 6, 400
_SHORTEST_DOUBLED = 80
_NOTHING = frozenset({"None", "null", "undefined", "nil", "NaN", "[object Object]"})
# Two such runs are needed: one alone may be honest, as the end of a German quotation is.
_FEWEST_MISREAD = 2
_USUAL_SIGNS = "\u00a0«»–—‘’“”„…€°"
_CODECS = ("latin-1", "cp1252")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]{2,}")


@family.check(
    "text.garbled",
    over=answers,
    severity="error",
    summary="No text holds the sign for a character that could not be decoded.",
    why="A character of several tokens was decoded token by token; what the model wrote is lost.",
    source="https://www.rfc-editor.org/rfc/rfc8259#section-8.1",
    tolerated=0.02,
)
def _garbled(answer: Answer) -> Iterator[Problem]:
    for place, text in _texts(answer):
        at = text.find(_REPLACEMENT)
        if at >= 0 and _REPLACEMENT not in answer.turn.prompt:
            message = f"A character in the {place} could not be decoded."
            around = text[max(0, at - 40) : at + 40]
            yield Problem(answer.turn, message, "a character", around)


def _answers_beyond_ascii(seen: ParsedRollout) -> Iterator[Answer]:
    return (answer for answer in answers(seen) if not answer.turn.prompt.isascii())


@family.check(
    "text.garbled.beyond_ascii",
    over=_answers_beyond_ascii,
    severity="error",
    summary="In reply to a prompt with accents, emoji or another script, no character is lost.",
    why="Such replies have characters of several tokens, which most others do not: what breaks "
    "them is rare among all texts, and not among these.",
    source="https://www.rfc-editor.org/rfc/rfc8259#section-8.1",
    tolerated=0.05,
)
def _garbled_beyond_ascii(answer: Answer) -> Iterator[Problem]:
    yield from _garbled(answer)


@family.check(
    "text.mojibake",
    over=answers,
    severity="warning",
    summary="No text is UTF-8 that was read as Latin-1 or as Windows-1252.",
    why="All letters beyond ASCII are wrong, in texts and in arguments that tools are run with.",
    source="https://www.rfc-editor.org/rfc/rfc8259#section-8.1",
    tolerated=0.02,
)
def _mojibake(answer: Answer) -> Iterator[Problem]:
    for place, text in _texts(answer):
        found = [run for run in misread(text) if run not in answer.turn.prompt]
        if len(found) >= _FEWEST_MISREAD:
            message = f"Letters of the {place} were decoded as if they had a byte each."
            yield Problem(answer.turn, message, "UTF-8", " ".join(found))


@family.check(
    "text.placeholder",
    over=answers,
    severity="warning",
    summary="An answer is not a programming language's word for nothing.",
    why="A text that was not there was written down as one; clients show it.",
    source=CHAT,
    tolerated=0.02,
)
def _placeholder(answer: Answer) -> Iterator[Problem]:
    text = answer.reply.text.strip()
    if text in _NOTHING and text not in answer.turn.prompt:
        yield Problem(answer.turn, "The answer is a word for nothing.", "an answer, or null", text)


@family.check(
    "text.runaway",
    over=answers,
    severity="warning",
    summary="No text ends in endless repetition.",
    why="Models do so now and then; wrong attention or a stop token that is not heeded makes it "
    "common.",
    source=GUIDE,
    tolerated=0.02,
)
def _runaway(answer: Answer) -> Iterator[Problem]:
    for place, text in _texts(answer):
        piece = repeated_piece(text)
        if piece is not None:
            message = f"The {place} ends with one piece of text over and over."
            yield Problem(answer.turn, message, "an end", piece)


@family.check(
    "text.doubled",
    over=answers,
    severity="warning",
    summary="An answer is not given twice.",
    why="A server that goes on after the final message returns two; clients show both.",
    source=CHAT,
    tolerated=0.02,
)
def _doubled(answer: Answer) -> Iterator[Problem]:
    for place, text in _texts(answer):
        stripped = text.strip()
        half = len(stripped) // 2
        first, second = stripped[:half].strip(), stripped[half:].strip()
        if len(stripped) >= _SHORTEST_DOUBLED and first == second:
            yield Problem(answer.turn, f"The {place} stands there twice.", "once", second)


def misread(text: str) -> list[str]:
    """Runs of characters whose bytes, in Latin-1 or Windows-1252, are the UTF-8 of usual ones."""
    return [run for run in _BEYOND_ASCII.findall(text) if any(_readable(run, c) for c in _CODECS)]


def _readable(run: str, codec: str) -> bool:
    try:
        meant = run.encode(codec).decode("utf-8")
    except UnicodeError:
        return False
    return all(sign.isalpha() or sign in _USUAL_SIGNS for sign in meant)


def repeated_piece(text: str) -> str | None:
    """The piece that a text ends with again and again; None where it does not."""
    end = text.rstrip()
    for size in range(1, min(_LONGEST_PIECE, len(end) // _FEWEST_TIMES) + 1):
        piece = end[-size:]
        times = max(_FEWEST_TIMES, -(-_SHORTEST_RUN // size))
        if piece.strip() and end.endswith(piece * times):
            return piece
    return None


def _texts(answer: Answer) -> Iterator[tuple[str, str]]:
    yield "answer", answer.reply.text
    yield "reasoning", answer.reply.reasoning
    for call in answer.reply.calls:
        yield "arguments", call.arguments
