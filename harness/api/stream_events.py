"""The texts in the events of a stream, and violations of its grammar. No I/O."""

from dataclasses import dataclass

from harness.api.fields import nested, objects
from harness.api.sse import StreamEvent

# The events of Responses streams with CoT and answer, in all dialects.
_TEXT_EVENTS = frozenset(
    {"response.output_text", "response.reasoning_text", "response.reasoning", "response.refusal"}
)
# The fields of a Chat delta that carry text or tool calls.
TEXT_FIELDS = ("content", "reasoning", "reasoning_content", "tool_calls", "text")


@dataclass(frozen=True)
class Violation:
    """A violation of the stream grammar; `rule` names the rule within the grammar of its API."""

    rule: str
    message: str
    expected: str
    got: str
    path: str | None = None
    event: int | None = None


def texts_of(event: StreamEvent) -> list[str]:
    """The pieces of CoT and answer in an event, without arguments, summaries and repetitions."""
    if event.type:
        kind = event.type.removesuffix(".delta")
        texts: list[object] = [nested(event.data, "delta")] if kind in _TEXT_EVENTS else []
    else:
        texts = []
        for choice in objects(nested(event.data, "choices")):
            delta = choice.get("delta")
            cot = nested(delta, "reasoning") or nested(delta, "reasoning_content")
            texts += [cot, nested(delta, "content")]
    return [text for text in texts if isinstance(text, str) and text]


def carries_text(event: StreamEvent) -> bool:
    """Whether an event carries generated text, including tool-call arguments."""
    if event.type:
        return event.type.endswith(".delta")
    for choice in objects(nested(event.data, "choices")):
        delta = choice.get("delta", choice)  # A raw completion has its text in the choice.
        if isinstance(delta, dict) and any(map(delta.get, TEXT_FIELDS)):
            return True
    return False
