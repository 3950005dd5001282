"""The forecast of a verdict before the run."""

import pytest

from evals.baselines.baseline_verdict import forecast
from evals.baselines.choice import choose_baseline
from evals.baselines.eval_scores import EvalScores
from harness.records.runs import DatasetInfo
from harness.records.settings import Sampling


def planned(effort, tries=16, **changes):
    data = DatasetInfo(eval="aime25", source="hub", rows=30, sha256="a", **changes)
    return EvalScores(
        eval="aime25",
        model="gpt-oss-120b",
        effort=effort,
        dataset=data,
        api="chat",
        sampling=Sampling(),
        planned=tries,
        scores={f"q{n}": () for n in range(30)},
    )


def said(scores, baseline=None, margin=0.05):
    return forecast(scores, choose_baseline(baseline), margin, every_round=False)


@pytest.mark.parametrize("tries", [16, 10_000])
def test_a_single_figure_cannot_decide_aime_at_low_effort(tries):
    assert "CANNOT BE DECIDED" in said(planned("low", tries), "card")
    assert "CANNOT BE DECIDED" not in said(planned("low", tries), "card", margin=0.2)


def test_more_tries_make_a_pass_more_likely():
    few, many = said(planned("high", 4)), said(planned("high", 64))
    chance = [int(text.split("about ")[1].split("%")[0]) for text in (few, many)]
    assert chance[0] < 80 < chance[1]


def test_the_forecast_states_what_will_not_be_compared():
    assert "no published baseline" in said(planned("high", sample=True))
