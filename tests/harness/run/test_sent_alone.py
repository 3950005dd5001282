"""A request that failed under load is sent again alone before its form is blamed."""

import asyncio
import json
from itertools import pairwise

import pytest
from background import in_background
from healthy import provider_of
from mock_provider import MockProvider, status
from replies import MODEL

from gpt_oss_verify.app import run
from harness.run.run_log import read_rollouts
from harness.transport import outage
from harness.transport.retry import RetryPolicy

pytestmark = pytest.mark.usefixtures("empty_folder")
GOOD = provider_of()
RULES = ("--only", "sampling.effort.others", "--json")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Waits of seconds become hundredths; nothing is repeated as often as it takes."""
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.02)
    monkeypatch.setattr("harness.transport.retry.RETRIES", {})
    monkeypatch.setattr(outage, "SILENCE", 0.15)
    monkeypatch.setattr(outage, "PAUSE", 0.01)


class Busy:
    """A server that fails on what it gets beside another request, or on one form."""

    def __init__(self, code: int = 500, *, always: str = "") -> None:
        self.mock = MockProvider(always=self.answer)
        self._code, self._always = code, always

    async def answer(self, request, writer):
        busy = self.mock.in_flight > 1
        await asyncio.sleep(0.1)
        fails = busy or (self._always and self._always in json.dumps(request.body))
        await (status(self._code, "Internal error") if fails else GOOD)(request, writer)


def judged(server, tmp_path, capsys, *more):
    """The results of a run by rule, its folder, and the records of what was sent alone."""
    with in_background(server.mock) as mock:
        run(["--base-url", mock.base_url, "--model", MODEL, *RULES, *more])
    folder, *_ = (tmp_path / "runs").iterdir()
    found = {one["id"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    return found, folder, [made for made in read_rollouts(folder) if made.alone]


@pytest.mark.parametrize("code", [500, 503, 400])
def test_a_form_that_fails_only_under_load_is_not_named(code, tmp_path, capsys):
    found, folder, alone = judged(Busy(code), tmp_path, capsys)
    assert alone
    assert all(made.exchanges[-1].response.status == 200 for made in alone)
    assert found["sampling.effort.others"]["status"] == "passed"
    sent = [made.exchanges[0] for made in alone]
    assert all(a.started_at < b.started_at for a, b in pairwise(sent))
    analysis = (folder / "analysis.json").read_bytes()
    assert run(["recheck", str(folder)]) == (1 if code == 400 else 0)
    assert (
        json.loads(analysis)["checks"]
        == json.loads((folder / "analysis.json").read_text())["checks"]
    )


def test_a_form_that_also_fails_alone_is_named(tmp_path, capsys):
    _, folder, alone = judged(Busy(always="xhigh"), tmp_path, capsys, "--concurrency", "1")
    assert [made.sample for made in alone] == ["other effort xhigh"] * 2
    analysis = json.loads((folder / "analysis.json").read_text())
    (result,) = (r for r in analysis["checks"] if r["check"]["id"] == "sampling.effort.others")
    assert result["status"] == "failed"
    assert set(result["messages"]) == {
        "The provider fails on the effort xhigh.",
        "The provider fails on the effort xhigh, also if it is sent alone.",
    }


def test_a_healthy_server_gets_no_request_again(tmp_path, capsys):
    found, _, alone = judged(Busy(), tmp_path, capsys, "--concurrency", "1")
    assert not alone
    assert found["sampling.effort.others"]["status"] == "passed"


def test_a_run_that_was_interrupted_sends_the_rest_alone(tmp_path):
    with in_background(Busy(always="xhigh").mock) as mock:
        run(["--base-url", mock.base_url, "--model", MODEL, *RULES, "--concurrency", "1"])
        (folder,) = (tmp_path / "runs").iterdir()
        log = folder / "rollouts.jsonl"
        whole = log.read_text().splitlines(keepends=True)
        log.write_text("".join(whole[:-1]))
        sent = len(mock.posts)
        run(["--resume", str(folder)])
        asked = [json.dumps(each.body) for each in mock.posts[sent:]]
    assert [("xhigh" in each) for each in asked].count(True) == 3  # a try, and two against chance
    again = [json.loads(line)["id"] for line in log.read_text().splitlines()]
    assert again == [json.loads(line)["id"] for line in whole]


def test_a_form_that_fails_does_not_end_the_run(capsys):
    """As mlx-openai-server 1.8, which also fails on the smallest request."""

    async def answer(request, writer):
        small = (request.body.get("max_tokens") or request.body.get("max_output_tokens")) == 16
        fails = small or "xhigh" in json.dumps(request.body)
        await (status(500, "The parser failed") if fails else GOOD)(request, writer)

    with in_background(MockProvider(always=answer)) as mock:
        assert run(["--base-url", mock.base_url, "--model", MODEL, *RULES]) == 1
    printed = json.loads(capsys.readouterr().out)
    (result,) = (one for one in printed["checks"] if one["id"] == "sampling.effort.others")
    assert result["status"] == "failed"
