"""Where a greedy reply diverges from the golden answer, and how certain the reference was. No I/O.

At temperature 0, healthy engines only diverge at near-ties. The golden gap between the expected and
the actual token therefore separates noise from defects, without any logprobs from the provider.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

from harmony.parse import FIRST_SPECIAL, START
from harmony.render import tokens_sha256
from harmony.vocabulary import bytes_of, encode, harmony_encoding
from harness.api.fields import objects
from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.golden.content import Continuation, Golden, Token
from harness.golden.distance import ComparedToken, compare, entries_of

_UNDECODABLE = "\N{REPLACEMENT CHARACTER}".encode()
_TEXT = ("answer", "preamble")
_CALL = ("call",)
_REASONING = ("reasoning",)
_SHOWN = 24


@dataclass(frozen=True)
class Divergence:
    """The first different token.

    `gap` is the difference in nats by which the golden token was more probable, at least. `at` is
    the number of golden tokens before it.
    """

    at: int
    gap: float
    expected: str
    got: str


def divergence(golden: Sequence[Token], reply: Reply, *, ended: bool) -> Divergence | None:
    """Return where a reply diverges from the golden answer; None if they agree as far as both go.

    `golden` was truncated if its last token is not a special token. `ended` is whether the reply
    is complete and not truncated.
    """
    reasoning = _walk(golden, _REASONING, reply.reasoning, ended=ended)
    if reasoning is not None or not any(token.part in _TEXT + _CALL for token in golden):
        return reasoning
    if not ended and not (reply.text or reply.calls):
        return None
    expected = _CALL if any(token.part == "call" for token in golden) else _TEXT
    actual = _CALL if reply.calls else _TEXT
    if expected != actual:
        return _other_channel(golden, expected, reply)
    if not reply.calls:
        return _walk(golden, expected, reply.text, ended=ended)
    spellings = _spellings(reply.calls[0].arguments)
    walked = [_walk(golden, expected, text, ended=ended) for text in spellings]
    return None if None in walked else max(filter(None, walked), key=lambda spelled: spelled.at)


def _spellings(arguments: str) -> Iterator[str]:
    """Yield the arguments as received, and as a server may have serialized them after parsing."""
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
    """Compare a text with the golden tokens of some parts."""
    places = [at for at, token in enumerate(golden) if token.part in parts]
    full = b"".join(bytes_of(golden[at].id) for at in places)
    left, rest = text.encode(), full
    space = full[: len(full) - len(full.lstrip())]
    if not left.startswith(space):  # Some servers strip the leading space.
        left = space + left
    passed: list[tuple[Token, bytes]] = []
    for at in places:
        data = bytes_of(golden[at].id)
        passed.append((golden[at], left))
        if not left.startswith(data):
            cut = left.startswith(_UNDECODABLE) or (data.startswith(left) and not ended)
            trimmed = not left and not rest.strip()
            return None if cut or trimmed else _at(at, passed)
        left, rest = left[len(data) :], rest[len(data) :]
    after = places[-1] + 1 if places else 0
    if not left.strip() or after >= len(golden):
        return None
    return _at(after, [*passed, (golden[after], left)])


def _at(at: int, passed: Sequence[tuple[Token, bytes]]) -> Divergence:
    """Return the divergence at the last of the golden tokens, each with the text from there on.

    A text does not show its tokens: `online` begins like the golden `on`, but is another token.
    All tokens that reach beyond the last golden one therefore count. A healthy engine may prefer
    any token to one that is not steady.
    """
    last, left = passed[-1]
    gaps = [last.top[0][1] - last.top[-1][1] if last.steady else 0.0]
    for token, text in passed:
        for id_, value in token.top:
            data = b"" if id_ >= FIRST_SPECIAL else bytes_of(id_)
            reaches = text.startswith(data) and len(text) - len(data) <= len(left)
            if reaches and id_ != token.id and (data or not left):
                gaps.append(token.top[0][1] - value)
    expected = repr(bytes_of(last.id).decode("utf-8", "replace"))
    got = repr(left.decode("utf-8", "replace")[:_SHOWN]) if left else "the end"
    return Divergence(at, min(gaps), expected, got)


def _other_channel(golden: Sequence[Token], expected: Sequence[str], reply: Reply) -> Divergence:
    """Return the divergence of a reply that has a call instead of an answer, or vice versa."""
    first = next(at for at, token in enumerate(golden) if token.part in expected)
    header = first
    while header and golden[header - 1].part == "marker":
        header -= 1
    # The gap between the best and the second token of the header.
    gap = min((token.top[0][1] - token.top[1][1] for token in golden[header:first]), default=inf)
    kinds = {_CALL: "a call", _TEXT: "an answer"}
    return Divergence(header, gap, kinds[tuple(expected)], kinds[_CALL if reply.calls else _TEXT])


_Comparison = tuple[Divergence | None, Sequence[ComparedToken]]
_COMPARISONS: MutableMapping[ParsedExchange, list[tuple[Continuation, _Comparison]]] = (
    WeakKeyDictionary()
)
"""Those of each reply, because a dozen probes compare it, with the answers of each order."""


@dataclass(frozen=True)
class ComparedReply:
    """A reply to a golden prompt, and where it differs.

    `compared` has the tokens of the answer, by their place in the whole completion; none if the
    reply diverged before its answer.
    """

    name: str
    exchange: ParsedExchange
    divergence: Divergence | None
    compared: Sequence[ComparedToken]


def compared_replies(
    golden: Golden, replies: Iterable[tuple[str, ParsedExchange, Reply]]
) -> Iterator[ComparedReply]:
    """Compare named replies, except those to other prompts than the golden ones."""
    for name, exchange, reply in replies:
        if is_golden_prompt(golden, name, reply):
            compared = _comparison(golden.continuations[name], exchange, reply)
            yield ComparedReply(name, exchange, *compared)


def _comparison(answer: Continuation, exchange: ParsedExchange, reply: Reply) -> _Comparison:
    """Where a reply differs from a golden answer, and its compared tokens; computed once."""
    known = _COMPARISONS.setdefault(exchange, [])
    found = next((made for other, made in known if other is answer), None)
    if found is None:
        tokens = list(answer.tokens())
        diverged = divergence(tokens, reply, ended=reply.finish != "length")
        early = diverged is not None and tokens[diverged.at].part in ("reasoning", "marker")
        found = diverged, () if early else _compared(tokens, exchange, reply)
        known.append((answer, found))
    return found


def _compared(
    tokens: Sequence[Token], exchange: ParsedExchange, reply: Reply
) -> Sequence[ComparedToken]:
    """Compare tokens with logprobs; most servers return those of the answer, some of all tokens."""
    entries = entries_of(exchange, reply)
    places = [at for at, token in enumerate(tokens) if token.part == "answer"]
    if entries and entries[0].name == bytes_of(tokens[0].id):
        places = list(range(len(tokens)))
    compared = compare([tokens[place] for place in places], entries)
    return [replace(token, at=places[token.at]) for token in compared]


_DATE = re.compile(r"\nCurrent date: (\d{4}-\d\d-\d\d)\n")


def is_golden_prompt(golden: Golden, name: str, reply: Reply) -> bool:
    """Whether the prompt of a reply to the request `name` is the golden one, but for its date.

    It is as long; if the server shows its tokens, these are the same.
    """
    due = golden.continuations[name]
    if reply.input_tokens != due.prompt_tokens:
        return False
    shown = shown_prompt(reply.raw)
    if not shown or not due.prompt_sha256:
        return True
    return tokens_sha256(_dated(shown, golden.current_date)) == due.prompt_sha256


def shown_prompt(raw: Mapping[str, Any]) -> Sequence[int]:
    """The tokens of the prompt that a reply shows; empty if it shows none.

    These are `prompt_token_ids`, or the keys of `prompt_logprobs`: there, the first token of a
    harmony prompt has no entry, and in each other entry the token of the prompt comes first.
    """
    for place in (raw, *objects(raw.get("choices"))[:1]):
        ids, entries = place.get("prompt_token_ids"), place.get("prompt_logprobs")
        if isinstance(ids, list) and all(type(token) is int for token in ids):
            return ids
        if isinstance(entries, list):
            named = [next(iter(entry), "") for entry in entries[1:] if isinstance(entry, dict)]
            if all(map(str.isdecimal, named)) and len(named) == len(entries) - 1:
                return [START, *map(int, named)]
    return ()


def _dated(tokens: Sequence[int], date: str | None) -> Sequence[int]:
    """The tokens with another date in the system message, if it has one."""
    try:
        found = _DATE.search(harmony_encoding().decode(list(tokens)))
    except Exception:  # noqa: BLE001 - the library's own error for ids beyond the vocabulary
        return tokens
    if found is None or date is None:
        return tokens
    old, new = encode(found[1]), encode(date)
    at = next((at for at in range(len(tokens)) if [*tokens[at : at + len(old)]] == old), None)
    return tokens if at is None else [*tokens[:at], *new, *tokens[at + len(old) :]]
