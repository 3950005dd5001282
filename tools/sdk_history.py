"""Changes of the reply types of the `openai` package between releases.

    pip download --no-deps --dest WHEELS openai==2.8.1 openai==2.50.0 …
    python tools/sdk_history.py WHEELS/openai-*.whl > harness/data/sdk_history.json

Parses the source of the types, so that the releases do not have to be installed. The result lists
the fields that only the newest release requires, and the values that only an older release accepts,
each as `module.Class.field`.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

_FOLDERS = ("openai/types/chat/", "openai/types/responses/", "openai/types/shared/")
_REQUESTS = ("_param.py", "_params.py")


@dataclass(frozen=True)
class Field:
    """A field of a class: whether it is required, and the values of its closed set, if any."""

    required: bool
    values: frozenset[str]


@dataclass(frozen=True)
class Release:
    """The fields of one release by `module.Class.field`."""

    version: Version
    fields: dict[str, Field]

    @classmethod
    def read(cls, wheel: Path) -> Release:
        """The reply types in a wheel; types of requests are left out."""
        fields: dict[str, Field] = {}
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(_FOLDERS) and not name.endswith(_REQUESTS):
                    fields |= _fields(Path(name).stem, ast.parse(archive.read(name)))
        return cls(Version(wheel.name.split("-")[1]), fields)

    def requires(self, name: str) -> bool:
        """Whether a reply must have a field. A class missing from a release requires nothing."""
        return name in self.fields and self.fields[name].required


def _fields(module: str, source: ast.Module) -> dict[str, Field]:
    return {
        f"{module}.{definition.name}.{line.target.id}": Field(
            line.value is None, frozenset(_values(line.annotation))
        )
        for definition in source.body
        if isinstance(definition, ast.ClassDef)
        for line in definition.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }


def _values(annotation: ast.expr) -> Iterator[str]:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            for each in ast.walk(node.slice):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield each.value


def history(releases: list[Release]) -> dict[str, object]:
    """The changes up to the newest of these releases."""
    *older, newest = sorted(releases, key=lambda each: each.version)
    required, values = {}, {}
    for name, field in sorted(newest.fields.items()):
        known = [each for each in older if name.rpartition(".")[0] in _classes(each)]
        without = [each.version for each in known if not each.requires(name)]
        if field.required and without:
            required[name] = f"after {without[-1]}"
        had = (each.fields[name].values for each in older if name in each.fields)
        dropped = frozenset[str]().union(*had) - field.values
        if field.values and dropped:
            values[name] = sorted(dropped)
    return {
        "releases": [str(each.version) for each in (*older, newest)],
        "newly_required": required,
        "formerly_accepted": values,
    }


def _classes(release: Release) -> set[str]:
    return {name.rpartition(".")[0] for name in release.fields}


if __name__ == "__main__":
    found = history([Release.read(Path(wheel)) for wheel in sys.argv[1:]])
    print(json.dumps(found, indent=2))
