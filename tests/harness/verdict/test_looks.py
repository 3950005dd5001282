"""Which attempts come first, and how often a run is looked at."""

import numpy as np
import pytest
from analyses import planned
from healthy import SUITE
from scipy.stats import binom

from harness.rules.probe import ProbeOptions
from harness.rules.suites import choose
from harness.statistics.rates import LEVEL, LEVEL_OF_A_LOOK, LOOKS, excess
from harness.tasks.attempt_order import (
    FEW_CASES,
    decisive_first,
    planned_attempts,
    portions,
)
from harness.tasks.probing import probe_tasks


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
    probes = {
        task.name: len(task.probes) / max(1, task.info.planned) for task in tasks[len(tools) :]
    }
    shares = [probes[name] for name in used[:-1]]
    assert shares == sorted(shares, reverse=True)
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
