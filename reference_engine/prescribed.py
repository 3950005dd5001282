"""The server in this process, with a model that writes prescribed tokens.

Prompts, texts, events, limits, stop strings, tool choices, schemas and counts are the server's own.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextvars import ContextVar

from starlette.applications import Starlette
from starlette.types import Message

from harmony.conversation import Answer, Call
from harmony.parse import MESSAGE, START, parse_completion
from harmony.vocabulary import encode, harmony_encoding
from reference_engine.backends.token_source import TokenSource
from reference_engine.generation.errors import require_room
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.server.app import create_app
from reference_engine.server.settings import AppSettings

CreateApp = Callable[[TokenSource, AppSettings], Starlette]
_COMPLETIONS: ContextVar[Sequence[Sequence[int]]] = ContextVar("completions")
_CALL = " <|constrain|>json<|message|>"


class _PrescribedModel:
    """Writes what `_COMPLETIONS` has for the current request; see `TokenSource`."""

    def __init__(self, max_context: int) -> None:
        self.max_context = max_context

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams
    ) -> AsyncGenerator[Token, None]:
        """Yield the first completion that the grammar of the request allows, or the last one.

        After a header that the server wrote, yield the call or answer that a completion has.
        """
        require_room(prompt, self.max_context)
        completions = _COMPLETIONS.get()
        header = list(prompt[max(at for at, token in enumerate(prompt) if token == START) :])
        if len(header) > _ASSISTANT:
            completions = [_continued(header, completions)]
        chosen = next((one for one in completions if _fits(one, prompt, params)), completions[-1])
        for token in chosen[: min(params.max_tokens, self.max_context - len(prompt))]:
            await asyncio.sleep(0)
            yield Token(token)
            if token in params.stop_token_ids:
                return


_ASSISTANT = len(encode("<|start|>assistant"))


def _fits(completion: Sequence[int], prompt: Sequence[int], params: SamplingParams) -> bool:
    if params.grammar is None:
        return True
    return all(map(params.grammar.start(prompt).take, completion[: params.max_tokens]))


def _continued(header: list[int], completions: Sequence[Sequence[int]]) -> list[int]:
    """Return what follows a header that the server has written, to its function's name or whole."""
    items = [item for one in completions for item in parse_completion(one).items]
    if "to=functions" not in harmony_encoding().decode(header):
        answers = (item.text for item in items if isinstance(item, Answer))
        return [*harmony_encoding().encode(next(answers, "Done.")), *encode("<|return|>")]
    call = next((item for item in items if isinstance(item, Call)), Call("", "{}"))
    rest = "" if MESSAGE in header else f".{call.name}{_CALL}"
    arguments = harmony_encoding().encode(call.arguments, disallowed_special=())
    return [*encode(rest), *arguments, *encode("<|call|>")]


class PrescribedServer:
    """The HTTP application of the reference engine in one event loop, called without a socket."""

    def __init__(self, max_context: int = 8192, create: CreateApp = create_app) -> None:
        """Make the application; `create` may make one with faults (`faulty_parts(...).app`)."""
        self._app = create(_PrescribedModel(max_context), AppSettings())

    async def answer(
        self, method: str, path: str, body: bytes, completions: Sequence[Sequence[int]]
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of a reply with the first completion that is allowed."""
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        waiting, sent = [body], list[Message]()

        async def receive() -> Message:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            await asyncio.Event().wait()  # the client stays until the reply is complete
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        token = _COMPLETIONS.set(completions)
        try:
            await self._app(scope, receive, send)
        finally:
            _COMPLETIONS.reset(token)
        start, *parts = sent
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, b"".join(part["body"] for part in parts)
