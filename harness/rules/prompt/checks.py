"""Prompts of recorded traffic, whose requests no probe chose."""

from collections.abc import Iterator

from harness.api import DIALECTS
from harness.api.fields import objects
from harness.api.items import Message
from harness.rules.check import Family
from harness.rules.evidence.rendering import Prompt, bare_lengths
from harness.rules.evidence.subjects import Answer, answers
from harness.rules.rule import HARMONY, Problem

family = Family("prompt", HARMONY, component="prompt")

_FEWEST_HIDDEN = 32
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
    found = [Message("system", instructions)] if isinstance(instructions, str) else []
    for turn in DIALECTS[answer.exchange.api].turns(body):
        text = _text(turn.get("content")) if isinstance(turn, dict) else None
        if text is None or turn["role"] not in _ROLES or turn.get("tool_calls"):
            return None
        found.append(Message(turn["role"], text))
    return tuple(found)


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
    if got - due >= _FEWEST_HIDDEN:
        message = f"The prompt has {got - due} tokens more than the messages of the request."
        expected = f"about {due} tokens"
        yield Problem(answer.exchange, message, expected, f"{got} tokens", "$.usage")
