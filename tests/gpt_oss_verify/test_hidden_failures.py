"""What retries and statuses hide, against servers over real sockets: verdicts and sentences."""

import contextlib
import itertools
import json
import random
import re
from collections import Counter

import mock_provider as mock
import pytest
from background import in_background
from healthy import provider_of
from mock_provider import MockProvider, hang_up, status
from replies import MODEL

from gpt_oss_verify.app import run
from harness.transport.retry import RetryPolicy

pytestmark = pytest.mark.usefixtures("empty_folder")
GOOD = provider_of()
TOOLS = ("--suite", "tools", "--api", "chat", "-n", "36", "-k", "5", "--json")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.002)


def analysis_of(tmp_path, handler, *plan):
    """The exit code of a run, its analysis, and the number of POSTs."""
    with in_background(MockProvider(always=handler)) as server:
        code = run(["--base-url", server.base_url, "--model", MODEL, *plan])
    (folder,) = (tmp_path / "runs").iterdir()
    return code, json.loads((folder / "analysis.json").read_text()), len(server.posts)


def every(count, failing, healthy=GOOD):
    """Answer each request number `count` with `failing`, and all others well."""
    made = 0

    async def handle(request, writer):
        nonlocal made
        made += 1
        await (healthy if made % count else failing)(request, writer)

    return handle


OVERLOADS = itertools.cycle(
    [
        status(503, Retry_After="0"),
        status(413, "Request too large: tokens per minute (TPM): limit 8000"),
        status(425),
        status(529),
    ]
)


async def overloaded(request, writer):
    """Refuse in turn with each status of an overload: one in 16 requests has each of them."""
    await next(OVERLOADS)(request, writer)


@pytest.mark.parametrize(
    ("failing", "count", "code"),
    [
        (status(500), 50, 0),
        (status(500), 20, 1),
        (hang_up, 10, 1),
        (overloaded, 4, 0),
    ],
)
def test_failures_before_a_success_fail_the_run_and_overloads_do_not(
    failing, count, code, tmp_path
):
    got, analysis, posts = analysis_of(tmp_path, every(count, failing), *TOOLS)
    reasons = " ".join(analysis["verdict"]["reasons"])
    assert got == code, reasons
    said = "succeeded only after the server had answered with a 5xx status or closed the connection"
    assert (said in reasons) == (code == 1)
    assert ("at most 2.0%" in reasons) == (code == 1)
    assert posts > 2 * 36 * 5
    assert all(result["invalid"] == 0 for result in analysis["results"])


def test_the_gate_sets_the_limit(tmp_path):
    (tmp_path / "gate.yaml").write_text("max_server_errors: 0.2\n", encoding="utf-8")
    assert analysis_of(tmp_path, every(10, status(500)), *TOOLS, "--gate", "gate.yaml")[0] == 0


def refusing(share):
    """Refuse a share of the requests with a format, and answer the others in that format."""
    drawn = random.Random(5)
    refusal = status(400, "Tool choice is none, but model called a tool")

    async def handle(request, writer):
        formatted = "response_format" in request.body or "text" in request.body
        await (refusal if formatted and drawn.random() < share else GOOD)(request, writer)

    return handle


@pytest.mark.parametrize(("share", "found"), [(0.0, False), (0.2, True), (0.6, True), (1.0, False)])
def test_a_request_that_is_both_served_and_refused_is_an_error(share, found, tmp_path):
    plan = ("--only", "structured", "--json")
    _, analysis, _ = analysis_of(tmp_path, refusing(share), *plan)
    (rule,) = (
        rule for rule in analysis["checks"] if rule["check"]["id"] == "request.refused.partly"
    )
    assert (rule["status"] == "failed") == found
    if found:
        shown = rule["examples"][0]
        assert "refused a request that it served" in shown["message"]
        assert "model called a tool" in shown["evidence"]["got"]


def test_a_silent_stream_is_a_timeout_that_the_client_ended(tmp_path):
    silent = mock.stream([b'data: {"a": 1}\n\n', b"data: [DONE]\n\n"], pause=60)
    entry = "providers: {slow: {base_url: '%s', model: '%s', apis: [chat], idle_timeout: 0.2}}\n"
    with in_background(MockProvider(always=every(12, silent))) as server:
        (tmp_path / "providers.yaml").write_text(entry % (server.base_url, MODEL))
        run(["-p", "slow", "--suite", "tools", "-n", "6", "-k", "4", "-s", "--json"])
    (folder,) = (tmp_path / "runs").iterdir()
    analysis = json.loads((folder / "analysis.json").read_text())
    outcomes = sum((Counter(each["outcomes"]) for each in analysis["results"]), Counter())
    assert outcomes["timeout"] > 0
    assert outcomes["invalid_response"] == 0
    assert "for 0.2 s;" in (folder / "rollouts.jsonl").read_text()
    assert not any(
        each["check"]["id"] == "stream.cut" and each["failures"] for each in analysis["checks"]
    )


async def without_max_tokens(request, writer):
    """Refuse the older name of the limit, as OpenAI's reasoning models do."""
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead."
    )
    refused = request.is_chat and "max_tokens" in request.body
    await (status(400, message) if refused else GOOD)(request, writer)


def test_a_provider_with_the_newer_token_limit_gets_one_warning_and_is_judged(tmp_path):
    plan = ("--only", "structured", "--apis", "chat", "--json")
    found = []
    for handler in (GOOD, without_max_tokens):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        with contextlib.chdir(folder):
            _, analysis, _ = analysis_of(folder, handler, *plan)
        found.append({rule["check"]["id"]: rule["status"] for rule in analysis["checks"]})
    healthy, newer = found
    assert healthy["request.limit_name"] == "passed"
    assert newer == healthy | {"request.limit_name": "warned"}


async def until_closed(request, writer):
    """Answer well, with bodies that end with their connection."""
    framed = bytearray()

    class Unframed:
        def write(self, content):
            framed.extend(content)

    await GOOD(request, Unframed())
    head, _, body = bytes(framed).partition(b"\r\n\r\n")
    if b"chunked" in head:
        body = b"".join(re.findall(rb"(?s)[0-9a-f]+\r\n(data: .*?|event: .*?)\r\n", body))
    media_type = b"text/event-stream" if b"event-stream" in head else b"application/json"
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: %b\r\n\r\n%b" % (media_type, body))
    await writer.drain()
    writer.close()


def test_bodies_that_end_with_their_connection_are_healthy(tmp_path):
    _, analysis, _ = analysis_of(tmp_path, until_closed, "--suite", "tools", "-n", "6", "-k", "5")
    found = [rule for rule in analysis["checks"] if rule["status"] in ("failed", "warned")]
    assert [rule["check"]["id"] for rule in found] == []
    assert all(result["invalid"] == 0 for result in analysis["results"])
    assert sum(sum(each["outcomes"].values()) for each in analysis["results"]) == 6 * 5 * 2
