"""Read and validate the YAML files that users write; each error message is one sentence."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import ConfigurationError
from harness.text import suggestion


class Entry(BaseModel):
    """Base of the models of these files: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def read_text(path: Path) -> str:
    """The text of a file. Raises ConfigurationError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is not UTF-8 text") from None


def parse_yaml(text: str, source: str) -> object:
    """The content of a file called `source` in messages. Raises ConfigurationError."""
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source}: {_yaml_message(error)}") from None
    except (ValueError, RecursionError) as error:
        # An impossible date or number, or nesting that is too deep.
        raise ConfigurationError(f"{source}: contains an invalid value: {error}") from None


def first_problem(error: ValidationError, model: type[Entry], place: Sequence[str] = ()) -> str:
    """The first validation error of an entry with its key; `place` has the keys that lead to it."""
    first, *more = error.errors(include_url=False, include_input=False)
    keys = [str(part) for part in first["loc"]]
    key = ".".join([*place, *keys])
    if first["type"] == "missing":
        message = f"{key} is missing"
    elif first["type"] == "extra_forbidden":
        known = [name for name in _inner(model, keys[:-1]).model_fields if name != "name"]
        message = f"unknown key {key}; {suggestion(keys[-1], known)}"
    else:
        text = first["msg"].removeprefix("Value error, ")
        message = f"{key}: {text[0].lower()}{text[1:]}"
    return message + (f" (and {len(more)} more)" if more else "")


def _inner(model: type[Entry], keys: Sequence[str]) -> type[Entry]:
    """The type of the nested entry at `keys` in a `model`."""
    for key in keys:
        annotation: Any = model.model_fields[key].annotation
        kinds = [annotation, *get_args(annotation)]
        model = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Entry))
    return model


def _yaml_message(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
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
