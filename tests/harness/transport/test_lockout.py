"""A server that answers all requests with the rejection of one: the run waits, and goes on."""

import asyncio
import json
import time

import mock_provider as mock
import pytest
from background import in_background
from healthy import json_response, provider_of
from mock_provider import MockProvider, Received
from replies import MODEL
from scripted import ANSWER, ScriptedEngine, serving

from gpt_oss_verify.app import run
from harness.api.statuses import lockout, meaning
from harness.providers.entries import adhoc_provider, changed
from harness.records.rollouts import Exchange
from harness.transport import open_transport, retry
from reference_engine.faults.layers import error_replies
from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

GOOD = provider_of()
REJECTED = {"n": 99}  # what the mock rejects in a request
SAID = "[openai/gpt-oss] [400]: Invalid value for 'n' (reset after {}s)"


@pytest.mark.parametrize(
    ("status", "message", "seconds"),
    [
        (503, "[openai/gpt-oss] [400]: bad request (reset after 30s)", 30),
        (503, "[x] [404]: no such model (reset after 1m 30s)", 90),
        (502, "upstream answered status 422; retry in 2.5 seconds", 2.5),
        (503, "[x] [429]: slow down (reset after 30s)", None),
        (503, "[x] [500]: crashed (reset after 30s)", None),
        (503, "[x] [400]: bad request", None),
        (400, "[x] [400]: bad request (reset after 30s)", None),
        (503, "Rate limit of 400 requests reached; retry after 20s", None),
        (503, "overloaded, try again in 5 s", None),
    ],
)
def test_what_a_lockout_says(status: int, message: str, seconds: float | None) -> None:
    response = json_response({"error": {"message": message}}, status=status)
    assert lockout(response) == seconds
    assert (meaning(response) == "lockout") == (seconds is not None)


class Locking:
    """Rejects requests with `n: 99`, and then all requests for some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.until = 0.0
        self.locked = 0

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        rejected = (request.body or {}).get("n") == 99
        if time.monotonic() < self.until:
            self.locked += 1
        elif rejected:
            self.until = time.monotonic() + self.seconds
        else:
            await GOOD(request, writer)
            return
        mock.write_json(writer, mock.error(SAID.format(self.seconds)), 503)


@pytest.fixture(autouse=True)
def short_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_MARGIN", 0.05)


def body(number: int, **more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": f"Hello {number}"}], **more}


async def sent(server: Locking, rejected: int, others: int) -> tuple[list[Exchange], float]:
    """Send one request, then these, all at the same time; also return the seconds that it took."""
    async with MockProvider(always=server) as provider:
        entry = changed(adhoc_provider(provider.base_url, MODEL, ["chat"]), timeout=20.0)
        async with open_transport(entry) as transport:
            await transport.send("/chat/completions", body(0))
            began = time.monotonic()
            bodies = [body(number, **REJECTED) for number in range(rejected)]
            first = [
                asyncio.create_task(transport.send("/chat/completions", one)) for one in bodies
            ]
            await asyncio.sleep(0.1)
            more = [transport.send("/chat/completions", body(number)) for number in range(others)]
            exchanges = await asyncio.gather(*first, *more)
    return exchanges, time.monotonic() - began


async def test_other_requests_wait_and_are_served() -> None:
    (rejected, *others), seconds = await sent(Locking(0.6), 1, 12)
    assert (rejected.response.status, rejected.retries) == (503, ())
    assert [one.response.status for one in others if one.response] == [200] * 12
    assert 0.6 <= seconds < 5


async def test_each_of_several_rejected_requests_keeps_its_response() -> None:
    exchanges, _ = await sent(Locking(0.3), 3, 6)
    assert [one.response.status for one in exchanges if one.response] == [503] * 3 + [200] * 6
    waited = [retried for one in exchanges for retried in one.retries]
    assert all(retried.locked_out and not retried.server_failed for retried in waited)


async def test_the_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LONGEST_LOCKOUT", 0.1)
    monkeypatch.setattr(retry, "ALL_LOCKOUTS", 0.4)
    exchanges, seconds = await sent(Locking(600), 1, 4)
    assert {one.response.status for one in exchanges if one.response} == {503}
    assert seconds < 10


@pytest.mark.usefixtures("empty_folder")
def test_a_run_goes_on_and_names_the_request(
    tmp_path: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool-calling cases, and a request that the server rejects as invalid."""
    monkeypatch.setattr(error_replies, "LOCKED_SECONDS", 0.1)
    engine = ScriptedEngine(ANSWER)
    with serving(faulty_parts(["rejection-locks-all"]).app(engine, AppSettings())) as url:
        code = run(
            [*("--base-url", url, "--model", "gpt-oss-small", "--apis", "chat"),
             *("--only", "errors.unknown_model", "--only", "errors.wrong_type", "--json")]
        )  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert code == 1, printed["verdict"]["reasons"]
    (found,) = [one for one in printed["checks"] if one["id"] == "request.locked_out"]
    assert found["status"] == "failed"
    assert "request.locked_out" not in printed["diagnosis"]["unexplained"]
    assert not any("stopped answering" in reason for reason in printed["verdict"]["reasons"])


@pytest.mark.usefixtures("empty_folder")
def test_a_server_without_rejections_has_no_lockout(capsys: pytest.CaptureFixture[str]) -> None:
    with in_background(MockProvider(always=GOOD)) as server:
        plan = ("--suite", "tools", "-n", "6", "-k", "2", "--json")
        run(["--base-url", server.base_url, "--model", MODEL, *plan])
    printed = json.loads(capsys.readouterr().out)
    (found,) = [one for one in printed["checks"] if one["id"] == "request.locked_out"]
    assert found["status"] == "passed"
