"""What costs a reader time, in counts that only fall.

    python tools/reading.py [--list COUNT] [--write [--because REASON]]

Prints the nodes of the syntax trees of the product, of the tests, and of `benchmarks` and
`tools`, without imports and docstrings: joining two statements saves hardly any. Then lambdas,
comprehensions and conditional expressions, and lines of more than 90 columns; functions of the
account that decide what is enough to accuse; named numbers of the rules and the verdict;
private functions that are used once and have at most three statements; files of the product
below a hundred lines; classes that share a name within a package; and tests that assert a
sentence of four words or more. `--list` prints the places of one count, as `PATH:LINE name`.

Exits with 1 if a count is above the one in `reading.json`. `--write` stores the counts that
fell. One that rose is stored only with a reason in one line, which says what needs it and which
the file keeps; the commit that raises it has the same line.
"""

import argparse
import ast
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PRODUCT = ("gpt_oss_verify", "harness", "evals", "reports", "reference_engine", "harmony")
BESIDE = ("benchmarks", "tools")
STORED = Path(__file__).with_suffix(".json")
_STATEMENTS, _LINES, _WORDS, _COLUMNS = 3, 100, 4, 90
_DENSE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.IfExp)
_ENOUGH = frozenset({"SEVERAL", "ALIKE", "CHANCE", "fewest"})  # samples, and a probability
Place = tuple[Path, int, str]  # a file, a line, and what is there
Stored = Mapping[str, Any]  # the highest number of each count, and why it was raised


def _trees(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), _parsed(path)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def read_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that a reader has to follow: no imports, no docstrings."""
    imports = isinstance(node, ast.Import | ast.ImportFrom)
    value = node.value if isinstance(node, ast.Expr) else None
    text = isinstance(value, ast.Constant) and isinstance(value.value, str)
    if imports or text or isinstance(node, ast.expr_context):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from read_nodes(child)


def nodes(*folders: str) -> Iterator[Place]:
    """Every node that is read, in any depth."""
    for path, tree in _trees(*folders):
        for node in read_nodes(tree):
            yield path, getattr(node, "lineno", 1), type(node).__name__


def dense() -> Iterator[Place]:
    """Expressions that hold a function, a loop or a branch."""
    for path, tree in _trees(*PRODUCT, "tests", *BESIDE):
        for node in read_nodes(tree):
            if isinstance(node, _DENSE):
                yield path, node.lineno, type(node).__name__


def long_lines() -> Iterator[Place]:
    """Lines that the formatter allows, and that are wider than a column of text."""
    for path, _ in _trees(*PRODUCT, "tests", *BESIDE):
        for number, line in enumerate((ROOT / path).read_text("utf-8").split("\n"), 1):
            if len(line) > _COLUMNS:
                yield path, number, f"{len(line)} columns"


def enough() -> Iterator[Place]:
    """Functions that compare samples or a probability with what is enough to accuse."""
    for path, tree in _trees("harness/rules/account"):
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                names = set[str]()
                for comparison in ast.walk(function):
                    if isinstance(comparison, ast.Compare):
                        inside = ast.walk(comparison)
                        names |= {each.id for each in inside if isinstance(each, ast.Name)}
                if names & _ENOUGH:
                    yield path, function.lineno, function.name


def numbers() -> Iterator[Place]:
    """Numbers with a name of their own, in modules of the rules and the verdict."""
    for path, tree in _trees("harness/rules", "harness/verdict"):
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=True))
                for name, value in pairs:
                    if isinstance(value, ast.Constant) and type(value.value) in (int, float):
                        yield path, node.lineno, ast.unparse(name)


def short_functions() -> Iterator[Place]:
    """Private functions and methods that their module uses once."""
    for path, tree in _trees(*PRODUCT):
        used = Counter(
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Name | ast.Attribute)
        )
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            private = node.name.startswith("_") and not node.name.startswith("__")
            body = node.body[1:] if ast.get_docstring(node) else node.body
            inside = (each for statement in body for each in ast.walk(statement))
            statements = sum(isinstance(each, ast.stmt) for each in inside)
            if private and used[node.name] == 1 and statements <= _STATEMENTS:
                yield path, node.lineno, node.name


def short_files() -> Iterator[Place]:
    """Files of the product, without those that only describe a package."""
    for path, _ in _trees(*PRODUCT):
        lines = len((ROOT / path).read_text("utf-8").splitlines())
        if lines < _LINES and path.name != "__init__.py":
            yield path, 1, f"{lines} lines"


def sentences() -> Iterator[Place]:
    """Tests with an assertion that has a text of several words."""
    for path, tree in _trees("tests"):
        for test in ast.walk(tree):
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                texts = [
                    node.value
                    for each in ast.walk(test)
                    if isinstance(each, ast.Assert)
                    for node in ast.walk(each.test)
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                ]
                if any(len(text.split()) >= _WORDS for text in texts):
                    yield path, test.lineno, test.name


def namesakes() -> Iterator[Place]:
    """Classes with the name of an earlier one in the same package of the product."""
    for package in PRODUCT:
        seen = set[str]()
        for path, tree in _trees(package):
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    if node.name in seen:
                        yield path, node.lineno, node.name
                    seen.add(node.name)


COUNTS: Mapping[str, tuple[str, Callable[[], Iterator[Place]]]] = {
    "product": ("nodes of the product", partial(nodes, *PRODUCT)),
    "tests": ("nodes of the tests", partial(nodes, "tests")),
    "beside": ("nodes of benchmarks and tools", partial(nodes, *BESIDE)),
    "dense": ("lambdas, comprehensions and conditional expressions", dense),
    "long": ("lines of more than 90 columns", long_lines),
    "enough": ("functions of the account that decide what is enough", enough),
    "numbers": ("named numbers in rules and verdict", numbers),
    "functions": ("private functions used once with at most 3 statements", short_functions),
    "files": ("files of the product below 100 lines", short_files),
    "names": ("classes with the name of another one in their package", namesakes),
    "sentences": ("tests that assert a sentence of four words or more", sentences),
}


def compared(found: Mapping[str, int], stored: Stored, because: str | None) -> tuple[Stored, str]:
    """Return the counts to store, and a line for each that is too high.

    A count that fell replaces the stored one; one that rose does only with a reason, which is kept.
    """
    new, lines = {}, []
    for name, count in found.items():
        old = stored.get(name, {"most": count, "raised": []})
        most, raised = old["most"], old["raised"]
        if count > most and because:
            new[name] = {"most": count, "raised": [*raised, f"{most} to {count}: {because}"]}
            continue
        new[name] = {"most": min(most, count), "raised": raised}
        if count > most:
            lines.append(
                f"{count - most} too many {COUNTS[name][0]}: `--list {name}` names them, "
                "`--write --because REASON` allows them\n"
            )
    return new, "".join(lines)


def main() -> int:
    """Print the counts, or the places of one; compare or store them."""
    parser = argparse.ArgumentParser(description="What costs a reader time.")
    parser.add_argument("--list", choices=COUNTS)
    parser.add_argument("--write", action="store_true", help="store the counts that fell")
    parser.add_argument("--because", help="why a count may rise; stored beside it")
    given = parser.parse_args()
    if given.list is not None:
        for path, line, what in COUNTS[given.list][1]():
            print(f"{path}:{line} {what}")
        return 0
    found = {name: sum(1 for _ in places()) for name, (_, places) in COUNTS.items()}
    for name, count in found.items():
        print(f"{count:6} {COUNTS[name][0]}")
    stored = json.loads(STORED.read_text("utf-8"))
    new, lines = compared(found, stored, given.because)
    if given.write:
        STORED.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(lines, end="")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
