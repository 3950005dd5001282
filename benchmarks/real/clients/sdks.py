"""Conversations by SDKs and classes of models, whose history the program keeps.

The packages are imported by the functions: no environment has all of them.
"""

import asyncio
import json
from typing import TYPE_CHECKING, Any

from harness.rules.clients.readers import READERS
from real.clients.conversation import (
    CHAT,
    FUNCTION,
    MODEL,
    QUESTION,
    RESPONSES,
    TURNS,
    URL,
    called,
    damaged_url,
    get_weather,
    options,
)

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


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
            history += _with_results(message)
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


def _with_results(message: Any) -> list[Any]:  # noqa: ANN401 - of any SDK
    """Return a message of Chat with calls, unchanged, and their results."""
    added = [message]
    for call in message.tool_calls:
        result = get_weather(**json.loads(call.function.arguments))
        added.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return added


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
        history += _with_results(message)
    raise ValueError("The conversation does not end.")


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
    llm.register_provider(
        f"openai:{kind}", scope="r/", base_url=damaged_url(damage), api_key="none"
    )
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


def dspy(api: str, damage: str) -> str:
    """A question to the model class; its agents write calls as texts."""
    import dspy

    kind: Any = {"chat": "chat", "responses": "responses"}[api]
    given = {"api_base": URL, "api_key": "none", "num_retries": 0, "cache": False, "timeout": 30}
    headers = {"extra_headers": {"X-Damage": damage}}
    said = dspy.LM(f"openai/{MODEL}", model_type=kind, **given, **headers)(QUESTION)[0]
    called.append(QUESTION)
    return str(said["text"] if isinstance(said, dict) else said)


def browser_use(damage: str) -> str:
    """A question to the model class; its agents need a browser."""
    from browser_use.llm.messages import UserMessage
    from browser_use.llm.openai.chat import ChatOpenAI

    model = ChatOpenAI(model=MODEL, **options(damage))
    called.append(QUESTION)
    return str(asyncio.run(model.ainvoke([UserMessage(content=QUESTION)])).completion)
