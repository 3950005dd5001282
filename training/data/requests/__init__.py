"""Complete requests for the six smoke tools, with their arguments.

A line with slots has the same wording for all values; here, wording, story and values belong
together. Each file `TOOL.jsonl` next to this module has objects `{"text", "arguments"}`, one per
line; string arguments occur in the text literally.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class WholeRequest:
    """A user's request, and the arguments of the call that serves it."""

    text: str
    arguments: Mapping[str, Any]

    @property
    def said(self) -> tuple[str, ...]:
        """The parts of the text that are not arguments."""
        values = sorted(filter(None, _texts(self.arguments.values())), key=len, reverse=True)
        return tuple(
            re.split("|".join(map(re.escape, values)), self.text) if values else (self.text,)
        )


@cache
def whole_requests(tool: str) -> tuple[WholeRequest, ...]:
    """The requests for one of the smoke tools."""
    text = files(__name__).joinpath(f"{tool}.jsonl").read_text(encoding="utf-8")
    lines = (json.loads(line) for line in text.splitlines())
    return tuple(WholeRequest(line["text"], line["arguments"]) for line in lines)


@cache
def written_values(tool: str, name: str) -> tuple[str, ...]:
    """The distinct values that the requests for a tool give for one of its arguments."""
    given = (request.arguments.get(name) for request in whole_requests(tool))
    return tuple(dict.fromkeys(value for value in given if isinstance(value, str)))


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _texts(value)
