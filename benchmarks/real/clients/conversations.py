"""Let real clients have conversations; note what they made of the replies and what they sent."""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.records.conditions import Api
from harness.rules.clients.forms import CLIENTS
from real.clients.client_process import ClientProcess, LateError
from real.clients.packages import by_npm
from real.clients.replies import Replies, only_call, plan, served

LOG = "measured.jsonl"
"""What each conversation came to: the damage, the use, its tries, the requests, and seconds."""
QUESTION = "What is the weather in Lisbon?"
"""What the clients ask."""
FOLDER = Path(__file__).parent


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

    A measurement of all clients with all damages (`whole`) starts a new log.
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
        ClientProcess(lane.command, server, work.folder, home) as process,
    ):
        try:
            uses = process.uses()
            for damage, places in plan(work.replies, lane.damages).items():
                for use in uses:
                    if use.partition(" ")[2] in places and _shows(work, damage, use, found):
                        _try(work, process, damage, use, found)
        except LateError as late:
            found.failed[lane.name] = str(late)


def _try(work: Work, process: ClientProcess, damage: str, use: str, found: Measured) -> None:
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
