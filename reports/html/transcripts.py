"""The transcripts that a page has room for, read leniently: a request may contain anything."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Literal, NamedTuple, TypedDict

import orjson

from harness.api.items import Reply
from harness.compare.transcripts import Message, read_reply, received, sent, text_of
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Response, Retry, Rollout, StreamPart
from harness.records.scores import Evidence, Finding, Score, never_blank
from reports.html.attempts import LOOKS, passed
from reports.html.json_lines import line_of
from reports.text import LONGEST_EVENT, LONGEST_RAW, LONGEST_TEXT, pretty, pretty_text, trimmed

_AROUND = 2  # events before and after one with a finding

Json = dict[str, Any]


class Room(NamedTuple):
    """What a transcript has room for: characters of each text, body and event, and events."""

    text: int = LONGEST_TEXT
    raw: int = LONGEST_RAW
    event: int = LONGEST_EVENT
    first_events: int = 12
    last_events: int = 6
    tools: bool = False  # in full; else only their names, because they repeat


PAGE = Room()


def transcript(rollout: Rollout, score: Score | None, room: Room = PAGE) -> Json:
    """Return what a page shows of one rollout; the findings of its score mark their bytes."""
    findings = () if score is None else shown_findings(score)
    return {
        "end": rollout.end.replace("_", " "),
        "exchanges": [
            _exchange(rollout, index, findings, room) for index in range(len(rollout.exchanges))
        ],
    }


def score_details(score: Score, condition: str) -> Json:
    """Return everything that the page shows of one score."""
    notes = {"answer": score.answer or ""}
    findings = shown_findings(score)
    if any(score.detail == f"{finding.id}: {finding.message}" for finding in findings):
        score = replace(score, detail="", expected=None, got=None)  # the finding says the same
    if score.outcome == "graded":
        notes["score"] = f"{score.value or 0.0:.2f}"
    return {
        "sample": trimmed(score.sample, 300),
        "condition": condition,
        "attempt": score.attempt,
        "outcome": LOOKS[score.outcome].label,
        "good": passed(score),
        "detail": trimmed(score.detail, 1_000),
        "expected": None if score.expected is None else trimmed(score.expected, 1_000),
        "got": None if score.got is None else trimmed(never_blank(score.got), 1_000),
        "notes": [[name, trimmed(text, 1_000)] for name, text in notes.items() if text],
        "findings": [
            {
                "id": finding.id,
                "severity": finding.severity,
                "message": trimmed(finding.message, 1_000),
                "exchange": finding.evidence.exchange,
                "event": finding.evidence.event,
                "path": finding.evidence.path and trimmed(finding.evidence.path, 300),
                "expected": trimmed(finding.evidence.expected, 1_000),
                "got": trimmed(finding.evidence.shown, 1_000),
            }
            for finding in findings
        ],
    }


def _exchange(rollout: Rollout, index: int, findings: Sequence[Finding], room: Room) -> Json:
    exchange = rollout.exchanges[index]
    body = exchange.request.body or {}
    reply = read_reply(rollout.api, exchange)
    items = request_items(rollout.api, body, first=index == 0) + response_items(reply)
    places = [each.evidence if each.evidence.exchange == index else None for each in findings]
    return {
        "items": [item | {"text": trimmed(item["text"], room.text)} for item in items],
        "tools": _tools(body),
        "facts": list(_facts(exchange, reply)),
        "request": _request(exchange, room),
        "response": exchange.response and _response(exchange.response, places, room),
        "retries": [f"{_cause(retry)}; waited {retry.waited:.2f} s" for retry in exchange.retries],
    }


def _facts(exchange: Exchange, reply: Reply | str) -> Iterator[str]:
    response = exchange.response
    yield "no response" if response is None else f"status {response.status}"
    yield f"{exchange.elapsed:.2f} s"
    if response is not None and response.parts:
        count = len(response.parts)
        yield f"{count:,} events, first after {response.parts[0].at:.2f} s"
    if isinstance(reply, str):
        return
    yield f"finish: {reply.finish.replace('_', ' ')}"
    if (usage := reply.usage) is not None:
        counts = [
            f"{count:,} {name}"
            for name, count in (
                ("prompt", usage.input_tokens),
                ("completion", usage.output_tokens),
                ("of which reasoning", usage.reasoning_tokens),
            )
            if count is not None
        ]
        yield f"tokens: {', '.join(counts)}"


def _tools(body: Mapping[str, Any]) -> list[str]:
    """Return the names of the tools in a request, for either API."""
    offered = body.get("tools")
    names = []
    for tool in offered if isinstance(offered, list) else ():
        inner = tool.get("function", tool) if isinstance(tool, dict) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        names.append(trimmed(name, 100) if isinstance(name, str) else "(unnamed)")
    return names


def _request(exchange: Exchange, room: Room) -> Json:
    """Return the request as it was sent, perhaps with the names of its tools only."""
    request = exchange.request
    if request.body is None:
        body = trimmed(request.text or "", room.raw)
    else:
        names = [] if room.tools else _tools(request.body)
        names_only = {"tools": [f"… {name} …" for name in names]} if names else {}
        body = pretty({**request.body, **names_only}, room.raw)
    return {
        "line": trimmed(f"{request.method} {request.url}", 500),
        "headers": _headers(request.headers),
        "body": body,
    }


def _response(response: Response, places: Sequence[Evidence | None], room: Room) -> Json:
    """Return a response; `lines` has the line of its body that each finding is about, if any."""
    shown: Json = {
        "line": f"status {response.status}{'' if response.complete else ', truncated'}",
        "headers": _headers(response.headers),
    }
    if response.body is not None:
        body = shown["body"] = pretty_text(response.body, room.raw)
        lines = [each and each.path and line_of(body, each.path) for each in places]
        if any(lines):
            shown["lines"] = lines
    if response.parts:
        marked = {each.event for each in places if each is not None and each.event is not None}
        shown["events"] = list(_events(response.parts, marked, room))
    return shown


def _events(parts: Sequence[StreamPart], marked: set[int], room: Room) -> Iterator[list[Any]]:
    """Yield number, time, text and mark of each event; one without a number is a gap."""
    kept = {*range(room.first_events), *range(len(parts) - room.last_events, len(parts))}
    for number in marked:
        kept |= set(range(number - _AROUND, number + _AROUND + 1))
    last = -1
    for number in sorted(kept & set(range(len(parts)))):
        if number > last + 1:
            yield [None, 0, f"… {number - last - 1:,} events omitted …", 0]
        part = parts[number]
        yield [number, round(part.at, 3), trimmed(part.raw, room.event), int(number in marked)]
        last = number


def _headers(headers: Mapping[str, str]) -> str:
    return trimmed("\n".join(f"{name}: {value}" for name, value in headers.items()), LONGEST_RAW)


def _cause(retry: Retry) -> str:
    failure = retry.failure
    return f"status {retry.status}" if failure is None else trimmed(failure.message, 300)


Speaker = Literal["system", "developer", "user", "cot", "call", "result", "final", "problem"]
_SPEAKERS: Mapping[str, Speaker] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "final",
    "tool": "result",
}


class Item(TypedDict):
    """One item of a conversation; `about` is the name of a tool or the id of a call.

    `text` is as long as it came.
    """

    who: Speaker
    about: str
    text: str


def request_items(api: Api, body: Mapping[str, Any], *, first: bool) -> list[Item]:
    """Return the items of a request; for later requests only those after the last reply."""
    items = [item for message in sent(api, body) for item in _items(message)]
    new = 0 if first else len(items)
    while new and items[new - 1]["who"] in ("user", "result", "developer", "system"):
        new -= 1
    return items[new:]


def response_items(reply: Reply | str) -> list[Item]:
    """Return the items of a reply, or the reason why it cannot be read."""
    items = list(_items(received(reply)))
    if all(item["who"] == "cot" for item in items):
        items.append(_item("final", "", "(no text)"))
    return items


def _items(message: Message) -> Iterator[Item]:
    if reasoning := message.get("reasoning"):
        yield _item("cot", "", text_of(reasoning))
    if error := message.get("error"):
        yield _item("problem", "", error)
    who = _SPEAKERS.get(message["role"], "user")
    if message["content"] or who == "result":
        yield _item(who, text_of(message.get("tool_call_id")), message["content"])
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield _item("call", text_of(function.get("name")), text_of(function.get("arguments")))


def _item(who: Speaker, about: str, text: str) -> Item:
    return {"who": who, "about": trimmed(about, 200), "text": text}


Read = Callable[[Collection[str]], Iterable[Rollout]]  # reads the rollouts with these ids
MOST_KEPT = 500
MOST_BYTES = 3_200_000  # leaves room for the rest of a page of at most 5 MB
_HELD = 2  # times as many bytes of transcripts are held while the log is read


def read_transcripts(
    read: Read,
    order: Sequence[str],
    scores: Mapping[str, Score],
    hidden: Collection[str],
    most_bytes: int,
) -> Mapping[str, orjson.Fragment]:
    """Return the transcripts by record, as many of the first records in `order` as fit
    into `most_bytes`.

    Transcripts of `hidden` tasks are left out. Transcripts are JSON text, which takes less memory
    than parsed values.
    """
    rank = {record: number for number, record in enumerate(order)}
    texts: dict[str, bytes] = {}
    held: list[tuple[int, str]] = []
    size = 0
    worst = len(order)
    for rollout in read(order):
        if rank[rollout.id] < worst and rollout.task not in hidden:
            text = orjson.dumps(transcript(rollout, scores.get(rollout.id)))
            texts[rollout.id] = text
            heapq.heappush(held, (-rank[rollout.id], rollout.id))
            size += len(text)
            while size > _HELD * most_bytes:
                worst, record = -held[0][0], heapq.heappop(held)[1]
                size -= len(texts.pop(record, b""))
    kept = fitting(order, {record: len(text) for record, text in texts.items()}, most_bytes)
    return {record: orjson.Fragment(texts[record]) for record in order if record in kept}


class Candidates:
    """The attempts that can have a transcript: those at cases and questions, and findings.

    At most a few hundred records of each kind are kept.
    """

    def __init__(self) -> None:
        self._failed: dict[tuple[object, ...], list[str]] = defaultdict(list)
        self._flawed: dict[tuple[object, ...], list[str]] = defaultdict(list)
        self._healthy: list[str] = []
        self._passed = 0
        self._step = 1  # every `_step`-th one of those without findings is kept

    def add(self, score: Score) -> None:
        """Add one attempt."""
        ids = sorted({finding.id for finding in shown_findings(score)})
        if not passed(score) or ids:
            kinds = self._flawed if passed(score) else self._failed
            kind = kinds[score.task, score.condition, score.outcome, *ids]
            if len(kind) < MOST_KEPT:
                kind.append(score.record)
            return
        if self._passed % self._step == 0:
            self._healthy.append(score.record)
            if len(self._healthy) > 4 * MOST_KEPT:
                del self._healthy[1::2]
                self._step *= 2
        self._passed += 1

    def choose(self, named: Iterable[str]) -> list[str]:
        """Return at most `MOST_KEPT` records: named ones, failures, findings, a sample."""
        kinds = (
            record
            for group in (self._failed, self._flawed)
            for taken in zip_longest(*group.values())
            for record in taken
            if record is not None
        )
        return list(dict.fromkeys([*named, *kinds, *_evenly_spaced(self._healthy)]))[:MOST_KEPT]


def shown_findings(score: Score) -> tuple[Finding, ...]:
    """Return the findings of a score that a page shows."""
    return tuple(finding for finding in score.findings if finding.severity != "info")


def fitting(order: Iterable[str], sizes: Mapping[str, int], most_bytes: int) -> set[str]:
    """Return the most important records that fit into so many bytes."""
    left = most_bytes
    chosen = set()
    for record in order:
        size = sizes.get(record)
        if size is not None and size <= left:
            chosen.add(record)
            left -= size
    return chosen


def _evenly_spaced(records: Sequence[str]) -> Iterator[str]:
    """Yield all records in an order whose first n are evenly spaced in the run, for any n."""
    bits = max(1, (len(records) - 1).bit_length())
    for number in range(2**bits):
        place = int(f"{number:0{bits}b}"[::-1], 2)
        if place < len(records):
            yield records[place]
