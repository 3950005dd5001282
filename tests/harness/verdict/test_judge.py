"""A run is judged from its log, growing or finished, and each attempt is scored once."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from analyses import planned
from healthy import SUITE, correct, json_response, rollout
from recorded_runs import problem_rollouts, write_finished_run
from replies import Reply, chat_whole

from harness.records.rollouts import Rollout
from harness.records.settings import Thresholds
from harness.rules.catalogue import CHECKS
from harness.run.run_log import ROLLOUTS_FILE, RunLog, read_run_info
from harness.tasks.suite import restored_tasks
from harness.tasks.tool_calling import ToolCalling
from harness.verdict.analyze import Judged
from harness.verdict.judge import ExchangeCounter, Judge, judge

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


def told(folder: Path, rollouts: Sequence[Rollout], **settings: object) -> str | None:
    """The rule that a look at a growing run tells."""
    run = planned(suite=SUITE, tries=36, **CHAT, **settings)
    folder.mkdir(exist_ok=True)
    with RunLog(folder) as log:
        for each in rollouts:
            log.append(each)
    error = Judge(folder, run.tasks).first_error(run.info)
    return None if error is None else error.id


def broken_call(number: int) -> Rollout:
    """A reply with a call whose arguments come with a piece of another channel in its name."""
    case = SUITE.cases[0]
    call = (f"{case.tool_name}<|channel|>commentary", "{}")
    return rollout([Reply(call=call), Reply(text="Done.")], sample=case.id, attempt=number)


def test_only_an_error_is_a_first_finding(tmp_path: Path) -> None:
    """A rule that a gate lowers to a warning tells nothing."""
    replies = [broken_call(1), rollout([json_response({"choices": "none"})], sample="status-up")]
    soft = Thresholds(may_warn=tuple(CHECKS))
    assert told(tmp_path / "errors", replies) == "calls.name.polluted"
    assert told(tmp_path / "warnings", replies, thresholds=soft) is None


def test_what_a_model_may_do_is_no_first_finding(tmp_path: Path) -> None:
    """A missing CoT is tolerated in some replies, and a look has few."""
    body = chat_whole(Reply(text="No."))
    del body["choices"][0]["message"]["reasoning"]
    without = [json_response(body)]
    assert told(tmp_path, [rollout(without, sample=case.id) for case in SUITE.cases]) is None


@pytest.mark.parametrize(("status", "error"), [(400, False), (429, True), (500, True)])
def test_a_refusal_that_a_probe_provokes_is_no_error_over_time(status: int, error: bool) -> None:
    whole = rollout([Reply(text="Hi.")], api="chat")
    (exchange,) = whole.exchanges
    assert exchange.response is not None
    response = exchange.response.model_copy(update={"status": status})
    refused = exchange.model_copy(update={"response": response})
    refusal = whole.model_copy(update={"exchanges": (refused,)})
    for provoking, failed in ((set[str](), True), ({refusal.task}, error)):
        counter = ExchangeCounter(provoking)
        counter.add(refusal)
        counts = counter.counts()
        assert counts.errors == {f"status {status}": 1}
        assert sum(counts.failed) == failed
