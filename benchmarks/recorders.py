"""What recorders and tracers keep of gpt-oss traffic, and what `import` reads of their files.

    python benchmarks/recorders.py [NAME …] [--work DIR] [--write]

Installs each recorder of benchmarks/real/recorders/recorders.yaml in an environment of its own,
records what OpenAI's SDK, a page or a proxy's client exchanges with a scripted server on loopback,
and reads the files: healthy replies, compressed ones, and streams that break off. Prints the table
of docs/real-traffic.md; `--write` puts it there. The files stay in `--work`. It needs Python with
venv, Node.js with npm, and their package indexes; mitmproxy needs `python3.13`.

Exit code 1 means that the page has another table, 2 that a recorder cannot be installed or run.
"""

import argparse
import asyncio
import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import httpx
import openai
import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support"), str(ROOT / "benchmarks")]

from real.clients.packages import install  # noqa: E402
from real.recorders import server  # noqa: E402
from real.recorders.calls import calls  # noqa: E402
from real.table_in_page import keep, table_row  # noqa: E402

from harness.api import DIALECTS  # noqa: E402
from harness.api.items import UnreadableReplyError  # noqa: E402
from harness.errors import ConfigurationError  # noqa: E402
from harness.records.rollouts import Exchange  # noqa: E402
from harness.traffic.conversations import read_traffic  # noqa: E402

DESCRIBED = ROOT / "benchmarks/real/recorders/recorders.yaml"
PAGE = ROOT / "docs/real-traffic.md"
_PYTHON = """
import os
from calls import calls
{imports}
BASE, OUT = os.environ["BASE"], os.environ["OUT"]
"""
_NODE = """
import OpenAI from "openai";
import { readdirSync, writeFileSync } from "node:fs";
import { calls } from "./calls.mjs";
const { BASE, OUT } = process.env;
"""
_OPENAI = "openai@7.59.0"
_WHOLE_CHAT, _STREAMED = (2, 3), (4, 5, 9)  # the factors that `calls` asks for
_LONGEST = 120.0  # seconds of one recording: assumed, ten times what the slowest takes
_HEADINGS = (
    *("recorder", "streams", "a stream that breaks off", "gzip", "WebSocket", "headers", "CoT"),
    "a PASS",
)


def record(name: str, row: Mapping[str, Any], work: Path, address: str, kind: str) -> Path:
    """Record the calls to this server, and return the file. Raises RuntimeError."""
    out = work / "files" / f"{name.replace(' ', '-')}-{kind}.{row['suffix']}"
    out.parent.mkdir(exist_ok=True)
    out.unlink(missing_ok=True)
    if "proxy" in row:
        _through_proxy(row["proxy"], work / name, f"{address}/{kind}", out)
        return out
    env = {**os.environ, "BASE": f"{address}/{kind}/v1", "OUT": str(out)}
    if "npm" in row:
        program = work / f"{name}.mjs"
        program.write_text(_NODE + row["program"], encoding="utf-8")
        (work / "calls.mjs").write_bytes((DESCRIBED.parent / "calls.mjs").read_bytes())
        command = ["node", str(program)]
    else:
        imports = "from spans import to_file\n" if "to_file" in row["program"] else ""
        imports += "" if "import litellm" in row["program"] else "from openai import OpenAI\n"
        env["PYTHONPATH"] = str(DESCRIBED.parent)
        command = [str(work / name / "bin/python"), "-c"]
        command.append(_PYTHON.format(imports=imports) + row["program"])
    ran = subprocess.run(
        command, env=env, cwd=work, capture_output=True, text=True, timeout=_LONGEST, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"{name} ({kind}): {(ran.stderr or ran.stdout)[-600:]}")
    return out


def _through_proxy(command: str, env: Path, base: str, out: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host, _, kind = base.rpartition("/")
    arguments = command.format(env=shlex.quote(str(env)), base=host, port=port, out=out)
    proxy = subprocess.Popen(shlex.split(arguments), stdout=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}/{kind}/v1"
        for _ in range(100):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{base}/page", trust_env=False)
                break
            time.sleep(0.2)
        calls(openai.OpenAI(base_url=base, api_key="none", max_retries=0))
        asyncio.run(_over_websocket(base))
    finally:
        proxy.terminate()
        proxy.wait(20)


async def _over_websocket(base: str) -> None:
    url = f"{base.replace('http', 'ws', 1)}/responses"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as connection:
        for number in (11, 12):
            asked = f"What is 6 times {number}?"
            body = {"type": "response.create", "model": "openai/gpt-oss-20b", "input": asked}
            await connection.send_json(body)
            while (await connection.receive_json())["type"] != "response.completed":
                pass


class Read(NamedTuple):
    """What `import` reads of an exchange; `reasoning` is None without a reply."""

    exchange: Exchange
    lost: Sequence[str]
    reasoning: str | None

    @property
    def number(self) -> int:
        """The factor that the request asks for; 0 if its body is missing."""
        asked = re.search(r"times (\d+)\?", str(self.exchange.request.body))
        return int(asked.group(1)) if asked else 0

    @property
    def broke(self) -> str:
        """How a stream that broke off is recorded."""
        response = self.exchange.response
        if response is None:
            return "without a body"
        return "as a reply" if response.complete else "cut"


def read(path: Path) -> list[Read]:
    """Read a recording. Raises ConfigurationError if it is refused."""
    made = []
    for rollout in read_traffic([path]).rollouts:
        for exchange in rollout.exchanges:
            try:
                reasoning = DIALECTS[rollout.condition.api].read(exchange).reasoning
            except UnreadableReplyError:
                reasoning = None
            lost = rollout.recording.lost if rollout.recording else ()
            made.append(Read(exchange, lost, reasoning))
    return made


def line(says: str, files: Mapping[str, Path]) -> str:
    """Return the row of a recorder in the table."""
    if not files["plain"].exists():
        return table_row(says, "nothing is recorded", *["–"] * (len(_HEADINGS) - 3), "not possible")
    try:
        plain, packed, broken = (read(files[kind]) for kind in server.KINDS)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return table_row(says, "refused: no replies", *["–"] * (len(_HEADINGS) - 3), "not possible")
    over_http = [one for one in plain if not one.exchange.request.over_websocket]
    streams = [one for one in broken if one.number in (0, *_STREAMED)]
    headers = over_http and not any("headers" in one.lost for one in over_http)
    shown = len(streams) >= len(_STREAMED) and not any(one.broke == "as a reply" for one in streams)
    return table_row(
        says,
        _streams([one for one in over_http if one.number in _STREAMED]),
        _broken(streams),
        "read" if len(packed) >= len(plain) else f"{len(packed)} of {len(plain)} read",
        "read" if len(over_http) < len(plain) else "–",
        "kept" if headers else "–",
        _cot(over_http),
        "counts broken streams" if shown else "says nothing of broken streams",
    )


def _streams(streams: Sequence[Read]) -> str:
    bodies = [one for one in streams if one.exchange.response]
    if not bodies:
        return "without bodies" if streams else "none"
    kind = "events" if any("framing" in one.lost for one in bodies) else "bytes"
    kind = kind if all(map(_has_parts, bodies)) else "one object each"
    of = f", {len(bodies)} of {len(_STREAMED)}" if len(bodies) < len(_STREAMED) else ""
    return kind + of


def _has_parts(one: Read) -> bool:
    return one.exchange.response is not None and bool(one.exchange.response.parts)


def _broken(streams: Sequence[Read]) -> str:
    kinds = [one.broke for one in streams]
    kinds += ["absent"] * (len(_STREAMED) - len(streams))
    return ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))


def _cot(found: Sequence[Read]) -> str:
    groups = {"Chat": _WHOLE_CHAT, "Chat streams": _STREAMED[:2], "Responses": (8, 9)}
    kept = [
        name
        for name, numbers in groups.items()
        if any(one.reasoning for one in found if one.number in numbers)
    ]
    if len(kept) == len(groups):
        return "kept"
    return f"{', '.join(kept)} only" if kept else "lost"


def main(arguments: Sequence[str]) -> int:
    """Record, read and print; see above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "recorders")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    rows = yaml.safe_load(DESCRIBED.read_text("utf-8"))
    rows = {name: row for name, row in rows.items() if name in (options.names or rows)}
    options.work.mkdir(parents=True, exist_ok=True)
    problems, lines = list(_not_installed(rows, options.work)), []
    with server.serving() as address:
        for name, row in rows.items():
            try:
                files = {
                    kind: record(name, row, options.work, address, kind) for kind in server.KINDS
                }
                lines.append(line(row["says"], files))
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                problems.append(str(error))
    print("".join(lines), end="")
    print(*problems, sep="\n", file=sys.stderr)
    kept = keep(PAGE, "recorders", _HEADINGS, lines, write=options.write)
    return 2 if problems else kept


def _not_installed(rows: Mapping[str, Any], work: Path) -> Sequence[str]:
    """Install what the rows name; return what failed, as sentences."""
    packages = [package for row in rows.values() for package in row.get("npm", ())]
    described = {
        "python": {name: row for name, row in rows.items() if "packages" in row},
        "npm": {"packages": [_OPENAI, *packages]},
        "clients": {"npm": "npm:recorders"} if packages else {},
    }
    return list(install(work, described, newest=False, jobs=1).values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
