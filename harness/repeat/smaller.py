"""Smaller variants of a request.

A variant has fewer tools, options and turns, or shorter texts. It stays a valid conversation: tool
results are removed together with their calls, and at least one user message remains.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from harness.api.fields import objects

Body = Mapping[str, Any]
Variants = Iterator[tuple[str, Body]]
"""Variants of a request that each lack one part, with the name of that part."""
T = TypeVar("T")
LIMITS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
"""Without its limit of output tokens, a request may take minutes."""
REQUIRED = LIMITS | {"model", "messages", "input", "stream", "prompt", "skip_special_tokens"}
SHORTEST_TEXT = 80  # characters up to which a text is not shortened


def smaller(body: Body) -> Variants:
    """Variants of a request that each lack one part, largest removals first."""
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        unoffered = ("tools", "tool_choice")
        yield "tools", {name: value for name, value in body.items() if name not in unoffered}
        yield from (("some tools", {**body, "tools": kept}) for kept in _fewer(tools))
    for option in body:
        if option not in REQUIRED and option != "tools":
            yield f"`{option}`", {name: value for name, value in body.items() if name != option}
    for name in ("messages", "input"):
        if isinstance(items := body.get(name), list):
            yield from (("some turns", {**body, name: kept}) for kept in _fewer_turns(items))
            yield from (("half of a text", {**body, name: kept}) for kept in _shorter(items))


def size(body: Body) -> int:
    """Return the number of characters of all texts and names in a request."""
    return len(repr(dict(body)))


def _fewer_turns(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the conversation without some of its turns."""
    for kept in _fewer(list(_turns(items))):
        flat = [item for turn in kept for item in turn]
        if any(item.get("role") == "user" for item in objects(flat)):
            yield flat


def _turns(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Groups of items that belong together: a message, or calls with their CoT and results."""
    turn: list[Any] = []
    before = "message"
    for item in items:
        known = item if isinstance(item, dict) else {}
        kind = known.get("type"), known.get("role"), bool(known.get("tool_calls"))
        now = "message"
        if "tool" in kind or "function_call_output" in kind:
            now = "result"
        elif "reasoning" in kind or "function_call" in kind or kind[-1]:
            now = "reply"
        if turn and (now == "message" or (now, before) == ("reply", "result")):
            yield turn
            turn = []
        turn, before = [*turn, item], now
    if turn:
        yield turn


def _fewer(items: Sequence[T]) -> Iterator[list[T]]:
    """Each half of the items, then all items but one."""
    half = len(items) // 2
    if half > 1:
        yield list(items[half:])
        yield list(items[:half])
    for dropped in range(len(items) if half else 0):
        yield [*items[:dropped], *items[dropped + 1 :]]


def _shorter(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the conversation with the first half of one long text."""
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        for name in ("content", "output"):
            text = item.get(name)
            if isinstance(text, str) and len(text) > SHORTEST_TEXT:
                half = {**item, name: text[: len(text) // 2]}
                yield [*items[:place], half, *items[place + 1 :]]
