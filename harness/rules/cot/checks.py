"""The raw chain of thought (CoT): present, and in the field that the API defines."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.api.chat import REASONING_FIELDS
from harness.api.fields import nested, objects
from harness.api.ledger import has_lost_cot, has_tagged_cot
from harness.api.parsed_rollout import ParsedExchange
from harness.rules.account.counting import SURELY
from harness.rules.check import Family
from harness.rules.evidence.subjects import (
    Answer,
    Item,
    after_reasoned_calls,
    answers,
    opening,
    readable,
    reasoning_items,
    reports_cot,
    truncated_opening,
)
from harness.rules.habits import MALFORMED_HEADERS, MOSTLY, NO_COT, NO_COT_AFTER_RESULT
from harness.rules.rule import RAW_COT, Problem

family = Family("cot", RAW_COT, component="output")

_UNWRITTEN_AT_LIMIT = NO_COT._replace(share=0.1)
"""The token counts of a truncated reply do not show whether it had CoT."""
_PATH = "$.choices[0].message"


@family.check(
    "reasoning.missing",
    opening,
    # Others cannot have lost a CoT.
    lambda answer: answer.reply.reasoning or has_lost_cot(answer.exchange),
    habit=MALFORMED_HEADERS,
    reads=("extras",),
)
def _missing(answer: Answer) -> Iterator[Problem]:
    """A reply to the user contains the CoT, if its tokens include one.

    It is the field `reasoning` of a Chat message, and a reasoning item of a response. Clients must
    send it back between tool calls; without it, gpt-oss forgets its plan. A reply that counts the
    tokens of a CoT contradicts itself.
    """
    exchange, usage = answer.exchange, answer.reply.usage
    if not has_lost_cot(exchange):
        return
    proven = usage is not None and (usage.reasoning_tokens or 0) > SURELY
    if exchange.api == "chat":
        message = "The reply contains no reasoning."
        yield Problem(exchange, message, "reasoning: text", "no reasoning", _PATH, proven=proven)
        return
    kinds = [str(item.get("type")) for item in answer.output]
    if "reasoning" not in kinds:
        message, got = "The response contains no reasoning item.", ", ".join(kinds) or "no items"
        yield Problem(exchange, message, "a reasoning item", got, "$.output", proven=proven)


@family.check(
    "chat.reasoning.field",
    answers,
    lambda answer: answer.reply.reasoning,
    apis=("chat",),
    severity="warning",
    component="format",
    reads=("extras",),
    fix="Return the CoT in the field reasoning.",
)
def _chat_field(answer: Answer) -> Iterator[Problem]:
    """Chat messages return the CoT in the field `reasoning`; a copy in another field is equal.

    OpenAI's guide specifies this field. Many clients also read `reasoning_content`. Like the
    probes, they send CoT back in the field in which they received it.
    """
    exchange = answer.exchange
    for choice in objects(answer.reply.raw.get("choices")):
        cot, copy = (_field(choice, name) for name in REASONING_FIELDS)
        if cot and copy and cot != copy:
            message = "The fields `reasoning` and `reasoning_content` have different texts."
            yield Problem(exchange, message, cot, copy, f"{_PATH}.reasoning_content")
            return
    messages = exchange.messages
    if not any(message.get("reasoning") for message in messages):
        fields = {name for message in messages for name, value in message.items() if value}
        got = ", ".join(sorted(name for name in fields if "reason" in name)) or "another field"
        message = "The message returns the CoT in a field other than `reasoning`."
        yield Problem(exchange, message, "reasoning", got, _PATH)


@family.check(
    "chat.reasoning.type",
    readable,
    lambda exchange: any(
        message.get(name) is not None for message in exchange.messages for name in REASONING_FIELDS
    ),
    apis=("chat",),
    component="format",
)
def _chat_type(exchange: ParsedExchange) -> Iterator[Problem]:
    """`reasoning` and `reasoning_content` are strings.

    Clients concatenate them as text and send them back.
    """
    for name in REASONING_FIELDS:
        for message in exchange.messages:
            value = message.get(name)
            if value is not None and not isinstance(value, str):
                text, path = f"`{name}` is not a string.", f"{_PATH}.{name}"
                yield Problem(exchange, text, "a string or null", repr(value), path)
                break


@family.check(
    "reasoning.rare",
    opening,
    lambda answer: answer.exchange.request.effort != "low",  # at which it may answer at once
    severity="warning",
    habit=NO_COT,
    error_above=MOSTLY,
    reads=("extras",),
)
def _unwritten(answer: Answer) -> Iterator[Problem]:
    """At most one reply to the user in 100 lacks CoT, unless the request asks for low effort.

    None of 380 recorded replies lacked it. A server that hides CoT may also omit its tokens from
    the count. Agents work without CoT, so it is an error only if most replies lack it.
    The check reasoning.in_answer reports a CoT in tags in the answer.
    """
    reply = answer.reply
    if not (reply.reasoning or has_tagged_cot(reply) or has_lost_cot(answer.exchange)):
        message = "The reply contains no reasoning, and reports no tokens for it."
        yield Problem(answer.exchange, message, "reasoning", "no reasoning")


@family.check(
    "reasoning.missing.truncated",
    truncated_opening,
    habit=_UNWRITTEN_AT_LIMIT,
    error_above=MOSTLY,
    reads=("extras",),
)
def _truncated(answer: Answer) -> Iterator[Problem]:
    """Truncated replies to the user contain CoT: the limit cuts it, or the answer after it.

    Some servers return a truncated CoT as the answer, and users see it. A reply that reports
    reasoning tokens, and has no CoT, contradicts itself.
    """
    if not answer.reply.reasoning:
        message = "The reply was truncated at the token limit but has no CoT before its text."
        got, proven = f"only {answer.reply.text!r}", reports_cot(answer)
        if proven:
            message = "The reply reports reasoning tokens but has no CoT."
            got = f"{answer.usage.reasoning_tokens} reasoning tokens, text {answer.reply.text!r}"
        yield Problem(answer.exchange, message, "reasoning", got, proven=proven)


@family.check(
    "responses.reasoning.content",
    reasoning_items,
    apis=("responses",),
    component="format",
    fix="Return the CoT as a list of reasoning_text parts.",
    reads=("extras",),
)
def _responses_content(item: Item) -> Iterator[Problem]:
    """The content of a reasoning item is a list of reasoning_text parts with the raw CoT.

    Clients of gpt-oss read the CoT there and send the item back. An encrypted CoT can be sent back
    too.
    """
    content = item.item.get("content")
    kinds = [part.get("type") for part in objects(content)]
    written = item.item.get("summary") or has_lost_cot(item.exchange)
    written = written and not item.item.get("encrypted_content")
    if (not kinds and written) or any(kind != "reasoning_text" for kind in kinds):
        message = "A reasoning item does not contain the raw CoT as reasoning_text."
        if not kinds and item.item.get("summary"):
            message = "The CoT is in the summary of a reasoning item, and its content is empty."
        expected, path = '[{"type": "reasoning_text", …}]', f"{item.path}.content"
        yield Problem(item.exchange, message, expected, repr(content), path)


@family.check(
    "responses.reasoning.summary",
    reasoning_items,
    lambda item: item.item.get("summary"),
    apis=("responses",),
    severity="warning",
    component="format",
    fix="Leave the summary empty unless there is one.",
)
def _responses_summary(item: Item) -> Iterator[Problem]:
    """The reasoning summary is not a copy of the raw CoT.

    Clients show summaries to users; the raw CoT is not meant for users.
    """
    raw = [part.get("text") for part in objects(item.item.get("content"))]
    summaries = [part.get("text") for part in objects(item.item.get("summary"))]
    copies = [text for text in summaries if text and text in raw]
    if copies:
        message = "The summary of a reasoning item is a copy of the raw CoT."
        expected, path = "[] or a real summary", f"{item.path}.summary"
        yield Problem(item.exchange, message, expected, str(copies[0]), path)


@family.check(
    "reasoning.missing.after_result",
    after_reasoned_calls,
    severity="warning",
    habit=NO_COT_AFTER_RESULT,
    reads=("extras",),
)
def _after_result(later: tuple[Answer, ...]) -> Iterator[Problem]:
    """Replies after a tool result contain CoT, if their tokens include one.

    gpt-oss often answers a tool result without CoT; the reported tokens then match the answer.
    Without token counts, a share is tolerated.
    """
    lost = any(has_lost_cot(answer.exchange) or not answer.reply.output_tokens for answer in later)
    if lost and not any(answer.reply.reasoning for answer in later):
        message = "The tool call had CoT, but no reply after its result contains reasoning."
        yield Problem(later[0].exchange, message, "reasoning", "no reasoning")


def _field(choice: Mapping[str, Any], name: str) -> str:
    text = nested(choice, "message", name)
    return text.strip() if isinstance(text, str) else ""
