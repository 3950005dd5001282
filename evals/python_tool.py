"""Python for the model: the provider's built-in tool, or a function that runs its programs here.

The sandbox belongs to the reference engine, which evals do not import: each program runs in a
separate process, `python -m reference_engine.builtin.python`.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from harness.api.fields import objects
from harness.api.items import Tool
from harness.api.parsed_rollout import ParsedRollout
from harness.api.responses import CODE_INTERPRETER, CODE_INTERPRETER_CALL
from harness.errors import ConfigurationError
from harness.providers.entries import Provider
from harness.records.conditions import Api
from harness.records.runs import Capability
from harness.records.settings import PythonTool, Sampling
from harness.run.preflight import runs_python

NAME = "python"
MOST_REQUESTS = 40
"""Maximum number of requests of one attempt: our choice, to end endless loops but not long
solutions."""

_SANDBOX = (sys.executable, "-m", "reference_engine.builtin.python")
_CHECK_SECONDS = 60
_CONCURRENT_PROGRAMS = asyncio.Semaphore(4)


def planned_tool(api: Api, limitations: Collection[Capability]) -> PythonTool:
    """Return who may run programs, as far as this is known before the first request."""
    possible = api == "responses" and "built_in_tools" not in limitations
    return "either" if possible else "function"


async def settled(sampling: Sampling, provider: Provider) -> tuple[Sampling, int]:
    """Find out who runs programs; returns the sampling and the number of requests it took.

    Raises ConfigurationError if this machine would have to run programs but cannot isolate them,
    and ProviderUnreachableError if the provider does not answer.
    """
    requests = 0
    if sampling.python == "either":
        built_in, requests = await runs_python(provider)
        tool: PythonTool = "built-in" if built_in else "function"
        sampling = sampling.model_copy(update={"python": tool})
    if sampling.python == "function":
        require_sandbox()
    return sampling, requests


def offered(tool: PythonTool | None) -> tuple[tuple[Tool, ...], Mapping[str, Any]]:
    """Return the functions and other members of a request that offer Python."""
    if tool == "built-in":
        return (), {"tools": [CODE_INTERPRETER]}
    return (FUNCTION,) if tool else (), {}


def require_sandbox() -> None:
    """Refuse a machine that cannot isolate programs. Raises ConfigurationError."""
    try:
        ran = subprocess.run(  # noqa: S603 - our own program
            [*_SANDBOX, "--check"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_CHECK_SECONDS,
            check=False,
        )
        problem = ran.stdout.decode("utf-8", "replace").strip() if ran.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        reason = problem.splitlines()[-1].rstrip(".")
        raise ConfigurationError(
            "--with-tools python: the provider does not run Python itself, and this machine cannot "
            f"run programs safely: {reason}. Use a different machine, or omit --with-tools."
        )


async def run_program(arguments: str) -> str:
    """Return the output of the program in the arguments of a call, run in the sandbox."""
    program = program_in(arguments)
    if program is None:
        return json.dumps({"error": "the argument `code` is missing"})
    async with _CONCURRENT_PROGRAMS:
        process = await asyncio.create_subprocess_exec(
            *_SANDBOX,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate(program.encode("utf-8", "replace"))
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
    return output.decode("utf-8", "replace") or "The program printed nothing."


def program_in(arguments: str) -> str | None:
    """Return the argument `code` of a call, or all arguments if they are not an object."""
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    if isinstance(given, dict):
        code = given.get("code")
        return code if isinstance(code, str) else None
    return given if isinstance(given, str) else arguments


FUNCTION = Tool(
    NAME,
    "Runs a Python program in a sandbox without network, and returns what it prints. Every call is "
    "a new program; nothing remains of earlier ones.",
    {
        "type": "object",
        "properties": {"code": {"type": "string", "description": "The program."}},
        "required": ["code"],
    },
    run=run_program,
)


def programs(parsed: ParsedRollout) -> int:
    """Return the number of programs of an attempt that were run here or by the provider."""
    return sum(
        sum(call.name == NAME for call in reply.calls)
        + sum(
            item.get("type") == CODE_INTERPRETER_CALL for item in objects(reply.raw.get("output"))
        )
        for _, reply in parsed.replies
    )
