"""Copies: two records of one reply are one piece of evidence."""

import pytest
from runs import DAMAGES, EFFORT, Changes, damaged, samples, statuses

from harness.records.rollouts import Rollout

_OF_IDS = {"reply.id.shared", "calls.id.shared"}  # a copy has the ids of its original
_TRIED = [*DAMAGES] if EFFORT > 1 else [*DAMAGES][::4]
_CASES = [None, *_TRIED]


def _copied(rollouts: list[Rollout], times: int) -> list[Rollout]:
    """Return each attempt several times, as that many tries at its sample."""
    tries: dict[tuple[str, str], int] = {}
    for one in rollouts:
        tries[one.task, one.sample] = max(tries.get((one.task, one.sample), 0), one.attempt)
    changes = [
        (one, {"id": f"{one.id}#{n}", "attempt": one.attempt + n * tries[one.task, one.sample]})
        for n in range(1, times)
        for one in rollouts
    ]
    return [*rollouts, *(one.model_copy(update=update) for one, update in changes)]


@pytest.mark.parametrize("times", [2, 5])
@pytest.mark.parametrize("damage", _CASES)
def test_records_that_are_repeated_change_no_result(damage, times):
    recorded = samples(0.2, 3)
    rollouts = list(recorded.rollouts)
    if damage is not None:
        rollouts, _ = Changes.of(recorded, lambda one: damaged(one, DAMAGES[damage])).some(0.25)
    copied = statuses(recorded.judged(_copied(rollouts, times)))
    found = {rule: status for rule, status in copied.items() if rule not in _OF_IDS}
    assert found == statuses(recorded.judged(rollouts))
