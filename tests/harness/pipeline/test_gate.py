"""The gate: from results and thresholds to a verdict."""

from __future__ import annotations

import pytest

from harness.checks import CHECKS
from harness.pipeline.gate import Progress, decide_tool_calling, exceeds, exit_code
from harness.records.analysis import AtK, CheckResult, TaskResult, Verdict
from harness.records.conditions import Condition
from harness.records.runs import Thresholds
from harness.records.scores import Estimate


def group(*, at=1.0, hat=1.0, invalid=0, planned=180, finished=180, mode="streaming", failures=0):
    def rate(value):
        return Estimate(value=value, low=max(0, value - 0.1), high=min(1, value + 0.1))

    return TaskResult(
        task="tool_calling",
        condition=Condition(model="m", api="chat", mode=mode),
        samples=36,
        tries=5,
        planned=planned,
        finished=finished,
        outcomes={"success": finished - failures, "no_tool_call": failures},
        invalid=invalid,
        exact=finished,
        at_k=(AtK(k=5, pass_at=rate(at), pass_hat=rate(hat)),),
    )


def decide(groups, thresholds, *, stopped=None, **more):
    progress = Progress(
        sum(each.planned for each in groups), sum(each.finished for each in groups), stopped
    )
    decision, reasons = decide_tool_calling(groups, thresholds, progress=progress, **more)
    return Verdict(decision=decision, reasons=reasons, thresholds=thresholds)


@pytest.mark.parametrize(
    ("groups", "decision", "code", "reason"),
    [
        ([group()], "pass", 0, "0 invalid responses"),
        ([group(at=0.91, hat=0.901)], "pass", 0, "pass^5 90.1%"),
        ([group(hat=0.9)], "fail", 1, "pass^5 is 90.0%"),
        ([group(at=0.85)], "fail", 1, "pass@5 is 85.0%"),
        ([group(), group(mode="non-streaming", invalid=1)], "fail", 1, "1 invalid of 180"),
        ([group(finished=10)], "inconclusive", 4, "170 of 180 planned attempts were not made"),
        ([group(finished=10, invalid=2)], "fail", 1, "2 invalid"),
        ([group(finished=10, hat=0.0)], "inconclusive", 4, "170 of 180"),
        ([group(finished=0)], "inconclusive", 4, "Nothing was judged"),
        ([], "inconclusive", 4, "Nothing was judged"),
    ],
)
def test_verdicts(groups, decision, code, reason):
    verdict = decide(groups, Thresholds())
    assert verdict.decision == decision
    assert reason in verdict.reasons[0]
    assert exit_code(verdict) == code


def test_every_reason_is_given_and_the_commonest_failure_named():
    verdict = decide([group(at=0.5, hat=0.1, invalid=3, failures=7)], Thresholds())
    assert len(verdict.reasons) == 3
    assert "most failures: no_tool_call (7)" in verdict.reasons[1]


def test_a_check_that_failed_outside_the_attempts_fails_the_run():
    about = CHECKS["usage.sum"].about
    failed = CheckResult(check=about, status="failed", applicable=4, failures=3)
    verdict = decide([group()], Thresholds(), beyond_cases=[failed])
    reason = "usage.sum failed 3 of 4 times in replies to probe requests."
    assert (verdict.decision, verdict.reasons) == ("fail", (reason,))
    assert decide([group(finished=10)], Thresholds(), beyond_cases=[failed]).decision == "fail"


def test_thresholds_can_be_set():
    lenient = Thresholds(max_invalid=3, min_pass_at_k=0.4, min_pass_hat_k=0.05)
    assert decide([group(at=0.5, hat=0.1, invalid=3)], lenient).decision == "pass"
    assert decide([group()], Thresholds(min_pass_hat_k=1.0)).decision == "pass"
    assert decide([group(hat=0.999)], Thresholds(min_pass_hat_k=1.0)).decision == "fail"


def test_a_rate_must_be_above_its_threshold_or_perfect():
    assert exceeds(0.91, 0.9)
    assert not exceeds(0.9, 0.9)
    assert exceeds(1.0, 1.0)


def test_what_cannot_be_reached_any_more_fails_before_the_end():
    lost = group(finished=10).model_copy(update={"best_pass_hat": 0.9})
    verdict = decide([lost], Thresholds(), stopped="Stopped by the budget.")
    assert verdict.decision == "fail"
    assert "pass^5 can reach at most 90.0%, required: above 90%" in verdict.reasons[0]
    assert verdict.reasons[-1] == "Stopped by the budget."
    hopeful = lost.model_copy(update={"best_pass_hat": 0.91})
    assert decide([hopeful], Thresholds()).decision == "inconclusive"


def test_demands_count_beside_the_rates():
    assert decide([group()], Thresholds(), broken=["No."]).reasons == ("No.",)
    assert decide([group()], Thresholds(), broken=["No."]).decision == "fail"
    assert decide([group()], Thresholds(), unverified=["Not run."]).decision == "inconclusive"


def test_a_reason_says_where_what_is_asked_was_said():
    gate = Thresholds(min_pass_at_k=0.955, origins={"min_pass_at_k": "gate.yaml"})
    assert "required: above 95.5% (gate.yaml)" in decide([group(at=0.95)], gate).reasons[0]
    assert "(required: above 95.5% (gate.yaml))" in decide([group()], gate).reasons[0]
