"""Form: another spelling of the same content, and another order of the records, change nothing."""

from dataclasses import replace
from random import Random

import pytest
from damages import SPELLINGS, changed
from runs import EFFORT, Changes, healthy_run, samples, statuses

from harness.api.parsed_rollout import parse_rollout

_OF_CONTENT = [name for name in SPELLINGS if "arguments" in name]


@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if name not in _OF_CONTENT])
def test_a_body_in_other_json_has_the_same_score(spelling):
    tasks = {task.name: task for task in healthy_run().tasks}
    for one in samples(min(1.0, 0.1 * EFFORT), 1).rollouts:
        if (other := changed(one, *SPELLINGS[spelling])) is not None:
            task = tasks[one.task]
            assert task.score(parse_rollout(other)) == task.score(parse_rollout(one))


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("spelling", _OF_CONTENT)
def test_arguments_in_other_json_are_not_changed(spelling, share):
    every = healthy_run()
    calls = replace(every, rollouts=[one for one in every.rollouts if "tool" in one.task])
    changes = Changes.of(calls, lambda one: changed(one, *SPELLINGS[spelling]))
    rollouts, spelled = changes.some(share)
    assert spelled
    assert not statuses(changes.recorded.judged(rollouts))


@pytest.mark.parametrize("seed", range(EFFORT))
def test_the_order_of_the_records_changes_nothing(seed):
    recorded = healthy_run()
    shuffled = Random(seed).sample(recorded.rollouts, len(recorded.rollouts))
    assert not statuses(recorded.judged(shuffled))
