"""The transport against well-behaved and misbehaving servers over a real socket."""

import asyncio
import gzip
import json
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote

import mock_provider as mock
import pytest
from examined import details
from healthy import rollout
from mock_provider import MockProvider
from replies import data

from harness.errors import ConfigurationError
from harness.providers.entries import Provider, adhoc_provider, changed
from harness.records.redact import Redactor
from harness.records.rollouts import Exchange
from harness.repeat.commands import curl
from harness.transport import open_transport, receiver
from harness.transport.retry import NO_RETRIES, RetryPolicy

KEY = "sk-very/secret+key=123"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
STREAM = {**BODY, "stream": True}
QUICK = RetryPolicy(
    {"overloaded": 4, "passing": 3, "unconnected": 3},
    first_wait=0.01,
    longest_wait=0.02,
    longest_retry_after=0.5,
)


async def send(
    provider: MockProvider,
    body: dict[str, object] | None = STREAM,
    *,
    retries: RetryPolicy = NO_RETRIES,
    seconds: float = 20,
    **entry: object,
) -> Exchange:
    described = Provider.model_validate(
        {
            "name": "mock",
            "base_url": provider.base_url,
            "model": "m",
            "apis": ["chat"],
            "timeout": seconds,
            **entry,
        }
    )
    async with open_transport(described, retries=retries) as transport:
        return await transport.send("/chat/completions", body)


async def test_a_whole_reply_is_recorded_unchanged() -> None:
    content = '{ "a" :  "caf\\u00e9 é"}\n'
    async with MockProvider(script=[mock.text(content, X_Request_Id="r1")]) as provider:
        exchange = await send(provider, BODY)
    assert exchange.failure is None
    assert (exchange.response.body, exchange.response.status) == (content, 200)
    assert exchange.response.complete
    assert (exchange.response.headers["x-request-id"], exchange.request.body) == ("r1", BODY)
    assert provider.received[0].body == BODY
    assert 0 < exchange.elapsed < 5
    assert datetime.fromisoformat(exchange.started_at).tzinfo is not None


async def test_a_stream_is_recorded_in_blocks_with_arrival_times() -> None:
    pieces = [
        b": hello\n\ndata: {",
        b'"a":1}\n\nevent: x\r\ndata: 2\r',
        b"\n\r\n\n\ndata: [DONE]\n",
    ]
    async with MockProvider(script=[mock.stream(pieces, pause=0.05)]) as provider:
        exchange = await send(provider)
    parts = exchange.response.parts
    assert [part.raw for part in parts] == [
        ": hello",
        'data: {"a":1}',
        "event: x\r\ndata: 2",
        "data: [DONE]",
    ]
    assert exchange.response.body is None
    times = [part.at for part in parts]
    assert times == sorted(times)
    assert 0.03 < times[1] - times[0] < 1
    assert times[-1] <= exchange.elapsed


async def test_an_http_1_0_body_without_a_length_ends_with_the_connection() -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    async with MockProvider(script=[mock.raw(head + b"data: 1\n\ndata: [DONE]\n\n")]) as provider:
        exchange = await send(provider)
    assert exchange.failure is None
    assert exchange.response.complete
    assert [part.raw for part in exchange.response.parts] == ["data: 1", "data: [DONE]"]


async def test_json_instead_of_a_stream_is_a_body() -> None:
    async with MockProvider(script=[mock.text('{"a": 1}')]) as provider:
        exchange = await send(provider)
    assert (exchange.response.body, exchange.response.parts) == ('{"a": 1}', ())


async def test_a_stream_with_the_wrong_content_type_is_still_a_stream() -> None:
    script = [mock.stream([b"data: 1\n\n", b"data: 2\n\n"], content_type="application/json")]
    async with MockProvider(script=script) as provider:
        exchange = await send(provider)
    assert [part.raw for part in exchange.response.parts] == ["data: 1", "data: 2"]
    assert exchange.response.headers["content-type"] == "application/json"


async def test_a_stream_cut_off_keeps_the_blocks_that_arrived() -> None:
    script = [mock.stream([b"data: 1\n\ndata: {", b'"a"'], end=False)]
    async with MockProvider(script=script) as provider:
        exchange = await send(provider, retries=QUICK)
    assert exchange.failure.kind == "cut"
    assert not exchange.response.complete
    assert [part.raw for part in exchange.response.parts] == ["data: 1", 'data: {"a"']
    assert exchange.retries == ()
    assert len(provider.received) == 1


async def test_a_body_shorter_than_its_length_is_cut_off() -> None:
    script = [mock.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half": ')]
    async with MockProvider(script=script) as provider:
        exchange = await send(provider, BODY)
    assert (exchange.failure.kind, exchange.response.body) == ("cut", '{"half": ')
    assert not exchange.response.complete


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(mock.hang, id="no answer"),
        pytest.param(mock.stream([b"data: 1\n\n"] * 100, pause=0.1), id="slow drip"),
        pytest.param(mock.endless(b"data: 1\n\n", "text/event-stream"), id="endless"),
    ],
)
async def test_total_time_is_limited(handler: mock.Handler) -> None:
    async with MockProvider(script=[handler]) as provider:
        exchange = await send(provider, seconds=0.4, retries=QUICK)
    assert exchange.failure.kind == "timeout"
    assert "0.4 s" in exchange.failure.message
    assert exchange.elapsed < 15
    assert exchange.retries == ()


async def test_the_time_between_blocks_is_limited() -> None:
    script = [mock.stream([b"data: 1\n\n", b"data: 2\n\n"], pause=60)]
    async with MockProvider(script=script) as provider:
        exchange = await send(provider, idle_timeout=0.2)
    assert exchange.failure.kind == "timeout"
    assert "middle" in exchange.failure.message
    assert len(exchange.response.parts) == 1


@pytest.mark.parametrize("ending", [b"", b"\n\n"])
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
async def test_an_oversized_response_is_not_read_to_its_end(
    content_type: str, ending: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("BODY_BYTES", "STREAM_BYTES"):
        monkeypatch.setattr(receiver, limit, 2**20)
    monkeypatch.setattr(receiver, "KEPT_BYTES", 1000)
    script = [mock.endless(b"x" * (500 if ending else 65_536) + ending, content_type)]
    async with MockProvider(script=script) as provider:
        exchange = await send(provider)
    assert exchange.failure.kind == "too_large"
    assert "1 MiB" in exchange.failure.message
    assert len(exchange.model_dump_json()) < 5000


async def test_a_stream_of_endless_tiny_events_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiver, "STREAM_LINES", 2000)
    monkeypatch.setattr(receiver, "KEPT_BYTES", 1000)
    script = [mock.endless(b":\n\n", "text/event-stream")]
    async with MockProvider(script=script) as provider:
        exchange = await send(provider)
    assert exchange.failure.kind == "too_large"
    assert exchange.failure.message == "the response has more than 2,000 lines; the tool ended it"
    assert 300 < len(exchange.response.parts) < 400


async def test_a_hundred_megabytes_exceed_the_default_limit() -> None:
    script = [mock.text(b"x" * 100 * 2**20)]
    async with MockProvider(script=script) as provider:
        exchange = await send(provider, BODY)
    assert exchange.failure.kind == "too_large"


async def test_a_decompression_bomb_is_bounded() -> None:
    bomb = gzip.compress(b"0" * 64 * 2**20)
    async with MockProvider(script=[mock.text(bomb, Content_Encoding="gzip")]) as provider:
        exchange = await send(provider, BODY)
    assert provider.received[0].headers["accept-encoding"] == "gzip, deflate"
    assert exchange.failure.kind == "too_large"
    assert len(exchange.model_dump_json()) < 200_000


@pytest.mark.parametrize("compressed", [False, True])
async def test_all_responses_in_flight_have_one_bound(compressed: bool) -> None:
    """16 replies without an end hold 8 MiB together, and a short one beside them is read."""
    bomb = mock.text(gzip.compress(b"0" * 64 * 2**20), Content_Encoding="gzip")
    endless = mock.endless(b"data: " + b"x" * 1000 + b"\n\n", "text/event-stream")
    script = [bomb if compressed else endless] * 16 + [mock.text("{}")]
    async with MockProvider(script=script) as provider:
        entry = changed(
            adhoc_provider(provider.base_url, "m", ["chat"]), memory_mib=8, concurrency=17
        )
        async with open_transport(entry, retries=NO_RETRIES) as transport:
            sent = [transport.send("/chat/completions", BODY) for _ in range(17)]
            exchanges = await asyncio.gather(*sent)
    ended = [each for each in exchanges if each.failure is not None]
    assert len(ended) == 16
    for exchange in ended:
        assert exchange.failure.kind == "too_large"
        assert exchange.failure.message.endswith(
            "MiB, and all in flight than 8 MiB; the tool ended it"
        )
    [found] = details(
        rollout([], streaming=False).model_copy(update={"exchanges": (ended[0],), "end": "failed"})
    )
    assert (found.id, found.message) == ("reply.unreadable", ended[0].failure.message)


async def test_a_compressed_reply_is_read() -> None:
    reply = gzip.compress(b'{"a": 1}')
    async with MockProvider(script=[mock.text(reply, Content_Encoding="gzip")]) as provider:
        exchange = await send(provider, BODY)
    assert exchange.response.body == '{"a": 1}'
    assert curl(exchange, BODY, None).startswith("curl -sS --compressed http")


async def test_a_command_escapes_characters_that_nobody_sees() -> None:
    async with MockProvider(script=[mock.text("{}")]) as provider:
        exchange = await send(provider, BODY)
    hidden = {"content": "é\u2028\u00ad\U000e0001\n"}
    assert r"""{"content": "é\u2028\u00ad\udb40\udc01\n"}""" in curl(exchange, hidden, None, None)


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_NO_FLUSH])
async def test_events_of_a_compressed_stream_are_recorded_when_they_can_be_read(flush: int) -> None:
    async def compressed(_: object, writer: asyncio.StreamWriter) -> None:
        mock.write_head(writer, {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"})
        packer = zlib.compressobj(wbits=31)
        for number in range(3):
            piece = packer.compress(b"data: %d\n\n" % number) + packer.flush(flush)
            if piece:
                mock.write_chunk(writer, piece)
                await writer.drain()
            await asyncio.sleep(0.1)
        mock.write_chunk(writer, packer.flush())
        mock.write_chunk(writer, b"")

    async with MockProvider(script=[compressed]) as provider:
        exchange = await send(provider)
    assert exchange.failure is None
    assert [part.raw for part in exchange.response.parts] == ["data: 0", "data: 1", "data: 2"]
    first, *_, last = (part.at for part in exchange.response.parts)
    assert (last - first > 0.1) == (flush == zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_body_that_is_not_encoded_as_its_header_says_is_one_finding(
    streaming: bool,
) -> None:
    head = {"Content_Encoding": "gzip"}
    media_type = "text/event-stream" if streaming else "application/json"
    plain = mock.text('data: {"choices": []}\n\n', media_type, **head)
    async with MockProvider(script=[plain]) as provider:
        exchange = await send(provider, STREAM if streaming else BODY)
    attempt = rollout([], streaming=streaming).model_copy(
        update={"exchanges": (exchange,), "end": "failed"}
    )
    [found] = details(attempt)
    assert found.id == "reply.unreadable"
    assert found.message == (
        "the response is not well-formed HTTP: Can not decode content-encoding: gzip"
    )


@pytest.mark.parametrize("labelled", [False, True])
async def test_a_body_that_is_compressed_once_more_is_named(labelled: bool) -> None:
    body = gzip.compress(b"{}" if not labelled else gzip.compress(b"{}"))
    head = {"Content_Encoding": "gzip"} if labelled else {}
    async with MockProvider(script=[mock.text(body, **head)]) as provider:
        exchange = await send(provider, BODY)
    [found] = details(rollout([exchange.response]))
    assert found.id == "reply.unreadable"
    assert found.message == "the body is compressed once more than its Content-Encoding says"


@pytest.mark.parametrize(
    "content",
    [
        b"this is not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnothex\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_malformed_http_is_a_failure(content: bytes) -> None:
    async with MockProvider(script=[mock.raw(content)]) as provider:
        exchange = await send(provider, retries=QUICK)
    assert exchange.failure.kind == "protocol"
    assert exchange.failure.message.startswith("the response is not well-formed HTTP: ")
    assert "\n" not in exchange.failure.message
    assert "url=" not in exchange.failure.message
    assert exchange.retries == ()


@pytest.mark.parametrize("coding", ["zstd", "br"])
async def test_a_compression_that_was_not_asked_for_is_named(coding: str) -> None:
    """Also where the installed packages could decode it: clients without them cannot."""
    head = {"Content-Encoding": coding}
    async with MockProvider(script=[mock.text(b"\x28\xb5\x2f\xfd", **head)]) as provider:
        exchange = await send(provider, BODY)
    assert exchange.failure.kind == "encoding"
    assert exchange.failure.message.startswith(
        "the response is compressed in a way that the request did not ask for: "
    )


@pytest.mark.parametrize("broken", [b"nothex\r\n", b"5\r\nlonger", b"HTTP/1.1 502 Bad\r\n\r\n"])
async def test_a_stream_with_broken_framing_is_a_failure_and_keeps_its_blocks(
    broken: bytes,
) -> None:
    async def break_off(_: object, writer: asyncio.StreamWriter) -> None:
        mock.write_head(writer, {"Content-Type": "text/event-stream"})
        mock.write_chunk(writer, b"data: 1\n\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(broken)
        await writer.drain()
        writer.close()

    async with MockProvider(script=[break_off]) as provider:
        exchange = await send(provider)
    assert (exchange.failure.kind, exchange.response.parts[0].raw) == ("protocol", "data: 1")


async def test_a_header_that_is_not_utf8_can_be_recorded() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Region: S\xe3o Paulo\r\nContent-Length: 2\r\n\r\n{}"
    async with MockProvider(script=[mock.raw(answer)]) as provider:
        exchange = await send(provider, BODY)
    assert exchange.response.headers["x-region"] == "S\ufffdo Paulo"
    assert "S\ufffdo" in exchange.model_dump_json()


async def test_invalid_utf8_is_replaced() -> None:
    script = [mock.stream([b"data: \xff\xfe caf\xc3", b"\xa9\n\n"]), mock.text(b"\xff{}")]
    async with MockProvider(script=script) as provider:
        streamed = await send(provider)
        whole = await send(provider, BODY)
    assert streamed.response.parts[0].raw == "data: \ufffd\ufffd café"
    assert whole.response.body == "\ufffd{}"


async def test_redirects_are_not_followed() -> None:
    async with MockProvider(script=[mock.status(307, Location="http://elsewhere/")]) as provider:
        exchange = await send(provider)
    assert exchange.response.status == 307
    assert len(provider.received) == 1


async def test_cookies_are_not_returned() -> None:
    """A cookie of a load balancer would send all requests to one replica."""
    reply = mock.text("{}", Set_Cookie="route=replica-1; Path=/")
    async with MockProvider(always=reply) as provider:
        named = provider.base_url.replace("127.0.0.1", "localhost")
        async with open_transport(adhoc_provider(named, "m", ["chat"])) as transport:
            for _ in range(2):
                assert (await transport.send("/chat/completions", BODY)).failure is None
    assert len(provider.posts) == 2
    assert not any("cookie" in request.headers for request in provider.posts)


async def test_transient_failures_are_retried_and_counted() -> None:
    script = [mock.hang_up, mock.status(500), mock.status(429, Retry_After="0.1")]
    async with MockProvider(script=script) as provider:
        begun = time.monotonic()
        exchange = await send(provider, retries=QUICK)
        took = time.monotonic() - begun
    assert exchange.failure is None
    assert exchange.response.status == 200
    assert [retry.status for retry in exchange.retries] == [None, 500, 429]
    assert (exchange.retries[0].failure.kind, exchange.retries[2].waited) == ("cut", 0.1)
    assert took >= 0.1


@pytest.mark.parametrize(("code", "retries"), [(500, 3), (429, 4), (503, 4), (529, 4)])
async def test_the_number_of_retries_is_limited(code: int, retries: int) -> None:
    async with MockProvider(always=mock.status(code)) as provider:
        exchange = await send(provider, retries=QUICK)
    assert len(exchange.retries) == retries
    assert len(provider.received) == retries + 1
    assert exchange.response.status == code


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422, 501])
async def test_permanent_errors_are_not_retried(code: int) -> None:
    async with MockProvider(always=mock.status(code)) as provider:
        exchange = await send(provider, retries=QUICK)
    assert exchange.retries == ()
    assert len(provider.received) == 1


async def test_incomplete_responses_are_retried_only_on_request() -> None:
    short = mock.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
    for patience, sent in ((0, 1), (2, 3)):
        policy = RetryPolicy({"broken": patience}, first_wait=0.01)
        async with MockProvider(script=[short, mock.hang]) as provider:
            exchange = await send(provider, BODY, retries=policy, seconds=0.3)
        assert len(provider.posts) == sent
        assert (exchange.failure is None) == (patience == 2)
        kinds = [retry.failure and retry.failure.kind for retry in exchange.retries]
        assert kinds == ["cut", "timeout"][:patience]


async def test_retry_after_may_be_a_date_and_is_capped() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    script = [mock.status(503, Retry_After=later), mock.status(503, Retry_After="soon")]
    async with MockProvider(script=script) as provider:
        exchange = await send(provider, retries=QUICK)
    assert exchange.retries[0].waited == QUICK.longest_retry_after
    assert exchange.retries[1].waited <= QUICK.longest_wait


@pytest.mark.parametrize(("asked", "posts"), [("600", 2), ("3600", 1)])
async def test_a_longer_wait_than_any_run_makes_is_not_waited_for(asked: str, posts: int) -> None:
    async with MockProvider(script=[mock.status(429, Retry_After=asked)]) as provider:
        await send(provider, retries=QUICK)
    assert len(provider.posts) == posts


async def test_a_refused_connection_is_a_connect_failure() -> None:
    async with MockProvider() as provider:
        pass
    exchange = await send(provider, retries=QUICK)
    assert exchange.response is None
    assert exchange.failure.kind == "connect"
    assert len(exchange.retries) == 3


async def test_the_key_is_sent_but_never_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCK_KEY", f"{KEY}\n")
    monkeypatch.setenv("MOCK_ORG", "a-secret-organisation")
    echo = json.dumps({"echo": f"You sent {KEY} for a-secret-organisation: written-in-the-file"})
    script = [
        mock.text(echo, Set_Cookie="session=1", X_Echo=KEY),
        mock.stream([data({"you": KEY}).encode() + b"\n\n"]),
    ]
    async with MockProvider(script=script) as provider:
        exchanges = [
            await send(
                provider,
                {**BODY, "user": KEY, "stream": streaming},
                api_key_env="MOCK_KEY",
                headers={"X-Org": "org ${MOCK_ORG}", "X-Api-Key": "written-in-the-file"},
            )
            for streaming in (False, True)
        ]
    assert provider.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert provider.received[0].headers["x-org"] == "org a-secret-organisation"
    assert provider.received[0].body["user"] == KEY
    for exchange in exchanges:
        recorded = exchange.model_dump_json()
        for secret in (KEY, "a-secret-organisation", "written-in-the-file", "session=1"):
            assert secret not in recorded
        assert exchange.request.body["user"] == "[redacted]"


@pytest.mark.parametrize(
    "spelling",
    [
        json.dumps(KEY),
        KEY.replace("/", "\\/"),
        KEY.replace("/", "\\\\/"),
        KEY.replace("+", "\\u002B"),
        "".join(f"\\u{ord(character):04x}" for character in KEY),
        quote(KEY),
        quote(KEY, safe=""),
        KEY.replace("+", "%2b"),
        KEY.replace("+", "&#x2B;").replace("/", "&#47;"),
    ],
)
def test_the_key_is_redacted_in_every_spelling(spelling: str) -> None:
    said = Redactor([KEY]).text(f"<{spelling}> caf\\u00e9")
    assert said.replace('"', "") == "<[redacted]> caf\\u00e9"


def test_headers_of_portkey_are_shown_unless_they_hold_a_key() -> None:
    """The gateway's name contains "key"; without its headers, it cannot route a request."""
    shown = {"x-portkey-provider": "openai", "x-portkey-custom-host": "http://127.0.0.1:8000"}
    hidden = {"x-portkey-api-key": "1", "x-portkey-virtual-key": "2", "x-portkey-config": "{}"}
    assert Redactor([]).headers(shown | hidden) == shown | dict.fromkeys(hidden, "[redacted]")


@pytest.mark.parametrize("value", [None, "", "two\nlines", "key\u200b"])
async def test_a_missing_or_invalid_key_is_a_configuration_error(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("MOCK_KEY", raising=False)
    else:
        monkeypatch.setenv("MOCK_KEY", value)
    async with MockProvider() as provider:
        with pytest.raises(ConfigurationError, match="MOCK_KEY") as caught:
            await send(provider, api_key_env="MOCK_KEY")
    assert not value or value not in str(caught.value)


async def test_short_keys_do_not_corrupt_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCK_KEY", "none")
    async with MockProvider(script=[mock.text('{"said": "none"}')]) as provider:
        exchange = await send(provider, BODY, api_key_env="MOCK_KEY")
    assert exchange.response.body == '{"said": "none"}'
    assert exchange.request.headers["authorization"] == "[redacted]"


async def test_a_request_without_a_body_is_a_get() -> None:
    async with MockProvider() as provider:
        exchange = await send(provider, None)
    assert exchange.request.method == "GET"
    assert exchange.request.body is None
