"""The choice of a backend, as settings that are also command-line options."""

from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Literal, get_args

from cyclopts import Parameter
from cyclopts.validators import Number

RemoteName = Literal["vllm", "llama.cpp", "ollama"]
BackendName = Literal["reference", "transformers", "mlx", RemoteName]
REMOTE = frozenset(get_args(RemoteName))
DEFAULT_URLS: dict[str, str] = {
    "vllm": "http://127.0.0.1:8000",
    "llama.cpp": "http://127.0.0.1:8080",
    "ollama": "http://127.0.0.1:11434",
}
"""The default address of each server, from its documentation."""


@Parameter(name="*")
@dataclass(frozen=True)
class BackendSettings:
    """The settings of the engine that the server uses."""

    name: Annotated[BackendName, Parameter(name="--backend")] = "reference"
    """Engine that generates the tokens. Default: reference. transformers and mlx run in this
    process; the others are servers that receive token ids (ollama: text)."""
    url: Annotated[str | None, Parameter(name="--backend-url")] = None
    """Root URL of the backend's server. Default: its usual local port."""
    model: Annotated[str | None, Parameter(name="--backend-model")] = None
    """Model id on the backend's server. Default: the model it serves."""
    api_key: Annotated[str | None, Parameter(parse=False)] = field(default=None, repr=False)
    """The bearer token for the backend's server."""
    timeout: Annotated[
        float, Parameter(name="--backend-timeout", validator=Number(gt=0, lt=inf))
    ] = 300.0
    """Longest pause in a response of the backend's server, in seconds. Default: 300."""

    @property
    def is_remote(self) -> bool:
        """Whether the backend is a server."""
        return self.name in REMOTE

    @property
    def root(self) -> str:
        """The address of the server, without a trailing slash."""
        return (self.url or DEFAULT_URLS[self.name]).rstrip("/").removesuffix("/v1")
