"""Variety: what a model may write accuses no server; the control shows that nothing else does."""

import pytest
from runs import samples
from styled_run import accusations

from harness.selftest.habits import HABITS
from harness.selftest.styles import Style, StyledRun
from reference_engine.prescribed import PrescribedServer

_HABITS = ("JSON over several lines", "bold", "typography in answers", "another language")


@pytest.fixture(scope="module")
def run() -> StyledRun:
    return StyledRun(samples(0.2, 1), PrescribedServer)


def test_the_same_tokens_again_are_healthy(run: StyledRun) -> None:
    assert not [*accusations(run.judged(Style({HABITS["the same again"]: 1.0})))]


@pytest.mark.parametrize("habit", _HABITS)
def test_a_habit_of_the_model_accuses_no_server(run: StyledRun, habit: str) -> None:
    assert not [*accusations(run.judged(Style({HABITS[habit]: 0.05})))]
