"""Plain damage to one recorded reply, in any API and mode; and the same reply spelled otherwise."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.records.rollouts import Response, Rollout

Change = Callable[[Sequence[Any]], object]
"""Changes the JSON bodies of one response in place: the only one, or those of all events."""
Dump = Callable[[Any], str]
Text = Callable[[str], str]


def changed(rollout: Rollout, change: Change, dump: Dump = json.dumps) -> Rollout | None:
    """The rollout with its last reply changed that can be; None if there is none."""
    for at in reversed(range(len(rollout.exchanges))):
        exchange = rollout.exchanges[at]
        response = _changed(exchange.response, change, dump) if exchange.failure is None else None
        if response is not None:
            return with_response(rollout, response, at)
    return None


def _changed(response: Response | None, change: Change, dump: Dump) -> Response | None:
    if response is None or not response.good_status:
        return None
    blocks = [part.raw for part in response.parts] or [f"data: {response.body}"]
    events = [_body(block) for block in blocks]
    bodies = [body for body in events if body is not None]
    before = json.dumps(bodies)
    change(bodies)
    if json.dumps(bodies) == before and dump is json.dumps:
        return None
    texts = [
        block if body is None else f"{block.partition('data: ')[0]}data: {dump(body)}"
        for block, body in zip(blocks, events, strict=True)
    ]
    if not response.parts:
        return response.model_copy(update={"body": texts[0].removeprefix("data: ")})
    parts = (replace(part, raw=raw) for part, raw in zip(response.parts, texts, strict=True))
    return response.model_copy(update={"parts": tuple(parts)})


def with_response(rollout: Rollout, response: Response, at: int = -1) -> Rollout:
    """The rollout with another response in one exchange."""
    exchanges = list(rollout.exchanges)
    exchanges[at] = exchanges[at].model_copy(update={"response": response})
    return rollout.model_copy(update={"exchanges": tuple(exchanges)})


def _body(block: str) -> Any:
    data = block.partition("data: ")[2].strip()
    return json.loads(data) if data.startswith("{") else None


def _texts(bodies: Sequence[Any]) -> Iterator[tuple[str, Sequence[tuple[Any, Any]]]]:
    """Yield each text: its place, and the members that have its pieces, which a stream splits."""
    pieces: dict[Any, list[tuple[Any, Any]]] = defaultdict(list)

    def walk(value: Any, inside: str, stream: Any) -> None:
        kind = value.get("type") or inside if isinstance(value, dict) else inside
        if isinstance(value, dict) and ("delta" in value or (stream and "index" in value)):
            places = (value.get(f"{part}index") for part in ("output_", "content_", ""))
            stream = (*(stream or ()), *places)
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            place = _place(kind, key) if isinstance(inner, str) and inner else None
            if place is not None:
                pieces[place, stream or id(value), key].append((value, key))
            elif isinstance(inner, dict | list):
                walk(inner, kind, stream)

    for body in bodies:
        walk(body, "", None)
    return ((place, members) for (place, *_), members in pieces.items())


def _place(kind: str, key: Any) -> str | None:
    """Return where in a reply the text in a member is; `kind` is the type of the object."""
    if key in ("reasoning", "reasoning_content") or (key in ("delta", "text") and "reas" in kind):
        return "CoT"
    if key == "content" or (key in ("delta", "text") and "output_text" in kind):
        return "answer"
    return "arguments" if key == "arguments" or (key == "delta" and "function" in kind) else None


def _of(place: str, change: Text) -> Change:
    """A change of all texts in a place; the pieces of a stream keep their ends."""

    def changes(bodies: Sequence[Any]) -> None:
        for where, members in list(_texts(bodies)):
            rest = change("".join(value[key] for value, key in members)) if where == place else ""
            for value, key in members if where == place else ():
                size = len(value[key])
                value[key], rest = rest[:size], rest[size:]
            if rest:
                value, key = members[-1]
                value[key] += rest

    return changes


def _counts(count: Callable[[int], int]) -> Change:
    def changes(value: Any) -> None:
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, dict | list):
                changes(inner)
        for key in ("completion_tokens", "output_tokens") if isinstance(value, dict) else ():
            if isinstance(value.get(key), int):
                value["total_tokens"] += count(value[key]) - value[key]
                value[key] = count(value[key])

    return changes


def _without_word(text: str) -> str:
    words = text.split(" ")
    return " ".join(words[: len(words) // 2] + words[len(words) // 2 + 1 :])


def _as_strings(arguments: str) -> str:
    try:
        value = json.loads(arguments)
    except ValueError:
        return arguments
    made = {k: str(v) if type(v) in (int, float) else v for k, v in value.items()}
    return arguments if made == value else json.dumps(made, ensure_ascii=False)


DAMAGES: Mapping[str, Change] = {
    "the end of the answer lost": _of("answer", lambda text: text[: len(text) * 3 // 4]),
    "the first word of the answer lost": _of("answer", lambda t: t.partition(" ")[2] or t),
    "the answer twice": _of("answer", lambda text: text + text),
    "a notice after the answer": _of("answer", lambda text: f"{text}\n\nGenerated by AI."),
    "a character of the answer garbled": _of(
        "answer", lambda t: f"{t[: len(t) // 2]}\N{REPLACEMENT CHARACTER}{t[len(t) // 2 + 1 :]}"
    ),
    "the CoT lost": _of("CoT", lambda text: ""),
    "a word of the CoT lost": _of("CoT", _without_word),
    "{} before the arguments": _of("arguments", lambda text: "{}" + text),
    "numbers in the arguments as strings": _of("arguments", _as_strings),
    "20 tokens too many": _counts(lambda count: count + 20),
}


def _escaped(arguments: str) -> str:
    """Return JSON with the escapes of servers in Go and PHP: `<>&` and letters beyond ASCII."""
    try:
        json.loads(arguments)
    except ValueError:  # which no server can write again
        return arguments
    escapes = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}
    letters = (char if char.isascii() else json.dumps(char)[1:-1] for char in arguments)
    return "".join(letters).translate(escapes)


def _spaced(arguments: str) -> str:
    """Return JSON with more white space between its tokens; other texts as they are."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return arguments
    own = (json.dumps(value, ensure_ascii=False, separators=ends) for ends in _SEPARATORS)
    spaced = json.dumps(value, ensure_ascii=False, separators=(" , ", " :  "))
    return spaced if arguments in own else arguments


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(inner) for key, inner in reversed(value.items())}
    return [_reversed(inner) for inner in value] if isinstance(value, list) else value


_SEPARATORS = ((", ", ": "), (",", ":"))
SPELLINGS: Mapping[str, tuple[Change, Dump]] = {
    "escapes in JSON": (len, lambda value: json.dumps(value, ensure_ascii=True)),
    "no white space": (len, lambda value: json.dumps(value, separators=(",", ":"))),
    "much white space": (len, lambda value: json.dumps(value, separators=(" , ", " :  "))),
    "keys in reverse order": (len, lambda value: json.dumps(_reversed(value))),
    "escapes in arguments": (_of("arguments", _escaped), json.dumps),
    "white space in arguments": (_of("arguments", _spaced), json.dumps),
}
