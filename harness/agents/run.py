"""Run the agents against a provider, through a proxy that records their traffic."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from urllib.parse import urlsplit

from harness.agents.programs import EXPECTED_NUMBER, TEMPERATURES
from harness.providers.entries import Provider, access
from harness.records.conditions import BOTH_APIS, Api
from harness.records.runs import AgentResult
from harness.traffic.proxy import Recorder, forward
from harness.transport.redact import Redactor
from harness.transport.secrets import known_secrets

TRIES = 3
"""A healthy model may answer without its tool once; a server that breaks an agent always fails."""
SECONDS = 300
"""Timeout of a try. Speed is not judged here."""
_SHOWN = 200


@dataclass(frozen=True)
class Agent:
    """A task of one agent framework."""

    program: str  # the function in `harness.agents.programs`
    task: str  # its argument
    packages: tuple[str, ...]
    """The required distributions, the framework first; or the name of a command."""
    expected: tuple[str, ...] = (str(TEMPERATURES["Oslo"]),)  # what the final answer must contain
    apis: tuple[Api, ...] = BOTH_APIS  # the APIs that it can use

    @property
    def name(self) -> str:
        """`openai-agents, handoff`."""
        return f"{self.packages[0]}, {self.task}"


AGENTS = (
    Agent("openai_agents", "function", ("openai-agents",)),
    Agent("openai_agents", "handoff", ("openai-agents",)),
    Agent("openai_agents", "parallel", ("openai-agents",), tuple(map(str, TEMPERATURES.values()))),
    Agent("openai_agents", "streaming", ("openai-agents",)),
    Agent("pydantic_ai", "function", ("pydantic-ai-slim",)),
    Agent("langchain", "function", ("langchain", "langchain-openai")),
    Agent("litellm", "proxy", ("litellm", "openai-agents")),
    Agent("codex", "file", ("codex",), (EXPECTED_NUMBER,), ("responses",)),
)


def not_run() -> dict[str, AgentResult]:
    """The results of all agents before any of them has run."""
    return {agent.name: AgentResult(end="stopped") for agent in AGENTS}


async def run_agents(
    provider: Provider,
    names: Collection[str],
    ended: Callable[[str, AgentResult, Path], object],
    suffix: str,
) -> None:
    """Run agents of a running provider until their result is right, and record their traffic.

    `ended` is called with the name of an agent, its result, and its recording, which `import` can
    read and which is empty or missing if no request was sent. Names of recordings end in `suffix`.

    Raises ConfigurationError if an environment variable of the provider is not set.
    """
    with TemporaryDirectory() as place:
        for agent in AGENTS:
            if agent.name in names:
                stem = re.sub(r"[^a-z]+", "-", agent.name)
                path = Path(place, f"{stem}{suffix}.jsonl")
                ended(agent.name, await _result(agent, provider, path), path)


async def _result(agent: Agent, provider: Provider, path: Path) -> AgentResult:
    if missing := [each for each in agent.packages if not _installed(each)]:
        return AgentResult(end="not verifiable", detail=f"{missing[0]} is not installed")
    api = next((api for api in agent.apis if api in provider.apis), None)
    if api is None:
        needed = f"it needs {' or '.join(agent.apis)}, which this run leaves out"
        return AgentResult(end="not verifiable", detail=needed)
    installed = f"{agent.packages[0]} {_installed(agent.packages[0])}"
    with path.open("wb") as file:
        recorder = Recorder(file, access(provider).secrets)
        end, why = await _tried(agent, provider, api, recorder)
    if not recorder.count:
        end, why = "not verifiable", f"no request was sent: {why}"
    return AgentResult(end=end, detail=f"{installed}{', ' if why else ''}{why}")


async def _tried(
    agent: Agent, provider: Provider, api: Api, recorder: Recorder
) -> tuple[Literal["right", "wrong", "not verifiable"], str]:
    """How the task of an agent ended, and why unless the result is right."""
    wanted = " and ".join(agent.expected)
    got = ""
    for _ in range(TRIES):
        try:
            answer, problem = await _run(agent, provider, api, recorder)
        except TimeoutError:
            return "not verifiable", f"no answer within {SECONDS} s"
        if all(part in answer for part in agent.expected):
            return "right", ""
        got = problem or f"it answers {answer!r}"
    return "wrong", f"{TRIES} tries without {wanted}: {got}"


def _installed(name: str) -> str | None:
    """The version of a package; for a command, only that it is on the PATH; None if missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "on the PATH" if shutil.which(name) else None


async def _run(agent: Agent, provider: Provider, api: Api, recorder: Recorder) -> tuple[str, str]:
    """The agent's answer, and the last line of its errors if it failed. Raises TimeoutError."""
    url = urlsplit(provider.base_url)
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    origin = f"{url.scheme}://{url.netloc}"
    keys = access(provider)
    proxy = asyncio.create_task(forward(origin, 0, recorder, address.set_result, keys.headers))
    started: list[asyncio.Future[Any]] = [proxy, address]
    await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "harness.agents.programs", agent.program, agent.task),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                # The proxy has the key; the agent does not need it.
                **{name: text for name, text in os.environ.items() if text not in keys.secrets},
                "OPENAI_BASE_URL": f"{address.result()}{url.path}",
                "OPENAI_API_KEY": "none",
                "AGENT_MODEL": provider.model,
                "AGENT_API": api,
            },
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    finally:
        proxy.cancel()
        with suppress(asyncio.CancelledError):
            await proxy
    scrub = Redactor(keys.secrets.union(known_secrets())).text
    if process.returncode:
        lines = errors.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        return "", scrub(lines[-1])[:_SHOWN]
    return scrub(output.decode("utf-8", "replace"))[:_SHOWN], ""
