"""The interface of a backend, and its errors."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from reference_engine.generation.errors import EngineError
from reference_engine.generation.sampling import SamplingParams, Token


class TokenSource(Protocol):
    """Generates the continuation of prompts: both together have at most `max_context` tokens."""

    max_context: int

    def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token, None]:
        """Yield the tokens that continue `prompt`, including a stop token, up to `max_tokens`.

        Closing the generator cancels the request. Raises an `EngineError`.
        """
        ...


class Backend(TokenSource, Protocol):
    """The part of `generation.engine.Engine` that the server and the chat command use."""

    def start(self) -> None:
        """Start the engine."""
        ...

    def close(self) -> None:
        """Stop the engine. Running requests end with an `EngineError`."""
        ...


class BackendError(EngineError):
    """A backend fails to serve a request.

    `status` is the HTTP status: 502 if the backend is unreachable or its response is invalid, 503
    if it is too slow or overloaded, 429 for too many requests, 400 for an unsupported request.
    `code` is machine-readable; `retry_after` is the value of the backend's header.
    """

    def __init__(
        self, message: str, *, status: int = 502, code: str, retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
