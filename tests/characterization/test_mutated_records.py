"""No rule raises on a damaged record.

MUTATION_ROUNDS=40 pytest tests/characterization/test_mutated_records.py    # more damage
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from analyses import planned
from damaged import mutated
from healthy import SUITE, rollout
from probing import with_own_request
from replies import Reply
from stored import unpack

from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo
from harness.run.run_log import read_rollouts, read_run_info
from harness.tasks.suite import restored_tasks
from harness.tasks.task import Task
from harness.verdict.judge import Judge

ROUNDS = int(os.environ.get("MUTATION_ROUNDS", "1"))
LEAST = 20_000
STORED = ("probes_pass", "smoke_outcomes", "smoke_chat_fault")
SHARES = (0.1, 0.3, 0.7)  # of damaged records
TEXTS = ("Hello.", '{"a": 1}', "1, 2, 3", "42")

Source = tuple[Sequence[Task], RunInfo, Sequence[Rollout]]


def sources(place: Path) -> Iterator[Source]:
    """Stored runs, and a run with a simple reply to each request of each probe."""
    for name in STORED:
        folder = unpack(name, place)
        info = read_run_info(folder)
        yield restored_tasks(folder, info), info, list(read_rollouts(folder))
    run = planned(suite=SUITE, tries=1)
    run = replace(run, settings=run.settings.model_copy(update={"suite": "full"}))
    made = [
        with_own_request(
            rollout(
                [Reply(text=TEXTS[number % len(TEXTS)])],
                api=attempt.condition.api,
                streaming=attempt.condition.streaming,
                sample=attempt.sample.id,
                attempt=attempt.number,
                task=task.name,
            ),
            attempt,
        )
        for task in run.tasks
        for number, attempt in enumerate(task.all_attempts())
    ]
    yield run.tasks, run.info, made


def test_no_rule_raises_on_mutated_records(tmp_path: Path) -> None:
    judgements = 0
    for tasks, info, rollouts in sources(tmp_path):
        for seed in range(ROUNDS):
            random = Random(f"{seed} {len(rollouts)}")
            share = random.choice(SHARES)
            judge = Judge(tmp_path, tasks)
            for one in rollouts:
                judge.add(mutated(one, random) if random.random() < share else one)
            found = judge.judged(info)
            errors = found.analysis.verdict.internal_errors
            assert not errors, "\n".join(f"{name}: {text}" for name, text in errors.items())
            judgements += sum(len(score.applicable) for score in found.scores)
            probes = (result for result in found.analysis.checks if result.check.kind == "probe")
            judgements += sum(result.applicable for result in probes)
    assert judgements >= LEAST
