"""Evals on the sample questions."""

from collections.abc import Mapping, Sequence
from typing import Any

from evals.declaration import AnyEval
from evals.registry import load_data, make_eval
from evals.task import EvalTask
from harness.records.conditions import Condition
from harness.records.runs import RunSettings
from harness.records.settings import Sampling

CONDITION = Condition(model="gpt-oss-mock", effort="low", api="chat", mode="non-streaming")


def load_eval(name: str) -> AnyEval:
    """An eval with all its sample questions."""
    return make_eval(load_data(name, "samples"), 0)


def eval_task(
    name: str,
    *,
    conditions: Sequence[Condition] = (CONDITION,),
    tries: int | None = None,
    sampling: Sampling | None = None,
    extra_body: Mapping[str, Any] = {},
    **settings: Any,
) -> EvalTask:
    """An eval of the sample questions as a task."""
    data = load_data(name, "samples")
    chosen = RunSettings(apis=("chat",), modes=("non-streaming",), concurrency=1, **settings)
    return EvalTask(data, conditions, tries, sampling or Sampling(), chosen, extra_body=extra_body)
