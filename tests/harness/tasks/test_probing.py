"""Probe groups as tasks: what they find out about a provider before sampling."""

import json

import mock_provider as mock
import pytest
from mock_provider import COT, MockProvider
from replies import MODEL, Reply, chat_whole

from harness.golden.files import shipped
from harness.providers.entries import adhoc_provider
from harness.rules.calls import choice_probes as choice
from harness.rules.cot import probes as cot
from harness.rules.errors import probes as invalid_requests
from harness.rules.limits import probes as limits
from harness.rules.numerics import probes as numerics
from harness.rules.probe import MORE_TOKENS, PUZZLE_TOKENS, REPLY_TOKENS, ProbeOptions
from harness.rules.sampling import probes as sampling
from harness.tasks.probing import ProbeTask


def reply(fields):
    body = chat_whole(Reply(text="Hello!"))
    [choice] = body["choices"]
    choice["message"] = {"role": "assistant", "content": None, **fields}
    return mock.text(json.dumps(body))


async def learned(group, answer, apis=("chat", "responses")):
    task = ProbeTask(group, group.probes, ProbeOptions(MODEL, apis))
    async with MockProvider(always=answer) as provider:
        asked = await task.learn(adhoc_provider(provider.base_url, MODEL, apis))
        assert len(provider.posts) == asked
    chat = [each for each in task.attempts(1) if each.condition.api == "chat"]
    messages = [message for each in chat for message in each.first_request()["messages"]]
    return asked, {field for message in messages for field in message if "reasoning" in field}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning": COT}, "reasoning"),
        ({"reasoning": COT, "reasoning_content": COT}, "reasoning"),
        ({"reasoning_content": COT}, "reasoning_content"),
        ({"reasoning": "", "reasoning_content": COT}, "reasoning_content"),
        ({"content": "Hello!"}, "reasoning"),
    ],
)
async def test_cot_is_sent_back_in_the_field_in_which_the_provider_returns_it(fields, expected):
    asked, used = await learned(cot.GROUP, reply(fields))
    assert asked == 1
    assert used == {expected}


@pytest.mark.parametrize("body", ["<html>", "[]", '{"choices": [{"message": null}]}'])
async def test_an_unreadable_reply_leaves_the_usual_field(body):
    assert await learned(cot.GROUP, mock.text(body)) == (1, {"reasoning"})


async def test_groups_that_send_no_cot_over_chat_send_no_trial_request():
    assert (await learned(invalid_requests.GROUP, reply({})))[0] == 0
    assert (await learned(cot.GROUP, reply({}), ("responses",)))[0] == 0


LOGPROB_FIELDS = ("logprobs", "top_logprobs", "include")


@pytest.mark.parametrize(
    ("limit", "asked", "expected"),
    [
        (20, 1, {"logprobs": True, "top_logprobs": 20}),
        (8, 2, {"logprobs": True, "top_logprobs": 5}),
        (-1, 3, {}),
    ],
)
async def test_requests_use_as_many_logprobs_as_the_provider_accepts(limit, asked, expected):
    async def answer(request, writer):
        refused = request.body.get("top_logprobs", -1) > limit
        await (mock.status(400) if refused else reply({"content": "Hello!"}))(request, writer)

    options = ProbeOptions(MODEL, ("chat",), golden=shipped())
    task = ProbeTask(numerics.GROUP, numerics.GROUP.probes, options)
    async with MockProvider(always=answer) as provider:
        sent = await task.learn(adhoc_provider(provider.base_url, MODEL, ("chat",)))
    assert sent == asked + 1  # and one request for the field of the CoT
    for attempt in task.attempts(1):
        body = attempt.first_request()
        assert {key: body[key] for key in LOGPROB_FIELDS if key in body} == expected


async def test_an_error_of_another_cause_is_left_to_the_run():
    options = ProbeOptions(MODEL, ("responses",), golden=shipped())
    task = ProbeTask(numerics.GROUP, numerics.GROUP.probes, options)
    async with MockProvider(always=mock.status(500)) as provider:
        await task.learn(adhoc_provider(provider.base_url, MODEL, ("responses",)))
    assert all(each.first_request()["top_logprobs"] == 20 for each in task.attempts(1))


@pytest.mark.parametrize("limit", [192, 3000, None])
def test_the_token_limit_of_the_run_applies_to_probes(limit):
    """A reply that must be cut, or that has a limit of its own, keeps it."""
    sent, again = {}, {}
    for group in (choice.GROUP, limits.GROUP, sampling.GROUP):
        task = ProbeTask(group, group.probes, ProbeOptions(MODEL, ("chat",), max_tokens=limit))
        for attempt in task.attempts(1):
            sent[attempt.sample.id] = attempt.settings.max_tokens
            again[attempt.sample.id] = attempt.more_tokens
    assert (sent["named"], sent["effort high"]) == (limit or REPLY_TOKENS, limit or PUZZLE_TOKENS)
    assert (sent["cut"], sent["long answer"]) == (limits.LIMIT, MORE_TOKENS)
    assert sent["unlimited"] is None
    assert again["named"] == (None if limit else MORE_TOKENS)
    assert again["effort high"] is None
