"""Errors of an engine (ours or another backend) that cannot answer a request.

EngineError
├── QueueFullError
├── ContextOverflowError
├── EngineClosedError
├── GenerationError
└── BackendError            in backends.token_source
"""

from collections.abc import Sequence

NOT_FINITE = "The model failed: its logits are not finite."


class EngineError(Exception):
    """The engine cannot serve the request."""


class QueueFullError(EngineError):
    """Too many requests are waiting; the client can retry later."""


class ContextOverflowError(EngineError):
    """The prompt leaves no room in the context."""


class EngineClosedError(EngineError):
    """The engine is not running, or was closed before it finished the request."""


class GenerationError(EngineError):
    """The model failed during the request."""


def require_room(prompt: Sequence[int], max_context: int) -> None:
    """Reject a prompt that leaves no room for an answer. Raises ContextOverflowError."""
    if len(prompt) >= max_context:
        raise ContextOverflowError(
            f"The prompt has {len(prompt)} tokens; with its answer it must fit into the context "
            f"of {max_context}."
        )
