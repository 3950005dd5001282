"""POST /v1/responses/compact: replaces a conversation by its inputs and a summary.

The model writes the summary. A later request starts with the returned items instead of the
conversation. They include all user messages (OpenAI's API reference, "Compact a response"), and
here also all system and developer messages.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from harmony.conversation import Answer, Conversation, ConversationItem, Developer, User
from reference_engine.server.errors import ApiError, invalid
from reference_engine.server.fields import Ignored
from reference_engine.server.generation import Generation, GenerationRequest, Sampling
from reference_engine.server.responses.items import encode_summary
from reference_engine.server.responses.output import OutputWriter
from reference_engine.server.responses.reply import usage_of
from reference_engine.server.responses.request import ConversationRequest
from reference_engine.server.tool_choice import ToolPolicy

_SUMMARIZE = (
    "Summarize our conversation so far, for yourself: everything before this message will be gone "
    "except what users and developers wrote. Keep what was found out, decided, promised and done, "
    "results of tools included, and what is still open. Write the summary and nothing else."
)


class CompactRequest(ConversationRequest):
    """The body of POST /v1/responses/compact."""

    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    service_tier: Ignored = None

    def generation_request(
        self, history: tuple[ConversationItem, ...], current_date: str | None
    ) -> GenerationRequest:
        """What to generate for the summary of this history.

        Raises:
            ApiError: The history is empty.
        """
        if not history:
            message = "There is nothing to compact: send 'input' or 'previous_response_id'."
            raise invalid("input", message, "missing_required_parameter")
        conversation = Conversation(
            items=(*self.opening, *history, User(_SUMMARIZE)),
            effort="low",
            current_date=current_date,
        )
        return GenerationRequest(conversation, Sampling(), ToolPolicy("forbidden"))


def compacted(
    history: Sequence[ConversationItem], writer: OutputWriter, generation: Generation
) -> dict[str, Any]:
    """The response with the summary.

    Raises:
        ApiError: The model wrote no summary, or the summary exceeds the context.
    """
    if generation.finish == "length":
        message = "The conversation leaves no room in the model's context for its summary."
        raise ApiError(400, message, code="context_length_exceeded")
    summary = "\n".join(entry.text for entry in writer.history if isinstance(entry, Answer))
    if not summary:
        raise ApiError(500, "The model wrote no summary: try again.", code="no_summary")
    kept = [_message(entry) for entry in history if isinstance(entry, (Developer, User))]
    item = {"type": "compaction", "id": _id("cmp"), "encrypted_content": encode_summary(summary)}
    return {
        "id": _id("resp"),
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [*kept, item],
        "usage": usage_of(generation),
    }


def _message(entry: Developer | User) -> dict[str, Any]:
    return {
        "type": "message",
        "id": _id("msg"),
        "status": "completed",
        "role": "user" if isinstance(entry, User) else "developer",
        "content": [{"type": "input_text", "text": entry.text}],
    }


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"
