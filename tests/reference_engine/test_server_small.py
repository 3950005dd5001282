"""An agent with tools, through each API, on the small checkpoint: every token is sampled."""

import json
from pathlib import Path

import agents
import openai
import pytest
from scripted import running, started

import harness.data
from reference_engine.checkpoint import load_model
from reference_engine.generation.engine import Engine
from reference_engine.server.settings import SMALL_CHECKPOINT

TOOLS = json.loads(Path(harness.data.__path__[0], "tools.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def url():
    small = Engine(load_model(SMALL_CHECKPOINT), max_batch=8)
    with started(small) as engine, running(engine) as base_url:
        yield base_url


def tools(called: list[tuple[str, str]]) -> list[agents.FunctionTool]:
    """The six tools of the smoke test, which record their calls."""

    def made(tool: dict) -> agents.FunctionTool:
        async def invoke(_: object, arguments: str) -> str:
            called.append((tool["name"], arguments))
            return tool["output"]

        return agents.FunctionTool(
            tool["name"], tool["description"], tool["parameters"], invoke, strict_json_schema=False
        )

    return [made(tool) for tool in TOOLS]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model_type", [agents.OpenAIChatCompletionsModel, agents.OpenAIResponsesModel]
)
async def test_an_agent_answers_with_a_tool(url, model_type):
    agents.set_tracing_disabled(disabled=True)
    called: list[tuple[str, str]] = []
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        agent = agents.Agent(
            "helper",
            model=model_type("gpt-oss-small", openai_client=client),
            tools=tools(called),
            model_settings=agents.ModelSettings(temperature=0, max_tokens=300),
        )
        result = await agents.Runner.run(agent, "What is the weather in Oslo?", max_turns=4)
    assert [name for name, _ in called] == ["get_weather"]
    assert json.loads(called[0][1])["location"] == "Oslo"
    assert result.final_output
