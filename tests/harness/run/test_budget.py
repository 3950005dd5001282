"""Budgets: no request exceeds a limit, and finished attempts are kept."""

import asyncio
import json
import time

import mock_provider
import pytest
from healthy import provider_of
from mock_provider import MockProvider
from replies import MODEL, Reply

from gpt_oss_verify.app import run
from harness.api import DIALECTS
from harness.api.items import Message, RequestSettings, Sample
from harness.errors import ConfigurationError
from harness.providers.entries import Prices, adhoc_provider, changed
from harness.records.conditions import Condition
from harness.records.rollouts import Exchange, Request, Response, StreamPart
from harness.records.settings import Limits
from harness.run.attempts import Attempt
from harness.run.budget import Budget, Metered
from harness.run.run_log import RunLog
from harness.run.sampling import run_attempts
from harness.transport import open_transport

PRICES = Prices(input=1_000, output=1_000)


def attempts(count, max_turns=1):
    condition = Condition(model="m", api="chat", mode="non-streaming")
    samples = [Sample(f"s{number}", (Message("user", "Hi"),)) for number in range(count)]
    return [
        Attempt(sample.id, "t", sample, condition, 1, RequestSettings("m"), max_turns)
        for sample in samples
    ]


async def sample(mock, folder, budget, *, concurrency=4, prices=None):
    provider = changed(adhoc_provider(mock.base_url, "m", ["chat"]), prices=prices)
    with RunLog(folder) as log:
        async with open_transport(provider) as transport:
            await run_attempts(
                attempts(20),
                transport=transport,
                log=log,
                concurrency=concurrency,
                budget=budget,
                prices=provider.prices,
            )
    return len((folder / "rollouts.jsonl").read_text().splitlines())


@pytest.mark.parametrize("most", [1, 3, 7, 20, 99])
async def test_requests_stop_at_the_limit_and_finished_attempts_are_kept(most, tmp_path):
    async with MockProvider(always=mock_provider.text('{"choices": []}')) as mock:
        budget = Budget(Limits(max_requests=most))
        done = await sample(mock, tmp_path, budget)
        assert len(mock.posts) == done == budget.requests == min(most, 20)
    assert (budget.stopped is None) == (most >= 20)


async def test_a_repeated_request_counts_again(tmp_path):
    script = [mock_provider.status(429, "slow down")] * 2
    async with MockProvider(script=script) as mock:
        budget = Budget(Limits(max_requests=5))
        await sample(mock, tmp_path, budget, concurrency=1)
        assert len(mock.posts) == budget.requests == 5


async def test_the_cost_limit_is_exceeded_only_by_requests_in_flight(tmp_path):
    body = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hi."}}]}
    usage = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
    reply = json.dumps(body | {"usage": usage})
    async with MockProvider(always=mock_provider.text(reply)) as mock:
        budget = Budget(Limits(max_cost=0.45))
        await sample(mock, tmp_path, budget, concurrency=1, prices=PRICES)
        assert budget.cost == pytest.approx(0.5)
        assert len(mock.posts) == 5
    assert "max_cost $0.45" in (budget.stopped or "")
    assert "5 requests" in (budget.stopped or "")
    assert "$0.5" in (budget.stopped or "")


async def test_tokens_the_provider_did_not_report_are_estimated_in_the_cost(tmp_path):
    async with MockProvider(
        always=mock_provider.text('{"choices": "' + "x" * 4_000 + '"}')
    ) as mock:
        await sample(mock, tmp_path, Budget(Limits(max_cost=1.5)), concurrency=1, prices=PRICES)
        assert len(mock.posts) == 2


PIECES = [{"reasoning": "I think of it. "}, {"content": "x" * 21}]
CUT = [json.dumps({"choices": [{"index": 0, "delta": piece}]}) for piece in PIECES]
ENDED = [*CUT, '{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}', "[DONE]"]


@pytest.mark.parametrize("events", [ENDED, CUT], ids=["whole", "broke off"])
async def test_a_stream_without_usage_costs_its_texts_not_its_events(events, tmp_path):
    stream = "".join(f"data: {event}\n\n" for event in events)
    body = {"messages": []}
    made = Exchange(
        request=Request(method="POST", url="http://a/v1/chat/completions", headers={}, body=body),
        response=Response(
            status=200,
            headers={"content-type": "text/event-stream"},
            parts=tuple(StreamPart(0.0, block) for block in stream.split("\n\n") if block),
        ),
        started_at="2026-11-30T12:00:00+00:00",
        elapsed=1.0,
    )
    (first,) = attempts(1)

    class Fixed:
        async def send(self, path, body, *, sender):
            return made

    budget = Budget(Limits(max_cost=99))
    prices = Prices(input=0, output=1_000_000)
    with Metered(Fixed(), budget, prices, first, DIALECTS["chat"]) as transport:  # type: ignore[arg-type]
        await transport.send("/chat/completions", body)
    assert budget.cost == 36 // 4


def test_cached_tokens_have_a_price_of_their_own():
    assert Prices(input=2, output=4).dollars(1_000_000, 500_000, 400_000) == 4.0
    own = Prices(input=2, output=4, cached_input=1)
    assert own.dollars(1_000_000, 500_000, 400_000) == pytest.approx(3.6)
    assert own.dollars(10, 0, 99) == pytest.approx(1e-5)


async def test_the_cost_of_a_run_counts_cached_tokens(tmp_path):
    details = {"prompt_tokens_details": {"cached_tokens": 50}}
    usage = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100, **details}
    body = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hi."}}]}
    prices = Prices(input=1_000, output=1_000, cached_input=0)
    async with MockProvider(always=mock_provider.text(json.dumps(body | {"usage": usage}))) as mock:
        budget = Budget(Limits(max_cost=9))
        await sample(mock, tmp_path, budget, concurrency=1, prices=prices)
    assert budget.cost == pytest.approx(20 * 0.05)


async def test_after_the_deadline_no_attempt_starts(tmp_path):
    now = 0.0
    budget = Budget(Limits(deadline=10, origins={"deadline": "--deadline"}), clock=lambda: now)

    async def slow(request, writer):
        nonlocal now
        now += 4
        await asyncio.sleep(0.01)
        mock_provider.write_text(writer, "{}")

    async with MockProvider(always=slow) as mock:
        assert await sample(mock, tmp_path, budget, concurrency=1) == 3
    assert "deadline 10 s (--deadline): 3 requests in 12 s" in (budget.stopped or "")


def test_an_attempt_starts_only_if_its_usual_requests_fit_the_budget():
    budget = Budget(Limits(max_requests=3))
    (first,) = attempts(1, max_turns=10)
    with Metered(None, budget, None, first, DIALECTS["chat"]):  # type: ignore[arg-type]
        assert budget.allows(2)
        assert not budget.allows(3)
    assert budget.allows(3)


def test_a_cost_limit_needs_prices():
    with pytest.raises(ConfigurationError, match=r"has no prices.*set prices"):
        Budget(Limits(max_cost=1)).check(adhoc_provider("http://127.0.0.1:1/v1", "m", ["chat"]))


@pytest.mark.parametrize(
    ("limits", "requests", "rpm", "said"),
    [
        (Limits(max_requests=9), 10, None, "at least 10 requests are planned, max_requests 9"),
        (Limits(max_requests=10), 10, None, None),
        (Limits(deadline=60), 300, 100, "at least 3 minutes at 100 per minute, deadline 60 s"),
        (Limits(deadline=60), 300, None, None),
    ],
)
def test_a_plan_beyond_the_budget_is_predicted(limits, requests, rpm, said):
    foreseen = Budget(limits).foreseen(requests, rpm)
    assert foreseen is None if said is None else said in (foreseen or "")


def test_a_plan_expected_to_cost_more_than_the_budget_is_predicted():
    budget = Budget(Limits(max_cost=2))
    assert budget.foreseen(10, None, 1.99) is None
    assert "$2.50, max_cost $2" in (budget.foreseen(10, None, 2.5) or "")


# --- On the command line


pytestmark = pytest.mark.usefixtures("empty_folder")


def at(mock, *more):
    few = ("--suite", "tools", "-n", "2", "-k", "4", "--api", "chat", "--rule", "guide")
    return ["--base-url", mock.base_url, "--model", MODEL, *few, *more]


def test_a_run_that_used_up_its_budget_is_inconclusive_and_can_be_resumed(mock, tmp_path, capsys):
    assert run(at(mock, "--max-requests", "7")) == 4
    out, err = capsys.readouterr()
    assert "at least 8 requests are planned" in err
    assert (
        "Stopped after 2 of 8 attempts by the budget, max_requests 7 (--max-requests): 6 requests"
        in " ".join(out.split())
    )
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(mock.received) <= 7
    before = (folder / "rollouts.jsonl").read_text()
    assert json.loads((folder / "run.json").read_text())["finished_at"] is None
    assert run(["recheck", str(folder)]) == 4
    assert run(["--resume", str(folder)]) == 0
    assert (folder / "rollouts.jsonl").read_text().startswith(before)
    assert json.loads((folder / "run.json").read_text())["stopped"] is None


def test_a_server_that_hangs_until_the_deadline_is_unreachable(mock, tmp_path, capsys):
    mock.always = mock_provider.hang
    assert run(at(mock, "--deadline", "2")) == 3
    assert "did not answer at" in (said := capsys.readouterr().err)
    assert "before the deadline of 2.0 s" in said
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["unanswered.jsonl"]


def test_a_deadline_cancels_what_is_in_flight_and_keeps_what_is_finished(mock, tmp_path, capsys):
    """Requests hang after the first ones."""
    good, made, hanging = mock.always, 0, 5

    async def handle(request, writer):
        nonlocal made
        made += 1
        await (good if made <= hanging else mock_provider.hang)(request, writer)

    mock.always = handle
    began = time.monotonic()
    assert run(at(mock, "--deadline", "2", "--concurrency", "1")) == 4
    assert time.monotonic() - began < 20
    out = " ".join(capsys.readouterr().out.split())
    assert "attempts by the budget, deadline 2 s (--deadline)" in out
    assert "Failed requests" not in out
    (folder,) = (tmp_path / "runs").iterdir()
    assert len((folder / "rollouts.jsonl").read_text().splitlines()) == hanging // 2
    mock.always = good
    assert run(["--resume", str(folder)]) == 0


def test_a_failed_run_fails_even_if_the_budget_is_used_up(mock, capsys):
    mock.always = provider_of(lambda _: [Reply(text="No.")])
    assert run(at(mock, "--max-requests", "6")) == 1
    assert "max_requests 6" in " ".join(capsys.readouterr().out.split())


def test_the_budget_includes_probes(mock):
    assert run(at(mock, "--only", "prompt", "--max-requests", "5")) == 1
    assert len(mock.received) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--deadline", "soon"), "for --deadline. Must be a time such as 20m"),
        (("--deadline", "0"), "for --deadline. Must be a time such as 20m"),
        (("--max-requests", "0"), "for --max-requests. Must be greater than or equal to 1"),
        (("--max-cost", "-1"), "for --max-cost. Must be greater than 0"),
    ],
)
def test_invalid_limits_are_rejected(mock, options, said, capsys):
    assert run(at(mock, *options)) == 2
    assert said in capsys.readouterr().err
