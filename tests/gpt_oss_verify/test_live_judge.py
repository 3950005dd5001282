"""The second process that judges a run while it is sampled."""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from analyses import planned
from healthy import SUITE, rollout
from recorded_runs import problem_rollouts
from replies import Reply
from waiting import wait_for

from gpt_oss_verify import live_judge
from gpt_oss_verify.live_judge import LiveJudge
from harness.records.analysis import Analysis
from harness.records.scores import Score
from harness.records.traits import Traits
from harness.run.run_folder import CASES_FILE
from harness.run.run_log import RunLog, write_run_info
from harness.tasks.task import Task
from harness.verdict.analyze import Judged
from harness.verdict.judge import Judge

RUN = planned(suite=SUITE, tries=3)
CASE = SUITE.cases[5]
BROKEN = [Reply(call=(f"{CASE.tool_name}<|channel|>commentary", "{}")), Reply(text="Done.")]
ROLLOUTS = [
    *(rollout(BROKEN, sample=CASE.id, attempt=number) for number in (1, 2, 3)),
    *problem_rollouts(SUITE.first(2), tries=3),
]


def followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> LiveJudge:
    """A judge whose second process starts at once."""
    monkeypatch.setattr(live_judge, "SECONDS_UNJUDGED", 0.0)
    monkeypatch.setattr(live_judge, "SECONDS_BETWEEN_LOOKS", 0.05)
    write_run_info(folder, RUN.info)
    for task in RUN.tasks:
        task.write_files(folder)
    return LiveJudge(folder, RUN.tasks)


def append(log: RunLog, first: int, last: int) -> None:
    for each in ROLLOUTS[first:last]:
        log.append(each)


def alone(folder: Path, tasks: Sequence[Task]) -> Judged:
    """What a judge in this process finds."""
    judge = Judge(folder, tasks)
    judge.read()
    return judge.judged(RUN.info)


def stored(judged: Judged) -> tuple[Analysis, list[Score]]:
    """The analysis, and the scores as they are read from `scores.jsonl`."""
    unstored = {"applicable": frozenset(), "traits": Traits(), "broken": ()}
    return judged.analysis, [replace(score, **unstored) for score in judged.scores]


def test_the_second_process_judges_like_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, said = followed(tmp_path, monkeypatch), list[str]()
    with RunLog(tmp_path) as log, judge.following(RUN.info, said.append):
        append(log, 0, 8)
        wait_for(lambda: judge.counts.finished == 8, 60)
        append(log, 8, len(ROLLOUTS))
        judge.read()
        assert judge.counts.finished == len(ROLLOUTS)
        assert judge.so_far(RUN.info) == alone(tmp_path, RUN.tasks).analysis
        wait_for(lambda: bool(said), 60)
    assert judge._here.counts.finished == 0
    assert stored(judge.judged(RUN.info)) == stored(alone(tmp_path, RUN.tasks))
    assert judge._process is None
    assert len(said) == 1
    assert said[0].startswith("first finding: ")
    assert judge.first_finding(alone(tmp_path, RUN.tasks).analysis) is None


def test_a_crash_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = followed(tmp_path, monkeypatch)
    with RunLog(tmp_path) as log, judge.following(RUN.info, lambda _: None):
        append(log, 0, 8)
        wait_for(lambda: judge.counts.finished == 8, 60)
        first = judge._process
        os.kill(first.pid, signal.SIGKILL)
        append(log, 8, len(ROLLOUTS))
        wait_for(lambda: judge.counts.finished == len(ROLLOUTS), 60)
        assert judge._process is not first
    os.kill(judge._process.pid, signal.SIGKILL)
    assert stored(judge.judged(RUN.info)) == stored(alone(tmp_path, RUN.tasks))


def test_a_process_that_cannot_judge_is_not_started_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = followed(tmp_path, monkeypatch)
    (tmp_path / CASES_FILE).write_text("")
    with RunLog(tmp_path) as log, judge.following(RUN.info, lambda _: None):
        append(log, 0, len(ROLLOUTS))
        wait_for(lambda: judge._starts > live_judge.MOST_STARTS, 60)
    assert judge._process is None
    assert stored(judge.judged(RUN.info)) == stored(alone(tmp_path, RUN.tasks))


def test_a_short_run_is_judged_in_this_process(tmp_path: Path) -> None:
    judge = LiveJudge(tmp_path, RUN.tasks)
    with RunLog(tmp_path) as log, judge.following(RUN.info, lambda _: None):
        append(log, 0, len(ROLLOUTS))
    assert judge._starts == 0
    assert judge.counts.finished == 0
    judge.read()
    assert judge.counts.finished == len(ROLLOUTS)
    assert stored(judge.judged(RUN.info)) == stored(alone(tmp_path, RUN.tasks))
