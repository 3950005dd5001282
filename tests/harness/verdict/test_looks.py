"""Each rollout of a growing run is read and scored only once."""

import numpy as np
import pytest
from analyses import planned
from healthy import SUITE
from recorded_runs import problem_rollouts
from scipy.stats import binom

from harness.probes.probe import ProbeOptions
from harness.probes.suites import choose
from harness.records.rollouts import Rollout
from harness.run.run_log import ROLLOUTS_FILE
from harness.statistics.rates import LEVEL, LEVEL_OF_A_LOOK, LOOKS, excess
from harness.tasks.attempt_order import (
    DECISIVE_GROUPS,
    FEW_CASES,
    decisive_first,
    planned_attempts,
    portions,
)
from harness.tasks.probing import probe_tasks
from harness.verdict import judge as module
from harness.verdict.judge import InterimJudge


def append(folder, rollouts):
    with (folder / ROLLOUTS_FILE).open("ab") as log:
        for each in rollouts:
            log.write(each.model_dump_json().encode() + b"\n")


def test_each_rollout_is_scored_once_and_figures_match_the_whole_log(tmp_path, monkeypatch):
    run = planned(suite=SUITE.first(2), tries=3)
    rollouts = list(problem_rollouts(SUITE.first(2), tries=3))
    parsed = []
    parse = module.Scorer.scores

    def counted(self, found, *, missing=True):
        listed = list(found)
        parsed.extend(each.id for each in listed if isinstance(each, Rollout))
        return parse(self, listed, missing=missing)

    monkeypatch.setattr(module.Scorer, "scores", counted)
    judge = InterimJudge(tmp_path, run.tasks, run.info)
    for start in range(0, len(rollouts), 8):
        append(tmp_path, rollouts[start : start + 8])
        found = judge().results
    assert sorted(parsed) == sorted(each.id for each in rollouts)
    again = InterimJudge(tmp_path, run.tasks, run.info)().results
    assert found == again
    assert [each.finished for each in found] == [6] * len(found)


def test_the_most_decisive_attempts_come_first():
    tools = planned(suite=SUITE, tries=2).tasks
    options = ProbeOptions("gpt-oss-mock", ("responses", "chat"))
    tasks = [*tools, *probe_tasks(choose("full").probes, options)]
    attempts = list(planned_attempts(tasks))
    ordered = decisive_first(attempts, tasks)
    assert sorted(each.id for each in ordered) == sorted(each.id for each in attempts)
    few = len(tools[0].info.conditions) * FEW_CASES
    assert {(each.task, each.number) for each in ordered[:few]} == {("tool_calling", 1)}
    used = list(dict.fromkeys(each.task for each in ordered[few:]))
    groups = [name for name in DECISIVE_GROUPS if name != "numerics"]
    assert used[: len(groups)] == groups
    assert used[-1] == "tool_calling"
    efforts = [each for each in ordered if each.task == "sampling"]
    tokens = [each.settings.max_tokens for each in efforts if each.number == 1]
    assert tokens == sorted(tokens, reverse=True)


@pytest.mark.parametrize("rate", [0.005, 0.05, 0.2])
@pytest.mark.parametrize("attempts", [200, 3000])
def test_all_looks_together_keep_the_error_probability_of_one(attempts, rate):
    looks = np.cumsum([len(list(portion)) for portion in portions(range(attempts))])
    assert len(looks) <= LOOKS

    def alarms(level):
        """The exact probability that some look falsely finds the rate exceeded."""
        hits, before, found = np.array([1.0]), 0, 0.0
        for size in looks:
            more = int(size) - before
            hits = np.convolve(hits, binom.pmf(np.arange(more + 1), more, rate))
            alarm = [
                share > 0 and excess([(count, int(size))], rate) <= level
                for count, share in enumerate(hits)
            ]
            found += hits[alarm].sum()
            hits, before = np.where(alarm, 0, hits), int(size)
        return found

    assert alarms(LEVEL_OF_A_LOOK) <= LEVEL < alarms(LEVEL)
    if attempts == 3000:  # the factor in docs/gate.md
        assert 3.5 * LEVEL < alarms(LEVEL) < 8.5 * LEVEL
