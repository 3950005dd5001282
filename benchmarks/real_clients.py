"""The rows about clients: real clients, what each damage to replies breaks, and what they send.

    python benchmarks/real_clients.py [DAMAGE …] [--only CLIENT,…] [--tries N] [--work DIR]
        [--jobs N] [--again] [--write | --newest]

Installs the clients of benchmarks/real/clients/clients.yaml in a folder of its own, and serves them
recorded replies of the reference server (a call, then a text) with each fault that the catalogue,
reference_engine/faults/catalogue.csv, has for clients. It needs Python, Node.js with npm, and their
package indexes. Each client has one conversation with a tool over each API and in each mode; it
breaks if it raises, if its calls differ from those without a damage, or if no text arrives whole.
Clients that are offered no function of ours, such as commands, only have a text: what damages calls
is untried with them. A conversation that does not end is tried again, in a new process. A client
whose healthy conversation fails is named and has no row.

Prints what differs from the rows in harness/rules/clients: needs.csv (the clients that a damage
breaks), returned.csv (where each client returns the CoT) and measured.csv
(versions and date). `--write` replaces these files and the recorded requests of the tests.
`--newest` takes the newest releases instead of the pinned ones. With `--tries`, a conversation
whose tries differ is named. `measured.jsonl` in the folder has what each conversation came to;
`--again` makes the tables from it, without new conversations. A call
for some clients or damages adds to it, and what was measured last counts.

Exit code 1 means that a row differs (without `--write`) or a conversation varies, 2 that clients
cannot be installed or have no healthy conversation any more, so that nothing is written, or that
the options do not fit.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support"), str(ROOT / "benchmarks")]

from real.clients import differences  # noqa: E402
from real.clients.conversations import Measured, Work, measure, measured_before  # noqa: E402
from real.clients.packages import chosen, install, versions  # noqa: E402
from real.clients.replies import DAMAGES, recorded  # noqa: E402
from real.clients.requests import request_lines  # noqa: E402
from real.clients.tables import (  # noqa: E402
    clients_run,
    endless,
    need_rows,
    not_run,
    returned_rows,
    rows_of,
    text_of,
    version_rows,
)

from harness.rules.clients.forms import CLIENTS  # noqa: E402

DESCRIBED = ROOT / "benchmarks/real/clients/clients.yaml"
TABLES = ROOT / "harness/rules/clients"
REQUESTS = ROOT / "tests/reference_engine/client_requests.jsonl"


class Tables(NamedTuple):
    """The texts of the files of these names."""

    needs: str
    returned: str
    measured: str


def stored() -> Tables:
    """Return the tables of the repository."""
    return Tables(*((TABLES / f"{name}.csv").read_text("utf-8") for name in Tables._fields))


def made(
    work: Work, clients: Mapping[str, Any], found: Measured, installed: Mapping[str, str]
) -> Tables:
    """Return the tables of what was measured."""
    rows = need_rows(found, work.replies, work.damages)
    return Tables(
        text_of("needs", rows),
        text_of("returned", returned_rows(found, work.replies)),
        text_of("measured", version_rows(found, clients, installed)),
    )


def changes(work: Work, found: Measured, old: Tables, new: Tables) -> Iterator[str]:
    """Yield the rows that differ, as sentences."""
    was, now = ([rows_of(text) for text in each] for each in (old, new))
    run, known = clients_run(found), {row[0] for row in was[2]}
    yield from (f"{client}: has no rows yet" for client in sorted(run - known))
    shown = known & CLIENTS.keys()  # the others were shown no damage
    uses = {use for _, use in found.outcomes if use.partition(" ")[0] in shown}
    yield from differences.of_needs(was[0], now[0], uses - not_run(found).keys(), work.damages)
    yield from differences.of_returned(was[1], now[1], run & known)


def write(new: Tables, found: Measured) -> None:
    """Replace the files of the tables and of the recorded requests."""
    for name, text in new._asdict().items():
        (TABLES / f"{name}.csv").write_text(text, encoding="utf-8")
    REQUESTS.write_text("".join(f"{line}\n" for line in request_lines(found)), encoding="utf-8")


def lost(old: Tables, found: Measured, clients: Mapping[str, Any]) -> Iterator[str]:
    """Yield why clients that have rows would lose them."""
    yield from (f"{name}: {why}" for name, why in found.failed.items())
    had = {row[0] for row in rows_of(old.measured)} & clients["clients"].keys()
    yield from (f"{name} has no healthy conversation." for name in sorted(had - clients_run(found)))


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("damages", nargs="*", metavar="DAMAGE")
    parser.add_argument("--only", default="", metavar="CLIENTS")
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--work", type=Path, default=ROOT / ".real/clients")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--newest", action="store_true")
    options = parser.parse_args()
    if options.write and (options.damages or options.only or options.newest):
        parser.error("--write is for all clients, damages and pinned releases: leave out the rest.")
    if unknown := set(options.damages) - DAMAGES.keys():
        parser.error(f"There is no damage {', '.join(sorted(unknown))}.")
    options.clients = yaml.safe_load(DESCRIBED.read_text("utf-8"))
    options.only = options.only.split(",") if options.only else []
    if unknown := set(options.only) - options.clients["clients"].keys():
        parser.error(f"There is no client {', '.join(sorted(unknown))}.")
    return options


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the processes of the clients end by themselves
    options = parsed()
    folder = options.work.resolve()
    folder = folder.with_name(f"{folder.name}-newest") if options.newest else folder
    folder.mkdir(parents=True, exist_ok=True)
    clients = chosen(options.clients, options.only)
    work = Work(folder, recorded(), options.damages or [*DAMAGES], options.tries)
    missing = install(folder, clients, newest=options.newest, jobs=options.jobs)
    old, installed = stored(), versions(folder, clients)
    if options.again:
        found = measured_before(folder, clients["clients"])
    else:
        whole = not (options.damages or options.only)
        found = measure(work, clients, missing, options.jobs, whole=whole)
    new = made(work, clients, found, installed)
    for which in endless(found):
        print(f"does not end, or this machine is too slow: {which}", file=sys.stderr)
    for use, why in not_run(found).items():
        print(f"not run: {use}: {why}", file=sys.stderr)
    incomplete = [*missing.values(), *lost(old, found, clients)]
    differ = [*changes(work, found, old, new)]
    varying = [f"{damage}, {use}: the tries differ" for damage, use in found.varying]
    for line in differences.of_versions(rows_of(old.measured), rows_of(new.measured)):
        print(line)
    print("\n".join([*differ, *varying]) or "No row differs.")
    print("".join(f"{line}\n" for line in incomplete), end="", file=sys.stderr)
    if incomplete:
        return 2
    if options.write:
        write(new, found)
    return 1 if varying or (differ and not options.write) else 0


if __name__ == "__main__":
    sys.exit(main())
