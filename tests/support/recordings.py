"""Exchanges as other tools record them: HAR files, VCR cassettes, JSON Lines."""

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import yaml

from harness.records.rollouts import Exchange, Response

Writer = Callable[[Path, Iterable[Exchange]], Path]


def text_of(response: Response) -> str:
    """The body as it was sent."""
    if response.parts:
        return "".join(f"{part.raw}\n\n" for part in response.parts)
    return response.body or ""


def har(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    entries = [
        {
            "startedDateTime": each.started_at,
            "time": 1000 * each.elapsed,
            "request": {
                "method": "POST",
                "url": each.request.url,
                "headers": [
                    {"name": "Authorization", "value": "Bearer sk-hidden-0123456789abcdef"}
                ],
                "postData": {"mimeType": "application/json", "text": json.dumps(each.request.body)},
            },
            "response": {
                "status": answer.status,
                "headers": [{"name": k, "value": v} for k, v in answer.headers.items()],
                "content": {"size": 1, "mimeType": "", "text": text_of(answer)},
            },
        }
        for each, answer in _answered(exchanges)
    ]
    return _write(
        folder / "traffic.har", json.dumps({"log": {"version": "1.2", "entries": entries}})
    )


def vcrpy(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    """With compressed bodies, as vcrpy records them by default."""
    return _cassette(
        folder / "vcrpy.yaml",
        exchanges,
        lambda each, answer: {
            "request": {
                "method": "POST",
                "uri": each.request.url,
                "headers": {"Authorization": ["Bearer sk-hidden-0123456789abcdef"]},
                "body": json.dumps(each.request.body).encode(),
            },
            "response": {
                "status": {"code": answer.status, "message": "OK"},
                "headers": {**_lists(answer.headers), "Date": [_http_date(each)]},
                "body": {"string": gzip.compress(text_of(answer).encode())},
            },
        },
    )


def parsed_vcrpy(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    """With bodies that the recorder parsed; streams stay text."""

    def interaction(each: Exchange, answer: Response) -> Mapping[str, Any]:
        body = {"body": {"string": text_of(answer)}}
        if not answer.parts:
            body = {"parsed_body": json.loads(text_of(answer))}
        return {
            "request": {
                "method": "POST", "uri": each.request.url, "parsed_body": each.request.body,
                "headers": {},
            },
            "response": {
                "status": {"code": answer.status}, "headers": _lists(answer.headers), **body,
            },
        }  # fmt: skip

    return _cassette(folder / "parsed.yml", exchanges, interaction)


def ruby(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    interactions = [
        {
            "request": {
                "method": "post",
                "uri": each.request.url,
                "body": {"encoding": "UTF-8", "string": json.dumps(each.request.body)},
                "headers": {"X-Api-Key": ["hidden-0123456789abcdef"]},
            },
            "response": {
                "status": {"code": answer.status, "message": "OK"},
                "headers": _lists(answer.headers),
                "body": {
                    "encoding": "ASCII-8BIT",
                    "base64_string": base64.b64encode(text_of(answer).encode()).decode(),
                },
            },
            "recorded_at": each.started_at,
        }
        for each, answer in _answered(exchanges)
    ]
    content = {"http_interactions": interactions, "recorded_with": "VCR 6.4.0"}
    return _write(folder / "ruby.json", json.dumps(content))


def go(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    return _cassette(
        folder / "go.yaml",
        exchanges,
        lambda each, answer: {
            "id": 0,
            "request": {
                "host": "", "body": json.dumps(each.request.body), "headers": {},
                "url": each.request.url, "method": "POST",
            },
            "response": {
                "body": text_of(answer), "headers": _lists(answer.headers),
                "status": f"{answer.status} OK", "code": answer.status, "duration": "1.2s",
            },
        },
    )  # fmt: skip


def json_lines(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    """Bodies alone, streams as one text."""
    lines = [
        json.dumps(
            {
                "request": each.request.body,
                "response": text_of(answer),
                "timestamp": each.started_at,
            }
        )
        for each, answer in _answered(exchanges)
    ]
    return _write(folder / "pairs.jsonl", "\n".join(lines))


def stream_lines(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    """Streams as lists of nonblank lines, as `iter_lines` yields them."""
    lines = []
    for each, answer in _answered(exchanges):
        text = text_of(answer)
        body: object = [line for line in text.splitlines() if line] if answer.parts else text
        lines.append(json.dumps({"request": each.request.body, "response": {"body": body}}))
    return _write(folder / "lines.jsonl", "\n".join(lines))


def sdk_objects(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    """One file with the objects that an SDK made from the responses."""
    lines = []
    for each, answer in _answered(exchanges):
        if answer.parts:
            texts = (part.raw.partition("data: ")[2] for part in answer.parts)
            body: object = [_wrapped(json.loads(text)) for text in texts if text[:1] == "{"]
        else:
            body = _wrapped(json.loads(text_of(answer)))
        request = {"method": "POST", "url": each.request.url, "body": each.request.body}
        response = {"body": body, "is_streaming": bool(answer.parts)}
        lines.append({"request": request, "response": response})
    return _write(folder / "objects.json", json.dumps(lines))


def httpmock(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    """One YAML document per exchange, with only the path of the URL and headers as lists."""

    def headers(found: Mapping[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in found.items()]

    documents = [
        {
            "when": {"path": "/v1" + each.request.url.partition("/v1")[2], "method": "POST",
                     "header": [], "body": json.dumps(each.request.body)},
            "then": {"status": 200, "header": headers({**answer.headers, "date": _http_date(each)}),
                     "body": text_of(answer)},
        }
        for each, answer in _answered(exchanges)
    ]  # fmt: skip
    return _write(folder / "httpmock.yaml", yaml.safe_dump_all(documents, allow_unicode=True))


def base64_pieces(folder: Path, exchanges: Iterable[Exchange]) -> Path:
    """Streams as pieces of bytes next to `request` and `response`, cut anywhere."""

    def encoded(content: bytes) -> dict[str, str]:
        return {"b64": base64.b64encode(content).decode()}

    lines = []
    for each, answer in _answered(exchanges):
        content = text_of(answer).encode()
        pieces = [encoded(content[at : at + 100]) for at in range(0, len(content), 100)]
        request = {"url": each.request.url, "body": encoded(json.dumps(each.request.body).encode())}
        response: dict[str, Any] = {"status": 200, "headers": _lists(answer.headers)}
        chunks = pieces if answer.parts else None
        body = {} if answer.parts else {"body": json.loads(content)}
        lines.append(
            {"request": request, "response": {**response, **body}, "chunks": chunks,
             "captured_at": each.started_at}
        )  # fmt: skip
    return _write(folder / "pieces.json", json.dumps(lines))


WRITERS: tuple[Writer, ...] = (
    har, vcrpy, parsed_vcrpy, ruby, go, json_lines, stream_lines, sdk_objects, httpmock,
    base64_pieces,
)  # fmt: skip


def _answered(exchanges: Iterable[Exchange]) -> Iterable[tuple[Exchange, Response]]:
    return ((each, each.response) for each in exchanges if each.response is not None)


def _cassette(
    path: Path,
    exchanges: Iterable[Exchange],
    interaction: Callable[[Exchange, Response], Mapping[str, Any]],
) -> Path:
    content = {"interactions": [interaction(*each) for each in _answered(exchanges)], "version": 1}
    return _write(path, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def _lists(headers: Mapping[str, str]) -> dict[str, list[str]]:
    return {name: [value] for name, value in headers.items()}


def _wrapped(value: object) -> dict[str, object]:
    return {"__type__": "openai.types.Thing", "__data__": value}


def _http_date(each: Exchange) -> str:
    return format_datetime(datetime.fromisoformat(each.started_at))


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
