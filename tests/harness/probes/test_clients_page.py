"""The tables of docs/clients.md, which are made from the forms, the clients and what they need.

`PYTHONPATH=.:tests/support python tests/harness/probes/test_clients_page.py` writes them again.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator

from docs_pages import ROOT

from harness.records.conditions import BOTH_APIS
from harness.rules.clients.forms import CLIENTS, FORMS, Form
from harness.rules.clients.needs import UNTRIED, needs

PAGE = ROOT / "docs" / "clients.md"


def form_row(form: Form) -> str:
    senders: dict[str, bool] = {}
    for sent in form.parts:
        for name, default in (each for api in BOTH_APIS for each in sent.clients(api).items()):
            senders[name] = default or senders.get(name, False)
    named = ", ".join(name if senders[name] else f"{name}\\*" for name in sorted(senders))
    shared = [name for rules in form.rules for name in rules.ids]
    rules = dict.fromkeys([*([form.rule] if form.variants else []), *shared])
    return f"| {', '.join(f'`{each}`' for each in rules)} | {form.summary} | {named or '–'} |"


def client_row(name: str) -> str:
    client = CLIENTS[name]
    title = f"`{client.title}`" if "@" in client.title else client.title
    returns = any(row["client"].partition("-pushed")[0] == name for row in rows_of("returned"))
    dates = [row["date"] for row in rows_of("measured") if row["client"] == name]
    captured = "captured 2026-11"
    seen = max(dates) if dates else captured
    seen = seen if returns or client.like or not dates else f"{seen}, CoT {captured}"
    return f"| {name} | {title} | {seen} | {client.chat or '–'} | {client.responses or '–'} |"


def damage_rows() -> Iterator[str]:
    """The damages that break a client that was tried, with the replies that then break it."""
    broken: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for need in needs():
        over = "Chat" if need.api == "chat" else "Responses"
        kind = f"{over}, {'streams' if need.mode == 'streaming' else 'whole'}"
        tried = sorted(each for each in need.breaks if not each.startswith(UNTRIED))
        if tried and kind not in broken[need.damage][", ".join(tried)]:
            broken[need.damage][", ".join(tried)].append(kind)
    for damage, kinds in broken.items():
        for clients, those in kinds.items():
            yield f"| {damage} | {'; '.join(those)} | {clients} |"


def returned_rows() -> Iterator[str]:
    """Where each client returns the CoT, by API and mode."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in rows_of("returned"):
        places = ", ".join(f"`{place}`" for place in row["cot"].split())
        found[row["client"], row["api"]][row["mode"]] = "lost" if row["cot"] == "lost" else places
    for (client, api), modes in found.items():
        over = "Chat" if api == "chat" else "Responses"
        whole, streamed = (modes.get(mode, "–") for mode in ("non-streaming", "streaming"))
        yield f"| {client} | {over} | {whole} | {streamed} |"


def rows_of(name: str) -> list[dict[str, str]]:
    with (ROOT / f"harness/rules/clients/{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


TABLES = {
    "rules": list(map(form_row, FORMS)),
    "client": list(map(client_row, CLIENTS)),
    "damage": list(damage_rows()),
    "function of": list(returned_rows()),
}
"""The rows of each table, by the title of its first column."""


def made(page: str) -> Iterator[str]:
    """The lines of the page with the rows of the tables replaced."""
    old, title = False, ""
    for line in page.splitlines():
        old = old and line.startswith("|")
        if not old:
            yield line
        if line.startswith("| --- |") and (rows := TABLES.get(title)):
            yield from rows
            old = True
        title = line.removeprefix("| ").partition(" |")[0]


def test_the_page_about_clients_has_its_tables() -> None:
    page = PAGE.read_text("utf-8")
    assert list(made(page)) == page.splitlines()


def test_titles_have_the_versions_that_were_measured() -> None:
    measured: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows_of("measured"):
        measured[row["client"]].append(row)
    for name in CLIENTS.keys() & measured.keys():
        assert ".".join(measured[name][0]["version"].split(".")[:2]) in CLIENTS[name].title, name
    assert {row["client"] for row in rows_of("returned")} <= measured.keys()


if __name__ == "__main__":
    PAGE.write_text("".join(f"{line}\n" for line in made(PAGE.read_text("utf-8"))), "utf-8")
