"""The parts of the transport without I/O: block splitting, redaction, waiting, rate limits."""

import json
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api.sse import blocks
from harness.records.redact import Redactor
from harness.records.rollouts import Exchange, Request, Response, StreamPart
from harness.transport.pacing import Bucket, tokens_used
from harness.transport.receiver import Receiver
from harness.transport.retry import RetryPolicy, retry_after

BLOCKS = [b"data: 1", b"event: a\ndata: 2", b": ping", b"data: \r"]


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"", []),
        (b"data: 1\n\n", [("data: 1", 9)]),
        (b"data: 1\r\n\r\ndata: 2", [("data: 1", 11), ("data: 2", 18)]),
        (b"data: 1\r\rdata: 2\r\r", [("data: 1", 9), ("data: 2", 18)]),
        (b"a\r\nb\r\n\r\nc\nd\n\n", [("a\r\nb", 8), ("c\nd", 13)]),
        (b"\n\n\n\ndata: 1\n\n\n\n", [("data: 1", 13)]),
        (b"a\n\r\nb\n", [("a", 4), ("b", 6)]),
    ],
)
def test_blocks_are_split_at_blank_lines(stream: bytes, found: list[tuple[str, int]]) -> None:
    assert list(blocks(bytearray(stream))) == found


@given(
    st.lists(st.sampled_from(BLOCKS[:3])),
    st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]),
    st.data(),
)
def test_events_have_the_time_at_which_the_last_of_their_bytes_came(
    events: list[bytes], blank: bytes, data: st.DataObject
) -> None:
    receiver = Receiver(wants_stream=True, sent=100.0, status=200, streaming=True)
    stream = b"".join(event + blank for event in events)
    came = 0
    while came < len(stream):
        size = data.draw(st.integers(1, len(stream) - came))
        receiver.feed(stream[came : came + size])
        came += size
        receiver.times[-1] = 100.0 + came
    response = receiver.response(Redactor(()), complete=True)
    assert [part.raw.encode() for part in response.parts] == events
    extents = accumulate(len(event + blank) for event in events)
    for part, extent in zip(response.parts, extents, strict=True):
        assert part.at == min(end for end in receiver.extents if end >= extent)


def test_redaction_finds_every_spelling() -> None:
    redactor = Redactor({'a"b/c+d\\é', "a-longer-secret", "a-longer-secret-still", "x"})
    body = {"k": 'a"b/c+d\\é', "x": "a-longer-secret-still"}
    encoded = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    assert redactor.body(body, encoded) == {"k": "[redacted]", "x": "[redacted]"}
    assert redactor.text("q=a%22b%2Fc%2Bd%5C%C3%A9&x") == "q=[redacted]&x"
    assert redactor.headers({"X-A": "is x", "Accept": "b", "Cookie": "b", "X-Auth": "b"}) == {
        "X-A": "[redacted]",
        "Accept": "b",
        "Cookie": "[redacted]",
        "X-Auth": "[redacted]",
    }


def test_a_key_is_found_in_every_part_of_a_header() -> None:
    redactor = Redactor({"sk-Secret/Key+1"})
    for value in ("/v1?k=sk-Secret%2FKey%2B1", "/v1?k=sk-Secret/Key%2B1", r'"sk-Secret\/Key+1"'):
        assert redactor.headers({"Location": value}) == {"Location": "[redacted]"}
        assert "Secret" not in redactor.text(value)
    assert Redactor({"sk-Long-One"}).headers({"x-sk-long-one": "a"}) == {"[redacted]": "a"}


def test_limits_of_tokens_and_requests_are_not_secrets() -> None:
    told = {"x-ratelimit-remaining-tokens": "5", "x-request-id": "a"}
    assert Redactor(()).headers(told) == told


@pytest.mark.parametrize(("attempt", "longest"), [(0, 0.5), (1, 1), (2, 2), (9, 20)])
def test_waits_grow_up_to_a_limit(attempt: int, longest: float) -> None:
    waits = [RetryPolicy().wait(attempt, None) for _ in range(50)]
    assert longest / 2 <= min(waits) < max(waits) <= longest


@pytest.mark.parametrize(("asked", "wait"), [(3.5, 3.5), (3600, 60)])
def test_retry_after_is_honoured_up_to_a_limit(asked: float, wait: float) -> None:
    assert RetryPolicy().wait(0, asked) == wait


def test_retry_after_zero_does_not_shorten_the_wait() -> None:
    assert all(RetryPolicy().wait(3, 0.0) >= 2 for _ in range(50))


@pytest.mark.parametrize(
    "value", ["soon", "Thu, 01 Jan 99999999999999999999 00:00:00 GMT", "1 Jan 2026 10:00 +9999999"]
)
def test_an_unreadable_retry_after_is_ignored(value: str) -> None:
    assert not retry_after({"retry-after": value})


def test_a_placeholder_key_does_not_redact_the_media_type() -> None:
    told = {"content-type": "text/event-stream; charset=utf-8", "retry-after": "10"}
    for placeholder in ("x", "-", "text", "json", "1", "s"):
        assert Redactor({placeholder}).headers(told) == told


def test_a_bucket_allows_the_rate_per_minute() -> None:
    bucket = Bucket(per_minute=60)
    assert [bucket.take(1, 100.0) for _ in range(7)] == [0, 0, 0, 0, 0, 1, 2]
    assert bucket.take(1, 102.0) == 1
    assert bucket.take(0, 110.0) == 0
    assert [bucket.take(1, 200.0) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


def test_the_next_request_waits_until_the_bucket_has_recovered() -> None:
    bucket = Bucket(per_minute=6000)
    assert bucket.take(0, 1.0) == 0
    bucket.take(2500, 1.0)
    assert bucket.take(0, 1.0) == 20
    assert bucket.take(0, 21.0) == 0


def exchange(**response: Any) -> Exchange:
    return Exchange(
        request=Request(method="POST", url="u", headers={}, body={"input": "x" * 390}),
        response=Response(status=200, headers={}, **response) if response else None,
        started_at="",
        elapsed=0,
    )


@pytest.mark.parametrize(
    ("recorded", "tokens"),
    [
        (exchange(), 100),
        (exchange(body='{"usage": {"total_tokens": 7}}'), 7),
        (exchange(body='{"usage": {"total_tokens": '), 100),
        (exchange(body='{"text": "{\\"total_tokens\\": 3}"}'), 100),
        (
            exchange(
                parts=(
                    StreamPart(at=0, raw='data: {"usage": {"total_tokens": 8}}'),
                    StreamPart(at=0, raw="data: [DONE]"),
                )
            ),
            8,
        ),
        (
            exchange(
                parts=(
                    StreamPart(
                        at=0,
                        raw="event: response.completed\n"
                        'data: {"response": {"usage": {"total_tokens": 9}}}',
                    ),
                )
            ),
            9,
        ),
    ],
)
def test_tokens_used_are_read_from_a_reply(recorded: Exchange, tokens: int) -> None:
    assert tokens_used(recorded) == tokens
