"""Complete requests, half of them with some values exchanged if that is safe.

A value is exchanged, in both the text and the arguments, only if its ends are unambiguous;
otherwise the request stays unchanged.
"""

import json
import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from harmony.conversation import FunctionTool
from training.data import chart_titles, places
from training.data.documents import document
from training.data.requests import WholeRequest, whole_requests, written_values
from training.data.samples import utterance
from training.data.spans import copy
from training.data.table_names import scheme
from training.data.task import Ask, Asker, parameter_names

_SHARE = 0.75
_EXCHANGED_SHARE = 0.5
_OF_ANOTHER_SHARE = 0.5
_OPENING, _CLOSING = "\"'`“«‘„「‹(*", "\"'`”»’“」›)*"
_ENDS = (".", "!", "?", " ?", " !", ";", "…", "...", "?!", ":", ",", ")", "。", "！", " :)", "")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w|\.\d)")


def with_whole_requests(asker: Asker) -> Asker:
    """An asker for a smoke tool that sometimes uses a complete request."""

    def ask(rng: Random, tool: FunctionTool) -> Ask:
        return _whole(rng, tool) if rng.random() < _SHARE else asker(rng, tool)

    return ask


def _whole(rng: Random, tool: FunctionTool) -> Ask:
    names = parameter_names(tool)
    while not (drawn := rng.choice(whole_requests(tool.name))).arguments.keys() <= set(names):
        pass
    if rng.random() < _EXCHANGED_SHARE:
        drawn = exchanged(rng, tool.name, drawn)
    given = {name: drawn.arguments[name] for name in names if name in drawn.arguments}
    chosen = {name for name in names if "enum" in (tool.parameters or {})["properties"][name]}
    return Ask(
        drawn.text,
        {name: value if name in chosen else _copied(value) for name, value in given.items()},
    )


def _copied(value: object) -> object:
    """The value with all texts marked for copying."""
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return copy(value) if isinstance(value, str) else value


def exchanged(rng: Random, tool: str, request: WholeRequest) -> WholeRequest:
    """The request with exchanged values if possible, otherwise unchanged."""
    exchange = _EXCHANGES.get(tool)
    return exchange(rng, request) if exchange else request


def _other_place(rng: Random, request: WholeRequest) -> WholeRequest:
    old: str = request.arguments["location"]
    numbered = bool(re.search(r"\d", old))
    new = places.postal_code(rng) if numbered else places.named(rng)
    if rng.random() < _OF_ANOTHER_SHARE:
        new = _of_another(
            rng, "get_weather", "location", lambda place: bool(re.search(r"\d", place)) == numbered
        )
    if old == old.lower():
        new = new.lower()
    return _replaced(request, "location", new)


def _other_text(rng: Random, request: WholeRequest) -> WholeRequest:
    before, after = _around(request.text, request.arguments["text"])
    new = utterance(rng)
    if rng.random() < _OF_ANOTHER_SHARE:
        new = _of_another(rng, "identify_language", "text")
    elif rng.random() < 0.5:
        new = (new.rstrip(".?!。？！…") or new) + rng.choice(_ENDS)
    if not _closed(before, after) or _any_in(new, before[-1:], after[:1]):
        return request
    return _replaced(request, "text", new)


def _other_markdown(rng: Random, request: WholeRequest) -> WholeRequest:
    before, after = _around(request.text, request.arguments["markdown"])
    in_quotes = after[:1] not in {"", "\n"}
    new = document(rng, one_line=in_quotes)
    if rng.random() < _OF_ANOTHER_SHARE:
        new = _of_another(
            rng,
            "markdown_to_html",
            "markdown",
            lambda source: not (in_quotes and "\n" in source),
        )
    line_before = before.rstrip("\n").rpartition("\n")[2]
    if in_quotes:
        clear = not _any_in(new, before[-1:], after[:1])
    else:
        clear = "\n\n" in before or line_before not in new
    return _replaced(request, "markdown", new) if clear and _closed(before, after) else request


def _other_chart(rng: Random, request: WholeRequest) -> WholeRequest:
    if "title" in request.arguments and rng.random() < 0.6:
        request = _other_title(rng, request)
    return _other_numbers(rng, request)


def _other_title(rng: Random, request: WholeRequest) -> WholeRequest:
    before, after = _around(request.text, request.arguments["title"])
    title = chart_titles.title(rng)
    if rng.random() < _OF_ANOTHER_SHARE:
        title = _of_another(rng, "draw_chart", "title")
    if _in_quotes(before, after) and not _any_in(title, after[:1]):
        return _replaced(request, "title", title)
    return request


def _other_numbers(rng: Random, request: WholeRequest) -> WholeRequest:
    data: list[list[float]] = request.arguments["data"]
    old = {json.dumps(number) for point in data for number in point}
    said = {*_NUMBER.findall(request.text)}
    if not old <= said or _NUMBER.search(request.arguments.get("title", "")):
        return request
    new: dict[str, str] = {}
    for number in sorted(old):
        while (other := _alike(rng, number)) in new.values():
            pass
        new[number] = other
    text = _NUMBER.sub(lambda found: new.get(found[0], found[0]), request.text)
    points = [[json.loads(new[json.dumps(number)]) for number in point] for point in data]
    return WholeRequest(text, {**request.arguments, "data": points})


def _alike(rng: Random, number: str) -> str:
    """A number of the same format; years stay years."""
    if re.fullmatch(r"(19|20)\d\d", number):
        return str(rng.randint(1950, 2030))
    whole, point, part = number.lstrip("-").partition(".")
    sign = number[: number.startswith("-")]
    digits = len(whole) + rng.choice((0, 0, 0, 1))
    low = 0 if digits == 1 and not sign else 10 ** (digits - 1)
    whole = str(rng.randint(low, 10**digits - 1))
    part = "".join(rng.choice("0123456789") for _ in part[:-1]) + rng.choice("123456789")
    return f"{sign}{whole}{point}{part if point else ''}"


def _other_names(rng: Random, request: WholeRequest) -> WholeRequest:
    arguments = request.arguments
    told: list[str] = [arguments["table"], *arguments["columns"]]
    old = list(dict.fromkeys([*told, arguments.get("order_by", arguments["table"])]))
    others = scheme(rng)
    pool = [others.table, *rng.sample(others.columns, len(others.columns))]
    name = re.compile(r"(?<![\w.])(?:" + "|".join(map(re.escape, old)) + r")(?![\w.]*\w)")
    if len(pool) < len(old) or not {*old} <= {*name.findall(request.text)}:
        return request
    new = dict(zip(old, pool, strict=False))

    def renamed(value: object) -> object:
        if isinstance(value, str):
            return name.sub(lambda found: new[found[0]], value)
        return [renamed(one) for one in value] if isinstance(value, list) else value

    changed = {key: renamed(value) for key, value in arguments.items()}
    return WholeRequest(str(renamed(request.text)), changed)


_EXCHANGES: Mapping[str, Callable[[Random, WholeRequest], WholeRequest]] = {
    "get_weather": _other_place,
    "identify_language": _other_text,
    "markdown_to_html": _other_markdown,
    "draw_chart": _other_chart,
    "query_table": _other_names,
}


def _anything(_value: str) -> bool:
    return True


def _of_another(rng: Random, tool: str, name: str, fits: Callable[[str], bool] = _anything) -> str:
    """A fitting value that another request gives for the argument."""
    while not fits(value := rng.choice(written_values(tool, name))):
        pass
    return value


def _around(text: str, value: str) -> tuple[str, str]:
    """The text before and after the last occurrence of a value."""
    before, _, after = text.rpartition(value)
    return before, after


def _closed(before: str, after: str) -> bool:
    """Whether a value is delimited by quotation marks or line ends."""
    lines = before[-1:] in {"", "\n"} and after[:1] in {"", "\n"}
    return lines or _in_quotes(before, after)


def _in_quotes(before: str, after: str) -> bool:
    return before != "" != after and before[-1] in _OPENING and after[0] in _CLOSING


def _any_in(text: str, *signs: str) -> bool:
    return any(sign in text for sign in signs if sign)


def _replaced(request: WholeRequest, name: str, new: str) -> WholeRequest:
    """The request with a different value; unchanged if the old value occurs twice."""
    old: str = request.arguments[name]
    if request.text.count(old) != 1:
        return request
    arguments: dict[str, Any] = {**request.arguments, name: new}
    return WholeRequest(request.text.replace(old, new), arguments)
