"""A run is judged from its log, growing or finished, and each attempt is scored once."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from analyses import planned
from healthy import SUITE, correct, json_response, rollout
from recorded_runs import problem_rollouts, write_finished_run
from replies import MODEL, Reply, chat_whole

from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo
from harness.records.settings import Thresholds
from harness.rules.catalogue import CHECKS
from harness.rules.probe import ProbeOptions
from harness.rules.suites import choose
from harness.run.run_log import ROLLOUTS_FILE, RunLog, read_run_info
from harness.tasks.probing import probe_tasks
from harness.tasks.suite import restored_tasks
from harness.tasks.task import Task
from harness.tasks.tool_calling import ToolCalling
from harness.verdict.analyze import Judged
from harness.verdict.judge import Judge, first_finding, judge

SMALL = SUITE.first(6)
CHAT = {"apis": ("chat",), "modes": ("non-streaming",)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of 24 attempts at cases."""
    made = [
        rollout(correct(case), sample=case.id, attempt=number)
        for case in SMALL.cases
        for number in range(1, 5)
    ]
    settings = {"apis": ("chat",), "modes": ("non-streaming",), "tries": 4}
    write_finished_run(tmp_path / "run", made, SMALL, **settings)
    return tmp_path / "run"


def judged_run(folder: Path) -> Judged:
    info = read_run_info(folder)
    return judge(folder, info, restored_tasks(folder, info))


def test_a_repeated_line_counts_once(folder: Path) -> None:
    expected = judged_run(folder)
    counts = expected.analysis.exchanges
    assert counts.rollouts == sum(each.finished for each in expected.scores) == 24
    assert sum(counts.ended) == counts.total
    assert (counts.errors, counts.failed, counts.retried) == ({}, (), ())
    path = folder / ROLLOUTS_FILE
    path.write_bytes(path.read_bytes() * 2)
    assert judged_run(folder) == expected


def test_a_growing_log_is_scored_once_and_judged_like_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(suite=SUITE.first(2), tries=3)
    rollouts = list(problem_rollouts(SUITE.first(2), tries=3))
    scored: Counter[str] = Counter()
    score = ToolCalling.score

    def counted(self, parsed):  # type: ignore[no-untyped-def]
        scored[parsed.rollout.id] += 1
        return score(self, parsed)

    monkeypatch.setattr(ToolCalling, "score", counted)
    judge = Judge(tmp_path, run.tasks)
    with RunLog(tmp_path) as log:
        for start in range(0, len(rollouts), 8):
            for each in rollouts[start : start + 8]:
                log.append(each)
            judge.so_far(run.info)
    final = judge.judged(run.info)
    assert scored == {each.id: 1 for each in rollouts}
    again = Judge(tmp_path, run.tasks)
    again.read()
    assert again.judged(run.info) == final


def told(
    folder: Path, tasks: Sequence[Task], rollouts: Sequence[Rollout], info: RunInfo
) -> str | None:
    """What a look at a growing run finds first."""
    with RunLog(folder) as log:
        for each in rollouts:
            log.append(each)
    return first_finding(Judge(folder, tasks).so_far(info))


def broken_call(number: int) -> Rollout:
    """A reply with a call whose arguments come with a piece of another channel in its name."""
    case = SUITE.cases[0]
    call = (f"{case.tool_name}<|channel|>commentary", "{}")
    return rollout([Reply(call=call), Reply(text="Done.")], sample=case.id, attempt=number)


@pytest.mark.parametrize("may_warn", [(), tuple(CHECKS)], ids=["errors", "warnings"])
def test_only_an_error_is_a_first_finding(may_warn: tuple[str, ...], tmp_path: Path) -> None:
    run = planned(suite=SUITE, tries=9, **CHAT, thresholds=Thresholds(may_warn=may_warn))
    said = told(tmp_path, run.tasks, [broken_call(number) for number in (1, 2, 3)], run.info)
    assert (said is None) == bool(may_warn)
    assert may_warn or said.startswith("first finding: ")  # type: ignore[union-attr]


def test_a_difference_between_replies_is_a_first_finding(tmp_path: Path) -> None:
    run = planned(suite=SUITE, tries=9, **CHAT)
    cases = SUITE.cases[:16]
    texts = [rollout(correct(case), sample=case.id).model_dump_json() for case in cases]
    shared = [re.sub(r"chatcmpl-[\w-]+(-\d)", r"\1-chatcmpl", text) for text in texts]
    same = list(map(Rollout.model_validate_json, shared))
    said = told(tmp_path, run.tasks, same, run.info)
    assert said is not None
    assert said.startswith("first finding: reply.id.shared: ")


def test_a_finding_of_a_probe_is_a_first_finding(tmp_path: Path) -> None:
    options = ProbeOptions(MODEL, ("chat",))
    (task,) = probe_tasks(choose("standard", ("errors.malformed",)).probes, options)
    replies = [
        rollout(
            [Reply(text="Hello.")],
            sample=attempt.sample.id,
            task=task.name,
            streaming=attempt.condition.mode == "streaming",
        )
        for attempt in task.all_attempts()
    ]
    said = told(tmp_path, [task], replies, planned(**CHAT).info)
    assert said is not None
    assert said.startswith("first finding: errors.malformed: ")


@pytest.mark.parametrize("cases", [1, 36], ids=["one case", "all cases"])
def test_what_a_model_does_at_each_try_of_one_case_is_no_first_finding(
    cases: int, tmp_path: Path
) -> None:
    run = planned(suite=SUITE, tries=36, **CHAT)
    body = chat_whole(Reply(text="No."))
    del body["choices"][0]["message"]["reasoning"]
    rollouts = [
        rollout([json_response(body)], sample=SUITE.cases[number % cases].id, attempt=number + 1)
        for number in range(36)
    ]
    asked = [with_prompt(each) for each in rollouts]
    said = told(tmp_path, run.tasks, asked, run.info)
    assert ("reasoning.missing" in (said or "")) == (cases > 1)


def with_prompt(one: Rollout) -> Rollout:
    """The rollout with a prompt of its own case."""
    text = one.model_dump_json().replace("What is the weather in Lisbon?", one.sample)
    return Rollout.model_validate_json(text)
