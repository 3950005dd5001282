"""Rows about real clients: what breaks them, where they return the CoT, and their versions."""

import csv
import datetime
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from corpus import with_fault

from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import BOTH_APIS, MODES
from harness.rules.clients.damages import DAMAGES as SEEN
from harness.rules.clients.damages import damages_of
from harness.rules.clients.forms import CLIENTS
from harness.rules.clients.needs import EVERY, UNTRIED, named
from real.clients.conversations import Measured, asks_only, works
from real.clients.replies import DAMAGES, Conversation, Replies, is_result, items, only_call

Row = tuple[str, ...]
HEADS = {
    "needs": ("damage", "api", "mode", "breaks"),
    "returned": ("client", "api", "mode", "cot"),
    "measured": ("client", "package", "version", "date"),
}
"""The members of the rows of each table."""
INSTALLED = frozenset({"oai-py", "oai-py-stream"})
"""The clients that the tool runs itself, and that need no row of needs.csv."""
WRITES_HISTORY = INSTALLED | {"oai-js", "oai-js-stream", "continue"}
"""SDKs and an adapter as programs use them that write the history themselves, without a CoT."""
_QUARTER = "pages-with-status-200"
"""Hits a quarter of the replies, so that what breaks is chance."""


def breaks(outcome: Mapping[str, Any], healthy: Mapping[str, Any]) -> bool:
    """Whether a client raises, misses a call, or gets no text, or only its beginning."""
    text, whole = outcome.get("text"), healthy["text"]
    cut = text != whole and whole.startswith(text or "")
    return outcome["calls"] != healthy["calls"] or not text or cut


def not_run(found: Measured) -> Mapping[str, str]:
    """Return the uses whose healthy conversation fails, with the reason: nothing else is known."""
    return {
        use: outcome.get("error") or "nothing arrives"
        for (damage, use), outcome in found.outcomes.items()
        if not damage and not works(outcome)
    }


def endless(found: Measured) -> list[str]:
    """Return the conversations that did not end: a client hangs, or the machine is slow."""
    late = (key for key, outcome in found.outcomes.items() if "late" in outcome)
    return [f"{damage or 'no damage'}, {use}" for damage, use in late]


def clients_run(found: Measured) -> frozenset[str]:
    """Return the clients that had a healthy conversation."""
    uses = {use for damage, use in found.outcomes if not damage} - not_run(found).keys()
    return frozenset(use.partition(" ")[0] for use in uses)


def names_seen(conversation: Conversation, damage: str) -> frozenset[str]:
    """Return what is seen in the bytes of the replies that a damage changes."""
    recorded = conversation.rollout.exchanges
    changed = [with_fault(each, DAMAGES[damage]) for each in recorded]
    parsed = parse_rollout(conversation.rollout.model_copy(update={"exchanges": tuple(changed)}))
    return frozenset(named(*seen) for each in parsed.exchanges for seen in damages_of(each))


def need_rows(found: Measured, replies: Replies, damages: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of the table: what each damage breaks in the replies that it changes."""
    for damage in damages:
        for api in BOTH_APIS:
            for mode in MODES:
                conversation = replies[f"{api} {mode}"]
                of_call = only_call(conversation, damage)
                broken, tried, untried = _broken(found, damage, f"{api} {mode}", of_call=of_call)
                seen = damage in names_seen(conversation, damage)
                # Without JSON, it is the program that raises.
                own = damage in SEEN and SEEN[damage].own
                breaking = broken - (frozenset() if own else INSTALLED)
                if broken and broken == tried:
                    breaking = {EVERY}
                if breaking and not seen:
                    print(f"{damage}: not seen, {api} {mode}: {sorted(breaking)}", file=sys.stderr)
                elif seen and damage != _QUARTER:
                    others = {f"{UNTRIED}{client}" for client in untried if breaking != {EVERY}}
                    yield damage, api, mode, " ".join([*sorted(breaking), *sorted(others)])


def _broken(
    found: Measured, damage: str, place: str, *, of_call: bool
) -> tuple[set[str], set[str], set[str]]:
    """Return the clients that a damage breaks, all that were tried with it, and the others.

    These are the clients whose conversation has no call, if the damage is `of_call`: in a call
    alone.
    """
    broken: set[str] = set()
    tried: set[str] = set()
    untried: set[str] = set()
    failed = not_run(found)
    for (name, use), healthy in found.outcomes.items():
        client, _, where = use.partition(" ")
        if name or where != place or client not in CLIENTS or use in failed:
            continue
        if of_call and asks_only(healthy):
            untried.add(client)
        elif outcome := found.outcomes.get((damage, use)):
            tried.add(client)
            if breaks(outcome, healthy):
                broken.add(client)
    return broken, tried, untried


def returned_rows(found: Measured, replies: Replies) -> Iterator[Row]:
    """Yield where each use returns the CoT of a call, as the paths of the members that have it."""
    for use in sorted(found.requests.keys() - not_run(found).keys()):
        client, api, mode = use.split()
        thought = replies[f"{api} {mode}"].thought
        after = [body for _, body in found.requests[use] if any(map(is_result, items(body)))]
        if after and client not in WRITES_HISTORY:
            paths = sorted(set(places(after[-1], thought)))
            yield client, api, mode, " ".join(paths) or _reference(after[-1]) or "lost"


def _reference(body: Mapping[str, Any]) -> str:
    """Return how a request names the stored CoT or returns it encrypted, if it does."""
    if body.get("previous_response_id"):
        return "previous_response_id"
    given = items(body)
    if any(item.get("type") == "item_reference" for item in given):
        return "item_reference"
    encrypted = any(i.get("type") == "reasoning" and i.get("encrypted_content") for i in given)
    return "encrypted_content" if encrypted else ""


def places(value: object, text: str, path: str = "") -> Iterator[str]:
    """Yield the paths of the strings that contain a text, or, as a CoT, are its end."""
    if isinstance(value, str):
        if text and text in value:
            yield path
        elif value and path.rpartition(".")[2] in _COT and text.endswith(value):
            yield f"{path}:last-fragment"
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from places(part, text, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for part in value:
            yield from places(part, text, f"{path}[]")


_COT = ("reasoning", "reasoning_content")


def version_rows(
    found: Measured, clients: Mapping[str, Any], versions: Mapping[str, str]
) -> Iterator[Row]:
    """Yield what was installed for each client that was measured."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    run = clients_run(found)
    for client, packages in clients["clients"].items():
        for package in packages.split() if client in run else ():
            yield client, package, versions[package], today


def text_of(name: str, rows: Iterable[Row]) -> str:
    """Return a table as the text of its file."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(HEADS[name])
    table.writerows(rows)
    return out.getvalue()


def rows_of(text: str) -> list[Row]:
    """Return the rows of the text of a table, without its head."""
    return [tuple(row) for row in csv.reader(io.StringIO(text))][1:]
