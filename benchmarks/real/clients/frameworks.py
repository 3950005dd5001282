"""Conversations by agents of frameworks, which call the tool and keep the history.

The packages are imported by the functions: no environment has all of them.
"""

import asyncio
from typing import Any

from real.clients.conversation import (
    MODEL,
    QUESTION,
    TURNS,
    URL,
    called,
    damaged_url,
    get_weather,
    options,
)


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


def ag2(api: str, streaming: bool, damage: str) -> str:
    from ag2 import Agent
    from ag2.config import OpenAIConfig, OpenAIResponsesConfig

    kind = OpenAIConfig if api == "chat" else OpenAIResponsesConfig
    config = kind(model=MODEL, streaming=streaming, **options(damage))
    agent = Agent("agent", config=config, tools=[get_weather])
    return str(asyncio.run(agent.ask(QUESTION)).body or "")


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


def qwen_agent(streaming: bool, damage: str) -> str:
    """A question to its agent, which writes calls as texts; its user cannot add a header."""
    from qwen_agent.agents import Assistant

    connection = {
        "model": MODEL,
        "model_server": damaged_url(damage),
        "api_key": "none",
        "model_type": "oai",
    }
    agent = Assistant(llm=connection | {"generate_cfg": {"max_retries": 0}})
    asked = [{"role": "user", "content": QUESTION}]
    last = list(agent.run(asked))[-1] if streaming else agent.run_nonstream(asked)
    called.append(QUESTION)
    return str(last[-1]["content"])


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
