"""The response object, and its stream of events."""

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
from openai.types.responses import Response as ResponseType

from reference_engine.server.errors import ApiError
from reference_engine.server.responses.output import Event, OutputWriter
from reference_engine.server.responses.request import ResponsesRequest
from reference_engine.server.responses.steps import Steps


@dataclass
class Reply:
    """One response: the object, and its stream of numbered events."""

    body: ResponsesRequest
    steps: Steps
    writer: OutputWriter
    id: str = field(default_factory=lambda: f"resp_{secrets.token_hex(16)}")
    created: int = field(default_factory=lambda: int(time.time()))
    _sent: int = 0

    def finished(self) -> dict[str, Any]:
        """The complete response, validated against the SDK's type."""
        truncated = self.steps.finish == "length"
        response = self._response("incomplete" if truncated else "completed")
        response["usage"] = usage_of(self.steps)
        if truncated:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            response["completed_at"] = int(time.time())
        ResponseType.model_validate(response)
        return response

    async def events(self, keep: Callable[[dict[str, Any]], None]) -> AsyncGenerator[bytes]:
        """The encoded events, grouped by token; `keep` gets the complete response."""
        running = self._response("in_progress")
        kinds = ("response.created", "response.in_progress")
        opening = self._encode({"type": kind, "response": running} for kind in kinds)
        async with aclosing(self.steps.run()) as batches:
            async for parts in batches:
                if piece := opening + self._encode(self.writer.events(parts)):
                    yield piece
                opening = b""
        response = self.finished()
        keep(response)
        last = {"type": f"response.{response['status']}", "response": response}
        yield opening + self._encode([last])

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream after an error."""
        response = self._response("failed")
        response["error"] = {"code": "server_error", "message": error.message}
        return self._encode([{"type": "response.failed", "response": response}])

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": list(self.writer.items),
            "usage": None,
            **_echoed(self.body),
        }

    def _encode(self, events: Iterable[Event]) -> bytes:
        encoded = b""
        for event in events:
            numbered = event | {"sequence_number": self._sent}
            self._sent += 1
            encoded += b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(numbered))
        return encoded


def _echoed(body: ResponsesRequest) -> dict[str, Any]:
    choice = body.tool_choice
    text_format = body.text.format.model_dump(by_alias=True, exclude_none=True)
    return {
        "model": body.model,
        "previous_response_id": body.previous_response_id,
        "instructions": body.instructions,
        "tools": [tool.echoed() for tool in body.tools],
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "parallel_tool_calls": body.parallel_tool_calls,
        "reasoning": {"effort": body.reasoning.effort or "medium", "summary": None},
        "text": {"format": text_format, "verbosity": body.text.verbosity},
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_logprobs": body.top_logprobs,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "truncation": body.truncation,
        "store": body.store,
        "background": False,
        "service_tier": "default",
        "metadata": body.metadata,
        "safety_identifier": body.safety_identifier,
        "prompt_cache_key": body.prompt_cache_key,
        "user": body.user,
    }


def usage_of(steps: Steps) -> dict[str, Any]:
    """The token counts of all steps."""
    prompt, completed = steps.prompt_tokens, steps.completion_tokens
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": completed,
        "output_tokens_details": {"reasoning_tokens": steps.reasoning_tokens},
        "total_tokens": prompt + completed,
    }
