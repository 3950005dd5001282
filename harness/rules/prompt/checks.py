"""Prompts of recorded traffic, whose requests no probe chose."""

from collections.abc import Iterator

from harness.api import DIALECTS
from harness.api.fields import nested, objects
from harness.api.items import Message
from harness.api.ledger import token_count
from harness.rules.check import Family
from harness.rules.evidence.rendering import Prompt, bare_lengths
from harness.rules.evidence.subjects import Answer, answers
from harness.rules.rule import HARMONY, Problem, VoidIf

family = Family("prompt", HARMONY, component="prompt")

_FEWEST_HIDDEN_TOKENS = 32
"""Tokens of a text of its own that a server adds; the deviations of healthy renderings, such as a
date, a blank line or a heading, are fewer."""
_ROLES = frozenset({"system", "developer", "user", "assistant"})


def _messages(answer: Answer) -> tuple[Message, ...] | None:
    """Return the messages of a request that has nothing but texts; otherwise None."""
    request, body = answer.exchange.request, answer.exchange.request.body
    other = body.get("tools") or request.wants_json or body.get("previous_response_id")
    if other or answer.exchange.api == "harmony" or body.get("prompt") or body.get("conversation"):
        return None
    instructions = body.get("instructions")
    messages = [Message("system", instructions)] if isinstance(instructions, str) else []
    for turn in DIALECTS[answer.exchange.api].turns(body):
        text = _text(turn.get("content")) if isinstance(turn, dict) else None
        if text is None or turn.get("role") not in _ROLES or turn.get("tool_calls"):
            return None
        messages.append(Message(turn["role"], text))
    return tuple(messages)


def _text(content: object) -> str | None:
    if isinstance(content, str):
        return content
    texts = [part.get("text") for part in objects(content)]
    whole = [text for text in texts if isinstance(text, str)]
    return "\n\n".join(whole) if whole and len(whole) == len(texts) else None


@family.check(
    "prompt.added",
    answers,
    lambda answer: answer.exchange.imported and answer.usage.input_tokens and _messages(answer),
    fix="Leave out what the server adds to the prompt, or let clients switch it off.",
    example=(
        "The prompt of a request of five words has 210 tokens: the server adds its instructions.",
        "https://github.com/OpenAgentsInc/openagents/pull/6063",
    ),
)
def _added(answer: Answer) -> Iterator[Problem]:
    """A recorded prompt of plain messages is as long as harmony's.

    A longer one contains text that the client did not send, such as instructions of the server or a
    gateway: the model follows them, and users pay for them. Live traffic is judged by prompt.bare.
    """
    due = max(bare_lengths(Prompt(_messages(answer) or ())))
    got = answer.usage.input_tokens or 0
    if got - due >= _FEWEST_HIDDEN_TOKENS:
        message = f"The prompt has {got - due} tokens more than the messages of the request."
        yield Problem(answer.exchange, message, f"about {due} tokens", f"{got} tokens", "$.usage")


_COUNTED = 0.9  # the least share of the texts; another tokenizer needs a little less


def _sent(answer: Answer) -> int:
    """Return the tokens of the texts of a request, but for those of the assistant and its CoT."""
    body = answer.exchange.request.body
    if answer.exchange.api == "harmony" or body.get("truncation") == "auto":
        return 0
    texts = [
        _text(turn.get("content", turn.get("output")))
        for turn in objects(DIALECTS[answer.exchange.api].turns(body))
        if turn.get("role") != "assistant" and turn.get("type") != "reasoning"
    ]
    return sum(token_count(text) or 0 for text in texts if text)


@family.check(
    "prompt.cut",
    answers,
    lambda answer: answer.exchange.imported and answer.usage.input_tokens and _sent(answer),
    component="messages",
    fix="Render every message, or refuse a prompt that is too long.",
    relations=[VoidIf("usage.input.cached", "$.usage", "prompt_tokens_cached")],
)
def _cut(answer: Answer) -> Iterator[Problem]:
    """A recorded prompt has at least the tokens of the texts that were sent.

    With fewer, the model does not see all of them. In live traffic, probes of the prompt find this.
    """
    due, got = _sent(answer), answer.usage.input_tokens or 0
    if got < _COUNTED * due and not nested(answer.reply.raw, "usage", "cache_read_input_tokens"):
        message = "The prompt has fewer tokens than the texts of the request."
        yield Problem(answer.exchange, message, f"more than {due}", f"{got} tokens", "$.usage")
