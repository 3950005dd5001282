"""Load probes with simulated replies, and the burst over a socket."""

import asyncio
import itertools
from pathlib import Path

from analyses import planned
from background import in_background
from healthy import provider_of
from mock_provider import MockProvider, Received
from probing import judged, refusal, statuses
from replies import MODEL, Reply

from harness import session
from harness.providers.entries import adhoc_provider
from harness.records.conditions import BOTH_APIS
from harness.records.rollouts import Response
from harness.rules.load.probes import AT_ONCE, GROUP, WORDS
from harness.rules.probe import ProbeRequest
from harness.run.attempts import Attempt
from harness.run.run_log import read_run_info
from harness.run.sampling import Observer
from harness.tasks.plan import Plan, new_info
from harness.verdict.judge import judge

_numbers = itertools.count(1)


def about(word: str, request: ProbeRequest) -> Reply:
    if request.tools:
        call_id = f"call_{next(_numbers)}"
        return Reply(call=("get_weather", f'{{"location": "{word}"}}'), call_id=call_id)
    return Reply(text=word)


def test_one_reply_of_another_request_is_an_error() -> None:
    def provider(request: ProbeRequest, attempt: Attempt) -> Reply:
        crossed = request.id == WORDS["chat"][0] and attempt.condition.streaming
        return about(WORDS["responses"][1] if crossed else request.id, request)

    found = judged(GROUP, provider)
    assert (found["load.cross_talk"].status, found["load.cross_talk"].failures) == ("failed", 1)


def test_failing_under_load_is_an_error_but_rate_limiting_is_not() -> None:
    def answering(status: int) -> dict[str, str]:
        def provider(request: ProbeRequest, attempt: Attempt) -> Reply | Response:
            return refusal(status) if attempt.condition.streaming else about(request.id, request)

        return statuses(judged(GROUP, provider))

    assert answering(500)["load.served"] == "failed"
    assert answering(429)["load.served"] == "passed"


def test_the_burst_has_the_configured_size(tmp_path: Path) -> None:
    answer = provider_of()

    async def slowly(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        await answer(request, writer)

    with in_background(MockProvider(always=slowly)) as mock:
        provider = adhoc_provider(mock.base_url, MODEL, BOTH_APIS, None)
        run = planned(only=("load.served",), concurrency=2)
        info = new_info(provider.info(), run.tasks, run.settings, ("test",))
        session.sample(Plan(provider, tuple(run.tasks), info), tmp_path, Observer())
        assert mock.most_in_flight > AT_ONCE / 2
    analysis = judge(tmp_path, read_run_info(tmp_path), run.tasks).analysis
    assert analysis.probe_attempts == analysis.probe_attempts_made == AT_ONCE
    assert analysis.complete
