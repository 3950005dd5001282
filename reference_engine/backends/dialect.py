"""How a server of its own is asked for tokens, apart from the connection to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from reference_engine.generation.sampling import SamplingParams, Token


@dataclass(frozen=True)
class Served:
    """What a server has: the model's name, and the context in tokens if it says so."""

    model: str
    max_context: int | None


def plain_seed(seed: int) -> int:
    """A seed from 0 to 2^31 - 2, as every server takes it.

    To vLLM, llama.cpp and ollama -1 means a random one, which to llama.cpp 2^32 - 1 is as well, and
    none takes more than 64 bits.
    """
    return seed % (2**31 - 1)


class Reader(Protocol):
    """Reads one streamed reply.

    Attributes:
        finished: The server has said that nothing more comes.
    """

    finished: bool

    def read(self, event: bytes) -> list[Token]:
        """The tokens of one event, which is a JSON object.

        Raises:
            ValueError: It is not what the server's documentation says.
        """
        ...


class Dialect(Protocol):
    """What a kind of server wants and gives.

    Attributes:
        path: Where requests go.
    """

    path: str

    def served(self, client: httpx.Client, model: str | None) -> Served:
        """Ask what is served; `model` is its name where the user gave one.

        Raises:
            httpx.HTTPError: The server cannot be asked.
            ValueError: It answers something else.
        """
        ...

    def request(
        self, model: str, prompt: Sequence[int], params: SamplingParams, room: int
    ) -> Mapping[str, Any]:
        """The body of a request; `room` is the whole context in tokens.

        Raises:
            BackendError: The server cannot do what the request asks for.
        """
        ...

    def reader(self, params: SamplingParams) -> Reader:
        """What reads the reply."""
        ...
