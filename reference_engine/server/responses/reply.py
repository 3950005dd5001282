"""The Response object: what every state of it repeats, and its final form."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openai.types.responses import Response as ResponseType

from reference_engine.server.errors import ApiError
from reference_engine.server.generation import Generation
from reference_engine.server.responses.request import ResponsesRequest


@dataclass
class Reply:
    """One response in the making."""

    asked: ResponsesRequest
    id: str = field(default_factory=lambda: f"resp_{secrets.token_hex(16)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self._fields = _echoed(self.asked)

    def running(self) -> dict[str, Any]:
        """The response before any output."""
        return self._response("in_progress", [])

    def finished(self, output: Sequence[dict[str, Any]], generation: Generation) -> dict[str, Any]:
        """The response with all its output, checked against the SDK's own type."""
        cut = generation.finish == "length"
        response = self._response("incomplete" if cut else "completed", output)
        response["usage"] = usage_of(generation)
        if cut:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            response["completed_at"] = int(time.time())
        ResponseType.model_validate(response)
        return response

    def failed(self, output: Sequence[dict[str, Any]], error: ApiError) -> dict[str, Any]:
        """The response after an error."""
        response = self._response("failed", output)
        response["error"] = {"code": "server_error", "message": error.message}
        return response

    def _response(self, status: str, output: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": list(output),
            "usage": None,
            **self._fields,
        }


def _echoed(asked: ResponsesRequest) -> dict[str, Any]:
    """The part of a response that repeats the request, defaults filled in."""
    choice = asked.tool_choice
    return {
        "model": asked.model,
        "previous_response_id": asked.previous_response_id,
        "instructions": asked.instructions,
        "tools": [tool.echoed() for tool in asked.tools],
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "parallel_tool_calls": asked.parallel_tool_calls,
        "reasoning": {"effort": asked.reasoning.effort or "medium", "summary": None},
        "text": {"format": _format(asked), "verbosity": asked.text.verbosity},
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_logprobs": asked.top_logprobs,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "max_output_tokens": asked.max_output_tokens,
        "max_tool_calls": asked.max_tool_calls,
        "truncation": asked.truncation,
        "store": asked.store,
        "background": False,
        "service_tier": "default",
        "metadata": asked.metadata,
        "safety_identifier": asked.safety_identifier,
        "prompt_cache_key": asked.prompt_cache_key,
        "user": asked.user,
    }


def _format(asked: ResponsesRequest) -> dict[str, Any]:
    return asked.text.format.model_dump(by_alias=True, exclude_none=True)


def usage_of(generation: Generation) -> dict[str, Any]:
    """The tokens that an answer took."""
    prompt, completed = len(generation.prompt), len(generation.completion)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": completed,
        "output_tokens_details": {"reasoning_tokens": generation.reasoning_tokens},
        "total_tokens": prompt + completed,
    }
