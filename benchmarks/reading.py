"""What costs a reader time, in counts.

    python benchmarks/reading.py [--list COUNT]

Prints the functions of the account that decide what is enough to accuse; named numbers of the rules
and the verdict; private functions that are used once and have at most three statements; files
of the product below a hundred lines; and tests that assert a sentence of four words or more.
`--list` prints the places of one count, as `PATH:LINE name`.
"""

import argparse
import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("gpt_oss_verify", "harness", "evals", "reports", "reference_engine", "harmony")
_STATEMENTS, _LINES, _WORDS = 3, 100, 4
_ENOUGH = frozenset({"SEVERAL", "ALIKE", "CHANCE", "fewest"})  # samples, and a probability
Place = tuple[Path, int, str]  # a file, a line, and what is there


def _trees(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text("utf-8"))


def enough() -> Iterator[Place]:
    """Functions that compare samples or a probability with what is enough to accuse."""
    for path, tree in _trees("harness/rules/account"):
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                compared = [each for each in ast.walk(function) if isinstance(each, ast.Compare)]
                names = {e.id for one in compared for e in ast.walk(one) if isinstance(e, ast.Name)}
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
            statements = sum(isinstance(each, ast.stmt) for one in body for each in ast.walk(one))
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


COUNTS: Mapping[str, tuple[str, Callable[[], Iterator[Place]]]] = {
    "enough": ("functions of the account that decide what is enough", enough),
    "numbers": ("named numbers in rules and verdict", numbers),
    "functions": ("private functions used once with at most 3 statements", short_functions),
    "files": ("files of the product below 100 lines", short_files),
    "sentences": ("tests that assert a sentence of four words or more", sentences),
}


def main() -> None:
    """Print the counts, or the places of one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--list", choices=COUNTS)
    listed = parser.parse_args().list
    for name, (words, places) in COUNTS.items():
        if listed == name:
            for path, line, what in places():
                print(f"{path}:{line} {what}")
        elif listed is None:
            print(f"{sum(1 for _ in places()):4} {words}")


if __name__ == "__main__":
    main()
