"""Declarations of rules about other rules: what they do to results, and that they are complete."""

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from healthy import rollout
from probing import judged, refusal
from replies import Reply
from reporting import finding, rule

import harness
from harness.api.parsed_rollout import parse_rollout
from harness.records.analysis import RuleResult
from harness.records.reasons import Reason, wordings
from harness.records.settings import Thresholds
from harness.rules.calls import schema_probes as schemas
from harness.rules.catalogue import RULES
from harness.rules.measured import measured_score
from harness.rules.results import check_results
from harness.rules.rule import ExcusedIf, OnceWith, Relation, Rule, ShowsLack, VoidIf
from harness.verdict.relations import lacking, related
from harness.verdict.tolerances import apply_tolerances

GROUPS = [("chat", "non-streaming")]
CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'))


def related_to(
    relation: Relation,
    path: str = "$.usage",
    got: str = "status 400: No.",
    needs: str | None = None,
) -> Rule:
    return Rule(about=rule("a.rule").check, component="usage", needs=needs, relations=(relation,))


def outcome(
    relation: Relation, other: str | None, *, path: str = "$.usage", needs: str | None = None
) -> tuple[str, str | None]:
    """The status and the code of the reason of a failed rule beside another rule."""
    failed = rule("a.rule", "failed", examples=(finding("r", "a.rule", path=path),))
    results = [failed, *([rule("b.rule", other)] if other else [])]
    plain = Rule(about=rule("b.rule").check, component="usage")
    rules = {"a.rule": related_to(relation, needs=needs), "b.rule": plain}
    one = related(results, [], Thresholds(), ["logprobs"], rules)[0]
    return one.status, one.reasons[0].code if one.reasons else None


VOID = VoidIf("b.rule", "$.usage", "prompt_tokens_vary")
VARIES = VoidIf("b.rule", "$.usage", "prompt_tokens_vary", when=lambda scores: True)
EXCUSED = ExcusedIf("b.rule", "built_in_unasked")


@pytest.mark.parametrize(
    ("relation", "other", "changes", "expected"),
    [
        (VOID, "failed", {}, ("not_verifiable", "prompt_tokens_vary")),
        (VOID, "warned", {}, ("not_verifiable", "prompt_tokens_vary")),
        (VOID, "passed", {}, ("failed", None)),
        (VOID, None, {}, ("failed", None)),
        (VOID, "failed", {"path": "$.choices"}, ("failed", None)),
        (VARIES, "passed", {}, ("not_verifiable", "prompt_tokens_vary")),
        (EXCUSED, "passed", {}, ("passed", "built_in_unasked")),
        (EXCUSED, "failed", {}, ("failed", None)),
        (EXCUSED, None, {}, ("failed", None)),
        (EXCUSED, "passed", {"needs": "logprobs"}, ("declared", "declared_missing")),
        (VOID, "failed", {"needs": "logprobs"}, ("declared", "declared_missing")),
    ],
)
def test_a_declaration_changes_the_result_beside_another_rule(
    relation: Relation, other: str | None, changes: dict[str, str], expected: tuple[str, str]
) -> None:
    assert outcome(relation, other, **changes) == expected


@pytest.mark.parametrize(
    ("judging", "path"),
    [
        ("state.previous_response.tools", "$.usage.input_tokens"),
        ("structured.tools", "$.usage"),
        ("clients.defaults", "$.usage"),
    ],
)
def test_prompt_tokens_in_another_unit_judge_no_prompt(judging: str, path: str) -> None:
    tokens = finding("r", judging, path=path)
    about = [RULES[name].about for name in ("prompt.scale", judging)]
    results = [
        rule("prompt.scale", "failed").model_copy(update={"check": about[0]}),
        rule("x.rule", "failed", examples=(tokens,)).model_copy(update={"check": about[1]}),
    ]
    assert [each.status for each in related(results, [], Thresholds())] == [
        "failed",
        "not_verifiable",
    ]


def test_what_is_only_information_makes_void_evidence_no_better() -> None:
    refused = finding("s", "a.rule", path="$").model_copy(update={"severity": "info"})
    failed = rule("a.rule", "failed", examples=(refused, finding("r", "a.rule", path="$.usage")))
    rules = {
        "a.rule": related_to(VOID),
        "b.rule": Rule(about=rule("b.rule").check, component="usage"),
    }
    (one, _) = related([failed, rule("b.rule", "failed")], [], Thresholds(), (), rules)
    assert one.status == "not_verifiable"


def test_a_void_finding_excuses_no_other() -> None:
    results = [
        rule("a.rule", "failed", examples=(finding("r", "a.rule", path="$.usage"),)),
        rule("b.rule", "failed"),
        rule("c.rule", "failed"),
    ]
    others = {
        name: Rule(about=rule(name).check, component="usage", relations=made)
        for name, made in (("b.rule", ()), ("c.rule", (ExcusedIf("a.rule", "built_in_unasked"),)))
    }
    found = related(results, [], Thresholds(), rules={"a.rule": related_to(VOID), **others})
    assert [each.status for each in found] == ["not_verifiable", "failed", "failed"]


def refused_check() -> tuple[RuleResult, ...]:
    score = measured_score(parse_rollout(rollout([refusal(422)])), {"outcome": "answered"})
    return check_results(apply_tolerances([score]), GROUPS)


def texts(results: tuple[RuleResult, ...]) -> dict[str, str]:
    found = (each for each in results if each.status in ("failed", "warned"))
    return {each.check.id: each.examples[0].message for each in found}


@pytest.mark.parametrize("checked", [True, False])
def test_equal_refusals_of_many_probes_are_one_finding(checked: bool) -> None:
    probes = tuple(judged(schemas.GROUP, lambda *_: refusal(422), ["chat"]).values())
    assert len(texts(probes)) > 5
    checks = refused_check() if checked else ()
    found = texts(related((*checks, *probes), [], Thresholds()))
    (message,) = found.values()
    assert ("request.refused" in found) == checked
    assert "same refusal" in message
    assert "(calls)" in message


def test_a_few_refusals_remain_findings_of_their_probes() -> None:
    def provider(request, attempt):
        return refusal(422) if request.id == "bare" else CALL

    probes = tuple(judged(schemas.GROUP, provider, ["chat"]).values())
    assert texts(related(probes, [], Thresholds())) == texts(probes)


@pytest.mark.parametrize(("failures", "sentences"), [(6, 1), (5, 0)])
def test_what_replies_lack_is_one_warning(failures: int, sentences: int) -> None:
    results = [
        rule("logprobs.given", "warned", failures=failures),
        rule("logprobs.values", "not_verifiable", reasons=(Reason(code="no_alternatives"),)),
        rule("logprobs.tokens", "not_verifiable", reasons=(Reason(code="no_answer"),)),
    ]
    found = list(lacking(results))
    assert len(found) == sentences
    assert all(
        each.endswith("1 probes could not verify anything: logprobs.values.") for each in found
    )


def test_relations_name_rules_and_wordings_that_exist() -> None:
    for each in RULES.values():
        for relation in each.relations:
            assert isinstance(relation, ShowsLack) or getattr(relation, "rule", each.id) in RULES
            assert isinstance(relation, OnceWith) or relation.code in wordings()


def _stated(tree: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """The codes of reasons in source code, and the names of the values that they are given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            given = {each.arg: each.value for each in node.keywords}
            at = {"NotVerifiableError": 0, "required": 1, "_repeated": 1, "_reason": 0}.get(called)
            code = given.get("code") if called == "Reason" else None
            code = node.args[at] if at is not None and len(node.args) > at else code
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                values = given.get("values")
                if isinstance(values, ast.Dict):
                    yield code.value, {key.value for key in values.keys if key is not None}
                elif called != "Reason":
                    yield code.value, set(given) | ({"request"} if called == "_reason" else set())


def test_every_reason_in_the_sources_has_a_wording_with_its_values() -> None:
    root = Path(harness.__file__).parent
    trees = [ast.parse(path.read_text("utf-8")) for path in root.rglob("*.py")]
    stated = [each for tree in trees for each in _stated(tree)]
    assert len(stated) > 80
    for code, values in stated:
        text = wordings()[code].text
        assert {name for _, name, *_ in Formatter().parse(text) if name} == values, code


_OF_OTHERS = {
    *("not_applicable", "declared_missing", "lowered_by_gate", "recorded_twice", "recorded_cut"),
    *("tolerated", "partly_tolerated", "as_at_reference", "proven", "partly_judged"),
    "one_api_judged",
}
"""Reasons of results that say something: a pass, a milder finding, or why a rule does not apply."""


def test_every_reason_without_a_result_says_what_would_give_one() -> None:
    assert {code for code, wording in wordings().items() if not wording.until} == _OF_OTHERS


def test_a_reason_of_a_newer_version_is_shown_by_its_words() -> None:
    assert Reason(code="not_known_yet", values={"a": 1}).text == "Not known yet."


@pytest.mark.parametrize(("failed", "status"), [(12, "passed"), (1, "failed")])
def test_a_probe_that_fails_as_often_as_at_the_reference_passes(failed: int, status: str) -> None:
    name = "tools.results.used"
    found = rule(name, "failed", kind="probe", failures=15, counts={"chat": (15, 20)})
    (one,) = related([found], [], Thresholds(reference_rules={name: {"chat": (failed, 20)}}))
    assert one.status == status
    if status == "passed":
        assert one.reason == f"As often as at the reference: {failed} of 20 there."
