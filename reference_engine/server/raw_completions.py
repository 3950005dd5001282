"""Serves POST /v1/completions: raw prompts and answers, without conversion.

The fields are those of OpenAI's legacy completions, with vLLM's extensions. As in vLLM, the text
does not include the stop token, but `token_ids` does.
"""

import codecs
import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from harmony.parse import FIRST_SPECIAL, STOP_TOKENS
from harmony.render import RenderError, written_tokens
from harmony.vocabulary import bytes_of
from reference_engine.generation.sampling import Token
from reference_engine.model.config import VOCABULARY
from reference_engine.server.api_error import invalid
from reference_engine.server.connection import Json, RequestContext, SentReply, Take
from reference_engine.server.fields import AnswerRequest, Ignored, Limit, Stops, Zero
from reference_engine.server.generation import api_errors, overflow
from reference_engine.server.visible_text import StopStrings

_DEFAULT_TOKENS = 16
_TokenId = Annotated[int, Field(ge=0, lt=VOCABULARY)]


def _single(prompt: object) -> object:
    """Unpack a prompt from a list of one, as some clients send it."""
    if not isinstance(prompt, list) or not prompt or not isinstance(prompt[0], str | list):
        return prompt
    if len(prompt) > 1:
        raise PydanticCustomError("several_prompts", "only one prompt is supported")
    return prompt[0]


class CompletionRequest(AnswerRequest):
    """The body of POST /v1/completions."""

    prompt: Annotated[str | list[_TokenId], Field(min_length=1), BeforeValidator(_single)]
    max_tokens: Limit = _DEFAULT_TOKENS
    stop: Stops = Field(default_factory=list)
    stop_token_ids: list[_TokenId] = Field(default_factory=list)
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    skip_special_tokens: bool = True  # type: ignore[assignment] # False has an effect here
    return_token_ids: bool = False
    return_tokens_as_token_ids: bool = False

    n: Literal[1] = 1
    best_of: Literal[1] = 1
    echo: Literal[False] = False
    suffix: Literal[""] = ""
    logit_bias: dict[str, Zero] = Field(default_factory=dict)
    user: Ignored = None

    def tokens(self) -> list[int]:
        """Return the prompt. Raises ApiError."""
        if not isinstance(self.prompt, str):
            return self.prompt
        try:
            return written_tokens(self.prompt)
        except RenderError as error:
            raise invalid("prompt", str(error)) from error


@dataclass(frozen=True)
class Piece:
    """A token of a completion, and the text that it adds; the last piece may have no token."""

    token: Token | None
    text: str = ""
    finish: Literal["stop", "length"] | None = None


class _Text:
    """Decodes tokens to the text that clients receive, up to a stop string."""

    def __init__(self, body: CompletionRequest) -> None:
        self._first_hidden = FIRST_SPECIAL if body.skip_special_tokens else VOCABULARY
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = StopStrings(body.stop)

    @property
    def stopped(self) -> bool:
        """Whether a stop string ended the text."""
        return self._stops.hit

    def of(self, token: Token) -> str:
        """Return the text that can be sent after one more token."""
        data = b"" if token.id >= self._first_hidden else bytes_of(token.id)
        return self._stops.feed(self._characters.decode(data))

    def rest(self) -> str:
        """Return the text held back, at the end."""
        return self._stops.feed(self._characters.decode(b"", final=True)) + self._stops.flush()


class CompletionReply(SentReply):
    """The reply to one request."""

    def __init__(self, context: RequestContext, body: CompletionRequest) -> None:
        """Read the prompt. Raises ApiError."""
        self._context = context
        self._body = body
        self._prompt = body.tokens()
        self._pieces: list[Piece] = []
        self._length = 0  # the length of the text so far
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": body.model,
            "system_fingerprint": context.settings.fingerprint,
        }

    async def generate(self, take: Take) -> None:
        """Generate the completion and pass on one chunk for each token."""
        engine, body, prompt = self._context.engine, self._body, self._prompt
        room = engine.max_context - len(prompt)
        if room < 1:
            raise overflow(len(prompt), engine.max_context, "prompt")
        ends = STOP_TOKENS | frozenset(body.stop_token_ids)
        params = body.sampling(min(room, body.max_tokens), body.logprobs)
        params = replace(params, stop_token_ids=ends)
        text = _Text(body)
        end: Token | None = None
        with api_errors(prompt, engine.max_context, "prompt"):
            async with aclosing(engine.generate(prompt, params)) as tokens:
                async for token in tokens:
                    if end:  # The engine did not stop at this token.
                        await take(self._add(Piece(end, text.of(end))))
                    end = token if token.id in ends else None
                    if not end:
                        await take(self._add(Piece(token, text.of(token))))
                    if text.stopped:
                        await take(self._add(Piece(None, finish="stop")))
                        return
        await take(self._add(Piece(end, text.rest(), "stop" if end else "length")))

    def _add(self, piece: Piece) -> list[Json]:
        choice = self._choice(piece, offset=self._length)
        self._pieces.append(piece)
        self._length += len(piece.text)
        return [self._head | {"choices": [choice]}]

    def opening(self) -> list[Json]:
        """Return no events."""
        return []

    def closing(self) -> list[Json]:
        """Return the chunk with the usage on request."""
        wanted = self._body.stream_options.include_usage
        return [self._head | {"choices": [], "usage": self._usage()}] if wanted else []

    def finished(self) -> Json:
        """Return the complete response."""
        return self._head | {"choices": [self._choice(*self._pieces)], "usage": self._usage()}

    def _choice(self, *pieces: Piece, offset: int = 0) -> dict[str, Any]:
        """Return a choice; `offset` is the length of the text before its pieces."""
        choice: dict[str, Any] = {
            "index": 0,
            "text": "".join(piece.text for piece in pieces),
            "logprobs": None if self._body.logprobs is None else self._logprobs(pieces, offset),
            "finish_reason": pieces[-1].finish,
        }
        if self._body.return_token_ids:
            choice["token_ids"] = [piece.token.id for piece in pieces if piece.token]
        return choice

    def _logprobs(self, pieces: Sequence[Piece], offset: int) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for piece in pieces:
            if token := piece.token:
                found["tokens"].append(self._name(token.id))
                found["token_logprobs"].append(token.logprob)
                found["top_logprobs"].append({self._name(one): value for one, value in token.top})
                found["text_offset"].append(offset)
            offset += len(piece.text)
        return found

    def _name(self, token: int) -> str:
        if self._body.return_tokens_as_token_ids:
            return f"token_id:{token}"
        return bytes_of(token).decode("utf-8", "replace")

    def _usage(self) -> dict[str, int]:
        completion = sum(piece.token is not None for piece in self._pieces)
        return {
            "prompt_tokens": len(self._prompt),
            "completion_tokens": completion,
            "total_tokens": len(self._prompt) + completion,
        }


async def create_raw_completion(context: RequestContext, request: Request) -> Response:
    """Continue a prompt, streaming or not."""
    body = await context.read(request, CompletionRequest)
    return await CompletionReply(context, body).respond(request, context.stop, stream=body.stream)
