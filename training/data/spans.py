"""Token ids of prompts and completions, where a completion may reuse the prompt's own tokens.

A small model copies best if the target token is identical to the token in the prompt. Values that a
completion repeats are therefore marked with `copy`, and `complete` writes them with the prompt's
tokens. The first and last token are clipped if they contain more than the value (a leading space, a
quote), and tokens are escaped inside JSON. The text is the same as without marks; only its division
into tokens differs.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import accumulate

from harmony import vocabulary
from harmony.vocabulary import harmony_encoding

_OPEN, _JSON_OPEN, _CLOSE = "\ue000", "\ue001", "\ue002"
_MARKED = re.compile(f"([{_OPEN}{_JSON_OPEN}])(.*?){_CLOSE}", re.DOTALL)
_MARKS = str.maketrans("", "", _OPEN + _JSON_OPEN + _CLOSE)

Unit = tuple[tuple[int, ...], str]
"""Tokens that spell whole characters, and those characters; usually one token."""


def copy(value: str) -> str:
    """Mark a value to be copied from the prompt; harmless if it does not occur there."""
    return f"{_OPEN}{value}{_CLOSE}"


def plain(text: str) -> str:
    """Drop the marks."""
    return text.translate(_MARKS)


def marked(text: str) -> list[str]:
    """The values marked in a text."""
    return [_value(mark) for mark in _MARKED.finditer(text)]


def to_json(value: object) -> str:
    """JSON in the style of the data; keeps marks inside strings."""
    return json.dumps(value, ensure_ascii=False).replace(_OPEN, _JSON_OPEN)


def encode(text: str) -> tuple[int, ...]:
    """Token ids of a text that may contain harmony's special tokens as text."""
    return tuple(vocabulary.encode(text))


@lru_cache(maxsize=20_000)
def _encode_piece(text: str) -> tuple[int, ...]:
    return encode(text)


@cache
def token_text(token: int) -> str | None:
    """The text of one token, or None if it is only part of a character."""
    text = harmony_encoding().decode([token])
    return None if "\ufffd" in text else text


def units(tokens: Sequence[int]) -> tuple[Unit, ...]:
    """Tokens with their text; tokens that share a character stay together."""
    found: list[Unit] = []
    pending: tuple[int, ...] = ()
    for token in tokens:
        pending += (token,)
        text = token_text(token) if len(pending) == 1 else harmony_encoding().decode(pending)
        if text is not None and ("\ufffd" not in text or len(pending) > 7):
            found.append((pending, text))
            pending = ()
    return tuple(found)


class PromptText:
    """A prompt's tokens and their text, to look up values."""

    def __init__(self, prompt: Sequence[Unit]) -> None:
        self._units = prompt
        self._ends = list(accumulate(len(text) for _, text in prompt))
        self._text = "".join(text for _, text in prompt)

    def find(self, value: str) -> list[Unit]:
        """The units that spell `value` at its last stand-alone place, clipped ones without ids."""
        at = self._last_place(value)
        if at < 0 or not value:
            return [((), value)]
        found: list[Unit] = []
        stop = at + len(value)
        for unit in range(bisect_right(self._ends, at), len(self._units)):
            tokens, text = self._units[unit]
            begin = self._ends[unit] - len(text)
            if begin >= stop:
                break
            clipped = text[max(0, at - begin) : stop - begin]
            found.append((tokens if clipped == text else (), clipped))
        return found

    def _last_place(self, value: str) -> int:
        at = self._text.rfind(value)
        while at >= 0 and not self._stands_alone(at, at + len(value)):
            at = self._text.rfind(value, 0, at + len(value) - 1)
        return at if at >= 0 else self._text.rfind(value)

    def _stands_alone(self, begin: int, end: int) -> bool:
        return not any(
            border > 0
            and self._text[border - 1 : border + 1].isalnum()
            and border < len(self._text)
            for border in (begin, end)
        )


def complete(completion: str, prompt: PromptText) -> tuple[int, ...]:
    """Token ids of a completion, with marked values in the prompt's own tokens."""
    ids: list[int] = []
    end = 0
    for mark in _MARKED.finditer(completion):
        before = completion[end : mark.start()]
        is_json = mark.group(1) == _JSON_OPEN
        spaced = not is_json and before.endswith(" ")
        ids += _encode_piece(before[:-1] if spaced else before)
        ids += _copied(_value(mark), prompt, is_json=is_json, spaced=spaced)
        end = mark.end()
    ids += _encode_piece(completion[end:])
    return tuple(ids)


def _value(mark: re.Match[str]) -> str:
    inner = mark.group(2)
    return str(json.loads(f'"{inner}"')) if mark.group(1) == _JSON_OPEN else inner


def _copied(value: str, prompt: PromptText, *, is_json: bool, spaced: bool) -> list[int]:
    """The value in the prompt's tokens; a space before it becomes part of the first token."""
    ids: list[int] = []
    for at, (tokens, piece) in enumerate(prompt.find(value)):
        written = json.dumps(piece, ensure_ascii=False)[1:-1] if is_json else piece
        if spaced and at == 0:
            ids += _encode_piece(f" {written}")
        else:
            ids += tokens if tokens and written == piece else _encode_piece(written)
    return ids
