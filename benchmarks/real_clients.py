"""The table of what clients need: real clients, and what each damage to replies breaks.

    python benchmarks/real_clients.py [DAMAGE …] [--work DIR] [--write]

Installs the clients of `PYTHON` and `NPM`, and serves them recorded replies of the reference server
(a call, then a text) with each damage of benchmarks/real/damages.py. Each client has one
conversation with a tool over each API and in each mode; it breaks if it raises, if its calls differ
from those without a damage, or if no text arrives. Prints a row for each damage, API and mode: the
rules that find the damage in these replies, and the clients that break. With `--write`, the rows of
all damages replace harness/rules/clients/needs.csv. Exit code 2 means that something cannot be
installed.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, TextIO

from corpus import healthy
from real.damages import BYTES, DAMAGES, Wire, damaged
from real_servers import BenchError, called

from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.api.sse import blocks
from harness.records.conditions import BOTH_APIS, MODES, Api, Mode
from harness.records.rollouts import Response, Rollout, StreamPart
from harness.rules.catalogue import examine
from harness.rules.clients.forms import CLIENTS
from harness.rules.clients.needs import EVERY, finding_keys

SCRIPTS = Path(__file__).parent / "real"
TABLE = Path(__file__).parents[1] / "harness/rules/clients/needs.csv"
PYTHON = (
    "openai==3.57.0 openai-agents==0.24.0 langchain==1.5.2 langchain-openai==1.7.4 "
    "pydantic-ai-slim[openai]==2.38.0 litellm==1.110.2"
).split()
NPM = (
    "openai@6.49.0 @openai/agents@0.20.0 ai@6.0.326 @ai-sdk/openai@3.0.141 "
    "@ai-sdk/openai-compatible@2.0.92 zod @openai/codex@0.169.0"
).split()
INSTALLED = frozenset({"oai-py", "oai-py-stream"})
"""The clients that the tool runs itself, and that need no row."""
FROM_SOURCE = {
    "call-index-missing": "hay smol",
    "finish-missing": "opencode qwen-code strands",
    "completed-missing": "llama",
    "final-output-empty": "llama",
}
"""By damage, clients that break as their source says, or as an earlier trial showed."""
ALWAYS = [
    ("a call that stands in the text or is lost", api, mode, rule, EVERY)
    for rule in ("calls.lost", "calls.in_text", "calls.arguments.cut", "calls.arguments.json")
    for api in BOTH_APIS
    for mode in MODES
]
"""Rows that no client has to try: there is nothing to call."""
BY_PLACE = ("schema", "responses.status", "chat.stream.tool_calls", "responses.stream.items.id")
"""In the names of rules that find several damages: which one it is, the path says."""
_QUARTER = "html-200"
"""Hits a quarter of the replies, so that what breaks is chance."""


class Conversation(NamedTuple):
    """The recorded replies of an API in a mode: a call of get_weather, and a text."""

    rollout: Rollout
    wires: Sequence[Wire]


def recorded() -> Mapping[tuple[str, bool], Conversation]:
    """Return one conversation for each API, and whether it is streamed."""
    found: dict[tuple[str, bool], Conversation] = {}
    for rollout in healthy().rollouts:
        if rollout.task != "tool_calling" or len(rollout.exchanges) != 2:
            continue
        first, second = (exchange.reply for exchange in parse_rollout(rollout).exchanges)
        weather = first and [call.name for call in first.calls] == ["get_weather"]
        if weather and second and second.text:
            wires = [_wire(e.response) for e in rollout.exchanges if e.response]
            key = rollout.api, rollout.condition.streaming
            found.setdefault(key, Conversation(rollout, wires))
    return found


def _wire(response: Response) -> Wire:
    headers = {name.lower(): value for name, value in response.headers.items()}
    text = response.text + ("\n\n" if response.parts else "")
    return Wire(headers["content-type"], "", text.encode())


class Handler(BaseHTTPRequestHandler):
    """Answers a conversation with the recorded replies, with the damage of its request."""

    protocol_version = "HTTP/1.1"
    replies: Mapping[tuple[str, bool], Conversation] = {}

    def do_POST(self) -> None:
        """Answer, or refuse what OpenAI's API refuses."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        api = "responses" if "responses" in self.path else "chat"
        items = body["messages" if api == "chat" else "input"]
        items = items if isinstance(items, list) else []
        if refusal := _refusal(items):
            error = {"error": {"message": refusal, "type": "invalid_request_error"}}
            self._send(400, Wire("application/json", "", json.dumps(error).encode()))
            return
        named = (tool.get("function", tool).get("name") for tool in body.get("tools") or ())
        asked = "get_weather" in named and not any(map(_is_result, items))
        wire = self.replies[api, bool(body.get("stream"))].wires[not asked]
        self._send(200, damaged(self.headers.get("X-Damage") or "", wire))

    def _send(self, status: int, wire: Wire) -> None:
        self.send_response(status)
        self.send_header("Content-Type", wire.media)
        self.send_header("Content-Length", str(len(wire.body)))
        if wire.encoding:
            self.send_header("Content-Encoding", wire.encoding)
        self.end_headers()
        self.wfile.write(wire.body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _is_result(item: Mapping[str, Any]) -> bool:
    return item.get("role") == "tool" or item.get("type") == "function_call_output"


def _refusal(items: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why OpenAI's API refuses calls and results, as the reference server does."""
    for item in items:
        given = [*(item.get("tool_calls") or ()), *([item] if _is_result(item) else ())]
        given += [item] if item.get("type") == "function_call" else []
        for part in given:
            name = "tool_call_id" if part.get("role") == "tool" else "call_id"
            name = "id" if "function" in part else name
            arguments = part.get("function", part).get("arguments", "")
            if not (isinstance(part.get(name), str) and part[name]):
                return f"Missing required parameter: {name!r}."
            if not isinstance(arguments, str):
                return "Invalid type for 'arguments'."
    return None


@contextmanager
def serving(replies: Mapping[tuple[str, bool], Conversation]) -> Iterator[str]:
    """Serve the replies; yield the base URL."""
    Handler.replies = replies
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def install(work: Path) -> None:
    """Install the clients, unless they are. Raises BenchError."""
    if (done := work / "installed").exists():
        return
    called(sys.executable, "-m", "venv", "--clear", str(work / "env"))
    called(str(work / "env/bin/pip"), "install", "-q", *PYTHON)
    called("npm", "install", "--silent", "--prefix", str(work), *NPM)
    done.touch()


def outcomes(work: Path, url: str, damages: Sequence[str]) -> Mapping[tuple[str, str], Any]:
    """Return what each client, API and mode made of each damage: its calls and its text."""
    script = work / "javascript_clients.mjs"  # beside its modules
    script.write_text((SCRIPTS / script.name).read_text("utf-8"), encoding="utf-8")
    python = [str(work / "env/bin/python"), str(SCRIPTS / "python_clients.py"), url]
    commands = [*python, str(work / "node_modules/.bin/codex")], ["node", str(script), url]
    found: dict[tuple[str, str], Any] = {}
    for command in commands:
        process = subprocess.Popen(
            [*command, "", *damages],
            env=os.environ | {"PYTHONPATH": str(SCRIPTS.parents[1])},  # it reads as the tool does
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("["):
                damage, use, outcome = json.loads(line)
                found[damage, use] = outcome
        process.wait()
    return found


def breaks(outcome: Mapping[str, Any], healthy: Mapping[str, Any]) -> bool:
    """Whether a client raises, misses a call, or gets no text."""
    return outcome["calls"] != healthy["calls"] or not outcome.get("text")


def rules(conversation: Conversation, damage: str) -> frozenset[str]:
    """Return the rules that find a damage in each reply that it changes."""
    keys: list[set[str]] = []
    for place, wire in enumerate(conversation.wires):
        changed = damaged(damage, wire)
        if changed == wire or changed.encoding:
            continue
        before, after = (_found(conversation.rollout, place, each) for each in (wire, changed))
        if after - before:
            keys.append(after - before)
    return frozenset(set.intersection(*keys)) if keys else frozenset()


def _found(rollout: Rollout, place: int, wire: Wire) -> set[str]:
    exchange = rollout.exchanges[place]
    assert exchange.response is not None
    streamed = "event-stream" in wire.media
    parts = [StreamPart(0.1, raw) for raw, _ in blocks(bytearray(wire.body))] if streamed else ()
    headers = {"content-type": wire.media}
    body = None if streamed else wire.body.decode()
    new = {"headers": headers, "body": body, "parts": tuple(parts)}
    made = exchange.model_copy(update={"response": exchange.response.model_copy(update=new)})
    broken: dict[str, str] = {}
    parsed: ParsedRollout = parse_rollout(rollout.model_copy(update={"exchanges": (made,)}))
    _, findings = examine(parsed, except_for=(), broken=broken)
    keys = {
        finding_keys(each) for each in findings if each.severity != "info" or ".schema" in each.id
    }
    return {key if any(each in name for each in BY_PLACE) else name for name, key in keys}


def rows(
    found: Mapping[tuple[str, str], Any],
    replies: Mapping[tuple[str, bool], Conversation],
    damages: Sequence[str],
) -> Iterator[tuple[str, Api, Mode, str, str]]:
    """Yield the rows of the table: the damages that rules find or that break a client."""
    for damage in damages:
        for api in BOTH_APIS:
            for mode in MODES:
                uses = {
                    use.split()[0]: outcome
                    for (name, use), outcome in found.items()
                    if name == damage and use.endswith(f" {api} {mode}")
                }
                broken = {
                    client
                    for client, outcome in uses.items()
                    if breaks(outcome, found["", f"{client} {api} {mode}"])
                }
                by = " ".join(sorted(rules(replies[api, mode == "streaming"], damage)))
                more = FROM_SOURCE.get(damage, "").split() if broken else []
                named = {*(broken - INSTALLED), *(c for c in more if api in CLIENTS[c].apis)}
                if broken and broken == uses.keys():
                    named = {EVERY}
                if named and not by:
                    print(f"{damage}: no rule, {api} {mode}: {sorted(named)}", file=sys.stderr)
                elif by:
                    yield damage, api, mode, by, " ".join(sorted(named))


def write(out: TextIO, made: Sequence[tuple[str, ...]]) -> None:
    """Write the table."""
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("damage", "api", "mode", "rules", "breaks"))
    table.writerows(made)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    every = [*BYTES, *DAMAGES]
    parser.add_argument("damages", nargs="*", default=every, metavar="DAMAGE")
    parser.add_argument("--work", type=Path, default=Path(".real/clients"))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    replies = recorded()
    try:
        install(work)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    with serving(replies) as url:
        found = outcomes(work, url, arguments.damages)
    (work / "outcomes.json").write_text(
        json.dumps([[*key, value] for key, value in found.items()], indent=0), encoding="utf-8"
    )
    measured = rows(found, replies, arguments.damages)
    made = [*ALWAYS, *(row for row in measured if row[0] != _QUARTER)]
    write(sys.stdout, made)
    if arguments.write:
        with TABLE.open("w", encoding="utf-8") as file:
            write(file, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
