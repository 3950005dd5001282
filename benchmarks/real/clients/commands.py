"""Turns of agents that are commands, with their own instructions and tools."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from real.clients.conversation import MODEL, QUESTION, URL, called, damaged_url

_FOLDER = Path(os.environ["REAL_CLIENTS_COMMANDS"])
_HOME = Path(os.environ["REAL_CLIENTS_HOME"])


def codex(damage: str) -> str:
    """One turn over Responses."""
    entry: dict[str, object] = {"name": "r", "base_url": URL, "wire_api": "responses"}
    entry |= {"http_headers.X-Damage": damage, "request_max_retries": 0}
    entry |= {"stream_max_retries": 0, "stream_idle_timeout_ms": 10_000}
    chosen: list[tuple[str, object]] = [("model", MODEL), ("model_provider", "r")]
    chosen += [(f"model_providers.r.{key}", value) for key, value in entry.items()]
    given = [part for key, value in chosen for part in ("-c", f"{key}={json.dumps(value)}")]
    return _answer(["codex", "exec", "--skip-git-repo-check", *given, QUESTION], {})


def copilot(damage: str) -> str:
    """One prompt over Chat; its user cannot add a header."""
    connection = {
        "COPILOT_OFFLINE": "true",
        "COPILOT_PROVIDER_BASE_URL": damaged_url(damage),
        "COPILOT_MODEL": MODEL,
    }
    command = ["copilot", "--silent", "--no-color", "--disable-builtin-mcps", "-p", QUESTION]
    return _answer(command, connection)


def opencode(damage: str) -> str:
    """One turn over Chat, of which the first request makes a title."""
    models = {MODEL: {"name": MODEL, "tool_call": True, "reasoning": True}}
    connection = {"baseURL": URL, "apiKey": "none", "headers": {"X-Damage": damage}}
    provider = {"npm": "@ai-sdk/openai-compatible", "options": connection, "models": models}
    configured = {"provider": {"r": provider}, "autoupdate": False, "share": "disabled"}
    settings = {"OPENCODE_CONFIG_CONTENT": json.dumps(configured)}
    settings |= {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    return _answer(["opencode", "run", "--model", f"r/{MODEL}", QUESTION], settings)


def qwen_code(damage: str) -> str:
    """One turn over Chat; its user cannot add a header."""
    given = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": damaged_url(damage)}
    return _answer(["qwen", "--auth-type", "openai", QUESTION], given | {"OPENAI_MODEL": MODEL})


def _answer(command: Sequence[str], environment: dict[str, str]) -> str:
    """Run a command in an empty folder; return what it prints.

    It keeps its home, because some unpack themselves or make a database there once.
    """
    _HOME.mkdir(parents=True, exist_ok=True)
    own = {"HOME": str(_HOME), "CODEX_HOME": str(_HOME)}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(_FOLDER / command[0]), *command[1:]],
            cwd=folder,
            env=os.environ | own | {"PWD": folder} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ValueError((done.stderr or done.stdout)[-200:])
    called.append(QUESTION)
    return done.stdout.strip()
