"""Variety: what a model may write accuses no server; the control shows that nothing else does.

A tenth of the samples is judged; `LAWS=10` judges all of them, on which more rules still accuse.
"""

from dataclasses import replace

import pytest
from runs import EFFORT, healthy_run, samples
from styled_run import accusations

from harness.selftest.habits import HABITS, MIXTURES, SLIPS
from harness.selftest.styles import SAMPLES, SHARES, Style, StyledRun
from reference_engine.prescribed import PrescribedServer

_ACCUSED = {"seven CoTs"}
"""Habits that a rule takes for a defect of a server today; none may remain."""
_HABITS = [name for name in HABITS if name not in _ACCUSED]


@pytest.fixture(scope="module")
def run() -> StyledRun:
    return StyledRun(samples(0.1 * EFFORT, 1), PrescribedServer)


def test_the_same_tokens_again_are_healthy(run: StyledRun) -> None:
    assert not [*accusations(run.judged(Style({HABITS["the same again"]: 1.0})))]


@pytest.mark.parametrize("habit", _HABITS)
def test_a_habit_of_the_model_accuses_no_server(run: StyledRun, habit: str) -> None:
    assert not [*accusations(run.judged(Style({HABITS[habit]: SHARES[1]})))]


@pytest.mark.parametrize("slip", [*SLIPS, *HABITS])
def test_a_slip_in_all_tries_of_a_few_samples_accuses_no_server(run: StyledRun, slip: str) -> None:
    """All APIs and modes have it, and no text of one or two samples alone proves anything."""
    habit = SLIPS.get(slip) or HABITS[slip]
    for few in SAMPLES:
        judged = run.judged(Style({habit: 1.0}, seed=EFFORT, samples=few))
        assert not [line for line in accusations(judged) if line.startswith("F")]


@pytest.mark.parametrize("habit", ["two CoTs", "commentary before answers"])
def test_more_messages_over_http_than_over_websocket_accuse_no_server(habit: str) -> None:
    recorded = healthy_run()
    part = [one for one in recorded.rollouts if one.task == "state.websocket"]
    run = StyledRun(replace(recorded, rollouts=part), PrescribedServer)
    assert not [*accusations(run.judged(Style({HABITS[habit]: 1.0})))]


def test_a_mixture_of_habits_accuses_no_server(run: StyledRun) -> None:
    assert not [*accusations(run.judged(Style(MIXTURES["20b without slips"])))]
