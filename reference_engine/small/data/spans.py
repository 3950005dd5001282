"""Token ids of prompts and completions, where a completion may reuse the prompt's own tokens.

A small model copies best when the target is the very token that stands in the prompt. So values
that a completion repeats are marked with `copy`, and `complete` writes them with the prompt's
tokens: the first and last are clipped where they hold more than the value (a leading space, a
quote), and inside JSON each is escaped. The text is the same as without marks, only its division
into tokens differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from reference_engine.harmony.vocabulary import harmony_encoding

_OPEN, _JSON_OPEN, _CLOSE = "\ue000", "\ue001", "\ue002"
_MARKED = re.compile(f"([{_OPEN}{_JSON_OPEN}])(.*?){_CLOSE}", re.DOTALL)
_MARKS = str.maketrans("", "", _OPEN + _JSON_OPEN + _CLOSE)


def copy(value: str) -> str:
    """Mark a value as one to copy from the prompt; harmless where it does not stand there."""
    return f"{_OPEN}{value}{_CLOSE}"


def plain(text: str) -> str:
    """Drop the marks."""
    return text.translate(_MARKS)


def to_json(value: Any) -> str:
    """The one JSON style of the data; marks inside strings stay marks."""
    return json.dumps(value, ensure_ascii=False).replace(_OPEN, _JSON_OPEN)


def encode(text: str) -> tuple[int, ...]:
    """Token ids of text in which harmony's special tokens are written out."""
    return tuple(harmony_encoding().encode(text, allowed_special="all"))


@lru_cache(maxsize=20_000)
def _encode_piece(text: str) -> tuple[int, ...]:
    return encode(text)


@cache
def token_text(token: int) -> str | None:
    """The text of one token, or None when it is only part of a character."""
    text = harmony_encoding().decode([token])
    return None if "\ufffd" in text else text


class PromptText:
    """A prompt's tokens beside the text they spell, to look values up in."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._units: list[tuple[tuple[int, ...], str]] = []
        pending: tuple[int, ...] = ()
        for token in tokens:
            pending += (token,)
            text = token_text(token) if len(pending) == 1 else None
            if text is None:
                text = harmony_encoding().decode(pending)
                if "\ufffd" in text and len(pending) < 8:
                    continue
            self._units.append((pending, text))
            pending = ()
        self.text = "".join(text for _, text in self._units)

    def find(self, value: str) -> list[tuple[tuple[int, ...], str]] | None:
        """The units that spell `value` at its last stand-alone place, clipped ones without ids."""
        at = self._last_place(value)
        if at < 0:
            return None
        found: list[tuple[tuple[int, ...], str]] = []
        begin = 0
        for tokens, text in self._units:
            end = begin + len(text)
            if end > at and begin < at + len(value):
                clipped = text[max(0, at - begin) : at + len(value) - begin]
                found.append((tokens if clipped == text else (), clipped))
            begin = end
        return found

    def _last_place(self, value: str) -> int:
        at = self.text.rfind(value)
        while at >= 0:
            before = self.text[at - 1 : at] + value[:1]
            after = value[-1:] + self.text[at + len(value) : at + len(value) + 1]
            if not (before.isalnum() and len(before) == 2) and not (
                after.isalnum() and len(after) == 2
            ):
                return at
            at = self.text.rfind(value, 0, at + len(value) - 1)
        return self.text.rfind(value)


def complete(completion: str, prompt: PromptText) -> tuple[int, ...]:
    """Token ids of a completion, its marked values written with the prompt's own tokens."""
    ids: list[int] = []
    end = 0
    for mark in _MARKED.finditer(completion):
        ids += _encode_piece(completion[end : mark.start()])
        ids += _copied(mark.group(2), mark.group(1) == _JSON_OPEN, prompt)
        end = mark.end()
    ids += _encode_piece(completion[end:])
    return tuple(ids)


def _copied(text: str, is_json: bool, prompt: PromptText) -> list[int]:
    value = json.loads(f'"{text}"') if is_json else text
    ids: list[int] = []
    for tokens, piece in prompt.find(value) or [((), value)]:
        written = json.dumps(piece, ensure_ascii=False)[1:-1] if is_json else piece
        ids += tokens if tokens and written == piece else _encode_piece(written)
    return ids
