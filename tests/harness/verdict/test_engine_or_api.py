"""The component at fault, from tool calling and numerics over harmony and the other APIs."""

import pytest

from harness.records.analysis import RuleResult, TaskResult
from harness.records.conditions import Condition
from harness.rules.catalogue import RULES
from harness.verdict.engine_or_api import faulty_components
from harness.verdict.reference_rate import Target

TARGET = Target(0.98, 0.9, "stated")


def calling(api, passed, tries=4, cases=6, mode="streaming"):
    """Tool calling over one API with the same number of passes for each case."""
    return TaskResult.model_construct(
        condition=Condition(model="m", api=api, mode=mode),
        cases={f"case {number}": (passed, tries) for number in range(cases)},
    )


def found(*results, rules=(), apis=("chat", "harmony")):
    return [(each.component, each.text) for each in faulty_components(results, rules, apis, TARGET)]


def numerics(*groups):
    about = RULES["numerics.logprobs"].about
    return RuleResult(
        check=about,
        status="failed",
        applicable=20,
        failures=5,
        counts=dict.fromkeys(groups, (1, 4)),
    )


def test_failures_over_chat_alone_are_attributed_to_the_api_conversion() -> None:
    both = [calling("harmony", 4, mode=mode) for mode in ("streaming", "non-streaming")]
    ((component, text),) = found(*both, *(calling("chat", 1), calling("responses", 0)))
    assert component == "API conversion"
    assert text == (
        "The API conversion of chat and responses is at fault: for the same cases, 48 of 48 tool "
        "calls succeed over harmony, where the tool renders prompts and parses answers itself, "
        "but 6 of 24 over chat, and 0 of 24 over responses."
    )


def test_failures_over_harmony_are_attributed_to_the_engine() -> None:
    ((component, text),) = found(calling("harmony", 1), calling("chat", 1))
    assert component == "engine"
    assert "6 of 24" in text


def test_a_few_difficult_cases_are_not_attributed_to_the_engine() -> None:
    difficult = {"case 0": (0, 20), "case 1": (0, 20)}
    good = [calling(api, 20, tries=20, cases=20) for api in ("harmony", "chat")]
    assert not found(*(one.model_copy(update={"cases": one.cases | difficult}) for one in good))


def test_both_components_can_be_at_fault() -> None:
    components = [component for component, _ in found(calling("harmony", 2), calling("chat", 0))]
    assert components == ["API conversion", "engine"]


def test_wrong_logprobs_over_harmony_are_attributed_to_the_engine() -> None:
    healthy = [calling("harmony", 4), calling("chat", 4)]
    ((component, text),) = found(*healthy, rules=[numerics("chat", "harmony")])
    assert (component, "numerics.logprobs failed" in text) == ("engine", True)
    assert found(*healthy, rules=[numerics("chat")]) == []
    assert found(rules=[numerics("harmony")], apis=["harmony"])
    assert found(rules=[numerics("harmony")]) == []


@pytest.mark.parametrize(
    "results",
    [
        [calling("chat", 0), calling("responses", 0)],
        [calling("harmony", 4), calling("chat", 4)],
        [calling("harmony", 1, tries=1, cases=3), calling("chat", 0, tries=1, cases=3)],
        [calling("harmony", 0), calling("chat", 4)],
        [calling("harmony", 0)],
        [calling("harmony", 0, tries=0), calling("chat", 0)],
    ],
    ids=["no harmony", "healthy", "few tries", "raw endpoint", "harmony alone", "not sampled"],
)
def test_components_are_not_named_without_evidence(results) -> None:
    assert found(*results) == []
