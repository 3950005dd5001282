"""Habits of a model on recorded replies: what the server makes of the tokens, and what follows."""

import asyncio

from corpus import healthy

from harness.api import DIALECTS
from harness.api.items import Reply
from harness.records.rollouts import Rollout
from harness.selftest.habits import HABITS
from harness.selftest.styles import HealthyReplies, Style, styled
from harness.tasks.attempt_order import planned_attempts
from reference_engine.prescribed import PrescribedServer


def with_habit(name: str, *ids: str) -> list[tuple[Rollout, list[Reply], list[Reply]]]:
    """Rollouts with a habit in every reply, and their replies before and after."""
    run = healthy()
    before = [one for one in run.rollouts if one.id in ids]
    assert len(before) == len(ids)
    attempts = {attempt.id: attempt for attempt in planned_attempts(run.tasks)}
    style = Style({HABITS[name]: 1.0})
    after = asyncio.run(styled(HealthyReplies(attempts, before), before, style, PrescribedServer()))
    return [(new, replies(old), replies(new)) for old, new in zip(before, after, strict=True)]


def replies(rollout: Rollout) -> list[Reply]:
    return [DIALECTS[rollout.api].read(exchange) for exchange in rollout.exchanges]


CASE = "tool_calling/markdown-list/{}/1"
IDS = [CASE.format(api) for api in ("chat", "responses")]


def test_the_same_tokens_make_the_same_replies() -> None:
    for _, before, after in with_habit("the same again", *IDS):
        assert [(r.reasoning, r.text, r.finish) for r in after] == [
            (r.reasoning, r.text, r.finish) for r in before
        ]
        assert [c.arguments for r in after for c in r.calls] == [
            c.arguments for r in before for c in r.calls
        ]


def test_a_reply_is_made_when_the_recorded_one_was() -> None:
    """Else replies of one sample, all made today, are those of a cache."""
    for _, before, after in with_habit("preface", *IDS):
        for old, new in zip(before, after, strict=True):
            assert new.raw.get("created") == old.raw.get("created")
            assert new.raw.get("created_at") == old.raw.get("created_at")


def test_a_longer_cot_is_counted_and_sent_back() -> None:
    for rollout, before, after in with_habit("CoT 5 times longer", *IDS):
        assert len(after[0].reasoning) >= 5 * len(before[0].reasoning)
        assert after[0].output_tokens > before[0].output_tokens
        assert after[0].reasoning in str(rollout.exchanges[1].request.body)


def test_a_conversation_without_its_call_ends_with_the_answer() -> None:
    for rollout, before, after in with_habit("no call", *IDS):
        assert len(before) == 2
        assert [one.calls for one in after] == [()]
        assert rollout.end == "answered"


def test_a_call_of_another_tool_is_answered_by_an_error() -> None:
    for rollout, _, after in with_habit("unknown tool", *IDS):
        assert after[0].calls[0].name == "generic_command"
        assert "named generic_command" in str(rollout.exchanges[1].request.body)


def test_a_limit_cuts_what_the_model_writes_instead() -> None:
    (_, before, after), *_ = with_habit("preface", "limits/cut at 24/chat/streaming/1")
    assert after[0].finish == "length"
    assert after[0].output_tokens == before[0].output_tokens == 24


def test_a_header_that_no_text_shows_is_counted() -> None:
    for _, before, after in with_habit("aborted header", *IDS):
        assert after[0].calls[0].arguments == before[0].calls[0].arguments
        assert 2 < after[0].output_tokens - before[0].output_tokens <= 24
