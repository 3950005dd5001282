"""The choice of a backend: its settings and command line options."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
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
"""The default address of each server, from its documentation."""


@dataclass(frozen=True)
class BackendSettings:
    """The engine behind the server.

    Attributes:
        name: `reference` and `transformers` run in this process; the others are servers.
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


def add_backend_options(add: Callable[..., argparse.Action]) -> None:
    """Add the options with an argument parser's `add_argument`."""
    defaults = BackendSettings()
    add(
        "--backend",
        default=defaults.name,
        choices=["reference", "transformers", *sorted(REMOTE, reverse=True)],
        help="engine that generates the tokens (default: %(default)s); transformers runs in this "
        "process, the others are servers that receive token ids (ollama: text)",
    )
    add("--backend-url", metavar="URL", help="URL of that server (default: its usual local port)")
    add(
        "--backend-model",
        metavar="ID",
        help="its model id (default: the model it serves)",
    )
    add(
        "--backend-key-env",
        metavar="NAME",
        help="environment variable with its API key",
    )
    add(
        "--backend-timeout",
        type=_seconds,
        default=defaults.timeout,
        metavar="SECONDS",
        help="most seconds without a byte from that server (default: %(default)g)",
    )


def backend_settings(arguments: argparse.Namespace) -> BackendSettings:
    """The chosen backend.

    Raises:
        ValueError: Options contradict each other; the message gives the remedy.
    """
    settings = BackendSettings(
        name=arguments.backend,
        url=arguments.backend_url,
        model=arguments.backend_model,
        api_key=key_of("--backend-key-env", arguments.backend_key_env),
        timeout=arguments.backend_timeout,
    )
    if not settings.is_remote and (settings.url or settings.model or settings.api_key):
        servers = ", ".join(sorted(REMOTE, reverse=True))
        raise ValueError(f"--backend-url, -model and -key-env need a server: --backend {servers}.")
    if settings.url and not settings.url.startswith(("http://", "https://")):
        raise ValueError(f"--backend-url must start with http:// or https://: '{settings.url}'.")
    return settings


def key_of(option: str, variable: str | None) -> str | None:
    """The key in an environment variable, or None without the option.

    Raises:
        ValueError: The variable is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ValueError(f"{option} names {variable}, but that variable is not set.")
    return key


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not '{text}'") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value
