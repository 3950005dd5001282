"""What a backend offers, and how it fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from reference_engine.generation.errors import EngineError
from reference_engine.generation.sampling import SamplingParams, Token


class TokenSource(Protocol):
    """What continues prompts: all that answering a request needs of an engine.

    Attributes:
        max_context: Most tokens of a prompt and its continuation.
    """

    max_context: int

    def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token, None]:
        """Yield the tokens that continue `prompt`, a stop token included.

        Closing the generator cancels the request.

        Raises:
            EngineError: The request cannot be served.
        """
        ...


class Backend(TokenSource, Protocol):
    """The part of `generation.engine.Engine` that the server and the chat command use."""

    def start(self) -> None:
        """Make it ready for requests."""
        ...

    def close(self) -> None:
        """End it; requests in flight end with an `EngineError`."""
        ...


class BackendUnavailableError(Exception):
    """A backend that cannot be used at all; the message says why and what to do."""


class BackendError(EngineError):
    """A backend failed at a request.

    Attributes:
        status: What HTTP calls it: 502 where the backend is away or answers nonsense, 503 where it
            is too slow or overloaded, 429 where it has had too many requests, 400 where it lacks
            what the request asks for.
        code: The same in a word, for programs.
        retry_after: Seconds that the backend asks to wait, as it said it.
    """

    def __init__(
        self, message: str, *, status: int = 502, code: str, retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
