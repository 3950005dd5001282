"""Functions of packages that are downloaded and not installed, without what they depend on."""

import __future__

import ast
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from real_servers import called


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
