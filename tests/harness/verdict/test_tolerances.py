"""Findings that a healthy model may cause: tolerances over all rollouts, one API, one replica."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from harness.records.conditions import MODES, Api, Condition, Mode
from harness.records.replies import TOOL_RESULT, Ledger, Row, Traits
from harness.records.scores import Evidence, Finding, Score
from harness.rules.account import Account
from harness.rules.account.entry import Entry, What
from harness.rules.catalogue import CHECKS
from harness.rules.results import check_results
from harness.verdict.tolerances import apply_tolerances

JSON = "calls.arguments.json"
RECORDED = "text.garbled.beyond_ascii"
"""A rule with a documented share of 2%; `reply.empty` tolerates as much, and has no figure."""


def score(
    number: int,
    *,
    empty: bool,
    api: Api = "chat",
    replica: str = "",
    task: str = "probes",
    check: str = RECORDED,
    mode: Mode = "streaming",
    proven: bool = False,
) -> Score:
    record = f"{task}/{number}/{api}/{mode}"
    evidence = Evidence(record=record, exchange=0, expected="text", got="")
    severity = CHECKS[check].about.severity
    found = Finding(id=check, severity=severity, message="empty", evidence=evidence, proven=proven)
    return Score(
        record=record,
        task=task,
        sample=str(number % 37),
        condition=Condition(model="m", api=api, mode=mode),
        attempt=1,
        outcome="answered",
        applicable=frozenset((check,)),
        findings=(found,) if empty else (),
        traits=Traits(replicas=(("header x-served-by", replica),) if replica else ()),
    )


def severities(scores: Iterable[Score]) -> set[str]:
    return {found.severity for each in apply_tolerances(list(scores)) for found in each.findings}


def test_the_share_of_a_rule_is_documented() -> None:
    assert CHECKS[RECORDED].tolerated == 0.02


@pytest.mark.parametrize(
    ("check", "made", "every", "proven", "severity"),
    [
        (RECORDED, 1000, 50, False, "info"),
        (RECORDED, 400, 10, False, "error"),
        # One finding whose evidence excludes the model is not tolerated.
        (RECORDED, 1000, 1000, True, "error"),
        (RECORDED, 1000, 1000, False, "info"),
        # Without a documented share, a rule warns while the model is usable.
        ("reply.empty", 400, 10, False, "warning"),
        ("reply.empty", 400, 3, False, "error"),
        ("reply.empty", 400, 10, True, "error"),
        # What no recorded model does is an error at any share.
        ("finish.limit", 640, 4, False, "error"),
        ("finish.limit", 640, 10, False, "error"),
        ("finish.limit", 640, 150, False, "info"),
        ("calls.repeated", 640, 4, False, "error"),
        ("calls.repeated", 640, 40, False, "error"),
        ("calls.repeated", 640, 300, False, "info"),
        ("calls.in_text", 640, 20, False, "error"),
        ("calls.in_text", 640, 150, False, "info"),
        # Invalid arguments in fewer calls are no error.
        (JSON, 300, 100, False, "info"),
        (JSON, 300, 5, False, "warning"),
        (JSON, 300, 2, False, "warning"),
        # A filter that refuses many harmless requests is an error.
        ("reply.refused", 300, 300, False, "warning"),
        ("reply.refused", 300, 10, False, "error"),
    ],
)
def test_the_severity_follows_from_the_share_of_a_finding(
    check: str, made: int, every: int, proven: bool, severity: str
) -> None:
    scores = (score(at, empty=at % every == 0, check=check, proven=proven) for at in range(made))
    assert severities(scores) == {severity}


@pytest.mark.parametrize(
    ("condition", "failed", "severity"),
    [
        ("chat · streaming", 40, "info"),
        ("chat · streaming", 4, "error"),
        ("responses", 40, "error"),
    ],
)
def test_what_is_as_frequent_at_the_reference_is_tolerated(condition, failed, severity) -> None:
    scores = [score(at, empty=at % 10 == 0) for at in range(400)]
    judged = apply_tolerances(scores, reference={RECORDED: {condition: (failed, 400)}})
    assert {found.severity for each in judged for found in each.findings} == {severity}


def test_the_same_conversation_in_many_samples_counts_once() -> None:
    scores = [score(at, empty=at % 10 == 0) for at in range(400)]
    asked = [
        replace(each, traits=replace(each.traits, conversation="lisbon" if each.findings else ""))
        for each in scores
    ]
    assert severities(asked) == {"info"}


@pytest.mark.parametrize(("request_", "severity"), [("a", "info"), ("", "error")])
def test_one_greedy_slip_in_many_samples_counts_once(request_: str, severity: str) -> None:
    slip = Row(answered=True, request=request_, greedy=True, end="model", text="The same answer.")
    scores = [score(at, empty=at % 10 == 0) for at in range(400)]
    same = (replace(each, rows=(slip,)) if each.findings else each for each in scores)
    assert severities(same) == {severity}


def test_replies_of_all_tasks_count_together() -> None:
    def some(task: str) -> Iterable[Score]:
        return (score(at, empty=at % 13 == 0, task=task) for at in range(100))

    assert severities(some("tool_calling")) == {"info"}
    tasks = ("tool_calling", "parity", "load", "state")
    assert severities(each for task in tasks for each in some(task)) == {"error"}


def test_a_defect_of_one_api_is_reported_for_that_api_only() -> None:
    healthy = (score(at, empty=at == 7) for at in range(1500))
    broken = (score(at, empty=at % 6 == 0, api="responses") for at in range(120))
    found = {
        (each.condition.api, finding.severity)
        for each in apply_tolerances([*healthy, *broken])
        for finding in each.findings
    }
    assert found == {("chat", "info"), ("responses", "error")}


def test_one_broken_replica_is_reported_even_if_the_total_is_within_the_rate() -> None:
    def run(name: str) -> list[Score]:
        healthy = [score(at, empty=False, replica=f"a{at % 3}") for at in range(1600)]
        return [*healthy, *(score(at, empty=at < 8, replica=name) for at in range(40))]

    assert severities(run("b")) == {"error"}
    assert severities(run("")) == {"info"}


@pytest.mark.parametrize(
    ("check", "wrong", "severity"),
    [
        ("reply.lost", 20, "info"),
        ("usage.output.unexplained", 20, "info"),
        ("reply.lost", 2, "error"),
        (RECORDED, 20, "error"),
    ],
)
def test_where_most_counts_are_wrong_they_accuse_no_reply(
    check: str, wrong: int, severity: str
) -> None:
    scores = [score(at, empty=at == 7, proven=True, check=check) for at in range(30)]
    ledger = Ledger(0, 90, 70, 4, 4, 0, 5, returned=13, spellings=0, exact=True)
    row = Row(answered=True, greedy=True, end="model", text="So.", ledger=ledger)
    scores = [replace(one, rows=(replace(row, record=one.record),)) for one in scores]
    miscounted = Entry(What.SUMMED, "count", "count")
    account = Account({(one.record, 0): miscounted for one in scores[:wrong]})
    judged = apply_tolerances(scores, account=account)
    found = [each for one in judged for each in one.findings if each.id == check]
    assert {each.severity for each in found} == {severity}


@pytest.mark.parametrize(
    ("check", "obedient", "severity"),
    [
        ("reply.lost", True, "error"),
        ("reply.lost", False, "info"),
        ("calls.lost", False, "info"),
        (RECORDED, False, "error"),
    ],
)
def test_headers_of_a_model_that_does_not_do_what_requests_say_prove_nothing(
    check: str, obedient: bool, severity: str
) -> None:
    scores = [score(at, empty=at == 7, proven=True, check=check) for at in range(100)]
    judged = apply_tolerances(scores, account=Account(is_obedient=obedient))
    assert {each.severity for one in judged for each in one.findings} == {severity}


@pytest.mark.parametrize(
    ("proven", "code"), [((), "tolerated"), ((7,), "partly_tolerated"), ((7, 8, 9), None)]
)
def test_a_result_says_how_many_of_its_findings_are_tolerated(proven, code) -> None:
    scores = [score(at, empty=at in (7, 8, 9), proven=at in proven) for at in range(1000)]
    results = check_results(list(apply_tolerances(scores)), [("chat", "streaming")])
    (result,) = (each for each in results if each.check.id == RECORDED)
    assert [reason.code for reason in result.reasons] == ([code] if code else [])
    if code == "partly_tolerated":
        assert result.reasons[0].text == (
            f"The model itself may cause 2 of the 3 findings ({CHECKS[RECORDED].habit}), "
            "but not the others."
        )


def test_invalid_arguments_in_nearly_all_calls_of_one_mode_are_an_error_there() -> None:
    whole = [score(at, empty=at < 9, check=JSON, mode="non-streaming") for at in range(300)]
    streams = [score(at, empty=at % 20 > 0, check=JSON) for at in range(100)]
    found = {
        (each.condition.mode, finding.severity)
        for each in apply_tolerances([*whole, *streams])
        for finding in each.findings
    }
    assert ("streaming", "error") in found
    assert ("non-streaming", "error") not in found


def test_the_calls_of_one_kind_in_one_mode_are_compared_alone() -> None:
    """Nine invalid arguments of the model do not hide empty ones in all streams."""
    whole = [score(at, empty=at < 9, check=JSON, mode="non-streaming") for at in range(280)]
    streams = [score(at, empty=False, check=JSON) for at in range(250)]
    kind = "calls.arguments.json.none"
    none = [score(at, empty=False, check=kind, mode="non-streaming") for at in range(3)]
    empty = [score(at, empty=True, check=kind) for at in range(3)]
    scores = apply_tolerances([*whole, *streams, *none, *empty])
    found = {(each.id, each.severity) for one in scores for each in one.findings}
    assert found == {(JSON, "info"), (kind, "warning")}


def _after_result(
    number: int, *, empty: bool, mode: Mode = "streaming", at: int | None = 0
) -> Score:
    """Return a rollout whose reply number `at` follows a result; the finding is in the first."""
    made = score(number, empty=empty, mode=mode)
    rows = tuple(
        Row(
            record=made.record,
            exchange=each,
            answered=True,
            features=frozenset({TOOL_RESULT} if each == at else ()),
        )
        for each in (0, 1)
    )
    return replace(made, sample=f"{number} {at}", rows=rows)


@pytest.mark.parametrize(
    ("affected", "in_whole", "at", "severity"),
    [
        (30, 0, 0, "error"),  # all streams after a result, 1.5 % of all streams
        (12, 0, 0, "error"),  # fewer, and no whole reply to the same requests
        (12, 12, 0, "info"),  # the model does so after these results, whatever the mode
        (30, 0, 1, "info"),  # the reply that has the finding follows no result
        (2, 0, 0, "info"),
    ],
)
def test_a_share_is_one_of_the_replies_that_can_fail_so(affected, in_whole, at, severity) -> None:
    others = [
        _after_result(100 + n, empty=n < 6, mode=mode, at=None)
        for mode in MODES
        for n in range(2000)
    ]
    streams = [_after_result(n, empty=n < affected, at=at) for n in range(30)]
    whole = [_after_result(n, empty=n < in_whole, mode="non-streaming", at=at) for n in range(30)]
    judged = apply_tolerances([*others, *streams, *whole])
    found = {f.severity for each in judged for f in each.findings if "None" not in each.sample}
    assert found == {severity}
    assert {f.severity for each in judged[:4000] for f in each.findings} == {"info"}
