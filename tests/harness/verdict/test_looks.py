"""Which attempts come first, and how often a run is looked at."""

import math

import numpy as np
import pytest
from analyses import planned
from healthy import SUITE
from scipy.stats import binom

from harness.rules.probe import MORE_TOKENS, ProbeOptions
from harness.rules.suites import choose
from harness.run.attempts import Attempt
from harness.statistics.rates import LEVEL, LEVEL_OF_A_LOOK, LOOKS, excess
from harness.tasks.attempt_order import (
    EARLY_LOOK,
    FEW_CASES,
    LONG,
    SHORT,
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
    usual = {task.name: task.info.sampling.max_tokens for task in tasks}

    def expected(each: Attempt) -> bool:
        limit = each.settings.max_tokens
        return limit is None or (limit >= LONG and limit != usual[each.task])

    long = [each for each in ordered if each.task != "tool_calling" and expected(each)]
    assert {"limits/unlimited", "limits/unlimited list", "limits/cut list"} <= {
        f"{each.task}/{each.sample.id}" for each in long
    }
    limits = [each.settings.max_tokens or math.inf for each in long]
    assert limits == sorted(limits, reverse=True)
    assert ordered[EARLY_LOOK : EARLY_LOOK + len(long)] == long
    ordered = [each for each in ordered if each not in long]
    few = len(tools[0].info.conditions) * FEW_CASES
    assert {(each.task, each.number) for each in ordered[:few]} == {("tool_calling", 1)}
    probes = {
        task.name: len(task.probes) / max(1, task.info.planned) for task in tasks[len(tools) :]
    }
    places = [
        (
            each.task in probes,
            not 0 < each.max_turns * (each.settings.max_tokens or 0) <= SHORT,
            -probes.get(each.task, 0),
        )
        for each in ordered[few:]
    ]
    of_probes = [place for place in places if place[0]]
    assert of_probes == sorted(of_probes)
    assert places == of_probes + [place for place in places if not place[0]]
    efforts = [each.settings.max_tokens for each in ordered if each.id.startswith("sampling/")]
    long = [tokens for tokens in efforts if not tokens or tokens > SHORT]
    assert efforts[len(efforts) - len(long) :] == long


def test_the_early_look_sees_a_few_cases_and_most_probes_with_short_replies() -> None:
    options = ProbeOptions("gpt-oss-mock", ("responses", "chat"))
    tasks = [*planned(suite=SUITE, tries=5).tasks, *probe_tasks(choose("standard").probes, options)]
    first = decisive_first(planned_attempts(tasks), tasks)[:EARLY_LOOK]
    assert {"tool_calling", "prompt", "errors"} <= {each.task for each in first}
    limits = [each.settings.max_tokens for each in first if each.task != "tool_calling"]
    assert all(limit is not None and limit <= SHORT for limit in limits)


def test_the_limit_of_the_run_makes_no_reply_one_of_the_longest() -> None:
    options = ProbeOptions("gpt-oss-mock", ("chat",), max_tokens=8 * MORE_TOKENS)
    tasks = probe_tasks(choose("standard").probes, options)
    ordered = decisive_first(planned_attempts(tasks), tasks)
    usual = [each.settings.max_tokens == 8 * MORE_TOKENS for each in ordered]
    assert sum(usual) > EARLY_LOOK
    assert not usual[EARLY_LOOK]


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
