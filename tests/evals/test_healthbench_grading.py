"""Grading over real sockets: grades belong to their items, whatever the grader does."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mock_provider as mock
import pytest
from mock_grader import Grader, graded, prompt_of, say, true_grade
from mock_provider import MockProvider, Received
from replies import MODEL, Reply
from sample_evals import load_eval
from waiting import until

from evals.grading.grades import REQUESTS, Verdicts, verdicts_in
from evals.grading.requests import (
    FinalAnswer,
    GradingTask,
    grade_with,
    grades_file,
    grading_tasks,
    run_answers,
)
from harness.api.items import RequestSettings, Sample
from harness.errors import ProviderUnauthorizedError, ProviderUnavailableError
from harness.providers.entries import Provider, adhoc_provider, changed
from harness.records.conditions import BOTH_APIS, Condition
from harness.records.rollouts import Rollout
from harness.run.attempts import Attempt
from harness.run.run_log import RunLog, read_rollouts
from harness.run.sampling import run_attempts
from harness.transport import open_transport
from harness.transport.retry import RetryPolicy

NAME = "grader"
LOG = grades_file(NAME, MODEL)
BENCH = load_eval("healthbench")
ANSWERS = tuple(
    FinalAnswer(f"cell/{question}/{number}", question, f"Answer {number} to {question}.")
    for number in (1, 2)
    for question in BENCH.rows
)


def tasks() -> Iterator[GradingTask]:
    return grading_tasks(BENCH, ANSWERS)


def expected() -> Verdicts:
    verdicts: dict[str, dict[str, bool]] = {}
    for task in tasks():
        answer, _, item = task.id.rpartition("/")
        verdicts.setdefault(answer, {})[item] = true_grade(task.messages[-1].text)
    return verdicts


def grader_at(provider: MockProvider, concurrency: int = 16) -> Provider:
    found = adhoc_provider(provider.base_url, MODEL, ["chat"])
    return changed(found, name=NAME, concurrency=concurrency)


async def graded_by(handler: mock.Handler, folder: Path) -> list[Received]:
    """Grade all answers; return what the grader was asked."""
    async with MockProvider(always=handler) as provider:
        await grade_with(grader_at(provider), tasks, folder)
        return provider.posts


def records(folder: Path) -> list[Rollout]:
    return list(read_rollouts(folder, LOG))


async def test_grades_belong_to_their_items_in_any_order_of_arrival(tmp_path: Path) -> None:
    await graded_by(Grader(), tmp_path)
    asked = [task.id for task in tasks()]
    finished = [record.sample for record in records(tmp_path)]
    assert sorted(finished) == sorted(asked)
    assert finished != asked
    verdicts = verdicts_in(tmp_path, LOG)
    assert verdicts == expected()
    assert {met for items in verdicts.values() for met in items.values()} == {True, False}


async def test_failed_grader_requests_are_retried_and_never_count_as_not_met(
    tmp_path: Path,
) -> None:
    await graded_by(Grader(faults=0.4), tmp_path)
    found, whole = verdicts_in(tmp_path, LOG), expected()
    assert all(
        whole[answer][item] == met for answer in found for item, met in found[answer].items()
    )
    missing = [
        f"{answer}/{item}"
        for answer, items in whole.items()
        for item in items
        if item not in found.get(answer, {})
    ]
    requests = Counter(record.sample for record in records(tmp_path))
    assert 0 < len(missing) < len(requests) / 4
    assert all(requests[task] == REQUESTS for task in missing)
    assert max(requests.values()) == REQUESTS
    assert len({record.id for record in records(tmp_path)}) == requests.total()


async def test_graded_items_are_not_requested_again(tmp_path: Path) -> None:
    await graded_by(Grader(faults=0.4), tmp_path)
    log = (tmp_path / LOG).read_bytes()
    settled = {
        record.sample
        for record in records(tmp_path)
        if record.end == "answered" or record.attempt == REQUESTS
    }
    assert settled == {task.id for task in tasks()}
    again = await graded_by(Grader(), tmp_path)
    assert len(again) <= 1 + sum(record.end == "failed" for record in records(tmp_path))
    assert (tmp_path / LOG).read_bytes().startswith(log)


async def test_unreadable_grades_are_final_but_failed_requests_are_retried_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A grader that is overloaded is asked again 15 times for each item.
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.0)
    garbled, refused = list(BENCH.rows)[:2]

    async def unreliable(request: Received, writer: asyncio.StreamWriter) -> None:
        prompt = prompt_of(request)
        handler = graded(request)
        if f"Answer 1 to {garbled}." in prompt:
            handler = say("I would rather not say.")
        elif f"Answer 1 to {refused}." in prompt:
            handler = mock.status(429, "You exceeded your quota.")
        await handler(request, writer)

    await graded_by(unreliable, tmp_path)
    found, whole = verdicts_in(tmp_path, LOG), expected()
    lost = {f"cell/{garbled}/1", f"cell/{refused}/1"}
    assert found == {answer: items for answer, items in whole.items() if answer not in lost}
    await graded_by(Grader(), tmp_path)
    found = verdicts_in(tmp_path, LOG)
    assert set(whole) - set(found) == {f"cell/{garbled}/1"}


async def test_a_grader_without_credit_ends_the_grading_which_goes_on_later(tmp_path: Path) -> None:
    paid = iter(range(10_000))

    async def until_spent(request: Received, writer: asyncio.StreamWriter) -> None:
        handler = graded(request) if next(paid) < 5 else mock.status(402, "Insufficient credits")
        await handler(request, writer)

    async with MockProvider(always=until_spent) as provider:
        with pytest.raises(ProviderUnavailableError, match=r"402 \(Insufficient credits\); add cr"):
            await grade_with(grader_at(provider), tasks, tmp_path)
        assert len(provider.posts) < 5 + 2 * grader_at(provider).concurrency
    await graded_by(Grader(), tmp_path)
    assert verdicts_in(tmp_path, LOG) == expected()


async def test_grading_tasks_are_created_lazily(tmp_path: Path) -> None:
    made = 0

    def counted() -> Iterator[GradingTask]:
        nonlocal made
        made = 0
        for task in tasks():
            made += 1
            yield task

    most = 0

    async def watching(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        done = len(records(tmp_path)) if (tmp_path / LOG).exists() else 0
        most = max(most, made - done)
        await graded(request)(request, writer)

    async with MockProvider(always=watching) as provider:
        await grade_with(grader_at(provider, concurrency=3), counted, tmp_path)
    # Three in flight, and the last.
    assert most <= 4


async def test_a_grader_may_serve_only_the_responses_api(tmp_path: Path) -> None:
    async def answering(request: Received, writer: asyncio.StreamWriter) -> None:
        assert request.body is not None
        mock.write_reply(request, writer, Reply(text='{"explanation": "", "criteria_met": true}'))

    async with MockProvider(always=answering) as provider:
        grader = changed(adhoc_provider(provider.base_url, MODEL, ["responses"]), name=NAME)
        await grade_with(grader, tasks, tmp_path)
    verdicts = verdicts_in(tmp_path, LOG)
    assert {answer: len(items) for answer, items in verdicts.items()} == {
        answer: len(items) for answer, items in expected().items()
    }


async def test_a_finished_log_needs_no_grader(tmp_path: Path) -> None:
    async with MockProvider(always=Grader()) as provider:
        grader = grader_at(provider)
        await grade_with(grader, tasks, tmp_path)
    await grade_with(grader, tasks, tmp_path)
    assert verdicts_in(tmp_path, LOG) == expected()


async def test_each_grader_has_its_own_log(tmp_path: Path) -> None:
    async with MockProvider(always=Grader(), models=[MODEL, "other/grader"]) as provider:
        for model in (MODEL, "other/grader"):
            await grade_with(changed(grader_at(provider), model=model), tasks, tmp_path)
            assert verdicts_in(tmp_path, grades_file(NAME, model)) == expected()


async def test_the_grader_has_its_own_key_and_never_sees_the_cot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER_KEY", "sk-of-the-provider")
    monkeypatch.setenv("GRADER_KEY", "sk-of-the-grader")
    async with MockProvider(api_key="sk-of-the-provider") as provider:
        sampled = adhoc_provider(provider.base_url, MODEL, ["responses", "chat"], "PROVIDER_KEY")
        attempts = [
            Attempt(
                f"healthbench/{question}/{api}/1",
                "healthbench",
                Sample(question, row.messages),
                Condition(model=MODEL, api=api, mode="non-streaming"),
                1,
                RequestSettings(MODEL),
            )
            for question, row in BENCH.rows.items()
            for api in BOTH_APIS
        ]
        with RunLog(tmp_path) as log:
            async with open_transport(sampled) as transport:
                await run_attempts(attempts, transport=transport, log=log, concurrency=8)

    def from_disk() -> Iterator[GradingTask]:
        return grading_tasks(BENCH, run_answers(read_rollouts(tmp_path), BENCH.rows))

    async with MockProvider(always=Grader(), api_key="sk-of-the-grader") as provider:
        keyed = changed(grader_at(provider), api_key_env="GRADER_KEY")
        await grade_with(keyed, from_disk, tmp_path)
        prompts = [prompt_of(request) for request in provider.posts[1:]]
        bodies = [request.body for request in provider.posts[1:] if request.body]
    assert len(prompts) == 2 * sum(len(row.items) for row in BENCH.rows.values())
    assert all("assistant: Done: café ✓\n" in prompt for prompt in prompts)
    assert not any(mock.COT in prompt for prompt in prompts)
    assert {(body["temperature"], body["max_tokens"]) for body in bodies} == {(0.5, 2048)}
    monkeypatch.setenv("GRADER_KEY", "wrong")
    (tmp_path / LOG).unlink()
    async with MockProvider(always=Grader(), api_key="sk-of-the-grader") as provider:
        with pytest.raises(ProviderUnauthorizedError, match="GRADER_KEY"):
            await grade_with(changed(keyed, base_url=provider.base_url), from_disk, tmp_path)


RUN = """
import asyncio, sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from test_healthbench_grading import MODEL, NAME, adhoc_provider, changed, grade_with, tasks
grader = changed(adhoc_provider(sys.argv[3], MODEL, ["chat"]), name=NAME, concurrency=4)
asyncio.run(grade_with(grader, tasks, Path(sys.argv[4])))
"""


@pytest.mark.slow
async def test_grading_resumes_after_kill_9(tmp_path: Path) -> None:
    log = tmp_path / LOG
    here = Path(__file__).parent
    places = (str(here), str(here.parent / "support"))
    async with MockProvider(always=Grader(faults=0.1, slowest=0.1)) as provider:
        command = (sys.executable, "-c", RUN, *places, provider.base_url, str(tmp_path))
        process = await asyncio.create_subprocess_exec(*command)
        await until(lambda: log.exists() and log.read_bytes().count(b"\n") > 30)
        process.kill()
        await process.wait()
        assert len(records(tmp_path)) < len(list(tasks()))
        await grade_with(grader_at(provider), tasks, tmp_path)
    whole = expected()
    found = verdicts_in(tmp_path, LOG)
    assert all(
        whole[answer][item] == met for answer in found for item, met in found[answer].items()
    )
    requests = Counter(record.sample for record in records(tmp_path))
    assert set(requests) == {task.id for task in tasks()}
    answered = Counter(record.sample for record in records(tmp_path) if record.end == "answered")
    assert max(answered.values()) <= REQUESTS
