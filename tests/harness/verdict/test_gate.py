"""The verdict from results and thresholds."""

import re

import pytest
from analyses import planned
from probing import checked, judged
from replies import Reply

from harness.errors import ConfigurationError
from harness.records.analysis import PassedTries, RuleResult, TaskResult, Verdict
from harness.records.conditions import MODES, Condition
from harness.records.figures import AtK
from harness.records.reasons import Reason
from harness.records.scores import Estimate, Evidence, Finding
from harness.records.settings import Thresholds
from harness.rules.catalogue import CHECKS, PROBES
from harness.rules.numerics.logprob_probes import GROUP
from harness.statistics.two_rates import exceeds
from harness.verdict import gate
from harness.verdict.coverage import Coverage, too_few_replies, too_little_judged, unsettled
from harness.verdict.gate import decide_calls_and_probes, exit_code
from harness.verdict.reference_rate import default_thresholds, target_of, with_reference
from harness.verdict.success_rate import forecast, further_tries


def estimate(value):
    return Estimate(value=value, low=max(0, value - 0.1), high=min(1, value + 0.1))


def group(
    *, failed=(), at=1.0, hat=1.0, invalid=0, tries=5, finished=None, cases=36, mode="streaming"
):
    """Tool calling under one condition; `failed` has the failed tries of the first cases."""
    planned = cases * tries
    finished = planned if finished is None else finished
    lost = [*failed, *[0] * (cases - len(failed))]
    done = [tries if finished == planned else finished // cases] * cases
    return TaskResult(
        task="tool_calling",
        condition=Condition(model="m", api="chat", mode=mode),
        samples=cases,
        tries=tries,
        planned=planned,
        finished=finished,
        outcomes={"success": finished - sum(failed), "no_tool_call": sum(failed)},
        invalid=invalid,
        exact=finished,
        cases={f"case-{n}": (done[n] - lost[n], done[n]) for n in range(cases)},
        at_k=(AtK(k=tries, pass_at=estimate(at), pass_hat=estimate(hat)),),
    )


def part(groups, thresholds, *, beyond_cases=(), everywhere=None, **more):
    planned, made = sum(each.planned for each in groups), sum(each.finished for each in groups)
    rules = gate.RuleResults(everywhere or beyond_cases, beyond_cases)
    return decide_calls_and_probes(groups, thresholds, rules, planned=planned, made=made, **more)


def failed_rule(name, failures, applicable):
    about = CHECKS[name].about
    return RuleResult(check=about, status="failed", applicable=applicable, failures=failures)


def decide(groups, thresholds, **more):
    found = part(groups, thresholds, **more)
    return Verdict(decision=found.decision, reasons=found.reasons, thresholds=thresholds)


def guide(**settings):
    return Thresholds(**settings, origins={"min_pass_hat_k": "gate.yaml"})


def alternating(*, failed=(0, 0), cases=36, tries=5):
    """The result of one API whose tries alternate; `failed` tries in streaming, non-streaming."""
    modes = {}
    for place, (mode, misses) in enumerate(zip(MODES, failed, strict=True)):
        made = [(tries + (case + place) % 2) // 2 for case in range(cases)]
        lost = [0] * cases
        for miss in range(misses):
            lost[miss % cases] += 1
        modes[mode] = {
            f"case-{case}": PassedTries(planned - bad, planned, planned)
            for case, (planned, bad) in enumerate(zip(made, lost, strict=True))
            if planned
        }
    by_case = [
        sum(modes[mode][name].passed for mode in MODES if name in modes[mode])
        for name in (f"case-{case}" for case in range(cases))
    ]
    result = group(cases=cases, tries=tries, failed=[tries - passed for passed in by_case])
    return result.model_copy(update={"modes": modes, "condition": result.condition.alternating})


FAILED = failed_rule("usage.sum", 3, 4)
SET = Thresholds(min_pass_at_k=0.955, origins={"min_pass_at_k": "gate.yaml"})
VERDICTS = [
    *(
        (groups, Thresholds(), {}, decision, reason)
        for groups, decision, reason in (
            ([group()], "pass", "0 invalid responses"),
            ([group(failed=[1] * 7)], "pass", "0 invalid responses"),
            ([group(failed=[1] * 8)], "inconclusive", "172 of 180 (95.6%)"),
            ([group(failed=[1] * 13)], "fail", "167 of 180 (92.8%)"),
            ([group(), group(mode="non-streaming", invalid=1)], "fail", "1 invalid of 180"),
            ([group(finished=36)], "inconclusive", "144 of 180 planned attempts were not made"),
            ([group(finished=36, invalid=2)], "fail", "2 invalid"),
            ([group(finished=36, failed=[1] * 36)], "fail", "less often than the reference"),
            ([group(finished=0)], "inconclusive", "Nothing was judged"),
            ([], "inconclusive", "Nothing was judged"),
            # Each mode must be above the lower rate.
            ([alternating(failed=(0, 0))], "pass", "0 invalid responses"),
            ([alternating(failed=(4, 3))], "pass", "0 invalid responses"),
            (
                [alternating(failed=(5, 0))],
                "inconclusive",
                "85 of 90 (94.4%) for chat · streaming",
            ),
            (
                [alternating(failed=(0, 5))],
                "inconclusive",
                "85 of 90 (94.4%) for chat · non-streaming",
            ),
            ([alternating(failed=(14, 0))], "fail", "chat · streaming 76 of 90"),
            ([alternating(failed=(14, 14))], "fail", "chat 152 of 180"),
        )
    ),
    (
        [group(tries=4, failed=[2] * 36)],  # near the decision boundary
        Thresholds(reference=0.9, lower_rate=0.1),
        {},
        "inconclusive",
        "more tries hardly help; examine the failures.",
    ),
    # The rule of OpenAI's guide, and thresholds that are set
    *(
        ([group(**rates)], Thresholds(rule="guide"), {}, decision, reason)
        for rates, decision, reason in (
            ({"at": 0.91, "hat": 0.901}, "pass", "pass^5 90.1%"),
            ({"hat": 0.9}, "fail", "pass^5 is 90.0%"),
            ({"at": 0.85}, "fail", "pass@5 is 85.0%"),
        )
    ),
    (
        [group(at=0.5, hat=0.1, invalid=3)],
        guide(max_invalid=3, min_pass_at_k=0.4, min_pass_hat_k=0.05),
        {},
        "pass",
        "",
    ),
    ([group()], guide(min_pass_hat_k=1.0), {}, "pass", ""),
    ([group(hat=0.999)], guide(min_pass_hat_k=1.0), {}, "fail", ""),
    ([group(at=0.95)], SET, {}, "fail", "required: above 95.5% (gate.yaml)"),
    ([group()], SET, {}, "pass", "(required: above 95.5% (gate.yaml))"),
    # Requirements apply in addition to the rates.
    ([group()], Thresholds(), {"broken": ["No."]}, "fail", "No."),
    ([group()], Thresholds(), {"unverified": ["Not run."]}, "inconclusive", "Not run."),
    # A check that failed outside the attempts fails the run.
    (
        [group()],
        Thresholds(),
        {"beyond_cases": [FAILED], "everywhere": [failed_rule("usage.sum", 5, 90)]},
        "fail",
        "1 of 1 checks failed.",
    ),
    ([group(finished=36)], Thresholds(), {"beyond_cases": [FAILED]}, "fail", ""),
]


@pytest.mark.parametrize(("groups", "thresholds", "more", "decision", "reason"), VERDICTS)
def test_verdicts(groups, thresholds, more, decision, reason):
    verdict = decide(groups, thresholds, **more)
    assert verdict.decision == decision
    assert reason in verdict.reasons[int(thresholds.by_guide and decision == "pass")]
    assert exit_code(verdict) == {"pass": 0, "fail": 1, "inconclusive": 4}[decision]


def test_what_is_broken_is_stated_once():
    assert decide([group()], Thresholds(), broken=["No."]).reasons == ("No.",)
    failed = {"beyond_cases": [FAILED], "everywhere": [failed_rule("usage.sum", 5, 90)]}
    assert decide([group()], Thresholds(), **failed).reasons == ("1 of 1 checks failed.",)
    groups = [group(invalid=180, mode=mode) for mode in ("streaming", "non-streaming")] * 2
    reasons = decide(groups, Thresholds(), everywhere=[failed_rule("usage.sum", 720, 720)]).reasons
    assert reasons[0] == "All 4 conditions: 720 invalid of 720 attempts, none allowed."


@pytest.mark.parametrize(("cases", "tries", "settled"), [(2, 1, 18), (1, 1, 36), (36, 1, None)])
def test_few_tries_are_inconclusive_and_state_how_many_would_decide(cases, tries, settled):
    verdict = part([group(cases=cases, tries=tries)] * 2, Thresholds())
    assert verdict.decision == ("pass" if settled is None else "inconclusive")
    assert verdict.enough_tries == settled
    if settled is not None:
        command = f"`--resume RUN -k {settled}`"
        assert verdict.reasons[0].endswith(f"{command} would settle it.")
        assert decide([group(cases=cases, tries=settled)], Thresholds()).decision == "pass"


def test_more_tries_are_not_recommended_where_they_would_not_settle_it():
    """The gate requires a probe that the run left out."""
    few = group(cases=2, tries=1)
    verdict = decide([few], Thresholds(), unverified=("cot.used must pass, but was left out.",))
    assert verdict.enough_tries is None
    assert "would settle it" not in " ".join(verdict.reasons)
    assert verdict.reasons[1:] == ("cot.used must pass, but was left out.",)


@pytest.mark.parametrize(("cases", "failed", "few"), [(1, [1], True), (36, [1, 1, 1], False)])
def test_more_tries_are_not_recommended_where_cases_are_too_few(cases, failed, few):
    (reason,) = part([group(cases=cases, tries=1, failed=failed)], Thresholds()).reasons
    assert reason.endswith("(--reference RUN)." if few else "would settle it.")
    assert ("add cases" in reason) == few


@pytest.mark.parametrize(("samples", "tries"), [(1, 35), (35, 1), (7, 5)])
def test_a_run_that_cannot_pass_is_announced_before_it_starts(samples, tries):
    (line,) = forecast(samples, tries, Thresholds())
    assert "than 36 tries" in line
    assert not list(forecast(36, 1, Thresholds()))
    assert not list(forecast(samples, tries, Thresholds(rule="guide")))


def test_conditions_that_are_slightly_low_fail_together():
    low = [group(failed=[1] * 11), group(failed=[1] * 10, mode="non-streaming")]
    assert decide(low, Thresholds()).decision == "inconclusive"
    (reason,) = decide(low * 2, Thresholds()).reasons
    assert "all conditions together 678 of 720" in reason
    assert "no tool call (42)" in reason


def test_a_case_that_always_fails_is_named_and_fails_only_if_the_reference_passes_it():
    broken = [group(failed=[5], mode=mode) for mode in ("streaming", "non-streaming")]
    found = part(broken, Thresholds())
    assert found.decision == "pass"
    assert "case-0 (0 of 10 passed)" in found.warnings[0]
    passed = Thresholds(reference_cases={f"case-{n}": (20, 20) for n in range(36)})
    found = part(broken, passed)
    assert (found.decision, found.warnings) == ("fail", ())
    assert "the reference passes it: case-0 (0 of 10 passed)" in found.reasons[0]
    found = part(broken, Thresholds(reference_cases=passed.reference_cases | {"case-0": (0, 20)}))
    assert (found.decision, found.warnings) == ("pass", ())


def test_a_case_that_fails_under_one_condition_is_found():
    mixed = [group(), group(failed=[5], mode="non-streaming"), group(), group()]
    (warning,) = part(mixed, Thresholds()).warnings
    assert "case-0 (0 of" in warning


def test_the_reference_rate_is_stated_or_measured_or_the_default():
    assert target_of(Thresholds()).reference == 0.98
    assert target_of(with_reference(Thresholds(), "0.95", "--reference")).reference == 0.95
    measured = target_of(default_thresholds("gpt-oss-small", strict=False))
    assert 0.98 < measured.reference < 1
    assert re.fullmatch(r"lower bound: the bundled reference passed 7\d\d of 720", measured.source)
    assert target_of(default_thresholds("gpt-oss-20b", strict=False)).source == "the default"
    with pytest.raises(ConfigurationError, match="must be above the lower rate"):
        target_of(Thresholds(reference=0.9))
    with pytest.raises(ConfigurationError, match="a rate between 0 and 1"):
        with_reference(Thresholds(), "1", "--reference")


def test_every_kind_of_reason_has_one_sentence():
    groups = [group(invalid=3, failed=[5] * 36), group(invalid=2, mode="non-streaming")]
    failed = [failed_rule(name, 3, 4) for name in ("usage.sum", "usage.missing", "finish.limit")]
    reasons = decide(groups, Thresholds(), beyond_cases=failed).reasons
    assert len(reasons) == 3
    assert (
        "3 invalid of 180 attempts; chat · non-streaming: 2 invalid of 180 attempts" in reasons[0]
    )
    assert reasons[1] == "3 of 3 checks failed."
    assert "Most failures: no tool call (180)" in reasons[2]


def test_probes_that_judged_nothing_are_not_a_pass():
    about = next(iter(PROBES.values())).about
    silent = RuleResult(
        check=about, status="not_verifiable", reasons=(Reason(code="no_alternatives"),)
    )
    replied = RuleResult(check=CHECKS["usage.sum"].about, status="passed", applicable=8)
    verdict = decide([], Thresholds(), beyond_cases=[silent, replied])
    assert verdict.decision == "inconclusive"
    assert verdict.reasons == ("Nothing was judged: The replies have no logprobs of alternatives.",)
    heard = silent.model_copy(update={"status": "passed", "applicable": 1})
    verdict = decide([], Thresholds(), beyond_cases=[silent, heard, replied])
    assert (verdict.decision, verdict.reasons) == ("pass", ("The probe passed.",))


@pytest.mark.parametrize(
    ("planned", "not_judged", "reason"),
    [
        (5, {"the reply broke off": 5}, "5 of 5 replies .*: 5 × the reply broke off[.]"),
        (9, {"Cut.": 5, "Late.": 2, "Lost.": 1}, "8 of 9 replies .*: 5 × Cut, 2 × Late and 1 more"),
        (4, {"Cut.": 2}, "2 of 4 replies"),
        (5, {"Cut.": 2}, None),
        (9, {}, None),
    ],
)
def test_a_pass_needs_a_judgement_of_more_than_half(planned, not_judged, reason):
    found = list(too_little_judged([], Coverage("replies", planned, not_judged)))
    assert len(found) == (reason is not None)
    if reason is not None:
        assert re.search(reason, found[0])


def test_the_smallest_recording_that_can_pass_bounds_the_error():
    assert not list(too_few_replies([], Coverage("replies", 30, {"Cut.": 1}), 0.9))
    (reason,) = too_few_replies([], Coverage("replies", 30, {"Cut.": 2}), 0.9)
    assert reason.startswith("28 of")
    assert 0.9**29 <= 0.05 < 0.9**28


def test_what_most_replies_of_a_short_recording_have_is_said_although_it_proves_nothing():
    rule = CHECKS["calls.arguments.json"]
    evidence = Evidence(record="r", exchange=0, expected="JSON", got="")
    seen = Finding(id=rule.id, severity="info", message="Not JSON.", evidence=evidence)
    passed = RuleResult(check=rule.about, status="passed", applicable=2, examples=(seen,))
    results = [passed.model_copy(update={"failures": failures}) for failures in (0, 1, 2)]
    short, long = (Coverage("replies", planned, {}) for planned in (2, 30))
    assert [reason[:6] for reason in too_few_replies(results, short, 0.9)][1:] == ["2 of 2"]
    assert not list(too_few_replies(results, long, 0.9))


def test_a_recording_in_which_most_replies_warn_of_what_few_cannot_prove_does_not_pass():
    result = RuleResult(check=CHECKS["calls.arguments.json"].about, status="warned")
    counts = (
        {"streams": (3, 4), "whole": (0, 4)},
        *({"streams": slip} for slip in ((1, 1), (1, 4), (2, 40))),
    )
    results = [result.model_copy(update={"counts": each}) for each in counts]
    assert [reason[:6] for reason in unsettled(results)] == ["3 of 4"]


def test_a_rule_that_is_named_precedes_the_thresholds_of_the_guide():
    assert not Thresholds(rule="success_rate", origins={"min_pass_at_k": "x"}).by_guide


def test_a_rate_must_be_above_its_threshold_or_perfect():
    assert exceeds(0.91, 0.9)
    assert not exceeds(0.9, 0.9)
    assert exceeds(1.0, 1.0)


def test_an_unreachable_threshold_fails_before_the_end():
    lost = group(finished=36).model_copy(update={"best_pass_hat": 0.9})
    verdict = decide([lost], guide(), stopped="Stopped by the budget.")
    assert verdict.decision == "fail"
    assert "pass^5 can reach at most 90.0%, required: above 90%" in verdict.reasons[0]
    assert "Stopped by the budget." in verdict.reasons
    hopeful = lost.model_copy(update={"best_pass_hat": 0.91})
    assert decide([hopeful], guide()).decision == "inconclusive"


def test_the_verdict_states_what_missing_logprobs_leave_unverified():
    """The replies omit the requested logprobs without an error."""

    def silent(*_):
        return Reply(text="Alma, 7.")

    probes = judged(GROUP, silent, ["responses"])
    results = (*probes.values(), checked(GROUP, silent, ["responses"])["logprobs.given"])
    assert results[-1].status == "warned"
    info = planned(tries=1, only=("sampling.probabilities",)).info
    (warning,) = gate.decide(
        info, [], Thresholds(), gate.RuleResults(results, results), complete=True, made=4
    ).warnings
    assert "anything: sampling.probabilities" in warning


# --- Modes that alternate


def test_one_try_of_each_case_cannot_pass_if_the_modes_alternate():
    assert decide([alternating(tries=1)] * 2, Thresholds()).decision == "inconclusive"
    assert decide([alternating(tries=2)] * 2, Thresholds()).decision == "pass"
    (line,) = forecast(36, 1, Thresholds(), alternating=True)
    assert "than 58 tries" in line
    assert not list(forecast(36, 2, Thresholds(), alternating=True))


SLIP = [alternating(tries=2, failed=(1, 0))]


@pytest.mark.parametrize(
    ("results", "most", "further"),
    [
        (SLIP, 288, {"chat · streaming": 20}),
        (SLIP, 5, {"chat · streaming": 5}),
        (SLIP, 0, {}),
        (
            [alternating(tries=2, failed=(1, 2))],
            50,
            {"chat · streaming": 20, "chat · non-streaming": 30},
        ),
        ([alternating(tries=2, failed=(4, 0))], 288, {"chat · streaming": 36}),
        ([group(tries=1, failed=[1])], 288, {"chat · streaming": 20}),  # all tries in one mode
        ([alternating(tries=2)], 288, {}),  # passes
        ([alternating(tries=2, failed=(18, 18))], 288, {}),  # fails
    ],
)
def test_an_undecided_mode_alone_gets_as_many_tries_as_may_settle_it(results, most, further):
    assert further_tries(results, Thresholds(), most) == further


@pytest.mark.parametrize(
    ("failed", "sequential", "decision"),
    [
        (2, True, "pass"),
        (3, True, "inconclusive"),
        (3, False, "pass"),
    ],
)
def test_tries_that_followed_from_looks_pass_by_the_evidence_of_each_mode(
    failed, sequential, decision
):
    results = [alternating(tries=5, failed=(failed, 0))]
    assert decide(results, Thresholds(), sequential=sequential).decision == decision
