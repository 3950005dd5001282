"""Convert a recorded request/response pair of any format to an exchange. No I/O."""

import base64
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import orjson

from harness.api import DIALECTS
from harness.api.fields import json_object, nested, objects
from harness.api.items import UnreadableReplyError
from harness.records.conditions import BOTH_APIS, Api
from harness.records.redact import Redactor, Scrubber, secrets_in
from harness.records.rollouts import (
    SWITCHING,
    Exchange,
    LoopEnd,
    Lost,
    Request,
    Response,
    StreamPart,
    TransportFailure,
)
from harness.traffic.load_tests import Tested
from harness.traffic.recordings import RecordedPair

_BODIES = ("body", "parsed_body", "postData", "payload", "json", "content", "text", "data")
_STREAMS = ("chunks", "events", "lines", "parts", "sse")
_URLS = ("url", "uri", "path")
_HEADERS = ("headers", "header", "rawHeaders")
_STATUSES = ("status", "status_code", "statusCode", "code")
_TIMES = (
    *("startedDateTime", "started_at", "recorded_at", "captured_at", "timestamp"),
    *("created_at", "time"),
)  # fmt: skip
_PATHS: Mapping[str, Api] = {DIALECTS[api].path: api for api in BOTH_APIS}
# Bedrock takes and returns the bodies of Chat Completions there, with the model in the path.
_INVOKED = re.compile(r"/model/([^/]+)/invoke$")
_REPLIES: Mapping[str, Api] = {
    "chat.completion": "chat",
    "chat.completion.chunk": "chat",
    "response": "responses",
}
_ENDS = re.compile(
    # A finish reason, the last event of a response, an error, or the end of a Chat stream.
    r'"finish_reason"\s*:\s*"|"response\.(?:completed|incomplete|failed)"'
    r'|"error"\s*:\s*[{"]|"type"\s*:\s*"error"|\[DONE\]'
)
_GPT_OSS = re.compile(r"gpt[-_.]?oss", re.IGNORECASE)
_RESULT = "function_call_output"
_UNKNOWN_TIME = "1970-01-01T00:00:00+00:00"

_FRAMING: frozenset[Lost] = frozenset({"framing"})
MADE: frozenset[Lost] = frozenset({"framing", "fields", "extras"})
"""What is lost of a body that a client, a tracer or a gateway made from the server's."""
_OF_MAKERS = frozenset(
    {"_hidden_params", "_request_id", "_response_ms", "provider_specific_fields"}
)
_UNASKED = TransportFailure(kind="unrecorded", message="the recording lacks the request's body")
_NOT_WHOLE = "object of a client or tracer that is not a whole reply"

# The members of an object that contain a body, or a piece of one, as text or bytes: HAR (`content`,
# `postData`), vcrpy, Ruby, req_llm.
_BYTES = ("base64_string", "b64")
_HOLDER = frozenset({
    *("string", *_BYTES, "decoded", "text", "encoding"),
    *("mimeType", "size", "compression", "comment", "params"),
})  # fmt: skip
_OF_CASSETTER = {"type", "content"}  # a body with its format, in cassetter 0.16
_STREAM_FIELDS = ("data:", "event:", "id:", "retry:", ":")
_CONTENT = frozenset({"choices", "output"})
_NAMES = ("id", "object", "created", "created_at", "model")
"""The members of replies that hold their content, and those that name them."""
_ELLIPSES = ("…", "...")
_MOST_BYTES = 256 * 1024 * 1024
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_HEX = re.compile(r"(?:1f8b|78(?:01|5e|9c|da))[0-9a-f]*$")  # compressed bytes
_DIGITS = re.compile(r"(?:[0-9a-fA-F]{2})*$")  # of bytes
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # the header shows which


class LeftOutError(Exception):
    """Why a pair is not imported, or its reply not read, in words by which cases are counted.

    `model` is the model of a request to another one than gpt-oss.
    """

    def __init__(self, reason: str, model: str | None = None) -> None:
        """Keep the reason, and the model."""
        super().__init__(reason)
        self.model = model


@dataclass(frozen=True)
class Imported:
    """One imported exchange: where it was recorded, its API, and what the recording lost.

    `file` is the name of the file, and `number` the place in it, from 1; `timed` is whether it has
    when each part of the reply arrived.
    """

    file: str
    number: int
    api: Api
    exchange: Exchange
    lost: frozenset[Lost]
    timed: bool = False
    end: LoopEnd = "failed"  # how a conversation ends with it

    @property
    def body(self) -> Mapping[str, Any]:
        """The body of the request."""
        return self.exchange.request.body or {}

    @property
    def host(self) -> str:
        """The host that the request was sent to, or ''."""
        return urlsplit(self.exchange.request.url).netloc


def imported(pair: RecordedPair, models: Sequence[str], scrubber: Scrubber) -> Imported:
    """Read a pair. Raises LeftOutError if it is not a request to gpt-oss over one of the two APIs.

    `models` are other names of gpt-oss models. A request whose reply was not recorded has a failure
    instead of a response.
    """
    members = pair.members
    tested = kept if isinstance(kept := members.get("tested"), Tested) else None
    request = _request(members["request"], members)
    response, lost, failure = _recorded(members) if request.body else (None, frozenset(), _UNASKED)
    if response and tested and tested.broke:
        failure = TransportFailure(kind="cut", message=tested.broke)
        response = response.model_copy(update={"complete": False})
    replies = _objects(response) if response else []
    api, body = _asked(request, replies, models)
    if response and (members["client"] or _is_made(body, replies, response, lost)):
        lost |= MADE
        body = {name: value for name, value in body.items() if not name.startswith("stream")}
    elif response and response.parts and not request.over_websocket:
        body.setdefault("stream", True)
    request = request.model_copy(update={"body": body})
    dated = response.headers.get("date") if response else None
    began = next(filter(None, map(_time, (_first(members, _TIMES), dated))), None)
    exchange = Exchange(
        request=request,
        response=response,
        failure=failure,
        started_at=began.replace(tzinfo=began.tzinfo or UTC).isoformat()
        if began
        else _UNKNOWN_TIME,
        elapsed=tested.seconds if tested else 0.0,
    )
    if response and lost >= MADE and not response.parts:
        try:
            DIALECTS[api].read(exchange)
        except UnreadableReplyError:
            exchange = exchange.model_copy(update={"response": None, "failure": _NOT_WHOLE})
    lost |= {"date"} if began is None else set()
    timed = tested is not None and tested.timed
    return Imported(pair.file, pair.number, api, without_keys(exchange, scrubber), lost, timed)


def _asked(
    request: Request, replies: Sequence[Mapping[str, Any]], models: Sequence[str]
) -> tuple[Api, dict[str, Any]]:
    """Return the API and the body of a request, with its model. Raises LeftOutError."""
    path, body = urlsplit(request.url).path.rstrip("/"), request.body
    invoked = _INVOKED.search(unquote(path))
    api = next((api for end, api in _PATHS.items() if path.endswith(end)), None)
    api = "chat" if invoked else api
    if api is not None and body is None and request.method == "POST":
        return api, {"model": "unknown model"}
    if path and (api is None or body is None):
        raise LeftOutError(f"{request.method} {_name_of(path)}")
    api = api or _api_of(replies, body or {})
    if api is None or body is None:
        raise LeftOutError("neither Chat Completions nor Responses")
    inner = [value["response"] for value in replies if isinstance(value.get("response"), dict)]
    named = [value.get("model") for value in (body, *replies, *inner)]
    names = [name for name in (invoked and invoked[1], *named) if isinstance(name, str)]
    if not any(name in models or _GPT_OSS.search(name) for name in names):
        raise LeftOutError(f"model {names[0] if names else None}", names[0] if names else None)
    output = [item for value in (*replies, *inner) for item in objects(value.get("output"))]
    if any(item.get("type") == _RESULT for item in output):  # Only a client can add it.
        raise LeftOutError("summary of a client: its output has results of tools")
    return api, {**body, "model": body.get("model", names[0])}


def _is_made(
    request: Mapping[str, Any],
    replies: Sequence[Mapping[str, Any]],
    response: Response,
    lost: frozenset[Lost],
) -> bool:
    """Whether a client, a tracer or a gateway made the body of a reply, and not the server.

    Bytes with their headers are the server's, whatever they are. A body that was recorded as an
    object, or without headers, is a maker's if it is one object for a stream, a whole chunk, or has
    the token counts of another API or members that no server sends.
    """
    if response.parts or not lost & {"framing", "headers"}:
        return False
    merged = _CONTENT if request.get("stream") and response.good_status else frozenset[str]()
    return any(
        not value.keys().isdisjoint(_OF_MAKERS | merged)
        or value.get("object") == "chat.completion.chunk"
        or (value.get("object") == "response" and nested(value, "usage", "prompt_tokens"))
        for value in replies
    )


def _request(sent: object, members: Mapping[str, Any]) -> Request:
    """Return the request; its URL is '' if the recording does not have it."""
    fields: Mapping[str, Any] = sent if isinstance(sent, dict) else {"body": sent}
    bare = "model" in fields and not any(fields.get(name) for name in ("body", "payload", "url"))
    body = fields if bare else _json(_first(fields, _BODIES))
    url = _first(fields, _URLS) or _first(members, _URLS) or ""
    return Request(
        method=str(fields.get("method") or "POST").upper(),
        url=_address(str(url)),
        headers=_headers_of(_first(fields, _HEADERS)),
        body=dict(body) if isinstance(body, dict) else None,
    )


def _address(url: str) -> str:
    """Return a URL without user, query and fragment. Raises LeftOutError if it is not one."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        address = f"{parts.scheme}://{host}{parts.path}" if host else parts.path
        urlsplit(address)
    except ValueError:
        raise LeftOutError("address that is not a URL") from None
    return address


def _recorded(
    members: Mapping[str, Any],
) -> tuple[Response | None, frozenset[Lost], TransportFailure | None]:
    """Return the response with what the recording lacks of it, or why there is none."""
    try:
        return *_response(members["response"], members), None
    except LeftOutError as error:
        return None, frozenset(), TransportFailure(kind="unrecorded", message=str(error))


def _response(received: object, members: Mapping[str, Any]) -> tuple[Response, frozenset[Lost]]:
    """Return the response, and what the recording lacks of it. Raises the errors of a pair."""
    fields: Mapping[str, Any] = received if isinstance(received, dict) else {"body": received}
    if "choices" in fields or "output" in fields:
        fields = {"body": fields}
    headers = _headers_of(_first(fields, _HEADERS))
    status = _first(fields, _STATUSES) or _first(members, _STATUSES)
    if fields.keys() == {"error"} and status is not None:
        fields = {"body": fields}  # Without a status, it may be an error of the client.
    content = _first(fields, _BODIES)
    if content is None:
        content = _first(fields, _STREAMS) or _first(members, _STREAMS)
    kind = headers.get("content-type", "").lower()
    if (messages := fields.get("messages")) and _status(status) == SWITCHING:
        body = _Body(parts=tuple(StreamPart(0.0, message) for message in messages))
        first = json_object(messages[0])
        if nested(first, "type") == "error" and isinstance(given := nested(first, "status"), int):
            status, body = given, _Body(text=messages[0])
    else:
        body = _read_body(content, kind)
    if not body.text and not body.parts:
        raise LeftOutError(_why_missing(status, kind, members))
    if body.text and not kind and status is None and _json(body.text) is None:
        raise LeftOutError("response that is not a reply of the API")
    response = Response(
        status=_status(status),
        headers=headers,
        body=body.text,
        parts=body.parts,
        # A recording does not show whether the server or the client ended a stream early.
        complete=not body.parts or any(_ENDS.search(part.raw) for part in body.parts),
    )
    return response, body.lost | ({"headers"} if not kind else set())


def _why_missing(status: object, media_type: str, members: Mapping[str, Any]) -> str:
    """Return why a recording has no body of a response, by what is known of it."""
    if members["response"] is None or "fail" in str(members.get("status")).lower():
        return "the recording says that the request failed, or has no response"
    if not 200 <= (code := _status(status)) < 300:
        return f"status {code} without a body" if code >= 100 else "the connection failed"
    if "event-stream" in media_type:
        return "stream without a body: broken off (mitmproxy), or not kept (browsers)"
    return "reply without a body"


def _first(fields: Mapping[str, Any], names: Iterable[str]) -> object:
    """Return the first of these members that is present and not empty."""
    return next((fields[name] for name in names if fields.get(name) not in (None, "", [])), None)


def _status(value: object) -> int:
    """Return a status from 200, "200 OK", or an object with `code`; 200 if none was recorded."""
    if isinstance(value, dict):
        return _status(value.get("code"))
    digits = re.match(r"\d{3}|-?\d", str(value))
    return int(digits.group()) if digits else 200


def _json(value: object) -> object:
    """Return a recorded body as a JSON value; None if it is not JSON."""
    try:
        content = _decoded(value)
        if isinstance(content, str):
            return orjson.loads(content)
    except (LeftOutError, orjson.JSONDecodeError):
        return None
    return orjson.loads(_as_json(content))


def _objects(response: Response) -> list[Mapping[str, Any]]:
    """Return the JSON object of a response, or the first events of a stream."""
    texts = [response.body] if response.body else [part.raw for part in response.parts[:8]]
    values = (_json(text.rpartition("data:")[2] if response.parts else text) for text in texts)
    return [value for value in values if isinstance(value, dict)]


def _api_of(replies: Sequence[Mapping[str, Any]], request: Mapping[str, Any]) -> Api | None:
    """Return the API that the response shows, or the one that matches the form of the request."""
    for value in replies:
        kind, event = str(value.get("object") or ""), str(value.get("type") or "")
        if kind or event:
            return _REPLIES.get(kind, "responses" if event.startswith("response.") else None)
    return "chat" if "messages" in request else "responses" if "input" in request else None


def _name_of(path: str) -> str:
    """Return the end of a path, which identifies the API: `/v1/embeddings`, without ids."""
    parts = path.strip("/").split("/")
    kept = [part for part in parts if len(part) <= 24 and not any(c.isdigit() for c in part[2:])]
    return "/" + "/".join(kept[-2:])


def _time(value: object) -> datetime | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if value > 1e11 else value
        return datetime.fromtimestamp(seconds, UTC) if 1e9 < seconds < 1e10 else None
    if not isinstance(value, str):
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        with suppress(ValueError, OverflowError):
            return parse(value)
    return None


_redactor = lru_cache(Redactor)  # most requests of a recording have one key


def without_keys(exchange: Exchange, scrubber: Scrubber) -> Exchange:
    """Return an exchange without keys; the same one if no text of it has any."""
    sent, received = exchange.request, exchange.response
    redactor = _redactor(tuple(secrets_in(sent.headers)))
    exchange = exchange.model_copy(
        update={
            "request": sent.model_copy(update={"headers": redactor.headers(sent.headers)}),
            "response": received
            and received.model_copy(update={"headers": redactor.headers(received.headers)}),
        }
    )
    text = exchange.model_dump_json()
    clean = scrubber.text(redactor.text(text))
    return exchange if clean == text else Exchange.model_validate_json(clean)


class _Body(NamedTuple):
    """A recorded body: `text` as sent, or the `parts` of a stream; without both, there is none."""

    text: str | None = None
    parts: tuple[StreamPart, ...] = ()
    lost: frozenset[Lost] = frozenset()


def _decoded(value: object) -> object:
    """Return a recorded body as text, or as JSON if it was recorded parsed. Raises LeftOutError."""
    if isinstance(value, dict) and value and value.keys() <= _HOLDER:
        if (content := _bytes(value)) is not None:
            return _text(content)
        inner = value.get("string", value.get("text"))
        if str(value.get("encoding")).lower() == "base64" and isinstance(inner, str):
            pieces = orjson.loads(inner) if inner.startswith("[") else [inner]  # of PollyJS
            return _text(b"".join(_base64(piece) for piece in pieces))
        return _decoded(inner)
    if isinstance(value, dict) and "kind" in value and len(value) == 2:
        return _decoded(next(held for name, held in value.items() if name != "kind"))
    if isinstance(value, dict) and value.keys() == _OF_CASSETTER:
        held = value["content"]
        is_hex = value["type"] == "binary" and isinstance(held, str) and _DIGITS.match(held)
        return _decoded(bytes.fromhex(held) if is_hex else held)
    if isinstance(value, list) and value:
        if isinstance(value[0], str) and _HEX.match(value[0]):  # of nock
            return _text(bytes.fromhex("".join(map(str, value))))
        read = [_bytes(piece) for piece in value]
        whole = [piece for piece in read if piece is not None]
        return _text(b"".join(whole)) if len(whole) == len(value) else value
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, str) and value.startswith("\x1f\x8b"):
        return _text(value.encode("latin-1", "replace"))
    return value


def _as_json(value: object) -> bytes:
    """Return a recorded value as JSON. Raises LeftOutError if JSON has no such values."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # Integers of more than 64 bits, half a surrogate pair, or a cycle in YAML.
        raise LeftOutError("body with values that JSON does not have") from None


def _read_body(value: object, media_type: str) -> _Body:
    """Return the body of a recorded response of this media type, or ''. Raises LeftOutError."""
    content = _decoded(value)
    if content is None:
        return _Body()
    if isinstance(content, tuple):  # of a load tester that keeps when each event arrived
        return _Body(parts=content)
    if isinstance(content, str):
        return _of_text(content, media_type)
    try:
        lost = _FRAMING | _lost_by_sdk(content)
        plain = _unwrapped(content)
    except RecursionError:
        raise LeftOutError("body that is nested too deeply") from None
    if isinstance(plain, list):
        return _Body(parts=_parts(_blocks(plain)), lost=lost)
    return _Body(text=_as_json(plain).decode(), lost=lost | _lost_by_author(plain))


def _of_text(text: str, media_type: str) -> _Body:
    start = text.removeprefix("\ufeff").lstrip()
    if "event-stream" not in media_type and not start.startswith(_STREAM_FIELDS):
        return _Body(text=text, lost=_lost_by_author(json_object(text)))
    normal = text.replace("\r\n", "\n").replace("\r", "\n")
    # A recording with the media type has the bytes of the stream, any other may be lines of a log.
    if not media_type and "\n\n" not in normal.strip() and normal.count("\ndata:"):
        return _Body(parts=_parts(_blocks(normal.split("\n"))), lost=_FRAMING)
    return _Body(parts=_parts(block for block in normal.split("\n\n") if block.strip("\n")))


def _parts(blocks: Iterator[str]) -> tuple[StreamPart, ...]:
    return tuple(StreamPart(0.0, block.strip("\n")) for block in blocks)


def _blocks(entries: Sequence[object]) -> Iterator[str]:
    """Yield the events of a stream that was recorded as a list of lines or of parsed events."""
    name = ""
    for entry in entries:
        if isinstance(entry, bytes):
            entry = entry.decode("utf-8", "replace")
        if isinstance(entry, str):
            line = entry.strip("\r\n")
            if line.startswith("event:") and "\n" not in line:
                name = f"{line}\n"
            elif line.startswith(_STREAM_FIELDS):
                yield name + line
                name = ""
            elif line.strip():
                yield f"data: {line}"
        elif isinstance(entry, dict) and isinstance(entry.get("data"), str):
            head = f"event: {entry['event']}\n" if entry.get("event") else ""
            yield f"{head}data: {entry['data']}"
        else:
            yield f"data: {_as_json(entry).decode()}"


def _text(content: bytes) -> str:
    """Bytes as text, decompressed. Raises LeftOutError."""
    try:
        if content.startswith(_COMPRESSED):
            content = zlib.decompressobj(_GZIP_OR_ZLIB).decompress(content, _MOST_BYTES)
    except zlib.error:
        raise LeftOutError("compressed body that cannot be unpacked") from None
    text = content.decode("utf-8", "replace")
    if "\x00" in text[:64]:
        raise LeftOutError("binary body (compressed with br or zstd?)")
    return text


def _bytes(value: object) -> bytes | None:
    """Return the bytes of a body, or a piece of one, recorded as base64; None for anything else."""
    if not isinstance(value, dict) or not value.keys() <= _HOLDER:
        return None
    encoded = next((value[name] for name in _BYTES if name in value), None)
    return None if encoded is None else _base64(encoded)


def _base64(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=False)
    except ValueError:
        raise LeftOutError("body that is not valid base64") from None


def _lost_by_sdk(value: object) -> frozenset[Lost]:
    """Return what SDK objects (`{"__type__": name, "__data__": object}`) do not preserve."""
    if isinstance(value, dict) and "__data__" in value:
        keeps = str(value.get("__type__")).startswith("openai.")
        return frozenset({"fields"} if keeps else {"fields", "extras"})
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return frozenset[Lost]().union(*map(_lost_by_sdk, inner))


def _lost_by_author(value: object) -> frozenset[Lost]:
    """Return what the author of a recording left out of a reply.

    An id or a name that ends in an ellipsis was shortened by hand. A server may lack one of the
    members that name a reply, but a reply without any of them was reduced to its content.
    """
    if not isinstance(value, dict) or not value.keys() & _CONTENT:
        return frozenset()
    names = [value.get(name) for name in _NAMES]
    cut = any(isinstance(name, str) and name.endswith(_ELLIPSES) for name in names)
    left_out = any(name.strip() in _ELLIPSES for name in value)
    return frozenset({"fields"}) if cut or left_out or not any(names) else frozenset()


def _unwrapped(value: object) -> object:
    if isinstance(value, dict):
        if "__data__" in value:
            return _unwrapped(value["__data__"])
        return {name: _unwrapped(inner) for name, inner in value.items()}
    return [_unwrapped(inner) for inner in value] if isinstance(value, list) else value


def _headers_of(value: object) -> dict[str, str]:
    """Recorded headers: an object of texts or lists, or a list of objects or pairs."""
    headers: dict[str, str] = {}
    listed = value.items() if isinstance(value, Mapping) else value
    for header in listed if isinstance(listed, Iterable) else ():
        named = isinstance(header, Mapping) and "name" in header
        pair = (header["name"], header.get("value")) if named else header
        if isinstance(pair, list | tuple) and len(pair) == 2:
            texts = pair[1] if isinstance(pair[1], list) else [pair[1]]
            joined = ", ".join(_header(text) for text in texts if text is not None)
            headers[_header(pair[0]).lower()] = joined
    return headers


def _header(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
