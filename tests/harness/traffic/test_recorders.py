"""What recorders and tracers of today write, with a reply and with a stream that broke off."""

import base64
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from replies import Reply, chat_chunks, chat_whole, responses_events

from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.traffic.conversations import read_traffic

MODEL = "openai/gpt-oss-20b"
SAID = Reply(text="The tide turns at nine.", reasoning="The table says nine.")
ASKED = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "When does the tide turn?"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
URL = "http://server.example/v1/chat/completions"
EVENTS = "".join(f"data: {json.dumps({**each, 'model': MODEL})}\n\n" for each in chat_chunks(SAID))
STREAM = f"{EVENTS}data: [DONE]\n\n"
WHOLE = {**chat_whole(SAID), "model": MODEL}
CREATE = {"type": "response.create", "model": MODEL, "input": "When does the tide turn?"}


def har(
    content: Mapping[str, Any], url: str = URL, status: int = 200, **members: Any
) -> dict[str, Any]:
    sent = {"mimeType": "application/json", "text": json.dumps(ASKED)}
    headers = [{"name": "content-type", "value": "text/event-stream"}]
    entry = {
        "startedDateTime": "2026-11-29T10:00:00Z",
        "request": {"method": "POST", "url": url, "headers": [], "postData": sent},
        "response": {"status": status, "headers": headers, "content": dict(content)},
    }
    return {"log": {"entries": [{**entry, **members}]}}


def pieces(text: str) -> dict[str, Any]:
    packed = gzip.compress(text.encode())
    parts = [base64.b64encode(packed[at : at + 40]).decode() for at in range(0, len(packed), 40)]
    return {"mimeType": "text/event-stream", "encoding": "base64", "text": json.dumps(parts)}


def nock(response: object) -> list[dict[str, Any]]:
    call = {"scope": "http://server.example:80", "method": "POST", "path": "/v1/chat/completions"}
    return [{**call, "body": ASKED, "status": 200, "response": response}]


def sockets(*received: Mapping[str, Any]) -> dict[str, Any]:
    frames = [("send", CREATE), *(("receive", each) for each in received)]
    messages = [
        {"type": kind, "time": 1.0 + at, "opcode": 1, "data": json.dumps(data)}
        for at, (kind, data) in enumerate(frames)
    ]
    upgraded = har({}, "ws://server.example/v1/responses", 101, _webSocketMessages=messages)
    upgraded["log"]["entries"][0]["request"] |= {"method": "GET", "postData": None}
    return upgraded


def mlflow(outputs: object, state: str = "OK") -> dict[str, Any]:
    attributes = {"mlflow.spanInputs": json.dumps(ASKED), "mlflow.spanOutputs": json.dumps(outputs)}
    return {"name": "Completions", "attributes": attributes, "status": {"code": state}}


FILES: Mapping[str, tuple[object, bool]] = {
    "mitmproxy": (har({"mimeType": "text/event-stream", "text": STREAM}), True),
    "mitmproxy, broke off": (har({"mimeType": "text/event-stream", "text": ""}), False),
    "PollyJS, pieces": (har(pieces(STREAM)), True),
    "nock": (nock(STREAM), True),
    "nock, compressed": (nock([gzip.compress(STREAM.encode()).hex()]), True),
    "cassetter, compressed": (
        {
            "request": {"uri": URL, "body": {"type": "json", "content": ASKED}},
            "response": {
                "status": 200,
                "headers": {"content-type": ["text/event-stream"]},
                "body": {"type": "binary", "content": gzip.compress(STREAM.encode()).hex()},
            },
        },
        True,
    ),
    "WebSocket": (sockets(*responses_events(SAID)), True),
    "WebSocket, broke off": (sockets(), False),
    "MLflow": (mlflow(WHOLE), True),
    "MLflow, failed": (mlflow(None, "ERROR"), False),
    "OpenInference": (
        {
            "attributes": {
                "llm.model_name": MODEL,
                "input.value": json.dumps(ASKED),
                "output.value": json.dumps({**WHOLE, "object": "chat.completion.chunk"}),
            }
        },
        True,
    ),
}


def written(folder: Path, content: object) -> Path:
    path = folder / "recording.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", FILES)
def test_every_request_is_read_or_counted_as_one_without_a_reply(name, tmp_path):
    content, whole = FILES[name]
    (made,) = read_traffic([written(tmp_path, content)]).rollouts
    (exchange,) = made.exchanges
    assert (exchange.response is not None) == whole, exchange.failure
    assert exchange.request.body["model"] == MODEL


@pytest.mark.parametrize("name", [name for name, (_, whole) in FILES.items() if whole])
def test_no_healthy_reply_is_accused_however_it_was_recorded(name, tmp_path, capsys):
    path = written(tmp_path, FILES[name][0])
    out = str(tmp_path / "runs")
    assert run(["import", str(path), "--provider", "mine", "--json", "--out", out]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    bad = {each["id"] for each in checks if each["status"] in ("failed", "warned")}
    assert bad <= {"reply.created"}  # the time of these replies is not that of the recording


def test_a_server_that_breaks_off_most_streams_does_not_pass(tmp_path, capsys):
    good, broken = (FILES[name][0]["log"]["entries"] for name in list(FILES)[:2])
    entries = [
        json.loads(json.dumps(entry).replace("chatcmpl-", f"chatcmpl-{at}-"))
        | {"startedDateTime": f"2026-11-29T10:{at:02}:00Z"}
        for at, entry in enumerate([*good * 15, *broken * 30])
    ]
    path = written(tmp_path, {"log": {"entries": entries}})
    out = str(tmp_path / "runs")
    assert run(["import", str(path), "--provider", "mine", "--verdict", "--out", out]) == 4
    assert "30 of 45" in " ".join(capsys.readouterr().out.split())


OTEL = {"attributes": {"gen_ai.request.model": MODEL, "gen_ai.output.messages": "[]"}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([OTEL], "span of OpenTelemetry"),
        (json.dumps(har({"text": STREAM}))[:400], "recording.json"),
        ({"log": {"entries": []}}, "recording.json"),
        ({"collection": {}, "run": {"executions": [{"request": {}, "response": {}}]}}, "newman"),
        ({"responses": [{"response": {"body": STREAM, "url": URL}}]}, "responses .Python"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(content, said, tmp_path):
    with pytest.raises(ConfigurationError, match=said):
        read_traffic([written(tmp_path, content)])
