"""What harnesses other than ours get wrong, measured with their own functions.

    python benchmarks/harnesses.py [NAME …] [--work DIR] [--write]

Downloads the wheel of each harness of benchmarks/real/harnesses/harnesses.yaml, without what it
depends on and without installing it, and runs a few functions of it. Prints the table of
docs/evals.md; `--write` puts it there. Exit code 1 means that a harness judges otherwise than that
file says, or that the page has another table, 2 that a wheel cannot be downloaded or a function
cannot be run.
"""

import argparse
import contextlib
import io
import sys
from functools import partial
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "benchmarks")]

from real.table_in_page import keep, table_row  # noqa: E402
from real.wheels import Record, defined, wheel  # noqa: E402
from real_servers import BenchError  # noqa: E402

DESCRIBED = ROOT / "benchmarks/real/harnesses/harnesses.yaml"
PAGE = ROOT / "docs/evals.md"
_HEADINGS = ("harness", "what it gets wrong")


def printed(package: str, program: str, work: Path) -> str:
    """What the program of a harness prints. Raises BenchError."""
    harness, out = wheel(package, work), io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(program, {"defined": partial(defined, harness), "Record": Record})
        except Exception as error:
            raise BenchError(f"{package} has changed: {error!r}") from error
    return out.getvalue()


def main() -> int:
    """Download, judge and print; see above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    rows = yaml.safe_load(DESCRIBED.read_text("utf-8"))
    parser.add_argument("names", nargs="*", help=", ".join(rows))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "harnesses")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines, wrong = [], False
    for package, described in rows.items():
        if options.names and package not in options.names:
            continue
        lines.append(table_row(package.replace("==", " "), described["says"]))
        print(lines[-1], end="", flush=True)
        got = printed(package, described["program"], options.work.resolve())
        if got != described["prints"]:
            print(f"{package} printed\n{got}and not\n{described['prints']}", file=sys.stderr)
            wrong = True
    write = options.write and not wrong
    return keep(PAGE, "harnesses", _HEADINGS, lines, write=write) or int(wrong)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
