"""When a defect shows, told from the requests of a default run."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from corpus import damaged, healthy

from harness.records.rollouts import Exchange, Rollout

WHOLE = "only non-streaming replies"
Where = Callable[[Rollout, dict[str, Any]], bool]


def printed(change: Callable[[dict[str, Any]], None], where: Where) -> str:
    """The first cause if a server changes the bodies of some complete replies."""

    def changed(rollout: Rollout, exchange: Exchange) -> Exchange:
        sent, response = exchange.request.body, exchange.response
        whole = response is not None and response.good_status and response.body
        if response is None or not whole or not sent or not where(rollout, sent):
            return exchange
        body = json.loads(response.body)
        change(body)
        made = response.model_copy(update={"body": json.dumps(body)})
        return exchange.model_copy(update={"response": made})

    made = []
    for rollout in healthy().rollouts:
        exchanges = tuple(changed(rollout, exchange) for exchange in rollout.exchanges)
        same = all(map(lambda one, other: one is other, exchanges, rollout.exchanges))
        made.append(rollout if same else rollout.model_copy(update={"exchanges": exchanges}))
    return healthy().judged(made).analysis.diagnosis.causes[0].sentence


def milliseconds(body: dict[str, Any]) -> None:
    if "created" in body:
        body["created"] *= 1000


def other_object(body: dict[str, Any]) -> None:
    body["object"] = "reply"


def is_short(_: Rollout, sent: dict[str, Any]) -> bool:
    return len(json.dumps(sent)) < 8000


def answers_user(_: Rollout, sent: dict[str, Any]) -> bool:
    turns = sent.get("messages") or sent.get("input")
    last = turns[-1] if isinstance(turns, list) else {}
    return last.get("role") != "tool" and last.get("type") != "function_call_output"


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        # Requests of Responses have options that those of Chat lack.
        (milliseconds, lambda one, _: one.api == "chat", f"only chat, {WHOLE}"),
        (other_object, is_short, f"{WHOLE}, all but requests above 8,000 characters"),
        (other_object, answers_user, f"{WHOLE}, all but replies to a tool result"),
    ],
)
def test_api_mode_and_exceptions_are_named(change, where, words):
    assert printed(change, where).endswith(f"({words}).")


def test_a_share_is_that_of_the_modes_with_the_finding():
    """Four calls in streams are too few to exclude chance, and yet not half of all replies."""
    calls = [one for one in healthy().rollouts if one.task == "tool_calling"]
    samples = sorted({one.sample for one in calls})[:4]
    few = [one for one in calls if one.sample in samples]
    made = [
        changed if one.condition.streaming else one
        for one, changed in zip(few, damaged(few, "calls-finish-with-stop"), strict=True)
    ]
    (cause,) = healthy().judged(made).analysis.diagnosis.causes
    assert "%" not in cause.sentence


def test_a_limit_that_is_not_reported_is_no_condition():
    """Replies that hide that they were cut are never truncated ones, whatever decides it."""
    made = damaged(healthy().rollouts, "truncation-as-completed")
    cause = healthy().judged(made).analysis.diagnosis.causes[0]
    assert cause.component == "ends"
    assert "truncated" not in cause.sentence.partition("(")[2]


def test_few_findings_in_all_streams_name_their_mode():
    """The API and the mode are few properties: a few findings exclude chance."""
    calls = [one for one in healthy().rollouts if one.task == "tool_calling"]
    samples = sorted({one.sample for one in calls})[:9]
    few = [one for one in calls if one.sample in samples]
    made = [
        changed if one.condition.streaming else one
        for one, changed in zip(few, damaged(few, "calls-finish-with-stop"), strict=True)
    ]
    cause = healthy().judged(made).analysis.diagnosis.causes[0]
    assert cause.sentence.endswith("(only streams).")
