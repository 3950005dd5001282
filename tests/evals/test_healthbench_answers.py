"""Which answers of models and physicians are graded, and the default grader."""

import asyncio
import json
from pathlib import Path

import mock_provider as mock
import pytest
from mock_provider import MockProvider, Received
from replies import MODEL, Reply, chat_whole
from sample_evals import load_eval

from evals.grading.requests import (
    DEFAULT_GRADER,
    FinalAnswer,
    grades_file,
    run_answers,
)
from harness.api.items import RequestSettings, Sample
from harness.errors import ConfigurationError
from harness.providers.entries import adhoc_provider, find_provider
from harness.records.conditions import Condition
from harness.run.attempts import Attempt
from harness.run.run_log import RunLog, read_rollouts
from harness.run.sampling import run_attempts
from harness.transport import open_transport

BENCH = load_eval("healthbench")
QUESTION = next(iter(BENCH.rows))
CONDITION = Condition(model=MODEL, api="chat", mode="non-streaming")
SETTINGS = RequestSettings(MODEL)


def reply(text: str | None, finish: str = "stop") -> mock.Handler:
    async def handle(request: Received, writer: asyncio.StreamWriter) -> None:
        assert request.body is not None
        whole = chat_whole(Reply(text=text))
        whole["choices"][0]["finish_reason"] = finish
        mock.write_json(writer, whole)

    return handle


async def answers_to(folder: Path, handler: mock.Handler) -> list[FinalAnswer]:
    """The answers of a run of one question that can be graded."""
    sample = Sample(QUESTION, BENCH.prompt(QUESTION, 1).messages)
    attempt = Attempt(f"healthbench/{QUESTION}/1", "healthbench", sample, CONDITION, 1, SETTINGS)
    async with MockProvider(always=handler) as provider:
        sampled = adhoc_provider(provider.base_url, MODEL, ["chat"])
        with RunLog(folder) as log:
            async with open_transport(sampled) as transport:
                await run_attempts([attempt], transport=transport, log=log, concurrency=1)
    return list(run_answers(read_rollouts(folder), BENCH.rows))


async def test_a_complete_answer_is_graded_without_its_cot(tmp_path: Path) -> None:
    found = await answers_to(tmp_path, reply(" Call an ambulance.\n"))
    assert found == [FinalAnswer(f"healthbench/{QUESTION}/1", QUESTION, " Call an ambulance.\n")]


@pytest.mark.parametrize(
    "handler",
    [
        reply(None),
        reply(" \n"),
        reply("Call an", "length"),
        reply("Call an", "content_filter"),
        mock.status(400),
        mock.text("{"),
    ],
)
async def test_an_incomplete_answer_is_not_graded(tmp_path: Path, handler: mock.Handler) -> None:
    assert await answers_to(tmp_path, handler) == []


async def test_answers_to_other_questions_are_skipped(tmp_path: Path) -> None:
    await answers_to(tmp_path, reply("Yes."))
    assert list(run_answers(read_rollouts(tmp_path), {})) == []


def test_the_default_grader_is_openais_with_its_own_key_variable(tmp_path: Path) -> None:
    own = tmp_path / "providers.yaml"
    entry = {"base_url": "http://localhost:1/v1", "model": "m", "apis": ["chat"]}
    own.write_text(json.dumps({"providers": {"mine": entry}}), encoding="utf-8")
    for file in (None, own):
        grader = find_provider(DEFAULT_GRADER, file)
        assert (grader.name, grader.model) == (DEFAULT_GRADER, "gpt-4.1-2025-04-14")
        assert grader.api_key_env == "OPENAI_GRADER_API_KEY"
    assert find_provider("mine", own).model == "m"
    with pytest.raises(ConfigurationError, match="did you mean 'mine'"):
        find_provider("mime", own)


def test_a_log_has_a_valid_file_name_derived_from_its_grader() -> None:
    assert grades_file("mine", "a/b:c d") == "grades-mine-a-b-c-d.jsonl"
