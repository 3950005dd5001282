"""Why an engine does not answer a request: ours, or another behind the same interface.

EngineError
├── QueueFullError
├── ContextOverflowError
├── EngineClosedError
├── GenerationError
└── BackendError            in backends.base
"""

from __future__ import annotations

from collections.abc import Sequence


class EngineError(Exception):
    """A request that the engine cannot serve."""


class QueueFullError(EngineError):
    """Too many requests are waiting; try again later."""


class ContextOverflowError(EngineError):
    """The prompt leaves no room in the context."""


class EngineClosedError(EngineError):
    """The engine is not running, or was closed before the request was finished."""


class GenerationError(EngineError):
    """The model failed while it worked on the request."""


def require_room(prompt: Sequence[int], max_context: int) -> None:
    """Refuses a prompt that leaves no room for an answer.

    Raises:
        ContextOverflowError: The context has no more tokens than the prompt.
    """
    if len(prompt) >= max_context:
        raise ContextOverflowError(
            f"The prompt has {len(prompt)} tokens; with its answer it must fit into the context "
            f"of {max_context}."
        )
