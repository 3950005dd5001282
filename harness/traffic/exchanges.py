"""Convert a recorded request/response pair of any format to an exchange. No I/O."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from harness.api import DIALECTS
from harness.records.conditions import BOTH_APIS, Api
from harness.records.rollouts import Exchange, Lost, Request, Response
from harness.traffic.bodies import LeftOutError, as_json, decoded, headers_of, read_body
from harness.traffic.recordings import Pair
from harness.transport.redact import Redactor, secrets_in
from harness.transport.secrets import Scrubber

_BODIES = ("body", "parsed_body", "postData", "payload", "json", "content", "text", "data")
_STREAMS = ("chunks", "events", "lines", "parts", "sse")
_URLS = ("url", "uri", "path")
_HEADERS = ("headers", "header")
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


@dataclass(frozen=True)
class Imported:
    """One imported exchange: where it was recorded, its API, and what the recording lost."""

    pair: Pair
    api: Api
    exchange: Exchange
    lost: frozenset[Lost]

    @property
    def body(self) -> Mapping[str, Any]:
        """The body of the request."""
        return self.exchange.request.body or {}

    @property
    def host(self) -> str:
        """The host that the request was sent to, or ''."""
        return urlsplit(self.exchange.request.url).netloc


def imported(pair: Pair, models: Sequence[str], scrubber: Scrubber) -> Imported:
    """Read a pair. Raises LeftOutError if it is not a request to gpt-oss over one of the two APIs.

    `models` are other names of gpt-oss models.
    """
    members = pair.members
    request = _request(members["request"], members)
    path = urlsplit(request.url).path.rstrip("/")
    invoked = _INVOKED.search(unquote(path))
    api = next((api for end, api in _PATHS.items() if path.endswith(end)), None)
    api = "chat" if invoked else api
    if path and api is None:
        raise LeftOutError(f"{request.method} {_name_of(path)}")
    response, lost = _response(members["response"], members)
    body = request.body
    replies = _objects(response)
    inner = [value["response"] for value in replies if isinstance(value.get("response"), dict)]
    api = api or _api_of(replies, body or {})
    if api is None or body is None:
        raise LeftOutError("neither Chat Completions nor Responses")
    named = [body.get("model"), *(value.get("model") for value in (*replies, *inner))]
    named = [invoked[1] if invoked else None, *named]
    names = [name for name in named if isinstance(name, str)]
    if not any(name in models or _GPT_OSS.search(name) for name in names):
        raise LeftOutError(f"model {names[0] if names else None}")
    body.setdefault("model", names[0])
    if any(_added_by_client(value) for value in (*replies, *inner)):
        raise LeftOutError("summary of a client: its output has results of tools")
    if response.parts and "stream" not in body:
        body["stream"] = True
    began = _began(members, response.headers)
    exchange = Exchange(
        request=request,
        response=response,
        started_at=_UNKNOWN_TIME if began is None else began.isoformat(),
        elapsed=0.0,
    )
    lost |= {"date"} if began is None else set()
    lost |= {"framing", "fields", "extras"} if members["client"] else set()
    return Imported(pair, api, _clean(exchange, scrubber), lost)


def _request(sent: object, members: Mapping[str, Any]) -> Request:
    """The request; its URL is '' if the recording does not have it."""
    fields: Mapping[str, Any] = sent if isinstance(sent, dict) else {"body": sent}
    bare = "model" in fields and not any(fields.get(name) for name in ("body", "payload", "url"))
    body = fields if bare else _json(_first(fields, _BODIES))
    url = _first(fields, _URLS) or _first(members, _URLS) or ""
    return Request(
        method=str(fields.get("method") or "POST").upper(),
        url=_address(str(url)),
        headers=headers_of(_first(fields, _HEADERS)),
        body=dict(body) if isinstance(body, dict) else None,
    )


def _address(url: str) -> str:
    """A URL without user, query and fragment. Raises LeftOutError if it is not one."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        address = f"{parts.scheme}://{host}{parts.path}" if host else parts.path
        urlsplit(address)
    except ValueError:
        raise LeftOutError("address that is not a URL") from None
    return address


def _response(received: object, members: Mapping[str, Any]) -> tuple[Response, frozenset[Lost]]:
    """The response, and what the recording lost of it. Raises the errors of `imported`."""
    fields: Mapping[str, Any] = received if isinstance(received, dict) else {"body": received}
    if "choices" in fields or "output" in fields:
        fields = {"body": fields}
    headers = headers_of(_first(fields, _HEADERS))
    content = _first(fields, _BODIES)
    if content is None:
        content = _first(fields, _STREAMS) or _first(members, _STREAMS)
    kind = headers.get("content-type", "").lower()
    body = read_body(content, kind)
    if not body.text and not body.parts:
        raise LeftOutError("no response body in the recording")
    status = _first(fields, _STATUSES) or _first(members, _STATUSES)
    if body.text and not kind and status is None and _json(body.text) is None:
        raise LeftOutError("response that is not a reply of the API")
    response = Response(
        status=_status(status),
        headers=headers,
        body=body.text,
        parts=body.parts or (),
        # A recording does not show whether the server or the client ended a stream early.
        complete=not body.parts or any(_ENDS.search(part.raw) for part in body.parts),
    )
    return response, body.lost | ({"headers"} if not kind else set())


def _first(fields: Mapping[str, Any], names: Iterable[str]) -> object:
    """The first of these members that is present and not empty."""
    return next((fields[name] for name in names if fields.get(name) not in (None, "", [])), None)


def _status(value: object) -> int:
    """An HTTP status: 200, "200 OK", or an object with `code`; 200 where none was recorded."""
    if isinstance(value, dict):
        return _status(value.get("code"))
    digits = re.match(r"\d{3}", str(value))
    return int(digits.group()) if digits else 200


def _json(value: object) -> object:
    """A recorded body as a JSON value; None if it is not JSON."""
    try:
        content = decoded(value)
        if isinstance(content, str):
            return orjson.loads(content)
    except (LeftOutError, orjson.JSONDecodeError):
        return None
    return orjson.loads(as_json(content))


def _objects(response: Response) -> list[Mapping[str, Any]]:
    """The JSON object of a response, or the first events of a stream."""
    texts = [response.body] if response.body else [part.raw for part in response.parts[:8]]
    found = (_json(text.rpartition("data:")[2] if response.parts else text) for text in texts)
    return [value for value in found if isinstance(value, dict)]


def _api_of(replies: Sequence[Mapping[str, Any]], request: Mapping[str, Any]) -> Api | None:
    """The API that the response shows, or the one that matches the form of the request."""
    for value in replies:
        kind, event = str(value.get("object") or ""), str(value.get("type") or "")
        if kind or event:
            return _REPLIES.get(kind, "responses" if event.startswith("response.") else None)
    return "chat" if "messages" in request else "responses" if "input" in request else None


def _added_by_client(reply: Mapping[str, Any]) -> bool:
    """Whether the output has results of tools, which only a client can add."""
    output = reply.get("output")
    items = output if isinstance(output, list) else ()
    return any(isinstance(item, dict) and item.get("type") == _RESULT for item in items)


def _name_of(path: str) -> str:
    """The end of a path, which identifies the API: `/v1/embeddings`, without ids."""
    parts = [part for part in path.split("/") if part]
    kept = [part for part in parts if len(part) <= 24 and not any(c.isdigit() for c in part[2:])]
    return "/" + "/".join(kept[-2:])


def _began(members: Mapping[str, Any], headers: Mapping[str, str]) -> datetime | None:
    """When the request was made, in UTC; to the minute if only the response has a time."""
    for value in (_first(members, _TIMES), headers.get("date")):
        found = _time(value)
        if found is not None:
            return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


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


def _clean(exchange: Exchange, scrubber: Scrubber) -> Exchange:
    """The exchange without keys in headers and texts."""
    redactor = Redactor(secrets_in(exchange.request.headers))
    hidden = exchange.model_dump(mode="json")
    for side in ("request", "response"):
        hidden[side]["headers"] = redactor.headers(hidden[side]["headers"])
    text = scrubber.text(redactor.text(orjson.dumps(hidden).decode()))
    return Exchange.model_validate(orjson.loads(text))
