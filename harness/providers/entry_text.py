"""An entry written into the text of a providers.yaml, all else in it left as it stands."""

from __future__ import annotations

from collections.abc import Mapping

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.errors import ConfigurationError
from harness.providers.yaml_files import parse_yaml

INDENT = 2


def entry_text(name: str, entry: Mapping[str, object], indent: int = INDENT) -> str:
    """The lines of an entry, indented."""
    # Without a default style, lists and mappings of plain values stand in brackets.
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
    """`text` with the entry added after the others, or in the place of the one of this name.

    Args:
        text: A file that `load_providers` takes.
        source: Its name, for messages.
        name: The entry's.
        entry: What the entry says.

    Raises:
        ConfigurationError: The file is written in a way that this cannot be done safely in.
    """
    written = _written(text, name, entry)
    if written is None or not _is_meant(text, written, source, name, entry):
        raise ConfigurationError(
            f"{source} is written in a way that cannot be extended without spoiling it; add this "
            f"below `providers:` yourself:\n{entry_text(name, entry)}"
        )
    return written


def _written(text: str, name: str, entry: Mapping[str, object]) -> str | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, MappingNode):
        return None
    providers = next((value for key, value in root.value if key.value == "providers"), None)
    if not isinstance(providers, MappingNode) or providers.flow_style or not providers.value:
        return None
    lines = _lines(text)
    indent = providers.value[0][0].start_mark.column
    added = _lines(entry_text(name, entry, indent))
    for key, value in providers.value:
        if isinstance(key, ScalarNode) and key.value == name:
            first, last = key.start_mark.line, _last_line(key, value)
            return "\n".join([*lines[:first], *added, *lines[last + 1 :], ""])
    end = _last_line(*providers.value[-1]) + 1
    while end < len(lines) and _is_comment(lines[end], indent):
        end += 1
    return "\n".join([*lines[:end], "", *added, *lines[end:], ""])


def _lines(text: str) -> list[str]:
    # Not splitlines, which knows more kinds of line breaks than files have.
    return text.rstrip("\n").split("\n")


def _is_comment(line: str, indent: int) -> bool:
    """Whether a line is a comment that belongs to an entry whose name stands at `indent`."""
    text = line.lstrip(" ")
    return text.startswith("#") and len(line) - len(text) > indent


def _last_line(key: Node, value: Node) -> int:
    """The number of the last line, from 0, of a key and its value; comments after it not counted.

    An alias has the marks of what it stands for, which is above its key.
    """
    return max(key.end_mark.line, _end(value))


def _end(node: Node) -> int:
    if isinstance(node, MappingNode) and node.value and not node.flow_style:
        return _last_line(*node.value[-1])
    if isinstance(node, SequenceNode) and node.value and not node.flow_style:
        return max(map(_end, node.value))
    start, end = node.start_mark.line, node.end_mark
    # A block of text ends at the beginning of the line after it.
    return end.line - 1 if end.column == 0 and end.line > start else end.line


def _is_meant(before: str, after: str, source: str, name: str, entry: Mapping[str, object]) -> bool:
    """Whether the new text says what the old one said, and the entry."""
    meant = parse_yaml(before, source)
    assert isinstance(meant, dict)
    meant["providers"] = {**meant["providers"], name: dict(entry)}
    try:
        return parse_yaml(after, source) == meant
    except ConfigurationError:
        return False
