"""The tables of docs/clients.md, which are made from the forms and the clients.

`PYTHONPATH=.:tests/support python tests/harness/probes/test_clients_page.py` writes them again.
"""

from collections.abc import Iterator

from docs_pages import ROOT

from harness.records.conditions import BOTH_APIS
from harness.rules.clients.forms import CLIENTS, FORMS, Form

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
    return f"| {name} | {title} | {client.chat or '–'} | {client.responses or '–'} |"


TABLES = {"rules": list(map(form_row, FORMS)), "client": list(map(client_row, CLIENTS))}
"""The rows of each table, by the title of its first column."""


def made(page: str) -> Iterator[str]:
    """The lines of the page with the rows of both tables replaced."""
    old, title = False, ""
    for line in page.splitlines():
        old = old and line.startswith("|")
        if not old:
            yield line
        if line.startswith("| --- |") and (rows := TABLES.get(title)):
            yield from rows
            old = True
        title = line.removeprefix("| ").partition(" |")[0]


def test_the_page_about_clients_has_both_tables() -> None:
    page = PAGE.read_text("utf-8")
    assert list(made(page)) == page.splitlines()


if __name__ == "__main__":
    PAGE.write_text("".join(f"{line}\n" for line in made(PAGE.read_text("utf-8"))), "utf-8")
