"""Judging an eval keeps counts by question, and no score."""

import errno
import gc
import tracemalloc
from itertools import chain
from tempfile import SpooledTemporaryFile

import pytest
from analyses import PROVIDER
from healthy import STARTED, rollout
from replies import Reply
from sample_evals import eval_task

from evals.task import EvalTask
from harness.errors import RunLogError
from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo, RunSettings
from harness.records.scores import Score
from harness.run.run_log import ROLLOUTS_FILE, RunLog
from harness.verdict.judge import Judge
from reports.build import build_report
from reports.html.report import render_html

TRIES = 60
MOST_BYTES = 250  # of an attempt; a score has about 1,000


def attempts_at(task: EvalTask, first: int, last: int) -> list[Rollout]:
    text = "The answer is 7."
    return [
        rollout(
            [Reply(text=text, reasoning="")],
            task=task.name,
            sample=attempt.sample.id,
            attempt=attempt.number,
            effort="low",
        ).model_copy(update={"id": attempt.id})
        for number in range(first, last)
        for attempt in task.attempts(number)
    ]


def info_of(task: EvalTask) -> RunInfo:
    return RunInfo(
        tool_version="0.1.0",
        command=("gpt-oss-verify", "eval"),
        provider=PROVIDER,
        settings=RunSettings(
            evals=(task.name,), apis=("chat",), modes=("non-streaming",), concurrency=1
        ),
        tasks=(task.info,),
        versions={},
        started_at=STARTED,
    )


def test_memory_does_not_grow_by_a_score_for_each_attempt(tmp_path):
    """With half as many tries, what a report keeps once outweighs what an attempt adds."""
    task = eval_task("aime25", tries=TRIES)
    judge = Judge(tmp_path, [task])
    with RunLog(tmp_path) as log:
        for each in attempts_at(task, 1, 20):
            log.append(each)
        judge.read()
        analysis = judge.so_far(info_of(task))
        (result,) = analysis.results
        before = result.finished
        render_html(build_report(analysis, "run"), (), lambda _: [])  # compiles templates, once
        for each in attempts_at(task, 20, TRIES + 1):
            log.append(each)
    del each  # the last one
    gc.collect()
    tracemalloc.start()
    judge.read()
    analysis = judge.so_far(info_of(task))
    render_html(build_report(analysis, "run"), judge.judged(info_of(task)).scores, lambda _: [])
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    (result,) = analysis.results
    assert result.finished == task.info.planned
    assert grown / (result.finished - before) < MOST_BYTES


def test_a_repeated_line_counts_once_and_missing_attempts_are_listed(tmp_path):
    task = eval_task("aime25", tries=3)
    made = attempts_at(task, 1, 3)
    with RunLog(tmp_path) as log:
        for each in made:
            log.append(each)
    path = tmp_path / ROLLOUTS_FILE
    path.write_bytes(path.read_bytes() * 2)
    judge = Judge(tmp_path, [task])
    judge.read()
    analysis, scores = judge.judged(info_of(task))
    (result,) = analysis.results
    assert (result.finished, analysis.exchanges.rollouts) == (len(made), len(made))

    def outcomes(scores: list[Score]) -> list[tuple[str, bool]]:
        return [(score.record, score.finished) for score in scores]

    planned = [attempt.id for attempt in chain(*map(task.attempts, (1, 2, 3)))]
    expected = [(name, number < len(made)) for number, name in enumerate(planned)]
    assert outcomes(list(scores)) == outcomes(list(scores)) == expected


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    task = eval_task("aime25", tries=2)
    judge = Judge(tmp_path, [task])
    monkeypatch.setattr(SpooledTemporaryFile, "write", full)
    with pytest.raises(RunLogError, match="No space left on device"):
        judge.add(attempts_at(task, 1, 2)[0])
