"""The rows about clients: real clients, what each damage to replies breaks, and what they send.

    python benchmarks/real_clients.py [DAMAGE …] [--work DIR] [--jobs N] [--write | --newest]

Installs the clients of benchmarks/real_clients.yaml in a folder of its own, and serves them
recorded replies of the reference server (a call, then a text) with each damage of
benchmarks/real/damages.py. Each client has one conversation with a tool over each API and in each
mode; it breaks if it raises, if its calls differ from those without a damage, or if no text
arrives whole. Clients that are offered no function of ours, such as commands, only have a text:
what damages calls is untried with them. A client whose healthy conversation fails is named and has
no row. Prints the rows that differ from those in harness/rules/clients: needs.csv (the rules that
find a damage, and the clients that break), returned.csv (where each client returns the CoT) and
measured.csv (versions and date).
`--write` replaces these files and the recorded requests of the tests. `--newest` takes the newest
releases instead of the pinned ones. Exit code 1 means that a row differs (without `--write`), 2
that something cannot be installed, or the options do not fit.
"""

import argparse
import csv
import datetime
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support"), str(ROOT / "benchmarks")]

from corpus import healthy  # noqa: E402
from real.damages import BYTES, DAMAGES, Wire, damaged  # noqa: E402
from real_servers import BenchError, called  # noqa: E402

from harness.api.parsed_rollout import ParsedRollout, parse_rollout  # noqa: E402
from harness.api.sse import blocks  # noqa: E402
from harness.records.conditions import BOTH_APIS, MODES, Api, Mode  # noqa: E402
from harness.records.rollouts import Response, Rollout, StreamPart  # noqa: E402
from harness.rules.catalogue import examine  # noqa: E402
from harness.rules.clients.forms import CLIENTS  # noqa: E402
from harness.rules.clients.needs import ARGUMENTS, EVERY, UNTRIED, finding_keys  # noqa: E402

SCRIPTS = ROOT / "benchmarks/real"
TABLES = ROOT / "harness/rules/clients"
REQUESTS = ROOT / "tests/reference_engine/client_requests.jsonl"
INSTALLED = frozenset({"oai-py", "oai-py-stream"})
"""The clients that the tool runs itself, and that need no row of needs.csv."""
WRITES_HISTORY = INSTALLED | {"oai-js", "oai-js-stream"}
"""The SDKs as programs use them that write the history themselves, without a CoT."""
ALWAYS = [
    ("a call that stands in the text or is lost", api, mode, rule, EVERY)
    for rule in ("calls.lost", "calls.in_text", "calls.arguments.cut")
    for api in BOTH_APIS
    for mode in MODES
] + [
    ("a call that stands in the text or is lost", "chat", mode, "chat.finish.no_calls", EVERY)
    for mode in MODES
]
"""Rows that no client has to try: there is nothing to call."""
BY_PLACE = ("schema", "responses.status", "chat.stream.tool_calls", "responses.stream.items.id")
"""In the names of rules that find several damages: which one it is, the path says."""
URL = "URL"
"""In a command, the base URL of its server."""
QUESTION = "What is the weather in Lisbon?"
"""What a client asks; in place of a call, that of a client that is offered no function of ours."""
MARK = "measured "
"""What the scripts of the clients print before a result."""
_EVERY = [*BYTES, *DAMAGES]
_QUARTER = "html-200"
"""Hits a quarter of the replies, so that what breaks is chance."""
_MOST_REQUESTS = 8
"""Requests of one conversation, after which the server refuses more: a client may ask for ever."""
_LONG = 120
"""Characters of a text of a client's own, above which the recorded request has a short one."""


class Conversation(NamedTuple):
    """The recorded replies of an API in a mode: a call of get_weather, and a text."""

    rollout: Rollout
    wires: Sequence[Wire]
    thought: str  # the CoT of the first reply


Replies = Mapping[tuple[str, bool], Conversation]


def recorded() -> Replies:
    """Return one conversation for each API, and whether it is streamed."""
    found: dict[tuple[str, bool], Conversation] = {}
    for rollout in healthy().rollouts:
        if rollout.task != "tool_calling" or len(rollout.exchanges) != 2:
            continue
        first, second = (exchange.reply for exchange in parse_rollout(rollout).exchanges)
        weather = first and [call.name for call in first.calls] == ["get_weather"]
        if first and weather and second and second.text:
            wires = [_wire(e.response) for e in rollout.exchanges if e.response]
            key = rollout.api, rollout.condition.streaming
            found.setdefault(key, Conversation(rollout, wires, first.reasoning))
    return found


def _wire(response: Response) -> Wire:
    headers = {name.lower(): value for name, value in response.headers.items()}
    text = response.text + ("\n\n" if response.parts else "")
    return Wire(headers["content-type"], "", text.encode())


def plan(replies: Replies, damages: Sequence[str]) -> Mapping[str, list[str]]:
    """Return, by damage, the APIs and modes whose replies it changes; '' is no damage."""
    return {
        damage: [
            f"{api} {'streaming' if streams else 'non-streaming'}"
            for (api, streams), made in replies.items()
            if not damage or any(damaged(damage, wire) != wire for wire in made.wires)
        ]
        for damage in ("", *damages)
    }


class Handler(BaseHTTPRequestHandler):
    """Answers a conversation with the recorded replies, with the damage of its request."""

    protocol_version = "HTTP/1.1"
    replies: ClassVar[Replies] = {}

    def do_GET(self) -> None:
        """Refuse the upgrade to WebSocket and lists of models, as most servers do."""
        upgrade = "websocket" in (self.headers.get("Upgrade") or "").lower()
        self._send(426 if upgrade else 404, Wire("application/json", "", b"{}"))

    def do_POST(self) -> None:
        """Answer, or refuse what OpenAI's API refuses."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        api = "responses" if "responses" in self.path else "chat"
        self.server.bodies.append((api, body))  # type: ignore[attr-defined]
        items = body["messages" if api == "chat" else "input"]
        items = items if isinstance(items, list) else []
        endless = len(self.server.bodies) > _MOST_REQUESTS  # type: ignore[attr-defined]
        if refusal := "Too many requests." if endless else _refusal(items):
            error = {"error": {"message": refusal, "type": "invalid_request_error"}}
            self._send(400, Wire("application/json", "", json.dumps(error).encode()))
            return
        offered = (tool.get("function", tool).get("name") for tool in body.get("tools") or ())
        # Semantic Kernel writes the name of its plugin before it.
        named = any(str(name).endswith("get_weather") for name in offered)
        asked = named and not any(map(_is_result, items))
        wire = self.replies[api, bool(body.get("stream"))].wires[not asked]
        first = self.path.strip("/").partition("/")[0]
        damage = self.headers.get("X-Damage") or (first if first in _EVERY else "")
        self._send(200, damaged(damage, wire))

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


@dataclass
class Measured:
    """What the clients made of the replies, by damage and use ("pyd chat streaming").

    `requests` are those of the conversations without a damage.
    """

    outcomes: dict[tuple[str, str], Any] = field(default_factory=dict)
    requests: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)


def install(work: Path, clients: Mapping[str, Any], *, newest: bool) -> None:
    """Install the clients, unless they are. Raises BenchError."""
    if (done := work / "installed").exists():
        return
    for name, each in clients["python"].items():
        called(sys.executable, "-m", "venv", "--clear", str(work / name))
        wanted = [_unpinned(package) if newest else package for package in each["packages"]]
        called(str(work / name / "bin/pip"), "install", "-q", *wanted, *each.get("imports", ()))
    wanted = [_unpinned(package) if newest else package for package in clients["npm"]["packages"]]
    called("npm", "install", "--silent", "--prefix", str(work), *wanted)
    done.touch()


def _unpinned(package: str) -> str:
    """Return a package without its version: `name==1.2`, `@scope/name@1.2`."""
    name = package.partition("==")[0]
    return name[0] + name[1:].partition("@")[0] + ("@latest" if name == package else "")


def installed(work: Path, clients: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the versions of the packages that were installed."""
    found: dict[str, str] = {}
    for name, each in clients["python"].items():
        for package in each["packages"]:
            bare = package.partition("==")[0]
            named = bare.partition("[")[0].replace("-", "_")
            (info,) = (work / name / "lib").glob(f"python*/site-packages/{named}-*.dist-info")
            found[bare] = info.name.removesuffix(".dist-info").rpartition("-")[2]
    for package in map(_unpinned, clients["npm"]["packages"]):
        bare = package.removesuffix("@latest")
        path = work / "node_modules" / bare / "package.json"
        found[f"npm:{bare}"] = json.loads(path.read_text("utf-8"))["version"]
    return found


def measure(
    work: Path, clients: Mapping[str, Any], replies: Replies, damages: Sequence[str], jobs: int
) -> Measured:
    """Let all clients have their conversations."""
    planned = work / "plan.json"
    planned.write_text(json.dumps(plan(replies, damages)), encoding="utf-8")
    script = work / "javascript_clients.mjs"  # beside its modules
    script.write_text((SCRIPTS / script.name).read_text("utf-8"), encoding="utf-8")
    commands = [["node", str(script), URL, str(planned)]]
    binaries = str(work / "node_modules/.bin")
    for name, each in clients["python"].items():
        start = [str(work / name / "bin/python"), str(SCRIPTS / "python_clients.py")]
        start += [URL, str(planned), binaries]
        commands += [[*start, *those.split()] for those in each["processes"]]
    found = Measured()
    (work / "measured.jsonl").unlink(missing_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda command: _converse(work, command, replies, found), commands))
    return found


def _converse(work: Path, command: Sequence[str], replies: Replies, found: Measured) -> None:
    Handler.replies = replies
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    bodies: list[tuple[str, Any]] = []
    server.bodies = bodies  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True).start()
    process = subprocess.Popen(
        [f"http://127.0.0.1:{server.server_port}/v1" if part == URL else part for part in command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # it reads as the tool does
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    for line in process.stdout:
        if not line.startswith(MARK):  # libraries print, too
            continue
        # A thread of a library may print behind it.
        (damage, use, outcome), _ = json.JSONDecoder().raw_decode(line.removeprefix(MARK))
        found.outcomes[damage, use] = outcome
        if not damage:
            found.requests[use] = bodies.copy()
        with (work / "measured.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps([damage, use, outcome, found.requests[use]]) + "\n")
        bodies.clear()
        process.stdin.write("\n")  # only now may the next use send requests
        process.stdin.flush()
    process.wait()
    server.shutdown()


def breaks(outcome: Mapping[str, Any], healthy: Mapping[str, Any]) -> bool:
    """Whether a client raises, misses a call, or gets no text, or only its beginning."""
    text, whole = outcome.get("text"), healthy["text"]
    cut = text != whole and whole.startswith(text or "")
    return outcome["calls"] != healthy["calls"] or not text or cut


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
    keys: set[str] = set()
    for finding in findings:
        if finding.severity != "info" or ".schema" in finding.id:
            rule, where, *more = finding_keys(finding)
            keys |= {where if any(each in rule for each in BY_PLACE) else rule, *more}
    return keys


def not_run(found: Measured) -> Iterator[str]:
    """Yield the uses whose healthy conversation fails: nothing can be said about them."""
    for (damage, use), outcome in found.outcomes.items():
        if not damage and not (outcome["calls"] and outcome.get("text")):
            yield f"{use}: {outcome.get('error') or 'nothing arrives'}"


def need_rows(
    found: Measured, replies: Replies, damages: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: the damages that rules find or that break a client."""
    for damage in damages:
        for api in BOTH_APIS:
            for mode in MODES:
                conversation = replies[api, mode == "streaming"]
                of_call = damaged(damage, conversation.wires[1]) == conversation.wires[1]
                broken, tried, untried = _broken(found, damage, api, mode, of_call=of_call)
                by = " ".join(sorted(rules(conversation, damage)))
                # Without JSON, it is the program that raises.
                named = broken - (frozenset() if by.startswith(ARGUMENTS) else INSTALLED)
                if broken and broken == tried:
                    named = {EVERY}
                if named and not by:
                    print(f"{damage}: no rule, {api} {mode}: {sorted(named)}", file=sys.stderr)
                elif by:
                    others = {f"{UNTRIED}{client}" for client in untried if named != {EVERY}}
                    yield damage, api, mode, by, " ".join([*sorted(named), *sorted(others)])


def _broken(
    found: Measured, damage: str, api: Api, mode: Mode, *, of_call: bool
) -> tuple[set[str], set[str], set[str]]:
    """Return the clients that a damage breaks, all that were tried with it, and the others.

    These are the clients whose conversation has no call, if the damage is `of_call`: in a call
    alone.
    """
    broken: set[str] = set()
    tried: set[str] = set()
    untried: set[str] = set()
    failed = {line.partition(":")[0] for line in not_run(found)}
    for (name, use), outcome in found.outcomes.items():
        client, _, place = use.partition(" ")
        known = client in CLIENTS and use not in failed
        if name == damage and place == f"{api} {mode}" and known:
            healthy = found.outcomes["", use]
            if of_call and healthy["calls"] == [QUESTION]:
                untried.add(client)
                continue
            tried.add(client)
            if breaks(outcome, healthy):
                broken.add(client)
    return broken, tried, untried


def returned_rows(found: Measured, replies: Replies) -> Iterator[tuple[str, ...]]:
    """Yield where each use returns the CoT of a call, as the paths of the members that have it."""
    failed = {line.partition(":")[0] for line in not_run(found)}
    for use in sorted(found.requests.keys() - failed):
        client, api, mode = use.split()
        thought = replies[api, mode == "streaming"].thought
        sent = [body for _, body in found.requests[use]]
        after = [body for body in sent if any(map(_is_result, _items(body)))]
        if after and client not in WRITES_HISTORY:
            paths = sorted(set(_places(after[-1], thought)))
            yield client, api, mode, " ".join(paths) or _reference(after[-1]) or "lost"


def _reference(body: Mapping[str, Any]) -> str:
    """Return how a request names the stored CoT or returns it encrypted, if it does."""
    items = _items(body)
    if body.get("previous_response_id"):
        return "previous_response_id"
    if any(item.get("type") == "item_reference" for item in items):
        return "item_reference"
    encrypted = any(i.get("type") == "reasoning" and i.get("encrypted_content") for i in items)
    return "encrypted_content" if encrypted else ""


def _items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages or input items of a request."""
    given = body.get("messages") or body.get("input")
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


def _places(value: object, text: str, path: str = "") -> Iterator[str]:
    if isinstance(value, str):
        if text and text in value:
            yield path
        elif value and path.rpartition(".")[2] in _COT and text.endswith(value):
            yield f"{path}:last-fragment"
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _places(part, text, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for part in value:
            yield from _places(part, text, f"{path}[]")


_COT = ("reasoning", "reasoning_content")


def request_rows(found: Measured) -> Iterator[dict[str, Any]]:
    """Yield the distinct requests of the healthy conversations, without the texts of others."""
    seen: set[str] = set()
    failed = {line.partition(":")[0] for line in not_run(found)}
    for use, sent in sorted(found.requests.items()):
        for turn, (api, body) in enumerate(sent):
            if use not in failed:
                row = {"client": use.split()[0], "api": api, "turn": turn, "body": _short(body)}
                if (key := json.dumps(row, sort_keys=True)) not in seen:
                    seen.add(key)
                    yield row


def _short(value: object, name: str = "") -> object:
    """Return a value of a request with short texts, and of the tools only one of each type."""
    if isinstance(value, str):
        return value if len(value) <= _LONG or name == "encrypted_content" else "A long text."
    if isinstance(value, list) and name == "tools":
        kept: dict[str, object] = {}
        for tool in value:
            kept.setdefault(str(tool.get("type")), _own(tool))
        return list(kept.values())
    if isinstance(value, list):
        return [_short(part) for part in value]
    if isinstance(value, dict) and name == "client_metadata":
        return dict.fromkeys(value, "A text.")
    if isinstance(value, dict):
        return {key: _short(part, key) for key, part in value.items()}
    return value


def _own(tool: Mapping[str, Any]) -> object:
    """Return a tool as it is if it is ours, or its form without its texts."""
    named = tool.get("function", tool)
    if named.get("name") in ("get_weather", None):
        return _short(tool)
    form = {"type": "object", "properties": {}}
    short: dict[str, object] = {
        "description": "A tool.",
        "parameters": form,
        "tools": [],
        "format": None,
    }
    made = {key: short.get(key, part) for key, part in named.items()}
    made = {key: part for key, part in made.items() if part is not None}
    if "tools" in made:
        inner = {"type": "function", "name": "f", "description": "A tool.", "parameters": form}
        made["tools"] = [inner]
    return {**tool, "function": made} if "function" in tool else made


def version_rows(
    clients: Mapping[str, Any], versions: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    """Yield what was installed for each client."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    for client, packages in clients["clients"].items():
        for package in packages.split():
            yield client, package, versions[package], today


HEADS = {
    "needs": ("damage", "api", "mode", "rules", "breaks"),
    "returned": ("client", "api", "mode", "cot"),
    "measured": ("client", "package", "version", "date"),
}


def text_of(name: str, rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table as the text of its file."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(HEADS[name])
    table.writerows(rows)
    return out.getvalue()


def changes(name: str, text: str, damages: Sequence[str] = ()) -> list[str]:
    """Return the rows that the stored table has not, and those that only it has."""
    path = TABLES / f"{name}.csv"
    old = path.read_text("utf-8").splitlines() if path.exists() else []
    new = text.splitlines()
    partly = name == "needs" and damages
    kept = [r for r in old if not partly or r.partition(",")[0] in damages]
    gone = [f"- {name}.csv: {row}" for row in kept if row not in new]
    return gone + [f"+ {name}.csv: {row}" for row in new if row not in old]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("damages", nargs="*", metavar="DAMAGE")
    parser.add_argument("--work", type=Path, default=ROOT / ".real/clients")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--newest", action="store_true")
    arguments = parser.parse_args()
    if arguments.write and (arguments.damages or arguments.newest):
        parser.error("--write is for all damages and the pinned releases: leave out the others.")
    damages = arguments.damages or _EVERY
    work = arguments.work.resolve()
    work = work.with_name(f"{work.name}-newest") if arguments.newest else work
    work.mkdir(parents=True, exist_ok=True)
    clients = yaml.safe_load((Path(__file__).with_suffix(".yaml")).read_text("utf-8"))
    replies = recorded()
    try:
        install(work, clients, newest=arguments.newest)
        versions = installed(work, clients)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    found = measure(work, clients, replies, damages, arguments.jobs)
    for line in not_run(found):
        print(f"not run: {line}", file=sys.stderr)
    needed = (row for row in need_rows(found, replies, damages) if row[0] != _QUARTER)
    tables = {
        "needs": text_of("needs", [*(() if arguments.damages else ALWAYS), *needed]),
        "returned": text_of("returned", returned_rows(found, replies)),
        "measured": text_of("measured", version_rows(clients, versions)),
    }
    differ = [
        line
        for name, text in tables.items()
        if name != "measured"
        for line in changes(name, text, arguments.damages)
    ]
    print("\n".join(differ) or "No row differs.")
    if arguments.write:
        for name, text in tables.items():
            (TABLES / f"{name}.csv").write_text(text, encoding="utf-8")
        lines = (json.dumps(row, ensure_ascii=False) for row in request_rows(found))
        REQUESTS.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return 1 if differ and not arguments.write else 0


if __name__ == "__main__":
    sys.exit(main())
