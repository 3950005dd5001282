"""Where a greedy reply leaves the golden one, and how sure the golden model was there. Pure.

At temperature 0 healthy engines differ only where two tokens are all but equally probable. So the
golden distance between the token that was due and the one that came tells noise from a defect, and
that without any log probability from the provider.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from harness.api.base import Reply
from harness.golden.records import Token
from harness.golden.tokens import bytes_of, special

_UNDECODABLE = "\N{REPLACEMENT CHARACTER}".encode()
_TEXT = ("answer", "preamble")
_CALL = ("call",)
_THOUGHT = ("reasoning",)
_SHOWN = 24


@dataclass(frozen=True)
class Divergence:
    """The first other token.

    `gap` is by how many nats the golden token was more probable than the one that came, at least.
    `at` counts the golden tokens before it.
    """

    at: int
    gap: float
    expected: str
    got: str


def divergence(golden: Sequence[Token], reply: Reply, *, ended: bool) -> Divergence | None:
    """Where a reply leaves the golden answer; None where it does not as far as both go.

    Args:
        golden: The golden answer; it was cut off if its last token is no marker.
        reply: What came, CoT included.
        ended: Whether the reply came to its end, and was not cut off.
    """
    thought = _walk(golden, _THOUGHT, reply.reasoning, ended=ended)
    if thought is not None or not any(token.part in _TEXT + _CALL for token in golden):
        return thought
    if not ended and not (reply.text or reply.calls):
        return None
    due = _CALL if any(token.part == "call" for token in golden) else _TEXT
    came = _CALL if reply.calls else _TEXT
    if due != came:
        return _other_header(golden, due, reply)
    if not reply.calls:
        return _walk(golden, due, reply.text, ended=ended)
    found = [_walk(golden, due, each, ended=ended) for each in _writings(reply.calls[0].arguments)]
    return None if None in found else max((each for each in found if each), key=lambda one: one.at)


def _writings(arguments: str) -> Iterator[str]:
    """Arguments as they came, and as a server may have written them anew after parsing them."""
    yield arguments
    try:
        parsed = json.loads(arguments)
    except (ValueError, RecursionError):
        return
    for separators in ((", ", ": "), (",", ":")):
        for ascii_only in (False, True):
            yield json.dumps(parsed, separators=separators, ensure_ascii=ascii_only)


def _walk(
    golden: Sequence[Token], parts: Sequence[str], text: str, *, ended: bool
) -> Divergence | None:
    """Follow a text along the golden tokens of some parts."""
    places = [at for at, token in enumerate(golden) if token.part in parts]
    whole = b"".join(bytes_of(golden[at].id) for at in places)
    left, rest = _with_leading_space(text.encode(), whole), whole
    merged: list[tuple[int, float]] = []
    for at in places:
        data = bytes_of(golden[at].id)
        if not left.startswith(data):
            passed = left.startswith(_UNDECODABLE) or (data.startswith(left) and not ended)
            trimmed = not left and not rest.strip()
            return None if passed or trimmed else _at(golden, at, left, merged)
        merged += _merged(golden[at], left)
        left, rest = left[len(data) :], rest[len(data) :]
    after = places[-1] + 1 if places else 0
    if not left.strip() or after >= len(golden):
        return None
    return _at(golden, after, left, merged)


def _with_leading_space(text: bytes, whole: bytes) -> bytes:
    """The text with the space at its beginning that some servers strip."""
    space = whole[: len(whole) - len(whole.lstrip())]
    return text if text.startswith(space) else space + text


def _merged(token: Token, left: bytes) -> Iterator[tuple[int, float]]:
    """Longer tokens that the text may go on with instead: what they leave of it, and their gap.

    A text does not show its tokens: `online` begins like the golden `on`, and is another token.
    """
    data, best = bytes_of(token.id), token.top[0][1]
    for each, value in token.top:
        other = b"" if special(each) else bytes_of(each)
        if len(other) > len(data) and left.startswith(other):
            yield len(left) - len(other), best - value


def _at(
    golden: Sequence[Token], at: int, left: bytes, merged: Sequence[tuple[int, float]]
) -> Divergence:
    token = golden[at]
    instead = (gap for remaining, gap in merged if remaining <= len(left))
    expected = repr(bytes_of(token.id).decode("utf-8", "replace"))
    got = repr(left.decode("utf-8", "replace")[:_SHOWN]) if left else "the end"
    return Divergence(at, min((_gap(token, left), *instead)), expected, got)


def _gap(token: Token, left: bytes) -> float:
    """How far behind the best token the likeliest one is that the text may go on with."""
    best, least = token.top[0][1], token.top[-1][1]
    fitting = (
        value
        for each, value in token.top
        if (not left if special(each) else _begins(left, bytes_of(each)))
    )
    return best - max(fitting, default=least)


def _begins(left: bytes, data: bytes) -> bool:
    return bool(data) and left.startswith(data)


def _other_header(golden: Sequence[Token], due: Sequence[str], reply: Reply) -> Divergence:
    """The reply has a call where an answer was due, or the other way round."""
    first = next(at for at, token in enumerate(golden) if token.part in due)
    header = first
    while header and golden[header - 1].part == "marker":
        header -= 1
    gap = min((_second(golden[at]) for at in range(header, first)), default=inf)
    kinds = {_CALL: "a call", _TEXT: "an answer"}
    came = _CALL if reply.calls else _TEXT
    return Divergence(header, gap, kinds[tuple(due)], kinds[came])


def _second(token: Token) -> float:
    """How far ahead of the second token the best one is."""
    return token.top[0][1] - token.top[1][1]
