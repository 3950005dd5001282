"""Token accounting: the completion tokens that the text of a reply explains.

The tokens of a reply are those of its texts and of the harmony format around them. Both are counted
by rendering the reply as harmony messages, so a healthy reply with CoT and answer has exactly 10
tokens more than its texts: the headers of two messages and their end tokens, without the
`<|start|>assistant` that ends the prompt.

A model can spell a text with other tokens than the tokenizer does. The large models rarely do so:
of 83 recorded plain-text replies of five providers, 80 had exactly the expected count, and the
texts of the others lacked words. The small model of the reference engine does so in one reply of
eight.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from harmony.conversation import Answer, Call, Preamble, Reasoning
from harmony.parse import CHANNEL
from harmony.render import CONTENT_TYPES, RenderError, message_tokens, text_tokens
from harmony.vocabulary import VocabularyError, harmony_encoding
from harness.api.fields import objects
from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout, once
from harness.api.stream_events import texts_of
from harness.checks.json_text import parsed_object
from harness.records.traits import TokenAccount

Message = Reasoning | Preamble | Answer | Call

# CoT that a server inserts into the answer, in tags, if there is no other CoT.
_TAGGED = re.compile(r"<(think|thinking|reasoning)>(.*?)</\1>", re.DOTALL)
# Special tokens in a text count as one token or as several, depending on who wrote them.
_SPECIAL = re.compile(r"<\|\w+\|>")
_COUNTED_ITEMS = ("reasoning", "message", "function_call")
_INDENTS = (None, 1, 2, 4)
FRAMING = 3
"""Tokens of the format, such as `<|start|>assistant`, that a server may count in addition."""
_MOST_PIECES = 4  # messages of CoT in one reply, besides the one that it shows
# The fewest pieces per token of text in a stream that sends about one token per piece.
_ONE_TOKEN_EACH = 0.9


class Accounted(NamedTuple):
    """An exchange with its reply and the account of the reply."""

    exchange: ParsedExchange
    reply: Reply
    account: TokenAccount


@dataclass(frozen=True, slots=True)
class _Counted:
    """A message, with the fewest tokens of its text and the most tokens of the whole message."""

    message: Message
    least: int
    most: int
    exact: bool


@once
def account(exchange: ParsedExchange) -> TokenAccount | None:
    """The token account of the reply (see `account_of`), cached because several checks read it."""
    return None if exchange.reply is None else account_of(exchange, exchange.reply)


def account_of(
    exchange: ParsedExchange, reply: Reply, *, stopped: bool = False, spelled: bool = False
) -> TokenAccount | None:
    """Return the token account of a reply; None if its tokens cannot be counted.

    That is the case if the provider reports no count, if a limit cut the reply or may have cut it,
    if the request has several choices, stop strings, tools that the provider runs or an option that
    hides the CoT, if a text contains special tokens, if a response has items of other types, or if
    there is no vocabulary. With `stopped`, only replies to requests with stop strings are counted.
    With `spelled`, special tokens in a text count as text that the model spelled.
    """
    request = exchange.request
    if not reply.output_tokens or reply.finish not in ("stop", "tool_calls") or exchange.at_limit:
        return None
    if request.choices > 1 or request.built_in or hides_cot(exchange):
        return None
    if bool(request.stops) != stopped:
        return None
    items = objects(reply.raw.get("output"))
    if any(item.get("type") not in _COUNTED_ITEMS for item in items):
        return None
    messages = list(_messages(reply))
    special = not spelled and any(_SPECIAL.search(_text(each)) for each in messages)
    if special or not _has_vocabulary():
        return None
    try:
        counted = [_counted(each) for each in messages]
        least = sum(each.least for each in counted)
        in_pieces = _tokens_in_pieces(exchange, least)
    except (RenderError, RecursionError):
        return None
    return TokenAccount(
        exchange.index,
        reply.output_tokens,
        reasoning=sum(each.least for each in counted if isinstance(each.message, Reasoning)),
        least=least,
        most=sum(each.most for each in counted) - in_prompt(),
        exact=not stopped and all(each.exact and _text(each.message) for each in counted),
        pieces=None if in_pieces is None else max(0, in_pieces - least),
        streamed=bool(exchange.events),
        closed=reply.text.rstrip().endswith((".", "!", "?")),
        thinking=reply.usage.reasoning_tokens if reply.usage else None,
        concealed=any(item.get("type") == "reasoning" for item in items) and not reply.reasoning,
    )


def accounted(parsed: ParsedRollout, *, stopped: bool = False) -> Iterator[Accounted]:
    """Yield the replies of a rollout whose tokens can be counted.

    With `stopped`, those to requests with stop strings. Their texts lack the stop string.
    """
    for exchange, reply in parsed.replies:
        found = account_of(exchange, reply, stopped=True) if stopped else account(exchange)
        if found is not None:
            yield Accounted(exchange, reply, found)


def wrote_all(exchange: ParsedExchange, reply: Reply, *, spelled: bool = False) -> bool:
    """Whether a reply has exactly the reported tokens, so the model wrote all of its text."""
    found = account_of(exchange, reply, spelled=spelled)
    return found is not None and found.exact and not found.unexplained


def contradicts_edit(returned: TokenAccount, written: TokenAccount) -> bool:
    """Whether the reasoning tokens fit the returned CoT, and not that which a server has edited.

    Then the tokens of the whole reply, which fit the text before the edit, do so by chance: one
    token more or less is another spelling.
    """
    own = {returned.reasoning, returned.reasoning + header_tokens(Reasoning(""))}
    return returned.reasoning != written.reasoning and returned.thinking in own


def hides_cot(exchange: ParsedExchange) -> bool:
    """Whether the request disables CoT in the reply, or moves it to another place."""
    body = exchange.request.body
    options = body.get("reasoning")
    excluded = isinstance(options, dict) and options.get("exclude")
    elsewhere = body.get("reasoning_format") not in (None, "parsed")
    return bool(excluded or elsewhere or body.get("include_reasoning") is False)


def has_lost_cot(exchange: ParsedExchange) -> bool:
    """Whether a reply without CoT reports tokens that its text does not explain.

    Tokens that cannot be counted are unexplained. If the CoT is in the answer, the unexplained
    tokens are those of its header.
    """
    reply, found = exchange.reply, account(exchange)
    if reply is None or reply.reasoning or not reply.output_tokens:
        return False
    return found is None or found.unexplained >= header_tokens(Reasoning(""))


def may_be_headers(tokens: int) -> bool:
    """Whether this many tokens may be headers of messages that a reply does not show separately.

    These are empty messages, further messages of CoT, and a preamble before the answer.
    """
    thought, preamble = header_tokens(Reasoning("")), header_tokens(Preamble(""))
    pieces = range(0, _MOST_PIECES * thought + 1, thought)
    return tokens in pieces or tokens - preamble in pieces


def tokens_of(message: Message) -> int:
    """Return the number of tokens of a message without a content type. Raises RenderError."""
    return header_tokens(message) + _text_length(_text(message))


def header_tokens(message: Message) -> int:
    """Return the number of tokens of a message's header and end token. Raises RenderError."""
    empty = Call(message.name, "") if isinstance(message, Call) else type(message)("")
    return _rendered(empty)


@lru_cache(maxsize=256)
def _rendered(message: Message) -> int:
    """Return the number of tokens of a message, cached because rendering one takes 0.5 ms."""
    return len(message_tokens(message))


@lru_cache(maxsize=64)
def _text_length(text: str) -> int:
    """Return the number of tokens of a text, cached because several checks count the same texts."""
    return len(text_tokens(text))


def token_count(text: str) -> int | None:
    """Return the number of tokens of a text; None if they cannot be counted."""
    try:
        return len(text_tokens(text))
    except (RenderError, VocabularyError):
        return None


@lru_cache(maxsize=8192)
def _piece_tokens(piece: str) -> int:
    """Return the number of tokens of a stream's piece; most pieces are single words that repeat."""
    return len(text_tokens(piece))


def _tokens_in_pieces(exchange: ParsedExchange, tokens: int) -> int | None:
    """The number of tokens in the CoT and answer pieces of a stream, each piece counted alone.

    None if there are too few pieces for the `tokens` of the texts: pieces of several tokens do not
    show how the model spelled the text.
    """
    pieces = [piece for event in exchange.events for piece in texts_of(event)]
    if len(pieces) < _ONE_TOKEN_EACH * tokens:
        return None
    untagged = (_TAGGED.sub(r"\2", piece) if "<" in piece else piece for piece in pieces)
    return sum(map(_piece_tokens, untagged))


def _messages(reply: Reply) -> Iterator[Message]:
    """Yield the harmony messages that a reply consists of.

    The first reasoning message has the text of all CoT, and the first text message that of all
    texts; each further item adds only its header.
    """
    items = Counter(item.get("type") for item in objects(reply.raw.get("output")))
    reasoning, text = reply.reasoning, reply.text
    if not reasoning:
        reasoning = "".join(found[2] for found in _TAGGED.finditer(text))
        text = _TAGGED.sub("", text)
    if reasoning:
        yield Reasoning(reasoning)
        yield from [Reasoning("")] * (items["reasoning"] - 1)
    if text:
        yield Preamble(text) if reply.calls else Answer(text)
        yield from [Preamble("")] * (items["message"] - 1)
    yield from (Call(call.name, call.arguments) for call in reply.calls)


def _counted(message: Message) -> _Counted:
    text = _text(message)
    if isinstance(message, Reasoning):
        counts: Collection[int] = [_text_length(text)]
    else:
        counts = _counts(text)
    exact = not isinstance(message, Call) and len(counts) == 1
    most = max(counts) + header_tokens(message) + (0 if exact else _content_type())
    return _Counted(message, min(counts), most, exact)


@lru_cache(maxsize=256)
def _counts(text: str) -> Collection[int]:
    """Return the token counts of a text and, if it is a JSON object, of its other serializations.

    The server may have serialized the object again, with other spaces. The counts are cached
    because many attempts at a case have the same arguments.
    """
    texts = [text]
    value = parsed_object(text)
    if value is not None:
        texts.append(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        texts += [json.dumps(value, ensure_ascii=False, indent=indent) for indent in _INDENTS]
    return [_text_length(each) for each in texts]


@cache
def _content_type() -> int:
    """Return the most tokens of a content type in a header."""
    lengths = [len(message_tokens(Answer(""), each)) for each in CONTENT_TYPES]
    return max(lengths) - min(lengths)


def _text(message: Message) -> str:
    return message.arguments if isinstance(message, Call) else message.text


@cache
def in_prompt() -> int:
    """Return the number of tokens of `<|start|>assistant`, which ends the prompt."""
    return message_tokens(Answer("")).index(CHANNEL)


@cache
def _has_vocabulary() -> bool:
    try:
        harmony_encoding()
    except VocabularyError:
        return False
    return True
