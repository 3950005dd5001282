"""Whole runs: bounded, resumable, and without loss of finished attempts."""

import asyncio
import gc
import itertools
import os
import random
import signal
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mock_provider as mock
import pytest
from mock_provider import MockProvider
from replies import data
from waiting import until

from harness.api.items import Message, RequestSettings, Sample, Tool
from harness.errors import RunLogError, StoppedError
from harness.providers.entries import adhoc_provider, changed
from harness.records.conditions import BOTH_APIS, MODES, Condition
from harness.records.rollouts import Rollout
from harness.run.attempts import Attempt
from harness.run.budget import Budget, Limits
from harness.run.run_log import ROLLOUTS_FILE, RunLog, read_rollouts
from harness.run.sampling import SILENT, run_attempts, run_until_stopped
from harness.run.sampling import Observer as RunWatcher
from harness.transport import open_transport
from harness.transport.retry import RetryPolicy

TOOL = Tool("get_weather", "Weather.", {"type": "object", "properties": {}}, '{"t": 21}')

ASK = (Message("user", "Weather?"),)


def attempts(samples: int) -> Iterator[Attempt]:
    for number in range(samples):
        sample = Sample(f"s{number}", ASK, (TOOL,))
        for api, mode in itertools.product(BOTH_APIS, MODES):
            condition = Condition(model="m", api=api, mode=mode)
            identity = f"{sample.id}/{api}/{mode}/1"
            yield Attempt(identity, "tool_calling", sample, condition, 1, RequestSettings("m"), 4)


async def run(
    base_url: str,
    folder: Path,
    *,
    samples: int = 5,
    concurrency: int = 4,
    seconds: float = 30,
    observer: RunWatcher = SILENT,
    api_key_env: str | None = None,
) -> None:
    provider = changed(adhoc_provider(base_url, "m", ["chat"], api_key_env), timeout=seconds)
    with RunLog(folder) as log:
        async with open_transport(
            provider, retries=RetryPolicy({"overloaded": 15, "passing": 2}, 0.01)
        ) as transport:
            await run_attempts(
                attempts(samples),
                transport=transport,
                log=log,
                concurrency=concurrency,
                observer=observer,
            )


class Observer(RunWatcher):
    """Record the calls, and which rollouts are still in memory."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.left: list[str] = []
        self.written: list[str] = []
        self.alive: list[weakref.ref[Rollout]] = []

    def started(self, attempt: Attempt) -> None:
        self.begun.append(attempt.id)

    def ended(self, attempt: Attempt) -> None:
        self.left.append(attempt.id)

    def finished(self, rollout: Rollout) -> None:
        self.written.append(rollout.id)
        self.alive.append(weakref.ref(rollout))


def planned(samples: int) -> set[str]:
    return {attempt.id for attempt in attempts(samples)}


def ids(folder: Path) -> list[str]:
    return [rollout.id for rollout in read_rollouts(folder)]


async def test_every_attempt_ends_in_the_log(tmp_path: Path) -> None:
    observer = Observer()
    async with MockProvider(delay=0.01) as provider:
        await run(provider.base_url, tmp_path, observer=observer)
    assert sorted(ids(tmp_path)) == sorted(planned(5))
    assert {rollout.end for rollout in read_rollouts(tmp_path)} == {"answered"}
    assert observer.written == ids(tmp_path)
    assert sorted(observer.begun) == sorted(observer.left) == sorted(observer.written)
    assert 1 < provider.most_in_flight <= 4


async def test_finished_rollouts_do_not_stay_in_memory(tmp_path: Path) -> None:
    observer = Observer()
    async with MockProvider() as provider:
        await run(provider.base_url, tmp_path, samples=20, observer=observer)
    gc.collect()
    assert len(observer.alive) == 80
    assert not [found for found in observer.alive if found() is not None]


async def test_resuming_samples_only_missing_attempts(tmp_path: Path) -> None:
    async with MockProvider() as provider:
        await run(provider.base_url, tmp_path, samples=2)
    done = ids(tmp_path)
    observer = Observer()
    async with MockProvider() as provider:
        await run(provider.base_url, tmp_path, samples=3, observer=observer)
    assert set(observer.begun) == planned(3) - planned(2)
    assert ids(tmp_path)[: len(done)] == done
    assert len(provider.posts) == 2 * len(observer.begun)


async def test_cancelling_keeps_finished_attempts(tmp_path: Path) -> None:
    observer = Observer()
    async with MockProvider(delay=0.05) as provider:
        running = asyncio.create_task(
            run(provider.base_url, tmp_path, samples=50, observer=observer)
        )
        await until(lambda: len(observer.written) >= 3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert ids(tmp_path) == observer.written
    assert sorted(observer.begun) == sorted(observer.left)
    assert len(observer.begun) > len(observer.written)


async def test_a_log_that_fails_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = itertools.count()

    def full(self: RunLog, line: bytes) -> None:
        if next(written) >= 3:
            raise OSError(28, "No space left on device")
        os.write(self._file, line)

    monkeypatch.setattr(RunLog, "_write", full)
    async with MockProvider() as provider:
        with pytest.raises(RunLogError, match="No space left on device; the 3 finished"):
            await run(provider.base_url, tmp_path)
    assert len(ids(tmp_path)) == 3


async def test_chaos_ends_every_attempt_exactly_once(tmp_path: Path) -> None:
    chance = random.Random(1)
    faults = [
        mock.status(429, Retry_After="0"),
        mock.status(500),
        mock.hang,
        mock.hang_up,
        mock.text('{"choices": ['),
        mock.stream([b"data: {"], end=False),
        mock.raw(b"garbage\r\n\r\n"),
    ]

    async def sometimes(request: mock.Received, writer: asyncio.StreamWriter) -> None:
        fault = chance.choice(faults) if chance.random() < 0.3 else mock.well_behaved
        await fault(request, writer)

    async with MockProvider(always=sometimes) as provider:
        await run(provider.base_url, tmp_path, samples=15, concurrency=16, seconds=1)
    assert sorted(ids(tmp_path)) == sorted(planned(15))
    ends = {rollout.end for rollout in read_rollouts(tmp_path)}
    assert ends == {"answered", "failed", "unreadable"}


async def test_the_key_is_not_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-proj/very+secret=key"
    monkeypatch.setenv("MOCK_KEY", key)

    async def telltale(request: mock.Received, writer: asyncio.StreamWriter) -> None:
        sent = request.headers["authorization"]
        assert sent == f"Bearer {key}"
        said = {"error": {"message": f"no access with {sent}", "param": key}}
        answer = mock.stream([data(said).encode() + b"\n\n"], end=False)
        if not (request.body or {}).get("stream"):
            answer = mock.text(mock.json.dumps(said), X_Your_Key=key, Set_Cookie=key)
        await answer(request, writer)

    async with MockProvider(always=telltale) as provider:
        await run(provider.base_url, tmp_path, api_key_env="MOCK_KEY")
    recorded = (tmp_path / ROLLOUTS_FILE).read_bytes()
    assert b"no access with Bearer [redacted]" in recorded
    assert key.encode() not in recorded
    assert b"secret" not in recorded


RUN = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from test_run_attempts import StoppedError, run, run_until_stopped
try:
    run_until_stopped(run(sys.argv[3], Path(sys.argv[4]), samples=30, concurrency=8))
except StoppedError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


async def in_a_process(provider: MockProvider, folder: Path) -> asyncio.subprocess.Process:
    here = Path(__file__).parent
    places = (str(here), str(here.parents[1] / "support"))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN, *places, provider.base_url, str(folder)),
        stderr=asyncio.subprocess.PIPE,
    )


async def until_some_are_finished(folder: Path, more_than: int) -> int:
    path = folder / ROLLOUTS_FILE
    await until(lambda: path.exists() and path.read_bytes().count(b"\n") > more_than)
    return path.read_bytes().count(b"\n")


@pytest.mark.slow
async def test_repeated_kill_9_loses_no_finished_attempt(tmp_path: Path) -> None:
    count = 0
    async with MockProvider(delay=0.05) as provider:
        for _ in range(2):
            process = await in_a_process(provider, tmp_path)
            count = await until_some_are_finished(tmp_path, count + 5)
            process.kill()
            await process.communicate()
        process = await in_a_process(provider, tmp_path)
        await process.communicate()
    assert process.returncode == 0
    assert sorted(ids(tmp_path)) == sorted(planned(30))
    assert (tmp_path / ROLLOUTS_FILE).read_bytes().count(b"\n") == len(planned(30))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_the_run_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    async with MockProvider(delay=0.2) as provider:
        process = await in_a_process(provider, tmp_path)
        await until_some_are_finished(tmp_path, 0)
        process.send_signal(number)
        _, errors = await process.communicate()
    assert process.returncode == StoppedError.exit_code
    assert errors.decode().splitlines() == ["stopped before the end; finish it with --resume"]
    assert 0 < len(ids(tmp_path)) < len(planned(30))


@pytest.mark.parametrize("has_uvloop", [True, False])
def test_run_until_stopped_returns_results_and_raises_errors(
    has_uvloop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_uvloop:
        monkeypatch.setitem(sys.modules, "uvloop", None)

    async def fine() -> int:
        await asyncio.sleep(0)
        assert gc.get_freeze_count() > 0
        assert ("uvloop" in type(asyncio.get_running_loop()).__module__) == has_uvloop
        return 3

    async def broken() -> None:
        raise RunLogError("no")

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert run_until_stopped(fine()) == 3
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(RunLogError):
        run_until_stopped(broken())
    assert gc.get_freeze_count() == 0


async def test_an_attempt_starts_when_the_one_it_follows_has_ended(tmp_path: Path) -> None:
    made = list(attempts(6))
    before = [None, *(each.id for each in made)]
    chained = [replace(each, after=after) for each, after in zip(made, before, strict=False)]
    observer = Observer()
    under_way: list[int] = []
    note = observer.started

    def started(attempt: Attempt) -> None:
        note(attempt)
        under_way.append(len(observer.begun) - len(observer.written))

    observer.started = started  # type: ignore[method-assign]
    async with MockProvider(delay=0.01) as provider:
        adhoc = adhoc_provider(provider.base_url, "m", ["chat"])
        with RunLog(tmp_path) as log:
            async with open_transport(adhoc) as transport:
                await run_attempts(
                    chained, transport=transport, log=log, concurrency=6, observer=observer
                )
    assert observer.written == [each.id for each in made]
    assert set(under_way) == {1}


async def test_others_use_the_place_of_an_attempt_that_follows_another(tmp_path: Path) -> None:
    first, second, third, *others = attempts(6)
    chain = [first, replace(second, after=first.id), replace(third, after=second.id)]
    observer = Observer()
    async with MockProvider(delay=0.05) as provider:
        adhoc = adhoc_provider(provider.base_url, "m", ["chat"])
        with RunLog(tmp_path) as log:
            async with open_transport(adhoc) as transport:
                await run_attempts(
                    [*chain, *others],
                    transport=transport,
                    log=log,
                    concurrency=2,
                    observer=observer,
                )
    begun = observer.begun
    assert begun[:2] == [first.id, others[0].id]
    assert begun.index(second.id) < begun.index(third.id)
    assert sorted(begun) == sorted(each.id for each in attempts(6))


async def test_attempts_that_follow_the_same_one_are_in_flight_together(tmp_path: Path) -> None:
    """All other workers have nothing to do until the first attempt has ended."""
    first, *made = attempts(1)
    async with MockProvider(delay=0.05) as provider:
        adhoc = adhoc_provider(provider.base_url, "m", ["chat"])
        with RunLog(tmp_path) as log:
            async with open_transport(adhoc) as transport:
                await run_attempts(
                    [first, *(replace(each, after=first.id) for each in made)],
                    transport=transport,
                    log=log,
                    concurrency=4,
                )
    assert provider.most_in_flight == len(made)


async def test_workers_that_wait_end_with_the_budget(tmp_path: Path) -> None:
    first, *made = attempts(1)
    spent = Budget(Limits(max_requests=1))
    spent.requests = 1
    async with MockProvider() as provider:
        adhoc = adhoc_provider(provider.base_url, "m", ["chat"])
        with RunLog(tmp_path) as log:
            async with open_transport(adhoc) as transport:
                await asyncio.wait_for(
                    run_attempts(
                        [first, *(replace(each, after=first.id) for each in made)],
                        transport=transport,
                        log=log,
                        concurrency=4,
                        budget=spent,
                    ),
                    timeout=20,
                )
    assert provider.received == []
