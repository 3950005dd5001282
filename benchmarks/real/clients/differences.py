"""What differs between two tables about clients, as sentences."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.rules.clients.needs import EVERY, UNTRIED
from real.clients.tables import INSTALLED, Row


def of_needs(
    old: Sequence[Row], new: Sequence[Row], uses: Iterable[str], damages: Iterable[str]
) -> Iterator[str]:
    """Yield what differs for these uses ("pyd chat streaming") with these damages."""
    tried: dict[str, list[str]] = {}
    for use in uses:
        client, _, place = use.partition(" ")
        if client not in INSTALLED:
            tried.setdefault(place, []).append(client)
    wanted = set(damages)
    before, after = (_by_place(rows, wanted) for rows in (old, new))
    for damage, place in {**before, **after}:
        was, now = (rows.get((damage, place), frozenset()) for rows in (before, after))
        where = f"{damage}, {place}"
        for client in sorted(tried.get(place, ())):
            states = _state(client, was), _state(client, now)
            # What breaks all that are tried breaks those that are not.
            all_break = EVERY in was | now and "is not tried" in states
            if states[0] != states[1] and not all_break:
                yield f"{where}: {client} {states[1]} (was: {states[0]})"


def _by_place(rows: Iterable[Row], damages: set[str]) -> Mapping[tuple[str, str], frozenset[str]]:
    return {
        (damage, f"{api} {mode}"): frozenset(names.split())
        for damage, api, mode, names in rows
        if damage in damages
    }


def _state(client: str, names: frozenset[str]) -> str:
    if {client, EVERY} & names:
        return "breaks"
    return "is not tried" if f"{UNTRIED}{client}" in names else "works"


def of_returned(old: Iterable[Row], new: Iterable[Row], clients: frozenset[str]) -> Iterator[str]:
    """Yield what differs in where these clients return the CoT."""
    was = {row[:3]: row[3] for row in old if row[0] in clients}
    now = {row[:3]: row[3] for row in new if row[0] in clients}
    for key in sorted({**was, **now}):
        if was.get(key) != now.get(key):
            yield (
                f"{' '.join(key)}: the CoT comes back in {now.get(key, 'no conversation')} "
                f"(was: {was.get(key, 'no conversation')})"
            )


def of_versions(old: Iterable[Row], new: Iterable[Row]) -> Iterator[str]:
    """Yield the packages whose version differs."""
    was = {row[1]: row[2] for row in old}
    now = {row[1]: row[2] for row in new}
    for package in sorted(now):
        if was.get(package) != now[package]:
            yield f"{package}: {was.get(package, 'not measured')} -> {now[package]}"
