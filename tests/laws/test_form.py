"""Form: another spelling of the same content, and another order of the records, change nothing."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest
from runs import EFFORT, Changes, damaged, healthy_run, samples, statuses, with_response

from harness.api.parsed_rollout import parse_rollout
from harness.records.rollouts import Rollout


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(inner) for key, inner in reversed(value.items())}
    return [_reversed(inner) for inner in value] if isinstance(value, list) else value


_SPELLINGS: Mapping[str, Callable[[Any], str]] = {
    "escapes": json.dumps,
    "no white space": partial(json.dumps, separators=(",", ":")),
    "much white space": partial(json.dumps, separators=(" , ", " :  "), ensure_ascii=False),
    "keys in reverse order": lambda value: json.dumps(_reversed(value)),
}


def _spelled(one: Rollout, dump: Callable[[Any], str]) -> Rollout:
    """The rollout with the JSON of its last reply written again."""
    before = one.exchanges[-1].response
    assert before is not None
    parts = [
        replace(p, raw=re.sub(r"\{.*\}", lambda j: dump(json.loads(j[0])), p.raw))
        for p in before.parts
    ]
    body = before.body and dump(json.loads(before.body))
    return with_response(one, before.model_copy(update={"parts": tuple(parts), "body": body}))


@pytest.mark.parametrize("spelling", _SPELLINGS)
def test_a_body_in_other_json_has_the_same_score(spelling):
    tasks = {task.name: task for task in healthy_run().tasks}
    for one in samples(min(1.0, 0.1 * EFFORT), 1).rollouts:
        if (response := one.exchanges[-1].response) is not None and response.good_status:
            other = parse_rollout(_spelled(one, _SPELLINGS[spelling]))
            assert tasks[one.task].score(other) == tasks[one.task].score(parse_rollout(one))


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("spelling", ["ok:escapes-in-arguments", "ok:white-space-in-arguments"])
def test_arguments_in_other_json_are_not_changed(spelling, share):
    every = healthy_run()
    calls = replace(every, rollouts=[one for one in every.rollouts if "tool" in one.task])
    changes = Changes.of(calls, lambda one: damaged(one, spelling))
    rollouts, spelled = changes.some(share)
    assert spelled
    assert not statuses(changes.recorded.judged(rollouts))


@pytest.mark.parametrize("seed", range(EFFORT))
def test_the_order_of_the_records_changes_nothing(seed):
    recorded = healthy_run()
    shuffled = Random(seed).sample(recorded.rollouts, len(recorded.rollouts))
    assert not statuses(recorded.judged(shuffled))
