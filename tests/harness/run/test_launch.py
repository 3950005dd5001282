"""Providers started as real processes."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from mock_provider import MockProvider
from waiting import until

from harness.errors import LaunchError
from harness.providers.entries import Provider
from harness.run.launch import launched

SERVER = """
import http.server, os, subprocess, sys
print("starting", os.getpid(), flush=True)
if "grandchild" in sys.argv:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("child", child.pid, flush=True)
if "stubborn" in sys.argv:
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "broken" in sys.argv:
    sys.exit("no checkpoint at\\n/nowhere")
if "deaf" in sys.argv:
    import time
    time.sleep(600)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ.get("SAY", "").encode()
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def provider(*arguments: str, **launch: Any) -> Provider:
    command = ["{python}", "-c", SERVER, "{port}", *arguments]
    return Provider.model_validate(
        {
            "name": "mine",
            "base_url": "http://127.0.0.1:{port}/v1",
            "model": "m",
            "apis": ["chat"],
            "launch": {"command": command, "ready_timeout": 30, **launch},
        }
    )


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def child_pid(log: Path) -> int:
    lines = log.read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("child")))


async def answers(url: str) -> bool:
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def wait_until_silent(base_url: str) -> None:
    """Wait until nothing answers: a killed process may take a moment to end."""
    async with asyncio.timeout(10):
        while await answers(base_url):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_provider_without_launch_is_left_alone(tmp_path: Path) -> None:
    given = provider().model_copy(update={"launch": None})
    async with launched(given, tmp_path / "log") as ready:
        assert ready is given
    assert not (tmp_path / "log").exists()


async def test_a_provider_is_started_and_stopped(tmp_path: Path) -> None:
    log = tmp_path / "run" / "provider.log"
    async with launched(provider("grandchild", env={"SAY": "hello"}), log) as ready:
        assert "{port}" not in ready.base_url
        assert await answers(ready.base_url)
        grandchild = child_pid(log)
        assert is_alive(grandchild)
    await wait_until_silent(ready.base_url)
    await until(lambda: not is_alive(grandchild))


async def test_a_provider_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.run.launch.SECONDS_TO_STOP", 0.2)
    async with launched(provider("stubborn"), tmp_path / "log") as ready:
        assert await answers(ready.base_url)
    await wait_until_silent(ready.base_url)


async def test_a_provider_that_exits_immediately_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LaunchError) as caught:
        async with launched(provider("broken"), tmp_path / "log"):
            pass
    message = str(caught.value)
    assert "provider mine: its launch command ended with exit code 1 before it was" in message
    assert message.endswith("\n  no checkpoint at\n  /nowhere")


async def test_a_provider_that_is_never_ready_is_an_error(tmp_path: Path) -> None:
    deaf = provider("deaf", "grandchild", ready_timeout=1.5)
    with pytest.raises(
        LaunchError, match=r"not ready after 1.5 s \(http://127.0.0.1:\d+/v1/models"
    ):
        async with launched(deaf, tmp_path / "log"):
            pass
    grandchild = child_pid(tmp_path / "log")
    await until(lambda: not is_alive(grandchild))


async def test_a_nonexistent_command_is_an_error(tmp_path: Path) -> None:
    missing = provider(command="/no/such/server --port {port}")
    with pytest.raises(LaunchError, match=r"exit code 127 before(.|\n)*  /no/such/server: No such"):
        async with launched(missing, tmp_path / "log"):
            pass


async def test_a_nonexistent_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"did not start: /no/such/folder: No such file"):
        async with launched(provider(cwd="/no/such/folder"), tmp_path / "log"):
            pass


async def test_a_provider_that_dies_during_the_run_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def run() -> None:
        async with launched(provider("grandchild"), log):
            os.kill(int(log.read_text(encoding="utf-8").split()[1]), signal.SIGKILL)
            await asyncio.sleep(600)

    with pytest.raises(LaunchError, match=r"exit code 137 during the run.*--resume"):
        await run()
    grandchild = child_pid(log)
    await until(lambda: not is_alive(grandchild))


LAUNCH = """
import asyncio, sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from test_launch import launched, provider
async def run():
    async with launched(provider("grandchild"), Path(sys.argv[3])):
        print("ready", flush=True)
        await asyncio.sleep(600)
asyncio.run(run())
"""


async def test_the_provider_is_stopped_when_this_process_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    here = Path(__file__).parent
    arguments = [str(here), str(here.parents[1] / "support"), str(log)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LAUNCH, *arguments), stdout=asyncio.subprocess.PIPE
    )
    assert await process.stdout.readline() == b"ready\n"
    process.kill()
    await process.communicate()
    grandchild = child_pid(log)
    await until(lambda: not is_alive(grandchild))


async def test_a_server_already_on_the_port_is_not_mistaken_for_the_launched_one(
    tmp_path: Path,
) -> None:
    async with MockProvider() as other:
        ours = provider(ready_url=f"{other.base_url}/models")
        with pytest.raises(LaunchError, match="another server already answers"):
            async with launched(ours, tmp_path / "log"):
                pass


async def test_the_provider_is_stopped_when_the_run_is_cancelled(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def run() -> None:
        async with launched(provider("grandchild"), log):
            await asyncio.sleep(600)

    running = asyncio.create_task(run())
    await until(lambda: log.exists() and "child" in log.read_text(encoding="utf-8"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    grandchild = child_pid(log)
    await until(lambda: not is_alive(grandchild))
