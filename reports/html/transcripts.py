"""Rollouts as the page's script shows them: the conversation, and the raw exchanges behind it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.api.base import Reply
from harness.records.rollouts import Exchange, Response, Retry, Rollout, StreamPart
from reports.html.conversation import answered, asked
from reports.html.trimming import LONGEST_EVENT, LONGEST_RAW, pretty, pretty_text, shown
from reports.tries import Try

_FIRST_EVENTS, _LAST_EVENTS, _AROUND = 12, 6, 2

Json = dict[str, Any]


def transcript(rollout: Rollout, one: Try | None) -> Json:
    """Everything the page shows of one rollout.

    Args:
        rollout: The record.
        one: What was judged of it, where it was an attempt or had findings.
    """
    findings = () if one is None else one.errors
    pointed = [(found.evidence.exchange, found.evidence.event) for found in findings]
    return {
        "end": rollout.end.replace("_", " "),
        "exchanges": [
            _exchange(rollout, index, {n for at, n in pointed if at == index and n is not None})
            for index in range(len(rollout.exchanges))
        ],
    }


def said_of(one: Try, label: str) -> Json:
    """The judgement of one try."""
    return {
        "row": shown(one.row, 300),
        "group": one.group,
        "number": one.number,
        "kind": label,
        "good": one.good,
        "detail": shown(one.detail, 1_000),
        "expected": None if one.expected is None else shown(one.expected, 1_000),
        "got": None if one.got is None else shown(one.got, 1_000),
        "notes": [[name, shown(text, 1_000)] for name, text in one.notes],
        "findings": [
            {
                "id": found.id,
                "severity": found.severity,
                "message": shown(found.message, 1_000),
                "exchange": found.evidence.exchange,
                "event": found.evidence.event,
                "path": found.evidence.path and shown(found.evidence.path, 300),
                "expected": shown(found.evidence.expected, 1_000),
                "got": shown(found.evidence.got, 1_000),
            }
            for found in one.errors
        ],
    }


def packed(value: Json) -> str:
    """The JSON of one transcript; kept as text, in which it takes the least memory."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _exchange(rollout: Rollout, index: int, pointed: set[int]) -> Json:
    exchange = rollout.exchanges[index]
    body = exchange.request.body or {}
    said, reply = answered(rollout.api, exchange)
    return {
        "turns": [*asked(rollout.api, body, first=index == 0), *said],
        "tools": _tools(body),
        "facts": list(_facts(exchange, reply)),
        "request": _request(exchange),
        "response": None if exchange.response is None else _response(exchange.response, pointed),
        "retries": [f"{_cause(retry)}; waited {retry.waited:.2f} s" for retry in exchange.retries],
    }


def _facts(exchange: Exchange, reply: Reply | None) -> Iterator[str]:
    response = exchange.response
    yield "no response" if response is None else f"status {response.status}"
    yield f"{exchange.elapsed:.2f} s"
    if response is not None and response.parts:
        count = len(response.parts)
        yield f"{count:,} events, first after {response.parts[0].at:.2f} s"
    usage = None if reply is None else reply.usage
    if reply is not None:
        yield f"finish: {reply.finish.replace('_', ' ')}"
    if usage is not None:
        counts = [
            f"{count:,} {name}"
            for name, count in (
                ("in", usage.input_tokens),
                ("out", usage.output_tokens),
                ("of it reasoning", usage.reasoning_tokens),
            )
            if count is not None
        ]
        yield f"tokens: {', '.join(counts)}"


def _tools(body: Mapping[str, Any]) -> list[str]:
    """The names of the tools on offer, in either dialect."""
    offered = body.get("tools")
    found = []
    for tool in offered if isinstance(offered, list) else ():
        inner = tool.get("function", tool) if isinstance(tool, dict) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        found.append(shown(name, 100) if isinstance(name, str) else "(unnamed)")
    return found


def _request(exchange: Exchange) -> Json:
    """The request as sent, but for the tools: these are only named, since they repeat."""
    request = exchange.request
    if request.body is None:
        body = shown(request.text or "", LONGEST_RAW)
    else:
        names = _tools(request.body)
        less = {"tools": [f"… {name} …" for name in names]} if names else {}
        body = pretty({**request.body, **less})
    return {
        "line": shown(f"{request.method} {request.url}", 500),
        "headers": _headers(request.headers),
        "body": body,
    }


def _response(response: Response, pointed: set[int]) -> Json:
    found: Json = {
        "line": f"status {response.status}{'' if response.complete else ', cut off'}",
        "headers": _headers(response.headers),
    }
    if response.body is not None:
        found["body"] = pretty_text(response.body)
    if response.parts:
        found["events"] = list(_events(response.parts, pointed))
    return found


def _events(parts: Sequence[StreamPart], pointed: Iterable[int]) -> Iterator[list[Any]]:
    """The events that are shown: number, time, text, and whether a finding points there.

    A number of None stands for events left out; its text says how many.
    """
    marked = set(pointed)
    kept = {*range(_FIRST_EVENTS), *range(len(parts) - _LAST_EVENTS, len(parts))}
    for number in marked:
        kept |= set(range(number - _AROUND, number + _AROUND + 1))
    last = -1
    for number in sorted(kept & set(range(len(parts)))):
        if number > last + 1:
            yield [None, 0, f"… {number - last - 1:,} events are left out here …", 0]
        part = parts[number]
        yield [number, round(part.at, 3), shown(part.raw, LONGEST_EVENT), int(number in marked)]
        last = number


def _headers(headers: Mapping[str, str]) -> str:
    return shown("\n".join(f"{name}: {value}" for name, value in headers.items()), LONGEST_RAW)


def _cause(retry: Retry) -> str:
    failure = retry.failure
    return f"status {retry.status}" if failure is None else shown(failure.message, 300)
