"""What clients need of a reply, as `benchmarks/real_clients.py` measured it with real clients.

Each row of `needs.csv` is a damage to the replies of one API in one mode: the rules that all find
it, and the clients that then cannot use the reply. A rule may have the path of its finding.
"""

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from harness.records.conditions import Api, Mode
from harness.records.scores import Finding

EVERY = "all"
"""All clients of an API, those that nobody tried too: what arrives cannot be used."""
ARGUMENTS = "calls.arguments."
"""How the ids of rules begin that find arguments which are no JSON, as a model may write them."""
MORE = "@more"
"""After the id of a rule about arguments: they begin with a whole object, and more follows."""
UNTRIED = "?"
"""Before the name of a client that nobody tried with this damage."""


@dataclass(frozen=True)
class Need:
    """One damage: `rules` are `id`, `id@path` or `id@more`, `breaks` clients, or `?name`."""

    damage: str
    api: Api
    mode: Mode
    rules: frozenset[str]
    breaks: frozenset[str]


@cache
def needs() -> tuple[Need, ...]:
    """Return the rows of the table."""
    with (resources.files("harness.rules.clients") / "needs.csv").open(encoding="utf-8") as file:
        return tuple(
            Need(
                row["damage"],
                "chat" if row["api"] == "chat" else "responses",
                "streaming" if row["mode"] == "streaming" else "non-streaming",
                frozenset(row["rules"].split()),
                frozenset(row["breaks"].split()),
            )
            for row in csv.DictReader(file)
        )


@cache
def decisive() -> frozenset[str]:
    """Return the ids of the rules in the table, whose findings tell what breaks clients."""
    return frozenset(rule.partition("@")[0] for need in needs() for rule in need.rules)


@cache
def fatal() -> frozenset[str]:
    """Return the ids of rules whose finding alone breaks every client, or is about arguments."""
    return frozenset(
        rule
        for need in needs()
        for rule in need.rules
        if len(need.rules) == 1
        and "@" not in rule
        and (need.breaks == {EVERY} or rule.startswith(ARGUMENTS))
    )


@cache
def measured() -> frozenset[str]:
    """Return the clients that were tried with all damages."""
    with (resources.files("harness.rules.clients") / "measured.csv").open(encoding="utf-8") as file:
        return frozenset(row["client"] for row in csv.DictReader(file))


def broken_by(findings: Iterable[Finding], api: Api, mode: Mode) -> Mapping[str, str]:
    """Return the clients that cannot use the replies with these findings, each with the damage.

    Of the damages that fit, those count that the most rules describe. Where the same rules find
    several, a client breaks if all break it, and otherwise is as if untried. Information counts
    only if it is about a schema: other information is what the model may have written.
    """
    keys = {
        key
        for found in findings
        if found.severity != "info" or ".schema" in found.id
        for key in finding_keys(found)
    }
    fitting = [n for n in needs() if (n.api, n.mode) == (api, mode) and n.rules <= keys]
    best = [n for n in fitting if not any(n.rules < other.rules for other in fitting)]
    broken: dict[str, str] = {}
    for need in best:
        alike = [other.breaks for other in best if other.rules == need.rules]
        for client in need.breaks:
            known = all({client, EVERY} & breaks for breaks in alike)
            name = client if known else f"{UNTRIED}{client.removeprefix(UNTRIED)}"
            broken.setdefault(name, need.damage.replace("-", " "))
    return broken


def finding_keys(finding: Finding) -> tuple[str, ...]:
    """Return the names that the table may have for a finding."""
    path = re.sub(r"\[\d+\]", "[]", finding.evidence.path or "").replace(" ", "")
    names = finding.id, f"{finding.id}@{path}"
    return (*names, f"{finding.id}{MORE}") if _has_more(finding) else names


def _has_more(finding: Finding) -> bool:
    """Whether the arguments of a finding begin with a whole object, which lenient clients read."""
    if not finding.id.startswith(ARGUMENTS):
        return False
    try:
        value, _ = json.JSONDecoder().raw_decode(finding.evidence.got)
    except ValueError:
        return False
    return isinstance(value, dict)
