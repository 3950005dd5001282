"""Streams that fall silent, or that stay open after their end, on records and over a socket."""

import asyncio
from dataclasses import replace
from typing import Any

import mock_provider as mock
import pytest
from healthy import rollout
from mock_provider import MockProvider
from replies import Reply, blocks
from scripted import ANSWER, ScriptedEngine, serving

from harness.api.parsed_rollout import parse_rollout
from harness.providers.entries import adhoc_provider, changed
from harness.records.conditions import BOTH_APIS, Api
from harness.records.rollouts import Exchange, StreamPart, TransportFailure
from harness.records.scores import Score
from harness.rules.catalogue import compare_rollouts
from harness.rules.measured import measured_score
from harness.transport import http, open_transport
from harness.transport.retry import NO_RETRIES
from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

SERVED = "gpt-oss-small"
ANSWERED = {"outcome": "answered"}
SAYS = Reply(text="One two three four five six seven.", reasoning="The user wants numbers.")
Times = dict[int, float]
"""Seconds of silence before an event of a stream by its index, or before the end: -1."""


def stream(number: int, silences: Times, *, api: Api = "chat", step: float = 0.02) -> Score:
    """A stream whose events come `step` seconds apart, except after the silences."""
    recorded = rollout([SAYS], api=api, streaming=True, attempt=number)
    (exchange,) = recorded.exchanges
    parts, at = [], 0.5
    for index, part in enumerate(exchange.response.parts):
        at += silences.get(index, step)
        parts.append(StreamPart(at, part.raw))
    response = exchange.response.model_copy(update={"parts": tuple(parts)})
    made = exchange.model_copy(update={"response": response, "elapsed": at + silences.get(-1, 0.0)})
    return scored(recorded, made)


def scored(recorded: Any, exchange: Exchange) -> Score:
    changed_rollout = recorded.model_copy(update={"exchanges": (exchange,)})
    return measured_score(parse_rollout(changed_rollout), ANSWERED)


def found(scores: list[Score]) -> dict[str, int]:
    """The number of findings of each rule about silence."""
    counts: dict[str, int] = {}
    for score, (_, compared) in zip(scores, compare_rollouts(scores), strict=True):
        for finding in (*score.findings, *compared):
            if finding.id.startswith(("stream.silent", "stream.left_open")):
                counts[finding.id] = counts.get(finding.id, 0) + 1
    return counts


def finish_of(api: Api) -> int:
    """The index of the event with the finish reason, or of the terminal event."""
    raws = blocks(SAYS, chat=api == "chat")
    name = '"finish_reason": "stop"' if api == "chat" else "response.completed"
    return next(at for at, raw in enumerate(raws) if name in raw)


@pytest.mark.parametrize("api", BOTH_APIS)
def test_silence_before_the_finish_is_found(api: Api) -> None:
    late = [stream(number, {finish_of(api): 4.0}, api=api) for number in range(8)]
    assert found(late) == {"stream.silent.before_end": 8}


@pytest.mark.parametrize("api", BOTH_APIS)
@pytest.mark.parametrize(("seconds", "rule"), [(3.0, "stream.left_open.briefly"),
                                               (10.0, "stream.left_open")])  # fmt: skip
def test_a_stream_that_stays_open_is_found(api: Api, seconds: float, rule: str) -> None:
    assert found([stream(number, {-1: seconds}, api=api) for number in range(8)]) == {rule: 8}


@pytest.mark.parametrize("api", BOTH_APIS)
def test_the_streams_of_a_slow_model_are_healthy(api: Api) -> None:
    assert found([stream(number, {}, api=api, step=3.0) for number in range(8)]) == {}


def test_a_loaded_client_that_pauses_anywhere_is_not_judged() -> None:
    paused = [stream(number, {2 + number % 5: 4.0}) for number in range(20)]
    paused += [stream(number, {finish_of("chat"): 4.0}) for number in range(20, 24)]
    assert found(paused) == {}


def test_one_late_end_of_many_streams_is_not_judged() -> None:
    scores = [stream(number, {}) for number in range(40)]
    assert found([*scores, stream(41, {-1: 4.0}), stream(42, {finish_of("chat"): 5.0})]) == {}


def test_silence_in_which_tokens_were_lost_is_not_judged() -> None:
    late = [stream(number, {finish_of("chat"): 4.0}) for number in range(8)]
    hidden = [
        replace(score, rows=(replace(row, arrivals=replace(row.arrivals, whole=False)),))
        for score in late
        for row in score.rows
    ]
    assert found(hidden) == {}


@pytest.mark.parametrize(("silent", "rules"), [(60.0, {"stream.silent": 1}), (2.0, {})])
@pytest.mark.parametrize("kind", ["timeout", "cut"])
def test_a_stream_that_falls_silent_until_somebody_gives_up(
    kind: Any, silent: float, rules: dict[str, int]
) -> None:
    recorded = rollout([SAYS], streaming=True)
    (exchange,) = recorded.exchanges
    parts = exchange.response.parts[:4]
    response = exchange.response.model_copy(update={"parts": parts, "complete": False})
    failure = TransportFailure(kind=kind, message="no data")
    changes = {"response": response, "failure": failure, "elapsed": parts[-1].at + silent}
    assert found([scored(recorded, exchange.model_copy(update=changes))]) == rules


async def received(url: str, api: Api, count: int, **changes: float) -> list[Score]:
    """Return the scores of streams that a server at `url` sends at the same time."""
    provider = changed(adhoc_provider(url, SERVED, [api]), timeout=30.0, **changes)
    recorded = rollout([SAYS], api=api, streaming=True)
    prompt = {"messages": [{"role": "user", "content": "Hi"}]}
    body = {"model": SERVED, "stream": True, **(prompt if api == "chat" else {"input": "Hi"})}
    path = "/chat/completions" if api == "chat" else "/responses"
    async with open_transport(provider, retries=NO_RETRIES) as transport:
        exchanges = await asyncio.gather(*[transport.send(path, body) for _ in range(count)])
    assert all(exchange.failure is None and exchange.response.good_status for exchange in exchanges)
    return [
        scored(recorded.model_copy(update={"id": str(number)}), exchange)
        for number, exchange in enumerate(exchanges)
    ]


@pytest.mark.parametrize("api", BOTH_APIS)
@pytest.mark.parametrize(
    ("faults", "rule"),
    [
        ((), None),
        (("silent-before-finish",), "stream.silent.before_end"),
        (("open-after-finish",), "stream.left_open.briefly"),
    ],
)
def test_over_a_socket(api: Api, faults: tuple[str, ...], rule: str | None) -> None:
    engine = ScriptedEngine(ANSWER)
    engine.pause = 0.005
    with serving(faulty_parts(faults).app(engine, AppSettings())) as url:
        scores = asyncio.run(received(url, api, 12))
    assert found(scores) == ({} if rule is None else {rule: 12})


@pytest.mark.parametrize("api", BOTH_APIS)
async def test_a_stream_that_never_closes_is_left_after_its_last_event_and_is_complete(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SECONDS_AFTER_END", 0.3)
    pieces = [f"{block}\n\n".encode() for block in blocks(SAYS, chat=api == "chat")]

    async def open_for_ever(_: mock.Received, writer: asyncio.StreamWriter) -> None:
        mock.write_head(writer, {"Content-Type": "text/event-stream"})
        for piece in pieces:
            mock.write_chunk(writer, piece)
        await writer.drain()
        await asyncio.sleep(60)

    async with MockProvider(always=open_for_ever) as server:
        (score,) = await received(server.base_url, api, 1)
    (arrived,) = (row.arrivals for row in score.rows)
    assert arrived.finished
    assert 0.3 <= arrived.open < 5
    assert "stream.cut" in score.applicable
    assert not any(finding.id in ("stream.cut", "reply.lost") for finding in score.findings)
