"""The interface of remote backends, and shared code: requests, responses and tokens of texts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from harmony.vocabulary import encode
from reference_engine.generation.sampling import SamplingParams, Token

_SPECIAL = "<|"
_SPECIAL_END = "|>"
_LONGEST_SPECIAL = 24


class TextTokens:
    """Tokenizes a text that arrives in pieces; holds back text that may start a special token."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> list[int]:
        """The ids of the text so far, except for the part held back."""
        text = self._held + text
        at = text.rfind("<")
        begun = at >= 0 and _may_be_special(text[at:])
        ready, self._held = (text[:at], text[at:]) if begun else (text, "")
        return encode(ready) if ready else []

    def flush(self) -> list[int]:
        """The ids of the text held back, at the end."""
        held, self._held = self._held, ""
        return encode(held) if held else []


def _may_be_special(text: str) -> bool:
    if len(text) > _LONGEST_SPECIAL or _SPECIAL_END in text:
        return False
    return text.startswith(_SPECIAL) or _SPECIAL.startswith(text)


@dataclass(frozen=True)
class Served:
    """The model of a server, and its context in tokens if the server reports it."""

    model: str
    max_context: int | None


def plain_seed(seed: int) -> int:
    """Map a seed to the range from 0 to 2^31 - 2, which every server supports.

    vLLM, llama.cpp and ollama treat -1 as a random seed, llama.cpp also 2^32 - 1, and none of them
    supports more than 64 bits.
    """
    return seed % (2**31 - 1)


class Dialect(ABC):
    """The protocol of one kind of server, at a path. An instance reads one streamed response."""

    path: ClassVar[str]

    def __init__(self, params: SamplingParams) -> None:
        self.finished = False
        self._top = params.top_logprobs

    @staticmethod
    @abstractmethod
    def served(client: httpx.Client, model: str | None) -> Served:
        """Request the served model, or check `model`. Raises httpx.HTTPError or ValueError."""

    @staticmethod
    @abstractmethod
    def request(
        model: str, prompt: Sequence[int], params: SamplingParams, room: int
    ) -> Mapping[str, Any]:
        """The body of a request; `room` is the context size in tokens. Raises BackendError."""

    @abstractmethod
    def read(self, event: bytes) -> list[Token]:
        """The tokens of one event, a JSON object. Raises ValueError."""
