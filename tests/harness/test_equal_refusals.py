"""Refusals with one text are one finding."""

import pytest
from healthy import rollout
from probing import judged, refusal
from replies import Reply

from harness.api.parsed_rollout import parse_rollout
from harness.checks.rollout_score import measured_score
from harness.probes.rule_results import check_results, with_equal_refusals
from harness.probes.tools import schemas
from harness.records.analysis import RuleResult
from harness.verdict.tolerances import apply_tolerances

GROUPS = [("chat", "non-streaming")]
CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'))


def refused_check() -> tuple[RuleResult, ...]:
    score = measured_score(parse_rollout(rollout([refusal(422)])), {"outcome": "answered"})
    return check_results(apply_tolerances([score]), GROUPS, ())


def texts(results: tuple[RuleResult, ...]) -> dict[str, str]:
    found = (each for each in results if each.status in ("failed", "warned"))
    return {each.check.id: each.examples[0].message for each in found}


@pytest.mark.parametrize("checked", [True, False])
def test_equal_refusals_of_many_probes_are_one_finding(checked: bool) -> None:
    probes = tuple(judged(schemas.GROUP, lambda *_: refusal(422), ["chat"]).values())
    assert len(texts(probes)) > 5
    checks = refused_check() if checked else ()
    found = texts(tuple(each for part in with_equal_refusals(checks, probes) for each in part))
    (message,) = found.values()
    assert ("request.refused" in found) == checked
    assert "same refusal" in message
    assert "(tools)" in message


def test_a_few_refusals_remain_findings_of_their_probes() -> None:
    def provider(request, attempt):
        return refusal(422) if request.id == "bare" else CALL

    probes = tuple(judged(schemas.GROUP, provider, ["chat"]).values())
    assert texts(with_equal_refusals((), probes)[1]) == texts(probes)
