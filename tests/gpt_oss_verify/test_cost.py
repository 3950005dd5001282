"""The expected cost of a run."""

from evals.cost import Cost, Expectation
from gpt_oss_verify.carry_out import plan_lines


def test_a_plan_states_what_is_unknown():
    cost = Cost(
        provider="p", requests=1200, input_tokens=5, output_tokens=6, most_output_tokens=None,
        dollars=None, minutes=None,
    )  # fmt: skip
    known = cost.model_copy(update={"dollars": 12.5, "minutes": 90, "most_output_tokens": 7})
    lines = list(plan_lines(Expectation(parts=(), sampling=cost, grading=known), 8))
    assert lines[0] == "sampling from p: 1,200 requests"
    assert "cost: unknown" in lines[2]
    assert "time: about 1 min if each of 8 requests in flight gets 100 tokens" in lines[3]
    assert "at most 7" in lines[5]
    assert lines[6:] == [
        "  cost: about $12.50",
        "  time: at least 90 minutes with the configured limits",
    ]
