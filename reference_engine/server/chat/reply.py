"""The fields of completions and chunks, made from the parts of generations."""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harmony.parse import Ended, Started
from reference_engine.generation.sampling import Token
from reference_engine.server.generation import Generation
from reference_engine.server.pieces import Part, Piece, logprob

_SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Head:
    """The fields that every chunk repeats."""

    model: str
    fingerprint: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def fields(self, kind: str) -> dict[str, Any]:
        """The fields of an object of this kind."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": self.fingerprint,
        }


class Deltas:
    """Converts the parts of one choice to the deltas of its chunks."""

    def __init__(self, *, show_reasoning: bool) -> None:
        self._show_reasoning = show_reasoning
        self._calls = 0
        self._started: set[str] = set()
        self._separator = ""

    def of(self, parts: Sequence[Part]) -> Iterator[tuple[dict[str, Any], tuple[Token, ...]]]:
        """The deltas of a batch of parts, each with the tokens of its logprobs."""
        for part in parts:
            match part:
                case Started("call", name):
                    yield {"tool_calls": [self._new_call(name)]}, ()
                case Started(kind):
                    target = "reasoning" if kind == "reasoning" else "content"
                    self._separator = _SEPARATOR if target in self._started else ""
                case Piece("call", text):
                    call = {"index": self._calls - 1, "function": {"arguments": text}}
                    yield {"tool_calls": [call]}, ()
                case Piece("reasoning", text):
                    if self._show_reasoning:
                        yield {"reasoning": self._separated("reasoning", text)}, ()
                case Piece(_, text, tokens):
                    yield {"content": self._separated("content", text)}, tokens
                case Ended():
                    pass

    def _new_call(self, name: str) -> dict[str, Any]:
        self._calls += 1
        return {
            "index": self._calls - 1,
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }

    def _separated(self, target: str, text: str) -> str:
        """The text, preceded by a blank line if it starts another message of the same kind."""
        self._started.add(target)
        separator, self._separator = self._separator, ""
        return separator + text


class CompleteChoice:
    """Collects the deltas of one choice into its message."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        self._logprobs: list[dict[str, Any]] = []

    def add(self, delta: dict[str, Any], tokens: Sequence[Token]) -> None:
        """Add a delta."""
        self._logprobs += map(logprob, tokens)
        for key in delta.keys() & {"reasoning", "content"}:
            self._message[key] = (self._message.get(key) or "") + delta[key]
        for call in delta.get("tool_calls", ()):
            calls = self._message.setdefault("tool_calls", [])
            if "id" in call:
                calls.append({key: value for key, value in call.items() if key != "index"})
            else:
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]

    def finished(self, finish_reason: str, *, logprobs: bool) -> dict[str, Any]:
        """The choice of the response."""
        if self._message["content"] is None and "tool_calls" not in self._message:
            self._message["content"] = ""
        return {
            "index": self._index,
            "message": self._message,
            "finish_reason": finish_reason,
            "logprobs": {"content": self._logprobs, "refusal": None} if logprobs else None,
        }


def usage_of(generations: Sequence[Generation]) -> dict[str, Any]:
    """The token counts. The prompt is counted once for all choices."""
    prompt = len(generations[0].prompt)
    completed = sum(len(generation.completion) for generation in generations)
    reasoning = sum(generation.reasoning_tokens for generation in generations)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completed,
        "total_tokens": prompt + completed,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
