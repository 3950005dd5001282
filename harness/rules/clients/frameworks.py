"""What agent frameworks make of a recorded reply, where they are installed (extra `clients`).

Each reads a recorded response as an agent with functions does, and stops at a call.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx2

from harness.records.conditions import Api
from harness.records.rollouts import Response
from harness.rules.clients.readers import Called, Got

if TYPE_CHECKING:
    from agents.tool_context import ToolContext
    from openai import AsyncOpenAI, OpenAI

Framework = Callable[[Api, bool, Collection[str]], Got]
"""Reads the reply to a request over an API, streamed or not, that offers functions by name."""

_ENCODED = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers of the bytes on the wire; the recorded text is decoded."""


class _Replay(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Answers every request with one response."""

    recorded: Response

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        recorded = self.recorded
        headers = {k: v for k, v in recorded.headers.items() if k.lower() not in _ENCODED}
        text = recorded.text + ("\n\n" if recorded.parts else "")
        return httpx2.Response(recorded.status, headers=headers, content=text.encode())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self.handle_request(request)


REPLAY = _Replay()
HTTP: Mapping[str, Any] = {
    "api_key": "none",
    "base_url": "http://replay.invalid/v1",
    "max_retries": 0,
    "http_client": httpx2.Client(transport=REPLAY),
}
"""Arguments of a client that gets the response of `REPLAY`."""


@cache
def client() -> "OpenAI":
    """Return the one client of the process, because each takes 8 ms to make."""
    from openai import OpenAI

    return OpenAI(**HTTP)


@cache
def async_client() -> "AsyncOpenAI":
    """Return the one client of the process whose methods are coroutines."""
    from openai import AsyncOpenAI

    return AsyncOpenAI(**{**HTTP, "http_client": httpx2.AsyncClient(transport=REPLAY)})


def _done(run: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a thread of its own, because the caller may be in an event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run).result()


def _langchain(api: Api, streams: bool, names: Collection[str]) -> Got:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="m", use_responses_api=api == "responses", **HTTP)
    first, *rest = model.stream("m") if streams else [model.invoke("m")]
    message = sum(rest, first)
    calls = [Called(c["id"], c["name"], json.dumps(c["args"])) for c in message.tool_calls]
    calls += [Called(c["id"], c["name"], c["args"]) for c in message.invalid_tool_calls]
    return Got(str(message.text), calls)


def _openai_agents(api: Api, streams: bool, names: Collection[str]) -> Got:
    import agents

    # What it cannot read is a result of ours, and no message for the terminal.
    logging.getLogger("openai.agents").setLevel(logging.CRITICAL)
    kinds = {"chat": agents.OpenAIChatCompletionsModel, "responses": agents.OpenAIResponsesModel}
    got = Got("", [])
    texts: list[str] = []

    async def call(context: "ToolContext[Any]", arguments: str) -> str:
        got.calls.append(Called(context.tool_call_id, context.tool_name, arguments))
        return ""

    agent = agents.Agent(
        name="agent",
        model=kinds[api]("m", async_client()),
        tools=[
            agents.FunctionTool(name, name, {}, call, strict_json_schema=False) for name in names
        ],
        tool_use_behavior="stop_on_first_tool",
    )

    async def run() -> None:
        config = agents.RunConfig(tracing_disabled=True)
        if streams:
            result = agents.Runner.run_streamed(agent, "m", max_turns=1, run_config=config)
            async for _ in result.stream_events():
                pass
        else:
            result = await agents.Runner.run(agent, "m", max_turns=1, run_config=config)
        texts.append(agents.ItemHelpers.text_message_outputs(result.new_items))

    _done(run())
    return got._replace(text="".join(texts))


def _pydantic_ai(api: Api, streams: bool, names: Collection[str]) -> Got:
    from pydantic_ai import Agent, DeferredToolRequests
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import ExternalToolset

    kind = OpenAIChatModel if api == "chat" else OpenAIResponsesModel
    agent = Agent(
        kind("m", provider=OpenAIProvider(openai_client=async_client())),
        output_type=[str, DeferredToolRequests],
        toolsets=[ExternalToolset([ToolDefinition(name=name) for name in names])],
    )
    ended: list[tuple[Any, Any]] = []

    async def run() -> None:
        if streams:
            async with agent.run_stream("m") as result:
                ended.append((await result.get_output(), result.new_messages()[-1]))
        else:
            done = await agent.run("m")
            ended.append((done.output, done.new_messages()[-1]))

    _done(run())
    (output, message) = ended[0]
    text = message.text or ""
    # A text before a call ends `run_stream`, whatever the server; an empty one must not be there.
    calls = message.tool_calls if text or not isinstance(output, str) else []
    made = [Called(call.tool_call_id, call.tool_name, call.args_as_json_str()) for call in calls]
    return Got(text, made)


_FRAMEWORKS: Mapping[str, tuple[str, str, Framework]] = {
    "agents-py": ("agents", "openai-agents", _openai_agents),
    "lc-py": ("langchain_openai", "langchain-openai", _langchain),
    "pyd": ("pydantic_ai", "pydantic-ai-slim", _pydantic_ai),
}
"""By client: its module, its distribution, and how it reads."""
_HEALTHY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@cache
def frameworks() -> Mapping[str, Framework]:
    """Return those that are installed in a version that reads a healthy reply."""
    REPLAY.recorded = Response(
        status=200, headers={"content-type": "application/json"}, body=json.dumps(_HEALTHY)
    )
    return {
        name: read
        for name, (module, _, read) in _FRAMEWORKS.items()
        if find_spec(module) and _reads(read)
    }


def distribution(name: str) -> str:
    """Return the name of the package of a client that is installed."""
    return _FRAMEWORKS[name][1] if name in _FRAMEWORKS else "openai"


def _reads(read: Framework) -> bool:
    try:
        return read("chat", False, ["f"]) == Got("Hi.", [])
    except Exception:  # noqa: BLE001 (another version may raise anything)
        return False
