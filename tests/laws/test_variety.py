"""Variety: what a model may write accuses no server; the control shows that nothing else does."""

import pytest
from runs import samples
from styled_run import judged, lines

from harness.selftest.habits import shares_of

_SAMPLES = 0.2  # the share of the run that is judged
_HABITS = ("JSON over several lines", "bold", "typography in answers", "another language")


def test_the_same_tokens_again_are_healthy():
    judgement = judged(shares_of(["the same again"], 1.0), samples(_SAMPLES, 1))
    assert not [*lines(judgement)]
    assert not judgement.causes


@pytest.mark.parametrize("habit", _HABITS)
def test_a_habit_of_the_model_accuses_no_server(habit):
    judgement = judged(shares_of([habit], 0.05), samples(_SAMPLES, 1))
    assert not [*lines(judgement)]
    assert not judgement.causes
