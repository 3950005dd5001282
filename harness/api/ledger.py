"""The ledger of a reply: which of its reported completion tokens its text explains.

The tokens of a reply are those of its texts and of the harmony format around them, the markup. A
healthy reply with CoT and answer has exactly 10 tokens of markup: the headers of two messages and
their end tokens, without the `<|start|>assistant` that ends the prompt.

A model can spell a text with other tokens than the tokenizer does. The large models rarely do so:
of 83 recorded plain-text replies of five providers, 80 had exactly the expected count, and the
texts of the others lacked words. The small model of the reference engine does so in one reply of
eight.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

from harmony.conversation import Answer, Call, Preamble, Reasoning
from harmony.render import RenderError, message_tokens, text_tokens
from harmony.vocabulary import VocabularyError, harmony_encoding
from harness.api.fields import nested, objects
from harness.api.items import Reply
from harness.api.json_text import parsed_object
from harness.api.parsed_rollout import ParsedExchange
from harness.api.responses import summary
from harness.records.replies import Ledger
from harness.text import repeated_piece

Message = Reasoning | Preamble | Answer | Call

COT_HEADER = ANSWER_HEADER = 6
PREAMBLE_HEADER = 7
"""Tokens of the header and the end token of a message."""
FIRST_HEADER = 3
"""Tokens of `<|channel|>analysis<|message|>`, the header of the first message of a reply."""
IN_PROMPT = 2
"""Tokens of `<|start|>assistant`, which ends the prompt."""
FRAMING = 3
"""Tokens of the format, such as `<|start|>assistant`, that a server may count in addition."""
_FEWEST_MISSING = 64  # tokens between a reply and its limit; format and odd spellings explain fewer
_CONTENT_TYPE = 3  # the most tokens of a content type in a header
_HEADERS = {Reasoning: COT_HEADER, Answer: ANSWER_HEADER, Preamble: PREAMBLE_HEADER}

# CoT that a server inserts into the answer, in tags, if there is no other CoT.
_TAGGED = re.compile(r"<(think|thinking|reasoning)>(.*?)</\1>", re.DOTALL)
# Special tokens in a text count as one token or as several, depending on who wrote them.
_SPECIAL = re.compile(r"<\|\w+\|>")
# White space, or one character, 24 times, for which the tokenizer has fewer tokens.
_RUN = re.compile(r"\s{24,}|(\S)\1{23,}")
_ELLIPSES = ("…", "...")
_COUNTED_ITEMS = ("reasoning", "message", "function_call")
_INDENTS = (None, 1, 2, 4)
_MOST_JOINED = 8  # messages in one text
_LEAST_HEADER, _MOST_HEADER = COT_HEADER - 1, PREAMBLE_HEADER + 4
"""Tokens of a joined message: the blank line may have one, and a recipient has up to four."""
_MOST_PIECES = 4  # messages of CoT in one reply, besides the one that it shows
SLACK = 20  # one token of so many may be spelled in another way


class _Entry(NamedTuple):
    """A message of a reply, in tokens."""

    message: Message
    header: int  # its header without a content type, and its end token
    text: int  # its text as returned
    least: int  # its text in the serialization with the fewest tokens
    most: int  # its text in the one with the most tokens, its runs of one character spelled singly,
    # and a content type if it may have one


_LEDGERS: WeakKeyDictionary[ParsedExchange, Ledger | None] = WeakKeyDictionary()


def any_ledger(exchange: ParsedExchange) -> Ledger | None:
    """The ledger of the reply (see `ledger_of`), truncated or not; several rules read it."""
    if exchange not in _LEDGERS:
        reply = exchange.reply
        _LEDGERS[exchange] = None if reply is None else _ledger(exchange, reply)
    return _LEDGERS[exchange]


def ledger(exchange: ParsedExchange, end: Literal["model", "limit"] = "model") -> Ledger | None:
    """The ledger of a reply that ended so; a limit may have cut a header, whose tokens count."""
    counted = any_ledger(exchange)
    return counted if counted and counted.end == end else None


def ledger_of(exchange: ParsedExchange, reply: Reply, *, spelled: bool = False) -> Ledger | None:
    """Return the ledger of a reply that no limit cut; None if its tokens cannot be counted.

    That is the case if the provider reports no count, if a limit may have cut the reply, if the
    request has several choices, tools that the provider runs or an option that hides the CoT, if a
    text contains special tokens, if the author of a recording shortened a text, if a response has
    items of other types, or if there is no vocabulary. With `spelled`, special tokens in a text
    count as text that the model spelled.
    """
    return None if reply.finish == "length" else _ledger(exchange, reply, spelled=spelled)


def _ledger(exchange: ParsedExchange, reply: Reply, *, spelled: bool = False) -> Ledger | None:
    request, items = exchange.request, objects(reply.raw.get("output"))
    if not reply.output_tokens or request.choices > 1 or request.built_in or hides_cot(exchange):
        return None
    if (end := _end(exchange, reply)) is None:
        return None
    if any(item.get("type") not in _COUNTED_ITEMS for item in items):
        return None
    if not spelled and any(map(_SPECIAL.search, _texts(reply))):
        return None
    if _is_shortened(exchange, reply) or (entries := _entries(reply)) is None:
        return None
    thoughts = [item for item in items if item.get("type") == "reasoning"]
    answer = sum(entry.least for entry in entries if isinstance(entry.message, Answer | Preamble))
    calls = sum(entry.least for entry in entries if isinstance(entry.message, Call))
    cot = sum(entry.least for entry in entries if isinstance(entry.message, Reasoning))
    counted = Ledger(
        exchange.index,
        reply.output_tokens,
        reply.input_tokens,
        cot=cot,
        answer=answer,
        calls=calls,
        markup=sum(entry.header for entry in entries) - IN_PROMPT - (end == "limit"),
        returned=sum(entry.header + entry.text for entry in entries) - IN_PROMPT - (end == "limit"),
        spellings=sum(entry.most - entry.least for entry in entries),
        exact=end != "stop string"
        and all(entry.text and entry.most == entry.least for entry in entries),
        thinking=reply.usage.reasoning_tokens if reply.usage else None,
        concealed=bool(thoughts) and not reply.reasoning,
        repeated=reply.reasoning.strip() in reply.text,
        end=end,
    )
    # A text in the place of summaries is one, unless it has the tokens of the CoT.
    summarized = any(not objects(item.get("content")) and summary(item) for item in thoughts)
    return None if summarized and abs(counted.difference) > counted.spelling else counted


def _end(exchange: ParsedExchange, reply: Reply) -> Literal["model", "stop string", "limit"] | None:
    """What ended a reply; None if that is unknown, or its tokens cannot be counted therefore.

    A truncated reply may repeat one piece, which the model spells alone and the tokenizer several
    at once.
    """
    if reply.finish == "length":
        countable = not exchange.request.stops and not any(map(repeated_piece, _texts(reply)))
        return "limit" if countable else None
    if reply.finish not in ("stop", "tool_calls") or exchange.at_limit:
        return None
    return "stop string" if exchange.request.stops else "model"


def wrote_all(exchange: ParsedExchange, reply: Reply, *, spelled: bool = False) -> bool:
    """Whether a reply has exactly the reported tokens, so the model wrote all of its text."""
    counted = ledger_of(exchange, reply, spelled=spelled)
    return bool(counted and counted.exact and counted.end == "model" and not counted.difference)


def extra_tokens(reply: Reply) -> int | None:
    """The reported completion tokens that are not those of the reply's messages, in all choices.

    The messages are counted as returned, without content types; None if they cannot be counted.
    """
    choices = [_entries(choice) for choice in (reply, *reply.others)]
    if not reply.output_tokens or None in choices:
        return None
    explained = sum(entry.header + entry.text for entries in choices for entry in entries or ())
    return reply.output_tokens - explained + IN_PROMPT * len(choices)


def hides_cot(exchange: ParsedExchange) -> bool:
    """Whether the request disables CoT in the reply, or moves it to another place."""
    body = exchange.request.body
    excluded = nested(body, "reasoning", "exclude")
    elsewhere = body.get("reasoning_format") not in (None, "parsed")
    return bool(excluded or elsewhere or body.get("include_reasoning") is False)


def has_lost_cot(exchange: ParsedExchange) -> bool:
    """Whether a reply without CoT reports tokens that its text does not explain.

    Tokens that cannot be counted are unexplained, except those of a shortened text. If the CoT is
    in the answer, the unexplained tokens are those of its header.
    """
    reply, counted = exchange.reply, ledger(exchange)
    if reply is None or reply.reasoning or not reply.output_tokens:
        return False
    if counted is None:
        return not _is_shortened(exchange, reply)
    return counted.difference >= COT_HEADER


def has_tagged_cot(reply: Reply) -> bool:
    """Whether the answer contains CoT in tags."""
    return _TAGGED.search(reply.text) is not None


def _texts(reply: Reply) -> tuple[str, ...]:
    return (reply.reasoning, reply.text, *(call.arguments for call in reply.calls))


def _is_shortened(exchange: ParsedExchange, reply: Reply) -> bool:
    """Whether a recording has a text that ends in an ellipsis, as authors of reports shorten it."""
    return exchange.imported and any(t.rstrip().endswith(_ELLIPSES) for t in _texts(reply))


def are_joined(tokens: int, *texts: str) -> bool:
    """Whether this many tokens may be headers of messages whose texts the server has joined.

    It puts a blank line between them. A header may have a recipient (`to=assistant`).
    """
    joined = min(_MOST_JOINED, sum(text.count("\n\n") for text in texts))
    return any(n * _LEAST_HEADER <= tokens <= n * _MOST_HEADER for n in range(1, joined + 1))


def may_be_headers(tokens: int, *texts: str) -> bool:
    """Whether this many tokens may be headers of messages that a reply does not show separately.

    These are empty messages, further messages of CoT, a preamble before the answer, and messages
    that are joined in the texts of the reply.
    """
    if are_joined(tokens, *texts):
        return True
    pieces = range(0, _MOST_PIECES * COT_HEADER + 1, COT_HEADER)
    return tokens in pieces or tokens - PREAMBLE_HEADER in pieces


@lru_cache(maxsize=256)
def call_header(name: str) -> int:
    """Return the number of tokens of a call without arguments, its end included.

    Cached because rendering one takes 0.5 ms. Raises RenderError.
    """
    return len(message_tokens(Call(name, "")))


def token_count(text: str) -> int | None:
    """Return the number of tokens of a text; None if they cannot be counted."""
    try:
        return _text_length(text)
    except (RenderError, VocabularyError):
        return None


def is_below_limit(exchange: ParsedExchange) -> bool:
    """Whether a reply has far fewer tokens than its request allows, so that no limit of it cut one.

    Both the reported tokens and those of the text are fewer, because servers may not count all
    tokens.
    """
    request, reply = exchange.request, exchange.reply
    if reply is None or request.limit is None or request.choices > 1 or not reply.output_tokens:
        return False
    shown = token_count(reply.generated)
    most = request.limit - _FEWEST_MISSING
    return shown is not None and max(shown, reply.output_tokens) <= most


def more_tokens(returned: str, written: str) -> int | None:
    """Return how many more tokens a text has than the one that was returned."""
    had, has = token_count(written), token_count(returned)
    return None if had is None or has is None else had - has


@lru_cache(maxsize=4096)
def _text_length(text: str) -> int:
    """Return the number of tokens of a text, cached because most texts repeat. Raises RenderError.

    Several checks count the same texts, and most pieces of streams are single words.
    """
    return len(text_tokens(text))


def _entries(reply: Reply) -> list[_Entry] | None:
    """Return the messages of a reply in tokens; None if one cannot be counted."""
    try:
        return [_entry(message) for message in _messages(reply)] if _has_vocabulary() else None
    except (RenderError, RecursionError):
        return None


def _messages(reply: Reply) -> Iterator[Message]:
    """Yield the harmony messages that a reply consists of.

    The first reasoning message has the text of all CoT, and the first text message that of all
    texts; each further item adds only its header.
    """
    items = Counter(item.get("type") for item in objects(reply.raw.get("output")))
    reasoning, text = reply.reasoning, reply.text
    if not reasoning:
        reasoning = "".join(match[2] for match in _TAGGED.finditer(text))
        text = _TAGGED.sub("", text)
    if reasoning:
        yield Reasoning(reasoning)
        yield from [Reasoning("")] * (items["reasoning"] - 1)
    if text:
        yield Preamble(text) if reply.calls else Answer(text)
        yield from [Preamble("")] * (items["message"] - 1)
    yield from (Call(call.name, call.arguments) for call in reply.calls)


def _entry(message: Message) -> _Entry:
    """Count a message. Raises RenderError."""
    is_call = isinstance(message, Call)
    text = message.arguments if isinstance(message, Call) else message.text
    header = call_header(message.name) if isinstance(message, Call) else _HEADERS[type(message)]
    counts = _counts(text, json_too=not isinstance(message, Reasoning))
    content_type = _CONTENT_TYPE if is_call or len(counts) > 1 else 0
    most = max(counts) + content_type + _spelled_singly(text)
    return _Entry(message, header, counts[0], min(counts), most)


def _spelled_singly(text: str) -> int:
    """Return how many more tokens a text has if a model writes its runs one character at a time.

    A model that repeats one character writes one token at a time; the tokenizer has tokens for many
    spaces or dashes. Raises RenderError.
    """
    runs = (match.group() for match in _RUN.finditer(text))
    return sum(max(0, len(run) - _text_length(run)) for run in runs)


@lru_cache(maxsize=256)
def _counts(text: str, *, json_too: bool) -> list[int]:
    """Return the token counts of a text and, if it is a JSON object, of its other serializations.

    The server may have serialized the object again, with other spaces. The counts are cached
    because many attempts at a case have the same arguments. Raises RenderError.
    """
    texts = [text]
    value = parsed_object(text) if json_too else None
    if value is not None:
        if "\\u" in text:  # A model writes the characters; escapes have many more tokens.
            texts = []
        texts += [json.dumps(value, ensure_ascii=False, indent=indent) for indent in _INDENTS]
        texts.append(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return list(map(_text_length, texts))


@cache
def _has_vocabulary() -> bool:
    try:
        harmony_encoding()
    except VocabularyError:
        return False
    return True
