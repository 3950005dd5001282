"""POST /v1/responses/compact: a conversation cut down to what was asked in it, and a summary.

The model writes the summary. The reply's items begin a later request in place of the conversation;
among them, all messages of the user are kept (OpenAI's API reference, "Compact a response"), and
here those of the system and the developer, too.
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
from reference_engine.server.responses.output import OutputWriter
from reference_engine.server.responses.reply import usage_of
from reference_engine.server.responses.request import ConversationRequest
from reference_engine.server.responses.sealed import sealed
from reference_engine.server.steering import ToolPolicy

_WISH = (
    "Summarize our conversation so far, for yourself: everything before this message will be gone "
    "except what users and developers wrote. Keep what was found out, decided, promised and done, "
    "results of tools included, and what is still open. Write the summary and nothing else."
)


class CompactRequest(ConversationRequest):
    """The body of POST /v1/responses/compact."""

    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    service_tier: Ignored = None

    def order(
        self, turns: tuple[ConversationItem, ...], current_date: str | None
    ) -> GenerationRequest:
        """The order for the summary of these turns.

        Raises:
            ApiError: There are none.
        """
        if not turns:
            message = "There is nothing to compact: send 'input' or 'previous_response_id'."
            raise invalid("input", message, "missing_required_parameter")
        conversation = Conversation(
            items=(*self.opening, *turns, User(_WISH)), effort="low", current_date=current_date
        )
        return GenerationRequest(conversation, Sampling(), ToolPolicy("forbidden"))


def compacted(
    turns: Sequence[ConversationItem], writer: OutputWriter, generation: Generation
) -> dict[str, Any]:
    """The reply, once the summary is written.

    Raises:
        ApiError: The model has written none, or the context has no room for the whole of it.
    """
    if generation.finish == "length":
        message = "The conversation leaves the model's context no room for its summary."
        raise ApiError(400, message, code="context_length_exceeded")
    summary = "\n".join(turn.text for turn in writer.turns if isinstance(turn, Answer))
    if not summary:
        raise ApiError(500, "The model wrote no summary: try again.", code="no_summary")
    kept = [_message(turn) for turn in turns if isinstance(turn, (Developer, User))]
    item = {"type": "compaction", "id": _id("cmp"), "encrypted_content": sealed(summary)}
    return {
        "id": _id("resp"),
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [*kept, item],
        "usage": usage_of(generation),
    }


def _message(turn: Developer | User) -> dict[str, Any]:
    return {
        "type": "message",
        "id": _id("msg"),
        "status": "completed",
        "role": "user" if isinstance(turn, User) else "developer",
        "content": [{"type": "input_text", "text": turn.text}],
    }


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"
