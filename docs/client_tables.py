"""Tables about real clients, made from the forms, the clients and what they need.

`python docs/client_tables.py` prints them; on the site, they are the page *Tables of clients*.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(_ROOT))

from harness.records.conditions import BOTH_APIS  # noqa: E402
from harness.rules.clients.forms import CLIENTS, FORMS, Form  # noqa: E402
from harness.rules.clients.needs import UNTRIED, needs  # noqa: E402


def page() -> str:
    """Return the tables as a page in Markdown."""
    parts = {
        "Forms of requests": ("rules", "form", "clients"),
        "Clients": ("client", "version", "measured", "returns the CoT: Chat", "Responses"),
        "What breaks them": ("damage", "replies", "clients that cannot use them"),
        "Where they return the CoT": ("client", "over", "from whole replies", "from streams"),
    }
    rows = map(_form, FORMS), map(_client, CLIENTS), _damages(), _returned()
    lines = ["# Tables of clients", "", "`*` marks clients that send a form only if asked."]
    for (title, columns), each in zip(parts.items(), rows, strict=True):
        lines += [
            "",
            f"## {title}",
            "",
            f"| {' | '.join(columns)} |",
            "| --- " * len(columns) + "|",
        ]
        lines += each
    return "\n".join(lines) + "\n"


def _form(form: Form) -> str:
    """Return the rules about a form, what it is, and the clients that send it."""
    senders: dict[str, bool] = {}
    for sent in form.parts:
        for name, default in (each for api in BOTH_APIS for each in sent.clients(api).items()):
            senders[name] = default or senders.get(name, False)
    named = ", ".join(name if senders[name] else f"{name}\\*" for name in sorted(senders))
    shared = [name for rules in form.rules for name in rules.ids]
    rules = dict.fromkeys([*([form.rule] if form.variants else []), *shared])
    return f"| {', '.join(f'`{each}`' for each in rules)} | {form.summary} | {named or '–'} |"


def _client(name: str) -> str:
    """Return what is known about a client, and over which APIs it returns the CoT."""
    client = CLIENTS[name]
    title = f"`{client.title}`" if "@" in client.title else client.title
    returns = any(row["client"].partition("-pushed")[0] == name for row in rows_of("returned"))
    dates = [row["date"] for row in rows_of("measured") if row["client"] == name]
    captured = "captured 2026-11"
    seen = max(dates) if dates else captured
    seen = seen if returns or client.like or not dates else f"{seen}, CoT {captured}"
    return f"| {name} | {title} | {seen} | {client.chat or '–'} | {client.responses or '–'} |"


def _damages() -> Iterator[str]:
    """Yield the damages that break a client that was tried, with the replies that then break it."""
    broken: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for need in needs().values():
        over = "Chat" if need.api == "chat" else "Responses"
        kind = f"{over}, {'streams' if need.mode == 'streaming' else 'whole'}"
        tried = sorted(each for each in need.breaks if not each.startswith(UNTRIED))
        if tried and kind not in broken[need.damage][", ".join(tried)]:
            broken[need.damage][", ".join(tried)].append(kind)
    for damage, kinds in broken.items():
        for clients, those in kinds.items():
            yield f"| {damage} | {'; '.join(those)} | {clients} |"


def _returned() -> Iterator[str]:
    """Yield where each client returns the CoT, by API and mode."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in rows_of("returned"):
        places = ", ".join(f"`{place}`" for place in row["cot"].split())
        found[row["client"], row["api"]][row["mode"]] = "lost" if row["cot"] == "lost" else places
    for (client, api), modes in found.items():
        over = "Chat" if api == "chat" else "Responses"
        whole, streamed = (modes.get(mode, "–") for mode in ("non-streaming", "streaming"))
        yield f"| {client} | {over} | {whole} | {streamed} |"


def rows_of(name: str) -> list[dict[str, str]]:
    """Return the rows of a table of measurements beside the forms."""
    with (_ROOT / f"harness/rules/clients/{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.stdout.write(page())
