"""What clients need of a reply, as `benchmarks/real_clients.py` measured it with real clients.

Each row of `needs.csv` is a damage to the replies of one API in one mode, and the clients that then
cannot use the reply; `harness.rules.clients.damages` sees it in the bytes. What the bytes of one
reply do not show, such as a text that is not the answer, is the finding of a rule.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from harness.records.conditions import Api, Mode
from harness.rules.clients.damages import Found

EVERY = "all"
"""All clients of an API, those that nobody tried too: what arrives cannot be used."""
ARGUMENTS = "calls.arguments."
"""How the ids of rules begin that find arguments which are no JSON, as a model may write them."""
UNTRIED = "?"
"""Before the name of a client that nobody tried with this damage."""
CONTENT: Mapping[str, frozenset[str]] = {
    "a call that stands in the text or is lost": frozenset({
        "calls.lost", "calls.in_text", "calls.arguments.cut", "chat.finish.no_calls", "reply.lost",
    }),
    "a call with another name or value": frozenset({
        "calls.arguments.changed", "calls.arguments.retyped", "calls.name.polluted",
    }),
    "a text that is not the answer": frozenset({
        "answer.json", "limits.prefix", "reasoning.in_answer", "reasoning.in_answer.repeated",
        "reasoning.is_answer", "reply.broken_off", "reply.declined", "reply.empty",
        "reply.foreign", "reply.stored", "text.added", "text.changed", "text.doubled",
    }),
}  # fmt: skip
"""By damage: the rules of which each finds it alone. It breaks every client, because what its user
needs did not arrive."""
CONTENT_RULES = frozenset().union(*CONTENT.values())


@dataclass(frozen=True)
class Need:
    """One damage: it `breaks` these clients, and nobody tried `?name`."""

    damage: str
    api: Api
    mode: Mode
    breaks: frozenset[str]


@cache
def needs() -> Mapping[tuple[str, Api, Mode], Need]:
    """Return the rows of the table, by damage, API and mode."""
    with (resources.files("harness.rules.clients") / "needs.csv").open(encoding="utf-8") as file:
        rows = [
            Need(
                row["damage"],
                "chat" if row["api"] == "chat" else "responses",
                "streaming" if row["mode"] == "streaming" else "non-streaming",
                frozenset(row["breaks"].split()),
            )
            for row in csv.DictReader(file)
        ]
    return {(row.damage, row.api, row.mode): row for row in rows}


@cache
def measured() -> frozenset[str]:
    """Return the clients that were tried with all damages."""
    with (resources.files("harness.rules.clients") / "measured.csv").open(encoding="utf-8") as file:
        return frozenset(row["client"] for row in csv.DictReader(file))


def broken_by(
    damages: Mapping[str, Found], rules: Iterable[str], api: Api, mode: Mode
) -> Mapping[str, str]:
    """Return the clients that cannot use a reply with these damages, each with the damage.

    `rules` found what the bytes do not show. A client that was shown a member in another state, and
    broke, breaks for all that is known: then, as all clients, it is one that nobody tried.
    """
    broken: dict[str, str] = {}
    for damage, found_by in CONTENT.items():
        if not found_by.isdisjoint(rules):
            broken.setdefault(EVERY, damage)
    for name, found in damages.items():
        damage = named(name, found)
        need = needs().get((damage, api, mode))
        other = need is None and isinstance(found, str)
        if other:
            need = needs().get((name, api, mode))
        for client in () if need is None else need.breaks:
            known = f"{UNTRIED}{EVERY}" if other and client != EVERY else client
            broken.setdefault(known, damage.replace("-", " "))
    return broken


def named(damage: str, found: Found) -> str:
    """Return the name of a damage with the state in which it was found: `call-id-null`."""
    return (
        re.sub(r"-(missing|null|empty)$", f"-{found}", damage) if isinstance(found, str) else damage
    )
