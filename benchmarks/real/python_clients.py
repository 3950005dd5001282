"""Conversations with a tool by real Python clients and Codex, in each way of reading replies.

    python python_clients.py BASE_URL FAULT CODEX

The server applies the fault to each request (header X-Fault). Prints a JSON object for each client,
API and mode: the arguments of its calls, and its last text or the error. `CODEX` is the path of
Codex's command. benchmarks/real_clients.py runs this with the versions that it installs.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import agents
import openai
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai.resources.chat import Completions
from openai.resources.responses import Responses
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

MODEL, QUESTION, TURNS = "gpt-oss-small", "What is the weather in Lisbon?", 3
GREETING = "Hi there!"
Body = Mapping[str, Any]
PLAIN: dict[str, Any] = {"model": MODEL, "temperature": 0}
PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "Get the weather.", "parameters": PLACE}
TOOL = [{"type": "function", "function": FUNCTION}]
CHAT = PLAIN | {"messages": [{"role": "user", "content": QUESTION}], "tools": TOOL}
RESPONSES = PLAIN | {"input": QUESTION, "tools": [{"type": "function", **FUNCTION}]}
URL, FAULT, CODEX = sys.argv[1:]
CONNECTION = {"base_url": URL, "api_key": "none", "max_retries": 0, "timeout": 60}
OPTIONS: dict[str, Any] = CONNECTION | {"default_headers": {"X-Fault": FAULT}}
called: list[str] = []


def get_weather(city: str) -> str:
    """Get the weather in a city."""
    called.append(city)
    return f"It is sunny in {city}, 21 degrees."


def chat(read: Callable[..., tuple[str, Sequence[Any] | None]]) -> str:
    """Return the text after a question without tools; call the function first."""
    api = openai.OpenAI(**OPTIONS).chat.completions
    for call in read(api, CHAT)[1] or ():
        get_weather(**json.loads(call.function.arguments))
    return read(api, PLAIN | {"messages": [{"role": "user", "content": GREETING}]})[0]


def chat_whole(api: Completions, body: Body) -> tuple[str, Sequence[Any]]:
    message = api.create(**body).choices[0].message
    return message.content, message.tool_calls


def chat_stream(api: Completions, body: Body) -> tuple[str, Sequence[Any]]:
    """As OpenAI's guide on function calling reads a stream."""
    text, calls = "", {}
    for chunk in api.create(**body, stream=True):
        delta = chunk.choices[0].delta if chunk.choices else None
        text += (delta and delta.content) or ""
        for call in (delta and delta.tool_calls) or ():
            if call.index not in calls:
                calls[call.index] = call
            else:
                calls[call.index].function.arguments += call.function.arguments
    return text, list(calls.values())


def chat_helper(api: Completions, body: Body) -> tuple[str, Sequence[Any]]:
    with api.stream(**body) as stream:
        message = stream.get_final_completion().choices[0].message
    return message.content, message.tool_calls


def responses(read: Callable[..., tuple[str, Sequence[Any]]]) -> str:
    """Return the text after a question without tools; call the function first."""
    api = openai.OpenAI(**OPTIONS).responses
    for item in read(api, RESPONSES)[1]:
        if item.type == "function_call":
            get_weather(**json.loads(item.arguments))
    return read(api, PLAIN | {"input": GREETING})[0]


def responses_whole(api: Responses, body: Body) -> tuple[str, Sequence[Any]]:
    reply = api.create(**body)
    return reply.output_text, reply.output


def responses_stream(api: Responses, body: Body) -> tuple[str, Sequence[Any]]:
    """As OpenAI's guide on function calling reads a stream."""
    text, calls = "", {}
    for event in api.create(**body, stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type == "response.output_item.added" and event.item.type == "function_call":
            calls[event.output_index] = event.item
        elif event.type == "response.function_call_arguments.delta":
            calls[event.output_index].arguments += event.delta
    return text, list(calls.values())


def responses_helper(api: Responses, body: Body) -> tuple[str, Sequence[Any]]:
    with api.stream(**body) as stream:
        reply = stream.get_final_response()
    return reply.output_text, reply.output


def openai_agents(api: str, streaming: bool) -> str:
    agents.set_tracing_disabled(True)
    kinds = {"chat": agents.OpenAIChatCompletionsModel, "responses": agents.OpenAIResponsesModel}
    agent = agents.Agent(
        name="agent",
        model=kinds[api](model=MODEL, openai_client=openai.AsyncOpenAI(**OPTIONS)),
        tools=[agents.function_tool(get_weather)],
        model_settings=agents.ModelSettings(temperature=0),
    )

    async def run() -> str:
        if not streaming:
            return str((await agents.Runner.run(agent, QUESTION, max_turns=TURNS)).final_output)
        result = agents.Runner.run_streamed(agent, QUESTION, max_turns=TURNS)
        async for _ in result.stream_events():
            pass
        return str(result.final_output)

    return asyncio.run(run())


def langchain(api: str, streaming: bool) -> str:
    model = ChatOpenAI(use_responses_api=api == "responses", **PLAIN, **OPTIONS)
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


def pydantic_ai(api: str, streaming: bool) -> str:
    kind = OpenAIChatModel if api == "chat" else OpenAIResponsesModel
    model = kind(MODEL, provider=OpenAIProvider(openai_client=openai.AsyncOpenAI(**OPTIONS)))
    agent = Agent(model, tools=[get_weather], model_settings={"temperature": 0})

    async def run() -> str:
        if not streaming:
            return str((await agent.run(QUESTION)).output)
        async with agent.run_stream(QUESTION) as result:
            return str(await result.get_output())

    return asyncio.run(run())


def codex() -> str:
    """One turn with its own instructions and tools, which the small model does not call."""
    entry: dict[str, object] = {"name": "r", "base_url": URL, "wire_api": "responses"}
    entry |= {"http_headers.X-Fault": FAULT, "request_max_retries": 0, "stream_max_retries": 0}
    chosen: list[tuple[str, object]] = [("model", MODEL), ("model_provider", "r")]
    chosen += [(f"model_providers.r.{key}", value) for key, value in entry.items()]
    options = [part for key, value in chosen for part in ("-c", f"{key}={json.dumps(value)}")]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [CODEX, "exec", "--skip-git-repo-check", "-C", folder, *options, QUESTION],
            env=os.environ | {"HOME": folder, "CODEX_HOME": folder},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    if done.returncode:
        raise ValueError(done.stderr[-200:])
    called.append(QUESTION)
    return "an answer" if done.stdout.strip() else ""  # Codex sets no temperature


USES: dict[str, Callable[[], str]] = {
    "oai-py chat non-streaming": lambda: chat(chat_whole),
    "oai-py chat streaming": lambda: chat(chat_stream),
    "oai-py-stream chat streaming": lambda: chat(chat_helper),
    "oai-py responses non-streaming": lambda: responses(responses_whole),
    "oai-py responses streaming": lambda: responses(responses_stream),
    "oai-py-stream responses streaming": lambda: responses(responses_helper),
}
for client, use in {"agents-py": openai_agents, "lc-py": langchain, "pyd": pydantic_ai}.items():
    for over in ("chat", "responses"):
        USES[f"{client} {over} non-streaming"] = partial(use, over, False)
        USES[f"{client} {over} streaming"] = partial(use, over, True)
if Path(CODEX).exists():
    USES["codex responses streaming"] = codex

warnings.simplefilter("ignore")
for name, converse in USES.items():
    called.clear()
    try:
        shown = {"text": (converse() or "").strip()}
    except Exception as error:  # noqa: BLE001 - whatever a client raises is the result
        shown = {"error": f"{type(error).__name__}: {error}"[:200]}
    print(json.dumps([name, {"calls": called, **shown}]), flush=True)
