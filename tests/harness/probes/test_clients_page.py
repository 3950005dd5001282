"""The tables about real clients, which `docs/client_tables.py` prints."""

import runpy
from collections import defaultdict

from docs_pages import ROOT

from harness.rules.clients.forms import CLIENTS

TABLES = runpy.run_path(str(ROOT / "docs/client_tables.py"))
rows_of = TABLES["rows_of"]


def test_the_tables_say_what_is_measured() -> None:
    page = TABLES["page"]()
    for row in (
        "| `clients.item_references` | A client may name the reasoning and messages of a stored "
        "response by their ids. | ai |",
        "| output-index-zero | Responses, streams | lc-py, oai-js-stream |",
        "| lc-groq | langchain-groq 1.1 | 2026-11-29 | no | – |",
        "| adk | Chat | `messages[].reasoning_content` | `messages[].reasoning_content` |",
    ):
        assert row in page.splitlines()


def test_titles_have_the_versions_that_were_measured() -> None:
    measured: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows_of("measured"):
        measured[row["client"]].append(row)
    for name in CLIENTS.keys() & measured.keys():
        assert ".".join(measured[name][0]["version"].split(".")[:2]) in CLIENTS[name].title, name
    assert {row["client"] for row in rows_of("returned")} <= measured.keys()
