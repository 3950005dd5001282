"""Which engine computes the tokens, and where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

RemoteName = Literal["vllm", "llama.cpp", "ollama"]
BackendName = Literal["reference", "transformers", RemoteName]
REMOTE = frozenset(get_args(RemoteName))
DEFAULT_URLS: dict[str, str] = {
    "vllm": "http://127.0.0.1:8000",
    "llama.cpp": "http://127.0.0.1:8080",
    "ollama": "http://127.0.0.1:11434",
}
"""Where each server listens unless told otherwise (by its own documentation)."""


@dataclass(frozen=True)
class BackendSettings:
    """The engine behind the server.

    Attributes:
        name: `reference` is ours; `transformers` runs in this process; the others are servers.
        url: The root of such a server, without a path; its usual one if None.
        model: What the server calls the model; asked of the server if None.
        api_key: What the server wants as a bearer token.
        timeout: Seconds without a byte from the server after which a request is given up.
    """

    name: BackendName = "reference"
    url: str | None = None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 300.0

    @property
    def is_remote(self) -> bool:
        """Whether it is a server of its own."""
        return self.name in REMOTE

    @property
    def root(self) -> str:
        """The address of the server, without a slash at its end."""
        return (self.url or DEFAULT_URLS[self.name]).rstrip("/").removesuffix("/v1")
