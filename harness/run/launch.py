"""Start and stop the providers that have a `launch` command."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from harness.errors import LaunchError
from harness.providers.entries import Launch, Provider
from harness.run import launch_guard as guard
from harness.transport.connections import open_session

SECONDS_TO_STOP = 10.0
POLL_INTERVAL = 0.1
READY_SECONDS = 5.0
TAIL_LINES = 8


@asynccontextmanager
async def launched(provider: Provider, log: Path) -> AsyncIterator[Provider]:
    """Start the provider's `launch` command, if it has one, and stop it on exit.

    Yields the provider with its actual port in `base_url`. The output of the command is appended to
    the file `log`. Raises LaunchError if the command does not start, is not ready in time, or ends
    early; the body is then cancelled.
    """
    launch = provider.launch
    if launch is None:
        yield provider
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    ready = provider.model_copy(update={"base_url": provider.base_url.replace("{port}", port)})
    ready_url = (launch.ready_url or f"{provider.base_url}/models").replace("{port}", port)
    if await is_ready(ready_url):
        raise LaunchError(
            f"provider {provider.name}: another server already answers at {ready_url}; "
            "stop it, or use {port} in the launch entry"
        )
    async with _process(provider.name, launch, port, log) as process:
        await _wait_until_ready(provider.name, launch, ready_url, process, log)
        async with _cancelled_when_ended(provider.name, process, log):
            yield ready


@asynccontextmanager
async def _process(
    name: str, launch: Launch, port: str, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The launch command in its own process group, which the guard ends with this process."""
    command = [
        argument.replace("{port}", port).replace("{python}", sys.executable)
        for argument in launch.command
    ]
    held_by_guard, held_by_us = os.pipe()
    try:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", guard.__file__, *command),
                    stdin=held_by_guard,
                    stdout=output,
                    stderr=output,
                    env=os.environ | launch.env,
                    cwd=launch.cwd,
                    start_new_session=True,
                )
        except OSError as error:
            raise LaunchError(
                f"provider {name}: its launch command did not start: {error.filename}: "
                f"{error.strerror}"
            ) from None
        try:
            yield process
        finally:
            await _stop(process)
    finally:
        os.close(held_by_guard)
        os.close(held_by_us)


@asynccontextmanager
async def _cancelled_when_ended(
    name: str, process: asyncio.subprocess.Process, log: Path
) -> AsyncIterator[None]:
    """Cancel the body when the process ends, and raise LaunchError instead."""
    body = asyncio.current_task()
    ended = False

    async def watch() -> None:
        nonlocal ended
        await process.wait()
        ended = True
        if body is not None:
            body.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if ended and body is not None and body.uncancel() == 0:
            raise LaunchError(
                f"provider {name}: its process ended with exit code {process.returncode} during "
                "the run; finished attempts are kept, continue with --resume"
                f"{_tail(log)}"
            ) from None
        raise
    finally:
        watching.cancel()


async def _wait_until_ready(
    name: str, launch: Launch, url: str, process: asyncio.subprocess.Process, log: Path
) -> None:
    deadline = time.monotonic() + launch.ready_timeout
    while not await is_ready(url):
        if process.returncode is not None:
            raise LaunchError(
                f"provider {name}: its launch command ended with exit code "
                f"{process.returncode} before it was ready{_tail(log)}"
            )
        if time.monotonic() > deadline:
            raise LaunchError(
                f"provider {name}: not ready after {launch.ready_timeout:g} s "
                f"({url} does not return 200); raise ready_timeout of its launch entry if it needs "
                f"longer{_tail(log)}"
            )
        await asyncio.sleep(POLL_INTERVAL)


async def is_ready(url: str) -> bool:
    """Return whether a GET of `url` returns 200."""
    try:
        async with (
            asyncio.timeout(READY_SECONDS),
            open_session(url) as session,
            session.get(url) as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, ValueError, OSError):
        return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the process group with SIGTERM, then with SIGKILL."""
    try:
        _signal_group(process, signal.SIGTERM)
        async with asyncio.timeout(SECONDS_TO_STOP):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        _signal_group(process, signal.SIGKILL)
        await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _tail(log: Path) -> str:
    """Return the last lines of a log, as the end of a message."""
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()[-TAIL_LINES:]
    if not lines:
        return f"; it wrote nothing to {log}"
    return f"; the end of {log}:\n" + "\n".join(f"  {line}" for line in lines)
