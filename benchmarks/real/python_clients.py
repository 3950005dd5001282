"""Conversations with a tool by real Python clients and Codex, in each way of reading replies.

    python python_clients.py BASE_URL CODEX [DAMAGE …]

The server applies a damage to each reply (header X-Damage); '' is none. Prints a JSON array for
each damage, client, API and mode: the arguments of its calls, and its last text or the error.
`CODEX` is the path of Codex's command. benchmarks/real_clients.py runs this with the versions that
it installs.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no download

import agents
import litellm
import openai
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from harness.rules.clients.readers import READERS

MODEL, QUESTION, TURNS = "gpt-oss-small", "What is the weather in Lisbon?", 3
PLACE = {
    "type": "object",
    "properties": {"location": {"type": "string"}, "unit": {"type": "string"}},
    "required": ["location"],
}
FUNCTION = {"name": "get_weather", "description": "Get the weather.", "parameters": PLACE}
CHAT = {"model": MODEL, "tools": [{"type": "function", "function": FUNCTION}]}
RESPONSES = {"model": MODEL, "tools": [{"type": "function", **FUNCTION}]}
URL, CODEX, *DAMAGES = sys.argv[1:]
called: list[str] = []


def options(damage: str) -> dict[str, Any]:
    connection = {"base_url": URL, "api_key": "none", "max_retries": 0, "timeout": 30}
    return connection | {"default_headers": {"X-Damage": damage}}


def get_weather(location: str, unit: str = "celsius") -> str:
    """Get the weather at a place."""
    called.append(location)
    return f"It is sunny in {location}, 21 degrees {unit}."


def chat(streaming: bool, helper: bool, damage: str) -> str:
    """Have the conversation as OpenAI's guide on function calling does; `parse()` needs strict."""
    api = openai.OpenAI(**options(damage)).chat.completions
    function = FUNCTION | ({"strict": True} if helper and not streaming else {})
    body = CHAT | {"tools": [{"type": "function", "function": function}]}
    history: list[Any] = [{"role": "user", "content": QUESTION}]
    for _ in range(TURNS):
        got = READERS["chat", streaming, helper](api, body | {"messages": history})
        if not got.calls:
            return got.text
        asked = [
            {"id": call.id, "type": "function", "function": {
                "name": call.name, "arguments": call.arguments}}
            for call in got.calls
        ]  # fmt: skip
        history.append({"role": "assistant", "content": None, "tool_calls": asked})
        for call in got.calls:
            result = get_weather(**json.loads(call.arguments))
            history.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise ValueError("The conversation does not end.")


def responses(streaming: bool, helper: bool, damage: str) -> str:
    """Have the conversation as OpenAI's guide on function calling does."""
    api = openai.OpenAI(**options(damage)).responses
    history: list[Any] = [{"role": "user", "content": QUESTION}]
    for _ in range(TURNS):
        got = READERS["responses", streaming, helper](api, RESPONSES | {"input": history})
        if not got.calls:
            return got.text
        for call in got.calls:
            history.append({"type": "function_call", "call_id": call.id,
                            "name": call.name, "arguments": call.arguments})  # fmt: skip
            result = get_weather(**json.loads(call.arguments))
            history.append({"type": "function_call_output", "call_id": call.id, "output": result})
    raise ValueError("The conversation does not end.")


def openai_agents(api: str, streaming: bool, damage: str) -> str:
    agents.set_tracing_disabled(True)
    kinds = {"chat": agents.OpenAIChatCompletionsModel, "responses": agents.OpenAIResponsesModel}
    agent = agents.Agent(
        name="agent",
        model=kinds[api](model=MODEL, openai_client=openai.AsyncOpenAI(**options(damage))),
        tools=[agents.function_tool(get_weather)],
    )

    async def run() -> str:
        if not streaming:
            return str((await agents.Runner.run(agent, QUESTION, max_turns=TURNS)).final_output)
        result = agents.Runner.run_streamed(agent, QUESTION, max_turns=TURNS)
        async for _ in result.stream_events():
            pass
        return str(result.final_output or "")

    return asyncio.run(run())


def langchain(api: str, streaming: bool, damage: str) -> str:
    model = ChatOpenAI(model=MODEL, use_responses_api=api == "responses", **options(damage))
    bound = model.bind_tools([tool(get_weather)])
    history: list[Any] = [HumanMessage(QUESTION)]
    for _ in range(TURNS):
        first, *rest = bound.stream(history) if streaming else [bound.invoke(history)]
        message = sum(rest, first)
        if message.invalid_tool_calls:
            raise ValueError(f"invalid calls: {message.invalid_tool_calls}")
        if not message.tool_calls:
            return str(message.text)
        history += [message, *(tool(get_weather).invoke(call) for call in message.tool_calls)]
    raise ValueError("The conversation does not end.")


def pydantic_ai(api: str, streaming: bool, damage: str) -> str:
    kind = OpenAIChatModel if api == "chat" else OpenAIResponsesModel
    client = openai.AsyncOpenAI(**options(damage))
    agent = Agent(kind(MODEL, provider=OpenAIProvider(openai_client=client)), tools=[get_weather])

    async def run() -> str:
        if not streaming:
            return str((await agent.run(QUESTION)).output)
        async with agent.run_stream(QUESTION) as result:
            return str(await result.get_output())

    return asyncio.run(run())


def lite(streaming: bool, damage: str) -> str:
    """LiteLLM as a client: Chat Completions of an OpenAI-compatible server."""
    history: list[Any] = [{"role": "user", "content": QUESTION}]
    given = {"model": f"openai/{MODEL}", "api_base": URL, "api_key": "none", "num_retries": 0}
    given |= {"extra_headers": {"X-Damage": damage}, "tools": CHAT["tools"], "timeout": 30}
    for _ in range(TURNS):
        reply = litellm.completion(**given, messages=history, stream=streaming)
        if streaming:
            reply = litellm.stream_chunk_builder(list(reply))
        message = reply.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        history.append(message)
        for call in message.tool_calls:
            result = get_weather(**json.loads(call.function.arguments))
            history.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise ValueError("The conversation does not end.")


def codex(damage: str) -> str:
    """One turn with its own instructions and tools; it is answered with a text."""
    entry: dict[str, object] = {"name": "r", "base_url": URL, "wire_api": "responses"}
    entry |= {"http_headers.X-Damage": damage or "", "request_max_retries": 0}
    entry |= {"stream_max_retries": 0, "stream_idle_timeout_ms": 10_000}
    chosen: list[tuple[str, object]] = [("model", MODEL), ("model_provider", "r")]
    chosen += [(f"model_providers.r.{key}", value) for key, value in entry.items()]
    given = [part for key, value in chosen for part in ("-c", f"{key}={json.dumps(value)}")]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [CODEX, "exec", "--skip-git-repo-check", "-C", folder, *given, QUESTION],
            env=os.environ | {"HOME": folder, "CODEX_HOME": folder},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    if done.returncode:
        raise ValueError(done.stderr[-200:])
    called.append(QUESTION)
    return done.stdout.strip()


USES: dict[str, Callable[[str], str]] = {
    "litellm chat non-streaming": partial(lite, False),
    "litellm chat streaming": partial(lite, True),
}
for helper, client in enumerate(("oai-py", "oai-py-stream")):
    for over, talk in {"chat": chat, "responses": responses}.items():
        USES[f"{client} {over} non-streaming"] = partial(talk, False, bool(helper))
        USES[f"{client} {over} streaming"] = partial(talk, True, bool(helper))
for client, use in {"agents-py": openai_agents, "lc-py": langchain, "pyd": pydantic_ai}.items():
    for over in ("chat", "responses"):
        USES[f"{client} {over} non-streaming"] = partial(use, over, False)
        USES[f"{client} {over} streaming"] = partial(use, over, True)
if Path(CODEX).exists():
    USES["codex responses streaming"] = codex

warnings.simplefilter("ignore")
litellm.suppress_debug_info = True
for name in DAMAGES:
    for use_name, converse in USES.items():
        called.clear()
        try:
            shown = {"text": (converse(name) or "").strip()}
        except Exception as error:  # noqa: BLE001 - whatever a client raises is the result
            shown = {"error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps([name, use_name, {"calls": called, **shown}]), flush=True)
os._exit(0)  # threads of LiteLLM
