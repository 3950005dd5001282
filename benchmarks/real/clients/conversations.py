"""Let real clients have conversations, and note what they made of the replies and what they sent.

A process of a client, such as python.py, prints `MARK` and a JSON array of its uses ("pyd chat
streaming"). Then it reads a JSON array of a damage, a use and the most seconds on each line, has
the conversation, and prints `MARK` and an object: the arguments of its `calls`, and its last `text`
or its `error`, with `late` if it does not end.
"""

import json
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, NamedTuple, Self

from harness.records.conditions import Api
from harness.rules.clients.forms import CLIENTS
from real.clients.packages import by_npm
from real.clients.replies import Replies, Server, only_call, plan, served

MARK = "measured "
"""What the processes of the clients print before a result; libraries print, too."""
LONGEST = 120
"""Seconds of a conversation, also on a machine that does other work."""
_SLOWER = 5
"""On a slow machine, as many times the seconds of the client's quickest healthy conversation."""
_FIRST = 500
"""Seconds of a client's first conversation, which imports its packages, and of a start."""
_GRACE = 60
"""Seconds after which a process is ended that does not stop a conversation itself."""
_REPEATED = 2
"""Tries of a conversation that does not end, because other work may have delayed it."""
LOG = "measured.jsonl"
"""What each conversation came to: the damage, the use, its tries, the requests, and seconds."""
QUESTION = "What is the weather in Lisbon?"
"""What the clients ask."""
FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]


@dataclass
class Measured:
    """What the clients made of the replies, by damage and use ("pyd chat streaming").

    `requests` are those of the conversations without a damage. `varying` has the conversations
    whose tries differ, and `failed` the processes that do not start, with the reason.
    """

    outcomes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    requests: dict[str, list[tuple[Api, Any]]] = field(default_factory=dict)
    varying: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(
        self, damage: str, use: str, each: list[dict[str, Any]], sent: list[tuple[Api, Any]]
    ) -> None:
        """Note the tries of a conversation, and the requests of one without a damage."""
        self.outcomes[damage, use] = each[0]
        self.varying.pop((damage, use), None)
        if any(_arrived(other) != _arrived(each[0]) for other in each):
            self.varying[damage, use] = each
        if not damage:
            self.requests[use] = sent


def _arrived(outcome: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what a client got; the words of an error may differ."""
    return outcome["calls"], outcome.get("text")


@dataclass(frozen=True)
class Work:
    """What to measure: in the folder, with the replies, each damage `tries` times."""

    folder: Path
    replies: Replies
    damages: Sequence[str]
    tries: int = 1


def measured_before(folder: Path, uses_of: Collection[str]) -> Measured:
    """Return what these clients did when they were measured last in the folder."""
    found = Measured()
    for line in (folder / LOG).read_text("utf-8").splitlines():
        damage, use, each, sent, _ = json.loads(line)
        if use.partition(" ")[0] in uses_of:
            found.add(damage, use, each, [(api, body) for api, body in sent])
    return found


class _Lane(NamedTuple):
    """A process of clients, with the damages that it shows to them."""

    name: str
    command: Sequence[str]
    damages: Sequence[str]


def measure(
    work: Work, clients: Mapping[str, Any], missing: Collection[str], jobs: int, *, whole: bool
) -> Measured:
    """Let the clients have their conversations, except for those of the `missing` environments.

    The log begins anew if all of them are measured with all damages (`whole`).
    """
    lanes = [*_lanes(work, clients, missing)]
    found = Measured()
    if whole:
        (work.folder / LOG).unlink(missing_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        for made in [pool.submit(_converse, work, lane, found) for lane in lanes]:
            made.result()
    return found


def _lanes(work: Work, clients: Mapping[str, Any], missing: Collection[str]) -> Iterator[_Lane]:
    """Yield the processes, those of a slow environment in as many `parts` as it has."""
    javascript = set(by_npm(clients))
    commands: set[str] = set()
    for name, each in clients["python"].items():
        for process in each["processes"]:
            names = process.split()
            commands |= javascript & {*names}
            if not {name, *("npm" for _ in commands & {*names})} & {*missing}:
                start = [str(work.folder / name / "bin/python"), "-P", "-m", "real.clients.python"]
                yield from _parts(work, process, [*start, *names], each.get("parts", 1))
    if (modules := sorted(javascript - commands)) and "npm" not in missing:
        # Beside its modules, which it finds by its own place.
        script = work.folder / "javascript.mjs"
        script.write_text((FOLDER / script.name).read_text("utf-8"), encoding="utf-8")
        parts = clients["npm"].get("parts", 1)
        yield from _parts(work, " ".join(modules), ["node", str(script), *modules], parts)


def _parts(work: Work, names: str, command: Sequence[str], parts: int) -> Iterator[_Lane]:
    """Yield a process for each part of the damages; one if its clients are shown none."""
    parts = parts if CLIENTS.keys() & {*names.split()} else 1
    for part in range(min(parts, len(work.damages) or 1)):
        yield _Lane(f"{names} {part}", command, work.damages[part::parts])


def _converse(work: Work, lane: _Lane, found: Measured) -> None:
    home = work.folder / "homes" / lane.name.replace(" ", "-")
    with (
        served(work.replies) as server,
        _Process(lane.command, server, work.folder, home) as process,
    ):
        try:
            uses = process.uses()
            for damage, places in plan(work.replies, lane.damages).items():
                for use in uses:
                    if use.partition(" ")[2] in places and _shows(work, damage, use, found):
                        _try(work, process, damage, use, found)
        except LateError as late:
            found.failed[lane.name] = str(late)


def _try(work: Work, process: "_Process", damage: str, use: str, found: Measured) -> None:
    """Have a conversation as often as wanted, and note what it comes to."""
    start = time.monotonic()
    each = [process.conversation(damage, use) for _ in range(work.tries if damage else 1)]
    sent = [] if damage else [*process.server.requests]
    found.add(damage, use, each, sent)
    row = [damage, use, each, sent, round(time.monotonic() - start, 1)]
    with (work.folder / LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")


def _shows(work: Work, damage: str, use: str, found: Measured) -> bool:
    """Whether a conversation with a damage shows anything.

    A client without a row of its own shows only what it sends, one whose healthy conversation fails
    shows nothing, and one that is offered no function of ours never gets the reply with the call.
    """
    if not damage:
        return True
    client, _, place = use.partition(" ")
    healthy = found.outcomes["", use]
    never = asks_only(healthy) and only_call(work.replies[place], damage)
    return client in CLIENTS and works(healthy) and not never


def works(outcome: Mapping[str, Any]) -> bool:
    """Whether a conversation has a call and a text."""
    return bool(outcome["calls"] and outcome.get("text"))


def asks_only(healthy: Mapping[str, Any]) -> bool:
    """Whether a client is offered no function of ours: in place of a call it shows its question."""
    return bool(healthy["calls"] == [QUESTION])


class _Process:
    """A process of clients, which talks to a server."""

    def __init__(self, command: Sequence[str], server: Server, folder: Path, home: Path) -> None:
        self.server = server
        self._command = command
        self._seconds: dict[str, float] = {}  # of the quickest healthy conversation of each client
        # It reads as the tool does: with the tool's own code.
        self._environment = {
            "REAL_CLIENTS_URL": server.url,
            "REAL_CLIENTS_COMMANDS": str(folder / "node_modules/.bin"),
            "REAL_CLIENTS_HOME": str(home),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}",
        }
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _start(self) -> None:
        self._errors: deque[str] = deque(maxlen=1)
        self._results: Queue[Any] = Queue()
        self._process = subprocess.Popen(
            self._command,
            env=os.environ | self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._readers = [
            Thread(target=_results, args=(self._process, self._results), daemon=True),
            Thread(target=_errors, args=(self._process, self._errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _end(self) -> None:
        """End it, with the commands that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5)  # longer if a command left its group, and has the pipe still
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _restart(self) -> None:
        self._end()
        self._start()
        self.uses()

    def uses(self) -> list[str]:
        """Return what its clients can do; call it once, first. Raises `LateError`."""
        found: list[str] = self._result(_FIRST)
        return found

    def conversation(self, damage: str, use: str) -> dict[str, Any]:
        """Return what a conversation comes to; one that does not end is tried again.

        Raises `LateError` if the process cannot be started again.
        """
        made: dict[str, Any] = {}
        for _ in range(_REPEATED):
            self.server.requests.clear()
            made = self._outcome(damage, use)
            if "late" not in made:
                break
            self._restart()
        return made

    def _outcome(self, damage: str, use: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        client = use.partition(" ")[0]
        start, healthy = time.monotonic(), self._seconds.get(client)
        seconds = max(LONGEST, round(_SLOWER * healthy)) if healthy is not None else _FIRST
        try:
            self._process.stdin.write(json.dumps([damage, use, seconds]) + "\n")
            self._process.stdin.flush()
            made: dict[str, Any] = self._result(seconds + _GRACE)
        except (LateError, OSError) as late:
            return {"calls": [], "error": str(late), "late": True}
        if not damage:
            taken = time.monotonic() - start
            self._seconds[client] = min(taken, taken if healthy is None else healthy)
        return made

    def _result(self, seconds: float) -> Any:  # noqa: ANN401 - JSON
        try:
            made = self._results.get(timeout=seconds)
        except Empty:
            raise LateError(f"no end after {seconds} s") from None
        if made is None:
            raise LateError(f"the process ended: {' '.join(self._errors)[-200:]}")
        return made


class LateError(Exception):
    """A process ends, or says nothing in time; the message says which."""


def _results(process: "subprocess.Popen[str]", into: "Queue[Any]") -> None:
    """Put the results of a process, and None when it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(MARK):
            # A thread of a library may print behind it.
            into.put(json.JSONDecoder().raw_decode(line.removeprefix(MARK))[0])
    into.put(None)


def _errors(process: "subprocess.Popen[str]", into: "deque[str]") -> None:
    """Keep the last line of what a process says of its errors."""
    assert process.stderr is not None
    into.extend(line.strip() for line in process.stderr if line.strip())
