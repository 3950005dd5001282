"""Unmodified third-party clients against the server."""

import agents
import openai
import pytest
from pydantic import BaseModel
from scripted import ANSWER, CALL, CHAT_TOOL, FLAT_TOOL, ScriptedEngine, running

MODEL = "gpt-oss-small"
USER = {"role": "user", "content": "Hi"}


@pytest.fixture
def engine():
    """Calls the tool until its result is in the prompt."""
    return ScriptedEngine(
        lambda prompt, _: CALL if "type get_weather" in prompt and "sunny" not in prompt else ANSWER
    )


@pytest.fixture
def url(engine):
    with running(engine) as base_url:
        yield base_url


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as each:
        yield each


@pytest.fixture
async def async_client(url):
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as each:
        yield each


def test_chat_streaming_helper(client):
    with client.chat.completions.stream(model=MODEL, messages=[USER], tools=[CHAT_TOOL]) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"city": "Rome"}'
    assert final.choices[0].finish_reason == "tool_calls"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_parsed_messages_can_be_sent_back(client, engine):
    class GetWeather(BaseModel):
        city: str

    tools = [openai.pydantic_function_tool(GetWeather, name="get_weather")]
    reply = client.chat.completions.parse(model=MODEL, messages=[USER], tools=tools)
    message = reply.choices[0].message
    (call,) = message.tool_calls
    assert call.function.parsed_arguments == GetWeather(city="Rome")
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    engine.script = lambda *_: '<|channel|>final<|message|>{"city": "Rome"}<|return|>'
    messages = [USER, message, result]
    answer = client.chat.completions.parse(
        model=MODEL, messages=messages, tools=tools, response_format=GetWeather
    )
    messages += [answer.choices[0].message, USER]
    client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
    assert 'json<|message|>{"city": "Rome"}<|call|>' in engine.prompts[-1]
    assert '<|channel|>final<|message|>{"city": "Rome"}<|end|>' in engine.prompts[-1]


async def test_chat_async_stream(async_client):
    stream = await async_client.chat.completions.create(model=MODEL, messages=[USER], stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream]
    assert "".join(delta.content or "" for delta in deltas) == "Hello there."


def test_responses(client):
    first = client.responses.create(model=MODEL, input="Hi", tools=[FLAT_TOOL])
    call = first.output[-1]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = client.responses.create(
        model=MODEL, input=[result], tools=[FLAT_TOOL], previous_response_id=first.id
    )
    assert second.output_text == "Hello there."
    third = client.responses.create(
        model=MODEL, tools=[FLAT_TOOL], input=[USER, *first.output, result]
    )
    assert third.output_text == "Hello there."
    assert client.responses.retrieve(first.id).id == first.id
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


async def test_responses_async_stream(async_client):
    stream = await async_client.responses.create(
        model=MODEL, input="Hi", stream=True, tools=[FLAT_TOOL]
    )
    assert [event async for event in stream][-1].response.output[-1].name == "get_weather"


def test_errors_become_the_sdks_exceptions(client, engine):
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        client.responses.create(model="gpt-9", input="Hi")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[])
    assert caught.value.param == "messages"
    engine.full = True
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model=MODEL, messages=[USER], stream=True)


def test_models(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


@agents.function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "model_type",
    [agents.OpenAIChatCompletionsModel, agents.OpenAIResponsesModel],
)
async def test_an_agent_uses_a_tool(async_client, engine, model_type, streamed):
    agents.set_tracing_disabled(disabled=True)
    model = model_type(MODEL, openai_client=async_client)
    agent = agents.Agent("helper", instructions="Be brief.", model=model, tools=[get_weather])
    if streamed:
        result = agents.Runner.run_streamed(agent, "Weather in Rome?")
        async for _ in result.stream_events():
            pass
    else:
        result = await agents.Runner.run(agent, "Weather in Rome?")
    await model.close()
    assert result.final_output == "Hello there."
    assert "sunny in Rome" in engine.prompts[-1]
    assert "Be brief." in engine.prompts[-1]
    if model_type is not agents.OpenAIChatCompletionsModel:
        assert "<|channel|>analysis<|message|>I think." in engine.prompts[-1]
