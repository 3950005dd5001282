"""Load probes with simulated replies, and the burst over a socket."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from harness.verification import smoke
from healthy import Say, provider_of
from mock_provider import MODEL, MockProvider, Received
from probing import judged, refusal, statuses

from harness.cases import load_suite
from harness.probes.base import ProbeRequest
from harness.probes.load import AT_ONCE, GROUP, WORDS
from harness.providers.entries import adhoc_provider
from harness.records.rollouts import Response, Rollout
from harness.records.runs import RunSettings
from harness.sampling.attempts import Attempt

_numbers = itertools.count(1)


def about(word: str, request: ProbeRequest) -> Say:
    if request.tools:
        call_id = f"call_{next(_numbers)}"
        return Say(call=("get_weather", f'{{"location": "{word}"}}'), call_id=call_id)
    return Say(text=word)


def test_separate_replies_pass() -> None:
    found = judged(GROUP, lambda request, _: about(request.name, request))
    assert set(statuses(found).values()) == {"passed"}


def test_one_reply_of_another_request_is_an_error() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Say:
        crossed = request.name == WORDS["chat"][0] and attempt.streaming
        return about(WORDS["responses"][1] if crossed else request.name, request)

    found = judged(GROUP, provider)
    assert found["load.cross_talk"].status == "failed"
    assert found["load.cross_talk"].failures == 1
    assert found["load.answered"].status == "passed"


def test_wrong_replies_and_shared_ids_are_detected() -> None:
    def provider(request: ProbeRequest, _: Attempt) -> Say:
        return Say(call=("get_weather", '{"location": "nowhere"}'), call_id="call_0")

    found = statuses(judged(GROUP, provider))
    assert (found["load.answered"], found["load.call_ids"]) == ("failed", "warned")
    assert found["load.cross_talk"] == "passed"


def test_failing_under_load_is_an_error_but_rate_limiting_is_not() -> None:
    def answering(status: int) -> dict[str, str]:
        def provider(request: ProbeRequest, attempt: Attempt) -> Say | Response:
            return refusal(status) if attempt.streaming else about(request.name, request)

        return statuses(judged(GROUP, provider))

    assert answering(500)["load.served"] == "failed"
    assert answering(429)["load.served"] == "passed"


class _Watcher:
    def stage(self, text: str) -> None: ...

    def begin(self, planned: int, finished: int) -> None: ...

    def started(self, attempt: Attempt) -> None: ...

    def finished(self, rollout: Rollout) -> None: ...


async def test_the_burst_has_the_configured_size(tmp_path: Path) -> None:
    answer = provider_of()

    async def slowly(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        await answer(request, writer)

    async with MockProvider(always=slowly) as mock:
        provider = adhoc_provider(mock.base_url, MODEL, ("responses", "chat"), None)
        settings = RunSettings(
            apis=("responses", "chat"),
            streaming=(True, False),
            tries=1,
            max_turns=1,
            strict=False,
            concurrency=2,
            only=("load",),
        )
        job = smoke.new_job(provider, load_suite(), settings, out=tmp_path, command=("test",))
        await smoke.carry_out(job, _Watcher())
        assert mock.most_in_flight > AT_ONCE / 2
    analysis = smoke.judge(job.folder)
    assert analysis.probe_requests == analysis.probe_answers == AT_ONCE
    assert analysis.complete
