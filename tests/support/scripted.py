"""For tests of the server: a scripted engine behind a real socket."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator

import openai
from healthy import SUITE
from starlette.applications import Starlette

from harmony.vocabulary import encode, harmony_encoding
from reference_engine.generation.engine import Engine, SamplingParams, Token
from reference_engine.generation.errors import QueueFullError
from reference_engine.server.app import create_app
from reference_engine.server.serve import Server
from reference_engine.server.settings import AppSettings

COT = "<|channel|>analysis<|message|>I think.<|end|><|start|>assistant"
LONG_COT = COT.replace("I think", "I think, and I think, and so on")
"""Its 17 tokens make room for cuts in what follows: the limit of a response is at least 16."""
ANSWER = COT + "<|channel|>final<|message|>Hello there.<|return|>"
FINAL = COT + "<|channel|>final<|message|>All done.<|return|>"
CALL_OF = COT + "<|channel|>commentary to=functions.{} <|constrain|>json<|message|>{}<|call|>"
CALL = (
    COT + "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
    '{"city": "Rome"}<|call|>'
)
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
FLAT_TOOL = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": None}

Script = Callable[[str, SamplingParams], str | list[int]]


class ScriptedEngine:
    """Continues each prompt as the script says, token by token.

    Attributes:
        prompts: The prompts of all requests so far, as text.
        params: Their sampling parameters.
        cancelled: The number of requests that were cancelled.
    """

    max_context = 4096

    def __init__(self, script: Script | str | list[int] = ANSWER) -> None:
        self.script: Script = script if callable(script) else lambda prompt, params: script
        self.prompts: list[str] = []
        self.params: list[SamplingParams] = []
        self.cancelled = 0
        self.full = False
        self.pause = 0.0

    async def generate(self, prompt, params: SamplingParams) -> AsyncGenerator[Token]:
        if self.full:
            raise QueueFullError("full")
        text = harmony_encoding().decode(list(prompt))
        self.prompts.append(text)
        self.params.append(params)
        said = self.script(text, params)
        tokens = encode(said) if isinstance(said, str) else said
        finished = False
        try:
            for token in tokens[: params.max_tokens]:
                await asyncio.sleep(self.pause)
                logprobs = params.top_logprobs is not None
                others = tuple((token + n, -0.5 - n) for n in range(params.top_logprobs or 0))
                finished = token in params.stop_token_ids
                yield Token(token, -0.5 if logprobs else None, others)
                if finished:
                    return
            finished = True
        finally:
            self.cancelled += not finished


def as_asked(prompt: str, _params: SamplingParams) -> str:
    """The replies of a model that does what the shipped cases ask."""
    asked = prompt.rsplit("<|start|>user<|message|>", 1)[-1]
    case = next((case for case in SUITE.cases if case.prompt == asked.split("<|end|>")[0]), None)
    if case is None or "<|start|>functions." in asked:
        return FINAL
    return CALL_OF.format(case.tool_name, json.dumps(case.expected_arguments, ensure_ascii=False))


@contextlib.contextmanager
def running(engine, settings: AppSettings | None = None) -> Iterator[str]:
    """Serve an engine on a free port of the loopback interface; yield the base URL."""
    with serving(create_app(engine, settings or AppSettings())) as url:
        yield url


@contextlib.contextmanager
def started(engine: Engine) -> Iterator[Engine]:
    """Run an engine; close it at the end."""
    with contextlib.closing(engine):
        engine.start()
        yield engine


@contextlib.contextmanager
def sdk_client(engine, settings: AppSettings | None = None) -> Iterator[openai.OpenAI]:
    """Serve an engine; yield a client of the `openai` package."""
    with (
        running(engine, settings) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        yield client


@contextlib.contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serve an application on a free port of the loopback interface; yield the base URL."""
    server = Server(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()
