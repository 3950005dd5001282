"""Records as nobody should send them: recorded rollouts with random damage."""

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import orjson

from harness.records.rollouts import Exchange, Response, Rollout, StreamPart, TransportFailure

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, float("nan"), float("inf"), -0.0),
    *("", " ", "null", "\ud800", "\x00\x1b", "\ufffd" * 3, "ａ́", "1e999", "a" * 20_000),
    *([], {}, [[]], [None], [{}], {"": None}, [1, "a", {}], {"type": "x"}, {"index": "0"}),
    *({"text": None}, {"type": "output_text", "text": 5}, [{"type": "text", "text": "x"}]),
)
_TEXTS: tuple[Callable[[str], str], ...] = (
    lambda text: text[: len(text) // 2],
    lambda text: text[::-1],
    lambda text: text * 50,
    lambda text: f"{text}\ud83d",
    lambda text: "\ufffd" * len(text),
    lambda text: "".join(sorted(text)),
    lambda text: f"<|channel|>{text}<|end|>",
)


def mutated(rollout: Rollout, random: Random) -> Rollout:
    """The rollout with damage in one to three places."""
    exchanges = list(rollout.exchanges)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if exchanges:
            at = random.randrange(len(exchanges))
            exchanges[at] = _exchange(exchanges[at], random)
    if random.random() < 0.05:
        random.shuffle(exchanges)
    changes: dict[str, Any] = {"exchanges": tuple(exchanges)}
    if random.random() < 0.05:
        changes["end"] = random.choice(("answered", "max_turns", "failed", "unreadable"))
    line = rollout.model_copy(update=changes).model_dump_json()
    return Rollout.model_validate(orjson.loads(line))  # as it is read from the log


def _exchange(exchange: Exchange, random: Random) -> Exchange:
    response, luck = exchange.response, random.random()
    if luck < 0.02 or response is None:
        kind = random.choice(("connect", "timeout", "cut", "too_large", "protocol"))
        failure = TransportFailure(kind=kind, message="It failed.")
        kept = random.choice((None, response))
        return exchange.model_copy(update={"failure": failure, "response": kept})
    if luck < 0.05 and exchange.request.body is not None:
        text = json.dumps(_changed(exchange.request.body, random), ensure_ascii=False)
        body = json.loads(text.encode(errors="replace"))
        body = body if isinstance(body, dict) else {}
        request = exchange.request.model_copy(update={"body": body})
        return exchange.model_copy(update={"request": request})
    if luck < 0.1:
        changes: dict[str, Any] = random.choice(
            (
                {"status": random.choice((100, 204, 302, 400, 429, 500, 599))},
                {"complete": False},
                {"headers": {}},
                {"headers": {"Content-Type": "\ufffd;"}},
                {"body": None, "parts": ()},
                {"body": random.choice(("", "[]", "null", "{", "\ufeff{}", "[" * 400, "<html>"))},
            )
        )
        return exchange.model_copy(update={"response": response.model_copy(update=changes)})
    changed = _parts(response, random) if response.parts else _body(response, random)
    return exchange.model_copy(update={"response": changed})


def _body(response: Response, random: Random) -> Response:
    try:
        value = json.loads(response.body or "")
    except ValueError:
        return response
    return response.model_copy(update={"body": _dumped(_changed(value, random), random)})


def _parts(response: Response, random: Random) -> Response:
    parts = list(response.parts)
    at, luck = random.randrange(len(parts)), random.random()
    if luck < 0.1:
        parts.insert(random.randrange(len(parts)), parts[at])
    elif luck < 0.2:
        del parts[at]
    elif luck < 0.25:
        random.shuffle(parts)
    elif luck < 0.3:
        parts = parts[:at]
    elif luck < 0.35:
        text = random.choice(("", ":", "data:", "data: [DONE]", "event: x", "data: [1]", "x\ufffd"))
        parts[at] = replace(parts[at], raw=text)
    else:
        parts[at] = _event(parts[at], random)
    return response.model_copy(update={"parts": tuple(parts)})


def _event(part: StreamPart, random: Random) -> StreamPart:
    before, mark, data = part.raw.partition("data: ")
    try:
        value = json.loads(data)
    except ValueError:
        return part
    return replace(part, raw=f"{before}{mark}{_dumped(_changed(value, random), random)}")


def _dumped(value: object, random: Random) -> str:
    return json.dumps(value, ensure_ascii=random.random() < 0.8).encode(errors="replace").decode()


def _changed(value: Any, random: Random) -> Any:
    """The JSON value with one member changed: removed, renamed, replaced, repeated or permuted."""
    inner = isinstance(value, dict | list) and value and random.random() < 0.85
    if not inner:
        if isinstance(value, str) and random.random() < 0.5:
            return random.choice(_TEXTS)(value)
        return random.choice(_VALUES)
    key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
    changed, luck = value.copy(), random.random()
    if luck < 0.08:
        del changed[key]
    elif luck < 0.12 and isinstance(changed, dict):
        changed[f"{key}_"] = changed.pop(key)
    elif luck < 0.15 and isinstance(changed, dict):
        changed = dict(random.sample(list(changed.items()), len(changed)))
    elif luck < 0.15 and isinstance(changed, list):
        random.shuffle(changed)
    elif luck < 0.18 and isinstance(changed, list):
        changed.append(changed[key])
    else:
        changed[key] = _changed(changed[key], random)
    return changed
