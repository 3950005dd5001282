"""The choice of a backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

RemoteName = Literal["vllm", "llama.cpp", "ollama"]
BackendName = Literal["reference", "transformers", "mlx", RemoteName]
REMOTE = frozenset(get_args(RemoteName))
DEFAULT_URLS: dict[str, str] = {
    "vllm": "http://127.0.0.1:8000",
    "llama.cpp": "http://127.0.0.1:8080",
    "ollama": "http://127.0.0.1:11434",
}
"""The default address of each server, from its documentation."""


@dataclass(frozen=True)
class BackendSettings:
    """The engine behind the server.

    Attributes:
        name: `reference`, `transformers` and `mlx` run in this process; the others are servers.
        url: The root URL of the server; its default address if None.
        model: The server's model id; the model that it serves if None.
        api_key: The bearer token for the server.
        timeout: Most seconds between two bytes of the server.
    """

    name: BackendName = "reference"
    url: str | None = None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 300.0

    @property
    def is_remote(self) -> bool:
        """Whether the backend is a server."""
        return self.name in REMOTE

    @property
    def root(self) -> str:
        """The address of the server, without a trailing slash."""
        return (self.url or DEFAULT_URLS[self.name]).rstrip("/").removesuffix("/v1")
