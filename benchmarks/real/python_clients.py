"""Conversations with a tool by real Python clients, and turns of agents that are commands.

    python python_clients.py BASE_URL PLAN FOLDER CLIENT …

The server applies a damage to each reply: that of the header X-Damage or of the first part of the
path. `PLAN` is a JSON file: by damage, '' for none, the APIs and modes whose replies it changes
("chat streaming"). Prints "measured" and a JSON array for each damage, client, API and mode: the
arguments of its calls, and its last text or the error, and waits for a line. `FOLDER` has the
commands. benchmarks/real_clients.py runs this with the versions that it
installs, in the environment of the clients that it names.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "ANONYMIZED_TELEMETRY": "false"}

from harness.rules.clients.readers import READERS

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

MODEL, QUESTION, TURNS = "gpt-oss-small", "What is the weather in Lisbon?", 3
PLACE = {
    "type": "object",
    "properties": {"location": {"type": "string"}, "unit": {"type": "string"}},
    "required": ["location"],
}
FUNCTION = {"name": "get_weather", "description": "Get the weather.", "parameters": PLACE}
CHAT = {"model": MODEL, "tools": [{"type": "function", "function": FUNCTION}]}
RESPONSES = {"model": MODEL, "tools": [{"type": "function", **FUNCTION}]}
URL, PLAN, FOLDER, *CLIENTS = sys.argv[1:]
LONGEST = 120  # seconds of a conversation, also on a machine that does other work
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
    import openai

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
    import openai

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


def pushed(api: str, streaming: bool, damage: str) -> str:
    """Have the conversation with the SDK, and send back what it returned, unchanged."""
    import openai

    client = openai.OpenAI(**options(damage))
    history: list[Any] = [{"role": "user", "content": QUESTION}]
    for _ in range(TURNS):
        if api == "chat":
            body: Any = CHAT | {"messages": history}
            if streaming:
                with client.chat.completions.stream(**body) as stream:
                    message: Any = stream.get_final_completion().choices[0].message
            else:
                message = client.chat.completions.create(**body).choices[0].message
            if not message.tool_calls:
                return message.content or ""
            history.append(message)
            for call in message.tool_calls:
                result = get_weather(**json.loads(call.function.arguments))
                history.append({"role": "tool", "tool_call_id": call.id, "content": result})
        else:
            body = RESPONSES | {"input": history}
            if streaming:
                with client.responses.stream(**body) as events:
                    reply: Any = events.get_final_response()
            else:
                reply = client.responses.create(**body)
            asked = [item for item in reply.output if item.type == "function_call"]
            if not asked:
                return str(reply.output_text)
            history += reply.output
            for call in asked:
                result = get_weather(**json.loads(call.arguments))
                given = {"type": "function_call_output", "call_id": call.call_id}
                history.append(given | {"output": result})
    raise ValueError("The conversation does not end.")


def openai_agents(api: str, streaming: bool, damage: str) -> str:
    import agents
    import openai

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
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=MODEL, use_responses_api=api == "responses", **options(damage))
    return in_langchain(model, streaming)


def langchain_groq(streaming: bool, damage: str) -> str:
    from langchain_groq import ChatGroq

    given = options(damage)
    url = given.pop("base_url").removesuffix("/v1")
    return in_langchain(ChatGroq(model=MODEL, base_url=url, **given), streaming)


def in_langchain(model: "BaseChatModel", streaming: bool) -> str:
    from langchain_core.messages import HumanMessage
    from langchain_core.tools import tool

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
    import openai
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

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
    import litellm

    litellm.suppress_debug_info = True
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


def google_adk(streaming: bool, damage: str) -> str:
    """An agent with LiteLLM's model class, as ADK's guide uses servers of other vendors."""
    from google.adk.agents import Agent
    from google.adk.agents.run_config import RunConfig, StreamingMode
    from google.adk.models.lite_llm import LiteLlm
    from google.adk.runners import InMemoryRunner

    model = LiteLlm(
        model=f"openai/{MODEL}",
        api_base=URL,
        api_key="none",
        num_retries=0,
        extra_headers={"X-Damage": damage},
    )
    agent = Agent(name="agent", model=model, tools=[get_weather])
    mode = StreamingMode.SSE if streaming else StreamingMode.NONE

    async def run() -> str:
        config = RunConfig(streaming_mode=mode, max_llm_calls=TURNS)
        events = await InMemoryRunner(agent=agent).run_debug(
            QUESTION, run_config=config, quiet=True
        )
        if any(event.error_code for event in events):
            raise ValueError(next(event.error_message for event in events if event.error_code))
        final = [event for event in events if event.is_final_response() and not event.partial]
        parts = final[-1].content.parts if final and final[-1].content else ()
        return "".join(part.text or "" for part in parts or () if not part.thought)

    return asyncio.run(run())


def haystack(api: str, streaming: bool, damage: str) -> str:
    from haystack.components.agents import Agent
    from haystack.components.generators.chat import (
        OpenAIChatGenerator,
        OpenAIResponsesChatGenerator,
    )
    from haystack.dataclasses import ChatMessage
    from haystack.tools import create_tool_from_function
    from haystack.utils import Secret

    kind = OpenAIChatGenerator if api == "chat" else OpenAIResponsesChatGenerator
    generator = kind(
        model=MODEL,
        api_base_url=URL,
        api_key=Secret.from_token("none"),
        max_retries=0,
        timeout=30,
        generation_kwargs={"extra_headers": {"X-Damage": damage}},
        streaming_callback=(lambda _: None) if streaming else None,
    )
    agent = Agent(
        chat_generator=generator,
        tools=[create_tool_from_function(get_weather)],
        max_agent_steps=TURNS,
        raise_on_tool_invocation_failure=True,
    )
    return agent.run(messages=[ChatMessage.from_user(QUESTION)])["messages"][-1].text or ""


def smolagents(streaming: bool, damage: str) -> str:
    """The model class; its agents want each answer as a call."""
    from smolagents import OpenAIModel, tool
    from smolagents.models import ChatMessage, agglomerate_stream_deltas

    given = options(damage)
    connection = {"api_base": given.pop("base_url"), "api_key": given.pop("api_key")}
    model = OpenAIModel(MODEL, **connection, client_kwargs=given)
    offered = {"tools_to_call_from": [tool(described)], "tool_choice": "auto"}
    history: list[Any] = [ChatMessage("user", QUESTION)]
    for _ in range(TURNS):
        if streaming:
            message = agglomerate_stream_deltas(list(model.generate_stream(history, **offered)))
        else:
            message = model.generate(history, **offered)
        message = model.parse_tool_calls(message) if message.tool_calls else message
        if not message.tool_calls:
            return str(message.content or "")
        # Its agents send calls and results as texts, too, with other roles.
        for call in message.tool_calls:
            wrote = f"Calling tools: {call.function.name} {call.function.arguments}"
            result = get_weather(**call.function.arguments)
            for role, said in (("tool-call", wrote), ("tool-response", result)):
                history.append(ChatMessage(role, [{"type": "text", "text": said}]))
        offered = {}
    raise ValueError("The conversation does not end.")


def described(location: str, unit: str = "celsius") -> str:
    """Get the weather at a place.

    Args:
        location: The place.
        unit: The unit of the temperature.
    """
    return get_weather(location, unit)


described.__name__ = "get_weather"


def strands(api: str, damage: str) -> str:
    from strands import Agent, tool
    from strands.models.openai import OpenAIModel
    from strands.models.openai_responses import OpenAIResponsesModel

    kind = OpenAIModel if api == "chat" else OpenAIResponsesModel
    model = kind(client_args=options(damage), model_id=MODEL)
    agent = Agent(model=model, tools=[tool(get_weather)], callback_handler=None)
    return str(agent(QUESTION))


def llama_index(api: str, streaming: bool, damage: str) -> str:
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.llms.openai import OpenAIResponses
    from llama_index.llms.openai_like import OpenAILike

    given = options(damage)
    given["api_base"] = given.pop("base_url")
    if api == "chat":
        functions = {"is_chat_model": True, "is_function_calling_model": True}
        model: Any = OpenAILike(model=MODEL, **functions, **given)
    else:
        model = OpenAIResponses(model=MODEL, context_window=8192, **given)

    async def run() -> str:
        agent = FunctionAgent(tools=[get_weather], llm=model, streaming=streaming)
        return str(await agent.run(QUESTION, max_iterations=TURNS))

    return asyncio.run(run())


def agno(api: str, streaming: bool, damage: str) -> str:
    from agno.agent import Agent
    from agno.models.openai import OpenAIChat, OpenAIResponses
    from agno.run.base import RunStatus

    kind = OpenAIChat if api == "chat" else OpenAIResponses
    agent = Agent(model=kind(id=MODEL, **options(damage)), tools=[get_weather], telemetry=False)
    if not streaming:
        done = agent.run(QUESTION)
    else:
        done = list(agent.run(QUESTION, stream=True, yield_run_output=True))[-1]
    if getattr(done, "status", RunStatus.error) == RunStatus.error:  # or an event that says so
        raise ValueError(done.content)
    return str(done.content or "")


def autogen(streaming: bool, damage: str) -> str:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    able = dict.fromkeys(("function_calling", "json_output", "structured_output"), True)
    info: Any = able | {"vision": False, "family": "unknown"}
    client = OpenAIChatCompletionClient(model=MODEL, model_info=info, **options(damage))
    agent = AssistantAgent(
        "agent",
        client,
        tools=[get_weather],
        model_client_stream=streaming,
        max_tool_iterations=TURNS,
    )
    return str(asyncio.run(agent.run(task=QUESTION)).messages[-1].content)


def semantic_kernel(api: str, streaming: bool, damage: str) -> str:
    import openai
    from semantic_kernel.agents import ChatCompletionAgent, OpenAIResponsesAgent
    from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
    from semantic_kernel.functions import KernelPlugin, kernel_function

    plugin = KernelPlugin.from_object("w", {"get_weather": kernel_function(get_weather)})
    client = openai.AsyncOpenAI(**options(damage))
    agent: Any
    if api == "chat":
        service = OpenAIChatCompletion(ai_model_id=MODEL, async_client=client)
        agent = ChatCompletionAgent(name="agent", service=service, plugins=[plugin])
    else:
        agent = OpenAIResponsesAgent(ai_model_id=MODEL, client=client, plugins=[plugin])

    async def run() -> str:
        if not streaming:
            return str((await agent.get_response(QUESTION)).content)
        return "".join([str(part.content) async for part in agent.invoke_stream(QUESTION)])

    return asyncio.run(run())


def instructor(api: str, streaming: bool, damage: str) -> str:
    """A structured answer, which it asks for as the call of a class."""
    import instructor
    import openai
    import pydantic

    wanted = pydantic.create_model("get_weather", location=(str, ...), unit=(str, "celsius"))
    mode = instructor.Mode.TOOLS if api == "chat" else instructor.Mode.RESPONSES_TOOLS
    client = instructor.from_openai(openai.OpenAI(**options(damage)), mode=mode)
    given: Any = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}]}
    given |= {"response_model": wanted, "max_retries": 0}
    got = list(client.create_partial(**given))[-1] if streaming else client.create(**given)
    return get_weather(got.location, got.unit or "celsius")


def mirascope(api: str, streaming: bool, damage: str) -> str:
    """Its user cannot add a header."""
    from mirascope import llm

    kind = "completions" if api == "chat" else "responses"
    url = f"{URL.removesuffix('/v1')}/{damage}/v1" if damage else URL
    llm.register_provider(f"openai:{kind}", scope="r/", base_url=url, api_key="none")
    model = llm.model(f"r/{MODEL}")
    tools = [llm.tool(get_weather)]
    response: Any = (model.stream if streaming else model.call)(QUESTION, tools=tools)
    for _ in range(TURNS):
        if streaming:
            response.finish()
        if not response.tool_calls:
            return str(response.text())
        outputs = response.execute_tools()
        if any(output.error for output in outputs):
            raise ValueError(str(outputs))
        response = response.resume(outputs)
    raise ValueError("The conversation does not end.")


def crewai(api: str, streaming: bool, damage: str) -> str:
    from crewai import LLM, Agent
    from crewai.tools import tool

    given = options(damage) | {"stream": streaming, "provider": "openai"}
    kind = {"chat": "completions", "responses": "responses"}[api]
    agent = Agent(
        role="Forecaster",
        goal="Tell the weather.",
        backstory="You tell the weather.",
        llm=LLM(model=MODEL, api=kind, **given),
        tools=[tool("get_weather")(get_weather)],
        max_iter=TURNS,
    )
    return str(agent.kickoff(QUESTION).raw)


def dspy(api: str, damage: str) -> str:
    """A question to the model class; its agents write calls as texts."""
    import dspy

    kind: Any = {"chat": "chat", "responses": "responses"}[api]
    given = {"api_base": URL, "api_key": "none", "num_retries": 0, "cache": False, "timeout": 30}
    headers = {"extra_headers": {"X-Damage": damage}}
    said = dspy.LM(f"openai/{MODEL}", model_type=kind, **given, **headers)(QUESTION)[0]
    called.append(QUESTION)
    return str(said["text"] if isinstance(said, dict) else said)


def aider(damage: str) -> str:
    """One question about a folder without files."""
    from aider.coders import Coder, base_coder
    from aider.io import InputOutput
    from aider.models import Model

    base_coder.RETRY_TIMEOUT = 0
    given = options(damage)
    headers = {"extra_headers": given.pop("default_headers")}
    model = Model(f"openai/{MODEL}")
    model.extra_params = given | headers
    screen = InputOutput(pretty=False, fancy_input=False, yes=True)
    coder = Coder.create(model, "ask", screen, map_tokens=0, use_git=False)
    text = str(coder.run(with_message=QUESTION) or "")
    called.append(QUESTION)
    return text


def qwen_agent(streaming: bool, damage: str) -> str:
    """A question to its agent, which writes calls as texts; its user cannot add a header."""
    from qwen_agent.agents import Assistant

    url = f"{URL.removesuffix('/v1')}/{damage}/v1" if damage else URL
    connection = {"model": MODEL, "model_server": url, "api_key": "none", "model_type": "oai"}
    agent = Assistant(llm=connection | {"generate_cfg": {"max_retries": 0}})
    asked = [{"role": "user", "content": QUESTION}]
    last = list(agent.run(asked))[-1] if streaming else agent.run_nonstream(asked)
    called.append(QUESTION)
    return str(last[-1]["content"])


def browser_use(damage: str) -> str:
    """A question to the model class; its agents need a browser."""
    from browser_use.llm.messages import UserMessage
    from browser_use.llm.openai.chat import ChatOpenAI

    model = ChatOpenAI(model=MODEL, **options(damage))
    called.append(QUESTION)
    return str(asyncio.run(model.ainvoke([UserMessage(content=QUESTION)])).completion)


def agent_framework(api: str, streaming: bool, damage: str) -> str:
    import openai
    from agent_framework import Agent
    from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient

    kind = OpenAIChatCompletionClient if api == "chat" else OpenAIChatClient
    client = kind(MODEL, async_client=openai.AsyncOpenAI(**options(damage)))

    async def run() -> str:
        agent = Agent(client, tools=[get_weather])
        if not streaming:
            return str((await agent.run(QUESTION)).text)
        stream = agent.run(QUESTION, stream=True)
        async for _ in stream:
            pass
        return str((await stream.get_final_response()).text)

    return asyncio.run(run())


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
            [f"{FOLDER}/codex", "exec", "--skip-git-repo-check", "-C", folder, *given, QUESTION],
            env=os.environ | {"HOME": folder, "CODEX_HOME": folder},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    if done.returncode:
        raise ValueError(done.stderr[-200:])
    called.append(QUESTION)
    return done.stdout.strip()


def copilot(damage: str) -> str:
    """One prompt with its own instructions and tools; its user cannot add a header."""
    home = Path(FOLDER).parents[1] / "copilot"  # it unpacks itself there once
    home.mkdir(exist_ok=True)
    connection = {
        "COPILOT_OFFLINE": "true",
        "COPILOT_PROVIDER_BASE_URL": f"{URL.removesuffix('/v1')}/{damage}/v1",
        "COPILOT_MODEL": MODEL,
    }
    command = [f"{FOLDER}/copilot", "--silent", "--no-color", "--disable-builtin-mcps"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "-p", QUESTION],
            cwd=folder,
            env=os.environ | {"HOME": str(home)} | connection,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    if done.returncode:
        raise ValueError(done.stderr[-200:])
    called.append(QUESTION)
    return done.stdout.strip()


def command(arguments: list[str], environment: dict[str, str]) -> str:
    """Run a command of an agent in an empty home, and return what it prints as its answer."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(Path(FOLDER, arguments[0])), *arguments[1:], QUESTION],
            cwd=folder,
            env=os.environ | {"HOME": folder, "PWD": folder} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    if done.returncode:
        raise ValueError((done.stderr or done.stdout)[-200:])
    called.append(QUESTION)
    return done.stdout.strip()


def opencode(damage: str) -> str:
    """One turn with its own instructions and tools, of which the first request makes a title."""
    models = {MODEL: {"name": MODEL, "tool_call": True, "reasoning": True}}
    connection = {"baseURL": URL, "apiKey": "none", "headers": {"X-Damage": damage}}
    provider = {"npm": "@ai-sdk/openai-compatible", "options": connection, "models": models}
    configured = {"provider": {"r": provider}, "autoupdate": False, "share": "disabled"}
    settings = {"OPENCODE_CONFIG_CONTENT": json.dumps(configured)}
    settings |= {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    return command(["opencode", "run", "--model", f"r/{MODEL}"], settings)


def qwen_code(damage: str) -> str:
    """One turn with its own instructions and tools; its user cannot add a header."""
    url = f"{URL.removesuffix('/v1')}/{damage}/v1"
    given = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": url, "OPENAI_MODEL": MODEL}
    return command(["qwen", "--auth-type", "openai"], given)


def both(client: str, use: Callable[[str, bool, str], str]) -> dict[str, Callable[[str], str]]:
    return {
        f"{client} {api} {mode}": partial(use, api, mode == "streaming")
        for api in ("chat", "responses")
        for mode in ("non-streaming", "streaming")
    }


def sdk(helper: bool) -> Callable[[str, bool, str], str]:
    talks = {"chat": chat, "responses": responses}
    return lambda api, streaming, damage: talks[api](streaming, helper, damage)


USES: dict[str, Callable[[str], str]] = {
    **both("oai-py", sdk(helper=False)),
    **both("oai-py-stream", sdk(helper=True)),
    **both("oai-py-pushed", pushed),
    **both("agents-py", openai_agents),
    **both("lc-py", langchain),
    **both("pyd", pydantic_ai),
    **both("maf", agent_framework),
    "lc-groq chat non-streaming": partial(langchain_groq, False),
    "lc-groq chat streaming": partial(langchain_groq, True),
    "litellm chat non-streaming": partial(lite, False),
    "litellm chat streaming": partial(lite, True),
    "adk chat non-streaming": partial(google_adk, False),
    "adk chat streaming": partial(google_adk, True),
    **both("hay", haystack),
    "smol chat non-streaming": partial(smolagents, False),
    "smol chat streaming": partial(smolagents, True),
    "strands chat streaming": partial(strands, "chat"),
    "strands responses streaming": partial(strands, "responses"),
    **both("llama", llama_index),
    **both("agno", agno),
    "ag chat non-streaming": partial(autogen, False),
    "ag chat streaming": partial(autogen, True),
    **both("sk", semantic_kernel),
    **both("instr", instructor),
    **both("mira", mirascope),
    **both("crew", crewai),
    "dspy chat non-streaming": partial(dspy, "chat"),
    "dspy responses non-streaming": partial(dspy, "responses"),
    "aider chat streaming": aider,
    "qwen chat non-streaming": partial(qwen_agent, False),
    "qwen chat streaming": partial(qwen_agent, True),
    "browser-use chat non-streaming": browser_use,
    "codex responses streaming": codex,
    "copilot chat streaming": copilot,
    "opencode chat streaming": opencode,
    "qwen-code chat streaming": qwen_code,
}


def late(*_: object) -> None:
    raise TimeoutError(f"no end after {LONGEST} s")


warnings.simplefilter("ignore")
signal.signal(signal.SIGALRM, late)
for name, changed in json.loads(Path(PLAN).read_text(encoding="utf-8")).items():
    for use_name, converse in USES.items():
        client, place = use_name.split(" ", 1)
        if client not in CLIENTS or place not in changed:
            continue
        if name and use_name.startswith("oai-py-pushed"):  # shows only what it returns
            continue
        called.clear()
        signal.alarm(LONGEST if name else 0)  # the first conversation imports the packages
        try:
            shown = {"text": (converse(name) or "").strip()}
        except Exception as error:  # noqa: BLE001 - whatever a client raises is the result
            shown = {"error": f"{type(error).__name__}: {error}"[:200]}
        signal.alarm(0)
        made = json.dumps([name, use_name, {"calls": called, **shown}])
        print(f"\nmeasured {made}", flush=True)
        sys.stdin.readline()  # the requests of this use are noted
os._exit(0)  # threads of LiteLLM
