"""Evals on the sample questions."""

from collections.abc import Sequence
from typing import Any

from evals.registry import AnyEval, load_data, make_eval
from evals.task import EvalOptions, EvalTask
from harness.records.conditions import Condition
from harness.records.runs import Sampling

CONDITION = Condition(model="gpt-oss-mock", effort="low", api="chat", mode="non-streaming")


def load_eval(name: str, seed: int = 0) -> AnyEval:
    """An eval with all its sample questions."""
    return make_eval(load_data(name, "samples"), seed)


def eval_task(
    name: str,
    *,
    conditions: Sequence[Condition] = (CONDITION,),
    tries: int | None = None,
    sampling: Sampling | None = None,
    **options: Any,
) -> EvalTask:
    """An eval of the sample questions as a task."""
    data = load_data(name, "samples")
    return EvalTask(data, conditions, tries, sampling or Sampling(), EvalOptions(**options))
