"""What harnesses other than ours get wrong, measured with their own functions.

    python benchmarks/harnesses.py [NAME …] [--work DIR] [--write]

Downloads the wheel of each harness of benchmarks/real/harnesses/harnesses.yaml, without what it
depends on and without installing it, and runs a few functions of it. Prints the table of
docs/evals.md; `--write` puts it there. Exit code 1 means that a harness judges otherwise than that
file says, or that the page has another table, 2 that a wheel cannot be downloaded or a function
cannot be run.
"""

import __future__

import argparse
import ast
import contextlib
import io
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "benchmarks")]

from real.table_in_page import keep, table_row  # noqa: E402
from real_servers import BenchError, called  # noqa: E402

DESCRIBED = ROOT / "benchmarks/real/harnesses/harnesses.yaml"
PAGE = ROOT / "docs/evals.md"
_HEADINGS = ("harness", "what it gets wrong")


class Record(SimpleNamespace):
    """Stands for the classes of a harness: it has whatever it is given."""


def wheel(package: str, work: Path) -> zipfile.ZipFile:
    """Download the wheel of a package, unless it is there. Raises BenchError."""
    folder = work / package
    if not [*folder.glob("*.whl")]:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        # A harness may need a newer Python than ours; its functions do not.
        any_python = ("--no-deps", "--only-binary=:all:", "--python-version=3.13")
        called(*pip, *any_python, "--dest", str(folder), package)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def defined(harness: zipfile.ZipFile, module: str, *names: str, **given: object) -> dict[str, Any]:
    """Run definitions of a module, such as a function or `Class.method`, and nothing else of it.

    Annotations are not evaluated, and functions have no decorators. `given` has what they use
    beside what the module imports of Python's own. Raises KeyError if the wheel has no such module.
    """
    body: list[ast.stmt] = []
    for name, node in _named(ast.parse(harness.read(module))):
        if name in names or name.partition(".")[0] in sys.stdlib_module_names:
            body.append(node)
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
    space = {"Record": Record, **given}
    flags = __future__.annotations.compiler_flag
    exec(compile(ast.Module(body, []), module, "exec", flags, dont_inherit=True), space)
    return space


def _named(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.stmt]]:
    """What a module imports, and its functions, classes, methods (`Class.method`) and constants."""
    for node in scope.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield getattr(node, "module", node.names[0].name) or "", node
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            yield ast.unparse(target), node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", each) for name, each in _named(node))


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
    write = options.write and not options.names and not wrong
    return keep(PAGE, "harnesses", _HEADINGS, lines, write=write) or int(wrong)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
