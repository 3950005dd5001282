"""Tool-call cases and their tools: loading, validation, and their hashes for `run.json`.

A case file has one JSON object per line: `tool_name`, `input`, `expected_arguments` (an object, or
JSON in a string), and optionally `instructions` and `id`. A tools file is a JSON list.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from harness.api.items import Tool
from harness.api.json_schema import misfit
from harness.api.tools import parse_tools
from harness.errors import ConfigurationError, read_text
from harness.records.runs import RunSettings
from harness.text import strict_json

_KNOWN_KEYS = frozenset({"id", "tool_name", "input", "expected_arguments", "instructions"})
_SURROGATE = re.compile("[\ud800-\udfff]")
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Case:
    """A prompt and the tool call that it requires."""

    id: str
    tool_name: str
    prompt: str
    expected_arguments: Mapping[str, Any]
    instructions: str | None = None


@dataclass(frozen=True)
class BadLine:
    """A line of the case file that cannot be used, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class SourceFile:
    """A file as it was read; `name` is its path, or the bare name of a shipped file."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Suite:
    """The cases of a run, the tools that each of them offers, and the lines left out."""

    cases: tuple[Case, ...]
    tools: tuple[Tool, ...]
    bad_lines: tuple[BadLine, ...]
    cases_file: SourceFile
    tools_file: SourceFile

    def tool(self, name: str) -> Tool:
        """Return the tool of that name."""
        return next(tool for tool in self.tools if tool.name == name)

    def first(self, count: int | None) -> Suite:
        """Return the suite with its first `count` cases; all of them if `count` is None."""
        return self if count is None else replace(self, cases=self.cases[:count])

    def spread(self, count: int | None) -> Suite:
        """Choose `count` cases of as many tools and kinds as possible; all cases for None.

        Each case is of the tool with the fewest cases so far and, among those, adds the most
        traits. A larger `count` therefore includes the cases of a smaller one, and every tool is
        used in turn. The order of the file is kept.
        """
        if count is None or count >= len(self.cases):
            return self
        chosen: list[Case] = []
        used: Counter[str] = Counter()
        seen: set[str] = set()
        left = list(self.cases)
        for _ in range(count):
            fewest = min(used[case.tool_name] for case in left)
            rarest = [case for case in left if used[case.tool_name] == fewest]
            case = max(rarest, key=lambda case: len(_traits(case) - seen))
            chosen.append(case)
            left.remove(case)
            used[case.tool_name] += 1
            seen |= _traits(case)
        return replace(self, cases=tuple(case for case in self.cases if case in chosen))

    def named(self, ids: Collection[str]) -> Suite:
        """Return the suite with the cases of these ids."""
        return replace(self, cases=tuple(case for case in self.cases if case.id in ids))


class _BadCaseError(ValueError):
    """Why a line is not a case."""


def planned_cases(suite: Suite, settings: RunSettings) -> Suite:
    """Return the cases of a run; older versions recorded only the number of its first cases."""
    if settings.case_ids:
        return suite.named(settings.case_ids)
    return suite.first(settings.first_cases)


def load_suite(cases: Path | None = None, tools: Path | None = None) -> Suite:
    """Read cases and tools; None means the shipped ones. Raises ConfigurationError."""
    tools_file = _read(tools, "tools.json")
    cases_file = _read(cases, "cases.jsonl")
    offered = parse_tools(tools_file.text, tools_file.name)
    good, bad = parse_cases(cases_file.text, offered)
    if not good:
        first = f" Line {bad[0].number}: {bad[0].reason}." if bad else " It is empty."
        raise ConfigurationError(f"{cases_file.name} has no valid case.{first}")
    return Suite(good, offered, bad, cases_file, tools_file)


def parse_cases(text: str, tools: tuple[Tool, ...]) -> tuple[tuple[Case, ...], tuple[BadLine, ...]]:
    """Return the cases of a file, and the lines that are not cases."""
    good: dict[str, Case] = {}
    bad: list[BadLine] = []
    by_name = {tool.name: tool for tool in tools}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            case = _case(line, by_name)
        except _BadCaseError as error:
            bad.append(BadLine(number, str(error)))
            continue
        if case.id in good:
            bad.append(BadLine(number, f"the id {case.id!r} (or the same case) appears twice"))
        else:
            good[case.id] = case
    return tuple(good.values()), tuple(bad)


def _traits(case: Case) -> set[str]:
    """List what distinguishes kinds of cases: arguments, their types, and unusual characters."""
    written = json.dumps(case.expected_arguments, ensure_ascii=False)
    traits = {f"argument {name}" for name in case.expected_arguments}
    traits |= {type(value).__name__ for value in case.expected_arguments.values()}
    traits |= {char for char in ('\\"', "\\n", "-", ".") if char in written}
    if not case.prompt.isascii():
        traits.add("not ASCII")
    if case.instructions is not None:
        traits.add("instructions")
    return traits


def _case(line: str, tools: Mapping[str, Tool]) -> Case:
    try:
        row = strict_json(line)
    except ValueError as error:
        raise _BadCaseError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise _BadCaseError("not a JSON object")
    if unknown := sorted(row.keys() - _KNOWN_KEYS):
        raise _BadCaseError(f"unknown key {unknown[0]!r}")
    tool_name = _field(row, "tool_name")
    prompt = _field(row, "input")
    if tool_name not in tools:
        raise _BadCaseError(f"tool_name {tool_name!r} is not in the tools file")
    arguments = _arguments(row.get("expected_arguments"), tools[tool_name])
    instructions = _field(row, "instructions") if row.get("instructions") is not None else None
    identity = json.dumps([tool_name, prompt, instructions])
    case_id = row.get("id", f"{tool_name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}")
    if not isinstance(case_id, str) or not _SAFE_ID.fullmatch(case_id):
        raise _BadCaseError("id must consist of letters, digits, '.', '_' and '-'")
    return Case(case_id, tool_name, prompt, arguments, instructions)


def _arguments(value: object, tool: Tool) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = strict_json(value)
        except ValueError as error:
            raise _BadCaseError(f"expected_arguments is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _BadCaseError("expected_arguments must be a JSON object, or one in a string")
    problem = misfit(value, tool.parameters)
    if problem:
        raise _BadCaseError(f"expected_arguments do not match the schema of {tool.name}: {problem}")
    return value


def _field(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _BadCaseError(f"{key} must be a non-empty string")
    if not value.isascii() and _SURROGATE.search(value):
        raise _BadCaseError(f"{key} contains a lone surrogate")
    return value


def _read(path: Path | None, default: str) -> SourceFile:
    if path is None:
        text = (resources.files("harness") / "data" / default).read_text("utf-8")
        return SourceFile(default, text)
    return SourceFile(str(path), read_text(path, "utf-8-sig"))
