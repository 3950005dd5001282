"""The programs of the agents, each run in a separate process.

`python -m harness.agents.programs NAME TASK` prints the agent's final answer. `OPENAI_BASE_URL`,
`OPENAI_API_KEY`, `AGENT_MODEL` and `AGENT_API` set the endpoint, key, model and API. Each program
imports its framework when it runs, so that no other framework needs to be installed.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

TEMPERATURES = {"Oslo": 21.7, "Lima": 28.4}
"""In degrees Celsius. Only the tool knows them."""
_QUESTION = "What is the temperature in {city}? Use the tool, and answer with the number."
_NUMBER = 4182
EXPECTED_NUMBER = str(2 * _NUMBER)
_NUMBER_PROMPT = (
    "The file number.txt holds a number. Write twice this number to the file result.txt, in digits "
    "only. Do nothing else."
)
_PROXY_SECONDS = 120


def get_temperature(city: str) -> str:
    """Get the current temperature in a city.

    Args:
        city: The name of the city.
    """
    known = next((name for name in TEMPERATURES if name.lower() in city.lower()), None)
    return f"{TEMPERATURES[known]} °C" if known else f"nothing is known about {city}"


def openai_agents(task: str) -> str:
    """The OpenAI Agents SDK: a function, a handoff, two concurrent agents, or a stream."""
    return asyncio.run(_openai_agents(task))


async def _openai_agents(task: str) -> str:
    import agents
    import openai

    async def answer(agent: agents.Agent, city: str) -> str:
        return str((await agents.Runner.run(agent, _QUESTION.format(city=city))).final_output)

    agents.set_tracing_disabled(disabled=True)
    kind = (
        agents.OpenAIResponsesModel
        if os.environ["AGENT_API"] == "responses"
        else agents.OpenAIChatCompletionsModel
    )
    async with openai.AsyncOpenAI(max_retries=0) as client:
        model = kind(os.environ["AGENT_MODEL"], openai_client=client)
        weather = agents.Agent(
            "Weather agent",
            handoff_description="Knows the temperature in every city.",
            model=model,
            tools=[agents.function_tool(get_temperature)],
        )
        if task == "handoff":
            instructions = "Hand questions about temperatures to the weather agent."
            desk = agents.Agent("Desk", instructions, model=model, handoffs=[weather])
            return await answer(desk, "Oslo")
        if task == "parallel":
            return " ".join(await asyncio.gather(answer(weather, "Oslo"), answer(weather, "Lima")))
        if task == "streaming":
            running = agents.Runner.run_streamed(weather, _QUESTION.format(city="Oslo"))
            async for _ in running.stream_events():
                pass
            return str(running.final_output)
        return await answer(weather, "Oslo")


def pydantic_ai(_task: str) -> str:
    """pydantic-ai: an agent with a function."""
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel

    kind = OpenAIResponsesModel if os.environ["AGENT_API"] == "responses" else OpenAIChatModel
    agent = Agent(kind(os.environ["AGENT_MODEL"]), tools=[get_temperature])
    return str(agent.run_sync(_QUESTION.format(city="Oslo")).output)


def langchain(_task: str) -> str:
    """LangChain: an agent with a function."""
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(
        model=os.environ["AGENT_MODEL"],
        use_responses_api=os.environ["AGENT_API"] == "responses",
        max_retries=0,
    )
    agent = create_agent(model, [get_temperature])
    messages = [{"role": "user", "content": _QUESTION.format(city="Oslo")}]
    return str(agent.invoke({"messages": messages})["messages"][-1].text)


def litellm(_task: str) -> str:
    """The OpenAI Agents SDK through a separate LiteLLM proxy."""
    model = os.environ["AGENT_MODEL"]
    behind = {
        "model": f"openai/{model}",
        "api_base": os.environ["OPENAI_BASE_URL"],
        "api_key": os.environ["OPENAI_API_KEY"],
    }
    config = {"model_list": [{"model_name": model, "litellm_params": behind}]}
    with TemporaryDirectory() as place:
        path = Path(place, "config.yaml")
        path.write_text(json.dumps(config), encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        options = ["--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
        with subprocess.Popen(  # noqa: S603 - of the user's own installation
            [shutil.which("litellm") or str(Path(sys.executable).with_name("litellm")), *options],
            env={**os.environ, "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"},
            stdout=sys.stderr,
        ) as proxy:
            try:
                _wait_for(f"{address}/health/liveliness", proxy)
                os.environ["OPENAI_BASE_URL"] = f"{address}/v1"
                return openai_agents("function")
            finally:
                proxy.terminate()


def _wait_for(url: str, proxy: subprocess.Popen[bytes]) -> None:
    for _ in range(_PROXY_SECONDS):
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
                return
        except OSError:
            if proxy.poll() is not None:
                break
            time.sleep(1)
    raise SystemExit("The LiteLLM proxy did not start.")


def codex(_task: str) -> str:
    """Codex: run a command in a scratch folder and Codex's own sandbox; return the written file."""
    server = {
        "name": "provider",
        "base_url": os.environ["OPENAI_BASE_URL"],
        "wire_api": "responses",
        "request_max_retries": 0,
        "stream_max_retries": 0,
    }
    settings = {f"model_providers.verified.{name}": value for name, value in server.items()}
    settings |= {"model_provider": "verified", "web_search": "disabled"}
    with TemporaryDirectory() as home, TemporaryDirectory() as place:

        def run(*arguments: str) -> int:
            return subprocess.run(  # noqa: S603 - of the user's own installation
                ["codex", *arguments],  # noqa: S607
                env={**os.environ, "CODEX_HOME": home},
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                check=False,
            ).returncode

        Path(place, "number.txt").write_text(f"{_NUMBER}\n", encoding="utf-8")
        if run("sandbox", "true"):  # Its commands would fail regardless of the provider.
            raise SystemExit("Codex cannot isolate commands on this machine.")
        assigned = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
        options = [word for each in assigned for word in ("--config", each)]
        status = run(
            *("exec", "--skip-git-repo-check", "--sandbox", "workspace-write", "--cd", place),
            *("--model", os.environ["AGENT_MODEL"], *options, _NUMBER_PROMPT),
        )
        result = Path(place, "result.txt")
        if status or not result.exists():
            raise SystemExit(f"Codex ended with status {status} and wrote no result.txt.")
        return result.read_text(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    sys.stdout.write(globals()[sys.argv[1]](sys.argv[2]))
