"""Handwritten requests, one per line, with slots such as `{p}` for the parts that vary.

They are more varied than a grammar, which only mixes the same few words. Each file `NAME.txt` next
to this module has many wordings of one request. `tools.jsonl` has tools of many kinds, each line an
object with `name`, `description`, `parameters` and `asks`. An ask is a text whose slots are named
after parameters, or `{"text": …, "values": …}`, where `values` are arguments that the text implies
without a slot.

- `known_tools.jsonl`: asks for tools that are defined in `catalogue`
- `kinds.jsonl`: kinds of things, with their members and with questions that a member answers
- `second_wishes.jsonl`: requests for a call with a value from the first result
- `small_talk.jsonl`: answers, with the lines that they answer
- `builtin_asks.jsonl`: requests for the browser and Python
- `python_asks.jsonl`: requests for each piece of code

Other files have no requests: `sentences.txt` has texts in many languages, `everyday.txt` patterns
of English sentences, `chatter.txt` text around a request, `manner_of_use.txt` sentences on how to
serve it, `instructions.txt` instructions of developers, and `topics.txt`, `page_titles.txt`,
`result_notes.txt` and `attributes.txt` content of web pages.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

from harmony.conversation import FunctionTool
from training.data.catalogue import OTHER_TOOLS

_SLOT = re.compile(r"\{(\w+)\}")
_SLOTS: Mapping[str, tuple[str, str]] = {
    "service_status": ("", "t"),
    "get_weather": ("p", "u"),
    "identify_language": ("t", ""),
    "markdown_to_html": ("m", "j"),
    "draw_chart": ("kd", "e"),
    "draw_line": ("d", "e"),
    "draw_bar": ("d", "e"),
    "draw_scatter": ("d", "e"),
    "query_table": ("ct", "e"),
    "canary_told": ("nv", ""),
    "canary_asked": ("n", ""),
    "canary_later": ("n", ""),
    "sums": ("ab", "w"),
    "choice_kind": ("k", ""),
    "decline": ("", "w"),
    "sums_boxed": ("", "N"),
    "choice_letter": ("", ""),
    "order_exactly": ("v", ""),
    "order_shout": ("v", ""),
    "order_times": ("vn", ""),
    "order_begin": ("pv", ""),
    "order_end": ("pv", ""),
    "order_wrap": ("vb", ""),
    "order_keyed": ("kv", ""),
    "manner_before": ("p", ""),
    "manner_after": ("p", ""),
    "sentences": ("", ""),
    "chatter": ("", ""),
    "manner_of_use": ("", ""),
    "everyday": ("", "NSAVMPTDw"),
    "instructions": ("", "w"),
    "twice": ("v", ""),
    "topics": ("", "px"),
    "page_titles": ("q", ""),
    "result_notes": ("", ""),
    "attributes": ("", ""),
}
"""For each file, the slots that a line must have and those that it may have."""


FILES = tuple(_SLOTS)


@cache
def lines(name: str) -> tuple[str, ...]:
    """The lines of `NAME.txt`.

    Raises:
        ValueError: a line lacks a slot, or has one that nothing fills.
    """
    return checked(name, files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8"))


def checked(name: str, text: str) -> tuple[str, ...]:
    """The distinct lines of a text, after checking their slots against those of the file `name`.

    Raises:
        ValueError: a line lacks a slot, or has one that nothing fills.
    """
    needed, allowed = (set(slots) for slots in _SLOTS[name])
    found = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
    for line in found:
        slots = set(_SLOT.findall(line))
        if not needed <= slots <= needed | allowed:
            raise ValueError(f"{name}.txt has slots {sorted(slots)} in the line {line!r}")
    return tuple(found)


@dataclass(frozen=True)
class WrittenAsk:
    """A request with a slot for each argument that it does not imply."""

    text: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class WrittenTool:
    """A tool, and requests that it serves."""

    tool: FunctionTool
    asks: tuple[WrittenAsk, ...]


@cache
def tools() -> tuple[WrittenTool, ...]:
    """The tools of `tools.jsonl`.

    Raises:
        ValueError: a tool or one of its requests is invalid.
    """
    return tuple(
        written_tool(
            FunctionTool(line["name"], line["description"], line["parameters"]), line["asks"]
        )
        for line in _json_lines("tools.jsonl")
    )


@cache
def known_tools() -> tuple[WrittenTool, ...]:
    """The tools of `known_tools.jsonl`.

    Raises:
        ValueError: a request is invalid.
    """
    named = {tool.name: tool for tool in OTHER_TOOLS}
    return tuple(
        written_tool(named[line["name"]], line["asks"]) for line in _json_lines("known_tools.jsonl")
    )


@dataclass(frozen=True)
class Kind:
    """Things of one kind, and questions to which only a thing of this kind is an answer."""

    name: str
    members: tuple[str, ...]
    questions: tuple[str, ...]


@cache
def kinds() -> tuple[Kind, ...]:
    """The kinds of `kinds.jsonl`."""
    return tuple(
        Kind(line["kind"], tuple(line["members"]), tuple(line["questions"]))
        for line in _json_lines("kinds.jsonl")
    )


@cache
def second_wishes() -> Mapping[str, tuple[str, ...]]:
    """Requests for a second call by the second tool's family; `{f}` is the field to use."""
    return {line["family"]: tuple(line["wishes"]) for line in _json_lines("second_wishes.jsonl")}


@cache
def small_talk() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Answers, each with the lines that it answers."""
    return tuple((line["answer"], tuple(line["lines"])) for line in _json_lines("small_talk.jsonl"))


@cache
def builtin_asks() -> Mapping[str, tuple[str, ...]]:
    """Requests for the browser and Python by kind, with one or two slots each."""
    return {line["kind"]: tuple(line["lines"]) for line in _json_lines("builtin_asks.jsonl")}


@cache
def python_asks() -> Mapping[str, tuple[str, ...]]:
    """Requests for Python by the code that they require, with its slots."""
    return {line["code"]: tuple(line["lines"]) for line in _json_lines("python_asks.jsonl")}


def _json_lines(file: str) -> list[dict[str, Any]]:
    text = files(__name__).joinpath(file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


@dataclass(frozen=True)
class Fragments:
    """A line split at its slots: `said` has one part more than `slots`."""

    said: tuple[str, ...]
    slots: tuple[str, ...]


def fragments() -> Iterator[Fragments]:
    """Every line and request of all files, split at its slots."""
    texts = [line for name in FILES for line in lines(name)]
    texts += [ask.text for one in (*tools(), *known_tools()) for ask in one.asks]
    texts += [wish for wishes in second_wishes().values() for wish in wishes]
    texts += [question for kind in kinds() for question in kind.questions]
    texts += [line for _, talk in small_talk() for line in talk]
    texts += [line for wishes in builtin_asks().values() for line in wishes]
    texts += [line for wishes in python_asks().values() for line in wishes]
    for text in texts:
        parts = _SLOT.split(text)
        yield Fragments(tuple(parts[::2]), tuple(parts[1::2]))


def written_tool(tool: FunctionTool, written: Sequence[str | Mapping[str, Any]]) -> WrittenTool:
    """A tool with its requests, each of which gives the required arguments and nothing else.

    Raises:
        ValueError: a request does not meet this.
    """
    schema = tool.parameters or {}
    properties = schema.get("properties", {})
    asks = tuple(
        WrittenAsk(ask, {}) if isinstance(ask, str) else WrittenAsk(ask["text"], ask["values"])
        for ask in written
    )
    for ask in asks:
        slots = set(_SLOT.findall(ask.text))
        given = slots | ask.values.keys()
        missing = set(schema.get("required", ())) - given
        if missing or given - properties.keys() or slots & ask.values.keys():
            raise ValueError(f"{tool.name}: the arguments of {ask.text!r} do not fit the tool")
        for name, value in ask.values.items():
            if not Draft202012Validator(properties[name]).is_valid(value):
                raise ValueError(f"{tool.name}: {value!r} is not a valid {name}, in {ask.text!r}")
    return WrittenTool(tool, asks)
