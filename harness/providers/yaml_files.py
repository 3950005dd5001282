"""Read and validate the YAML files that users write; each error message is one sentence.

A new entry is written into the text of a providers.yaml, and every other line stays unchanged. A
round trip through ruamel.yaml 0.19 is not an alternative: it attaches the comment after an entry to
that entry's last value, so a new entry at the end separates the next section from its heading and a
replaced entry loses the heading of its neighbor; it also reindents the rest of the file.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from yaml.nodes import MappingNode

from harness.errors import ConfigurationError
from harness.text import suggestion

VALUE_ERRORS = (ValueError, RecursionError, LookupError, AttributeError, TypeError)
"""What PyYAML raises for an impossible date or number, too deep nesting, and a value that does not
match its tag, such as `!!bool x`."""


class YamlModel(BaseModel):
    """Base of the models of these files: immutable, without unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


def parse_yaml(text: str, source: str) -> object:
    """Return the content of a file called `source` in messages. Raises ConfigurationError."""
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source}: {_yaml_message(error)}") from None
    except VALUE_ERRORS as error:
        raise ConfigurationError(f"{source}: contains an invalid value: {error}") from None


def problems(error: ValidationError, model: type[BaseModel], place: Sequence[str]) -> str:
    """Return all validation errors of an entry, with their keys; `place` has the parent keys."""
    errors: dict[object, ErrorDetails] = {}
    for detail in error.errors(include_url=False, include_input=False):
        errors.setdefault(_value_of(detail, model), detail)  # a union has an error for each type
    return numbered([_problem(detail, model, place) for detail in errors.values()])


def numbered(texts: Sequence[str]) -> str:
    """Return one error as it is, or the number of errors with each of them."""
    if len(texts) == 1:
        return texts[0]
    listed = "; ".join(f"({number}) {text}" for number, text in enumerate(texts, 1))
    return f"{len(texts)} errors: {listed}"


def _value_of(error: ErrorDetails, model: type[BaseModel]) -> object:
    """Return what identifies the value that an error is about: its keys, without types."""
    first = str(next(iter(error["loc"]), ""))
    field = model.model_fields.get(first)
    kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
    nested = any(map(_is_model, kinds))
    keyed = field is not None and get_origin(field.annotation) is dict
    return error["loc"] if nested or keyed else first


def _problem(error: ErrorDetails, model: type[BaseModel], place: Sequence[str]) -> str:
    keys = [str(part) for part in error["loc"]]
    key = ".".join([*place, *keys])
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        known = [name for name in _inner(model, keys[:-1]).model_fields if name != "name"]
        if len(known) <= 2:  # p95 is no misspelt p90
            return f"unknown key {key}; only {' and '.join(known)} exist"
        return f"unknown key {key}; {suggestion(keys[-1], known)}"
    if error["type"] == "string_pattern_mismatch":
        return f"{key} must be {_inner(model, keys[:-1]).model_fields[keys[-1]].description}"
    text = error["msg"].removeprefix("Value error, ")
    return f"{key}: {text[0].lower()}{text[1:]}"


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner(model: type[BaseModel], keys: Sequence[str]) -> type[BaseModel]:
    """Return the type of the nested entry at `keys` in a `model`."""
    for key in keys:
        annotation: Any = model.model_fields[key].annotation
        model = next(filter(_is_model, [annotation, *get_args(annotation)]))
    return model


_INDENTATION = "; check the indentation of this line and of those above it"
_HINTS = {
    "expected <block end>": _INDENTATION,
    "mapping values are not allowed here": _INDENTATION,
    "could not find expected ':'": _INDENTATION,
    "'\\t' that cannot start": "; indent with spaces instead of tabs",
}
"""What to do about an error, by a part of PyYAML's message."""


def _yaml_message(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        hint = next((text for said, text in _HINTS.items() if said in str(error.problem)), "")
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}{hint}"
    return f"is not YAML: {error}"


_MERGE = "tag:yaml.org,2002:merge"


class _UniqueKeyLoader(yaml.SafeLoader):
    """Rejects a mapping with a duplicate key; PyYAML would silently keep the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            name = json.dumps(self.construct_object(key, deep=True), default=str)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {name}", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


INDENT = 2


def entry_text(name: str, entry: Mapping[str, object], indent: int = INDENT) -> str:
    """Return the lines of an entry, indented."""
    # Without a default style, PyYAML writes lists and mappings of plain values in brackets.
    dumped = yaml.safe_dump(
        {name: dict(entry)},
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=1000,
        indent=INDENT,
    )
    return "".join(f"{' ' * indent}{line}\n" for line in _lines(dumped))


def with_entry(text: str, source: str, name: str, entry: Mapping[str, object]) -> str:
    """Add or replace an entry in a providers.yaml. Raises ConfigurationError if that is unsafe."""
    edited = _edited(text, name, entry)
    if edited is None or not _is_safe(text, edited, source, name, entry):
        raise ConfigurationError(
            f"{source} cannot be edited without changing other entries; add this below "
            f"`providers:` yourself:\n{entry_text(name, entry)}"
        )
    return edited


def _edited(text: str, name: str, entry: Mapping[str, object]) -> str | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, MappingNode):
        return None
    providers = next((value for key, value in root.value if key.value == "providers"), None)
    if not isinstance(providers, MappingNode) or providers.flow_style or not providers.value:
        return None
    lines = _lines(text)
    indent = providers.value[0][0].start_mark.column
    added = _lines(entry_text(name, entry, indent))
    names = [key.value for key, _ in providers.value]
    starts = [key.start_mark.line for key, _ in providers.value]
    ends = [_end(lines, end, indent) for end in [*starts[1:], _next_section(lines, starts[-1])]]
    if name in names:
        at = names.index(name)
        return "\n".join([*lines[: starts[at]], *added, *lines[ends[at] :], ""])
    return "\n".join([*lines[: ends[-1]], "", *added, *lines[ends[-1] :], ""])


def _lines(text: str) -> list[str]:
    # str.splitlines also splits at characters that YAML allows within a line.
    return text.rstrip("\n").split("\n")


def _next_section(lines: list[str], start: int) -> int:
    """Return the number of the first line after `start` with a key at the top level, or the end."""
    following = range(start + 1, len(lines))
    return next((at for at in following if lines[at][:1] not in {"", " ", "#"}), len(lines))


def _end(lines: list[str], end: int, indent: int) -> int:
    """Find the end of an entry before line `end`, without comments that belong to the next one."""
    while not (text := lines[end - 1].lstrip(" ")) or (
        text.startswith("#") and len(lines[end - 1]) - len(text) <= indent
    ):
        end -= 1
    return end


def _is_safe(before: str, after: str, source: str, name: str, entry: Mapping[str, object]) -> bool:
    """Return whether the new text has the old content plus the entry."""
    expected = parse_yaml(before, source)
    assert isinstance(expected, dict)
    expected["providers"] = {**expected["providers"], name: dict(entry)}
    try:
        return parse_yaml(after, source) == expected
    except ConfigurationError:
        return False
