"""Findings that a healthy model may cause: tolerances over all rollouts, one API, one replica."""

from collections.abc import Iterable
from dataclasses import replace

from harness.checks import CHECKS
from harness.records.conditions import Api, Condition
from harness.records.scores import Evidence, Finding, Score
from harness.records.traits import Traits
from harness.verdict.tolerances import apply_tolerances

EMPTY = "reply.empty"


def score(number: int, *, empty: bool, api: Api = "chat", replica: str = "", task: str = "probes"):
    record = f"{task}/{number}/{api}"
    evidence = Evidence(record=record, exchange=0, expected="text", got="")
    found = Finding(id=EMPTY, severity="error", message="empty", evidence=evidence)
    return Score(
        record=record,
        task=task,
        sample=str(number % 37),
        condition=Condition(model="m", api=api, mode="streaming"),
        attempt=1,
        outcome="answered",
        applicable=frozenset((EMPTY,)),
        findings=(found,) if empty else (),
        traits=Traits(replicas=(("header x-served-by", replica),) if replica else ()),
    )


def severities(scores: Iterable[Score]) -> set[str]:
    return {found.severity for each in apply_tolerances(list(scores)) for found in each.findings}


def test_rare_deviations_of_the_model_are_info() -> None:
    assert CHECKS[EMPTY].tolerated == 0.02
    assert severities(score(at, empty=at % 50 == 0) for at in range(1000)) == {"info"}


def test_one_empty_answer_in_ten_is_an_error() -> None:
    assert severities(score(at, empty=at % 10 == 0) for at in range(400)) == {"error"}


def test_the_same_conversation_in_many_samples_counts_once() -> None:
    scores = [score(at, empty=at % 10 == 0) for at in range(400)]
    asked = [
        replace(each, traits=replace(each.traits, conversation="lisbon" if each.findings else ""))
        for each in scores
    ]
    assert severities(asked) == {"info"}


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
