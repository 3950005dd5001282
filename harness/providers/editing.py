"""Write an entry into the text of a providers.yaml and leave every other line unchanged.

A round trip through ruamel.yaml 0.19 is no replacement: it attaches the comment after an entry to
that entry's last value, so a new entry at the end separates the next section from its heading and
a replaced entry loses the heading of its neighbor; it also reindents the rest of the file.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml
from yaml.nodes import MappingNode

from harness.errors import ConfigurationError
from harness.providers.yaml_files import parse_yaml

INDENT = 2


def entry_text(name: str, entry: Mapping[str, object], indent: int = INDENT) -> str:
    """The lines of an entry, indented."""
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
    """A providers.yaml with the entry added last, or in place of the entry of the same name.

    `source` is the name of the file in messages.

    Raises:
        ConfigurationError: The edit would change the meaning of another entry.
    """
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
    """The number of the first line after `start` with a key at the top level, or the end."""
    following = range(start + 1, len(lines))
    return next((at for at in following if lines[at][:1] not in {"", " ", "#"}), len(lines))


def _end(lines: list[str], end: int, indent: int) -> int:
    """The end of an entry before line `end`, without the comments that belong to what follows."""
    while not (text := lines[end - 1].lstrip(" ")) or (
        text.startswith("#") and len(lines[end - 1]) - len(text) <= indent
    ):
        end -= 1
    return end


def _is_safe(before: str, after: str, source: str, name: str, entry: Mapping[str, object]) -> bool:
    """Whether the new text has the old content plus the entry."""
    expected = parse_yaml(before, source)
    assert isinstance(expected, dict)
    expected["providers"] = {**expected["providers"], name: dict(entry)}
    try:
        return parse_yaml(after, source) == expected
    except ConfigurationError:
        return False
