"""A request that fails at every try while others are served."""

from datetime import datetime, timedelta

import pytest
from healthy import STARTED, exchange, json_response, response, rollout
from replies import Reply

from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Retry
from harness.records.scores import Score
from harness.rules.catalogue import compare_rollouts
from harness.rules.measured import measured_score

RULE = "request.failed.always"


def sent(
    sample: str, statuses: list[int], *, at: float = 0, task: str = "prompt", alone: bool = False
) -> Score:
    """A request whose tries got these statuses, one every two seconds from second `at` on."""
    *failed, last = statuses
    answer = (
        response("chat", False, Reply(text="Hello."))
        if last == 200
        else json_response({"error": {"message": "Bad gateway"}}, status=last)
    )
    began = datetime.fromisoformat(STARTED) + timedelta(seconds=at + 2 * len(failed))
    recorded = exchange(
        "chat",
        False,
        answer,
        started_at=began.isoformat(),
        retries=tuple(Retry(status=status, waited=2) for status in failed),
    )
    made = rollout([recorded], sample=sample, task=task).model_copy(update={"alone": alone})
    return measured_score(parse_rollout(made), {"outcome": "answered"})


def others(number: int = 30, since: float = 0, statuses: tuple[int, ...] = (200,)) -> list[Score]:
    return [sent(f"other {n}", [*statuses], at=since + n % 10) for n in range(number)]


def found(scores: list[Score]) -> list[str]:
    return [
        finding.message
        for _, findings in compare_rollouts(scores)
        for finding in findings
        if finding.id == RULE
    ]


@pytest.mark.parametrize("status", [500, 502])
def test_a_request_that_always_fails_is_named(status: int) -> None:
    (message,) = found([sent("two systems", [status] * 6), *others()])
    assert message == (
        "The request 'two systems' of prompt failed in all 6 tries, while 30 other requests were "
        "served."
    )


def test_tries_at_other_times_count_together() -> None:
    """With one request at a time, no other is served between the tries of one rollout."""
    first, again = sent("two systems", [502] * 6), sent("two systems", [502] * 6, at=60)
    assert found([first, *others(since=20)]) == []
    assert len(found([first, again, *others(since=20)])) == 2


def once_more(statuses: list[int], between: int = 4, since: float = 20) -> list[Score]:
    """A request that failed six times, others of a slow server, and the request once more alone."""
    last = sent("two systems", statuses, at=40, alone=True)
    return [sent("two systems", [500] * 6), *others(between, since=since), last]


def test_a_slow_server_serves_few_before_the_request_is_sent_alone() -> None:
    first, again = found(once_more([500] * 3))
    assert first == again
    assert "failed in all 9 tries, while 4 other requests were served" in first


@pytest.mark.parametrize(
    "scores",
    [
        once_more([500, 200]),  # alone it was served
        once_more([502] * 3),  # the server may be down again
        once_more([500] * 3, between=2),
        once_more([500] * 3, since=0),  # none was served since
        [sent("a", [502] * 6), *others(since=60)],  # an outage: nothing was served meanwhile
        [sent("a", [502] * 6), *others(12)],  # few were
        [sent("a", [502] * 6), sent("a", [502, 200]), *others()],  # it was served once
        [sent("a", [502] * 2), *others(statuses=(502, 200))],  # the server fails now and then
        [sent("a", [502] * 6), *others(statuses=(502, 502, 200))],
        [sent("a", [504] * 6), *others()],  # the model may be slow
        [sent("a", [503] * 6), *others()],  # an overload
        [sent("a", [400]), *others()],  # a refusal
    ],
)
def test_chance_outages_and_refusals_are_not_reported(scores: list[Score]) -> None:
    assert found(scores) == []
