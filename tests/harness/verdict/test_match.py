"""From findings to causes, on a small catalogue of defects."""

import pytest

from harness.records.analysis import RuleResult
from harness.records.diagnosis import Signature, Signatures
from harness.records.scores import Description, Evidence, Finding
from harness.verdict.match import diagnose

BOTH = ("responses", "chat")
FAMILIES = ("a", "b", "c", "d", "e")
CHECKS = [f"{family}.{number}" for family in FAMILIES for number in range(20)]


def result(check_id, failures=0, applicable=20, status=None, apis=BOTH, mode="streaming"):
    about = Description(
        id=check_id,
        family=check_id[0],
        severity="error",
        summary="It holds.",
        why="",
        source="",
        apis=BOTH,
        modes=("streaming",),
    )
    status = status or ("failed" if failures else "passed")
    groups = [f"{api} · {mode}" for api in apis] if failures else []
    return RuleResult(
        check=about, status=status, applicable=applicable, failures=failures, groups=tuple(groups)
    )


def run_of(failing, judged=CHECKS, failures=20, apis=BOTH):
    return [result(name, failures if name in failing else 0, apis=apis) for name in judged]


def fault(name, finds, layer="parsing"):
    return Signature(
        name=name,
        layer=layer,
        description=f"The server has {name}.",
        source="vllm#1",
        expected=finds[:1],
        found=dict.fromkeys(finds, (20, 20)),
        clean=tuple(name for name in CHECKS if name not in finds),
    )


ONE = fault("one", ("a.1", "a.2", "a.3"))
TWO = fault("two", ("b.1", "b.2", "b.3"), "streaming")
TWINS = [fault(f"twin-{n}", ("c.1", "c.2", "c.3"), "usage") for n in range(2)]
MANY = [fault(f"number-{n}", ("d.1", "d.2", "d.3"), "numerics") for n in range(12)]
KNOWN = Signatures(faults=(ONE, TWO, *TWINS, *MANY))


def named(found):
    """The first example of each cause."""
    return [example.name for cause in found.causes for example in cause.examples[:1]]


def test_defects_of_streaming_do_not_explain_findings_outside_streams():
    for mode, names in (("streaming", ["two"]), ("non-streaming", [])):
        run = [result(each, 20 if each in TWO.found else 0, mode=mode) for each in CHECKS]
        assert named(diagnose(run, KNOWN, BOTH)) == names


@pytest.mark.parametrize(("failures", "names"), [(5, ["rare"]), (18, [])])
def test_a_rare_defect_does_not_explain_frequent_findings(failures: int, names: list[str]) -> None:
    finds = tuple(ONE.found)
    rare = fault("rare", finds).model_copy(update={"found": dict.fromkeys(finds, (4, 40))})
    known = Signatures(faults=(rare, TWO, *TWINS, *MANY))
    assert named(diagnose(run_of(finds, failures=failures), known, BOTH)) == names


def test_a_run_without_findings_has_no_diagnosis():
    assert diagnose(run_of(()), KNOWN, BOTH) is None


def test_a_known_pattern_names_its_defect():
    found = diagnose(run_of(("a.1", "a.2", "a.3")), KNOWN, BOTH)
    (cause,) = found.causes
    (example,) = cause.examples
    assert (example.name, cause.layer) == ("one", "parsing")
    assert cause.probability > 0.8
    assert cause.explains == ("a.1", "a.2", "a.3")
    assert example.sources == ("https://github.com/vllm-project/vllm/issues/1",)
    assert found.unexplained == ()


def test_a_finding_of_one_layer_only_names_the_layer():
    """No known defect has this finding alone."""
    others = [fault(f"other-{n}", ("e.1", f"e.{n}", f"e.{n + 1}"), "limits") for n in (3, 5, 7)]
    known = Signatures(faults=(*KNOWN.faults, *others))
    (cause,) = diagnose(run_of(("e.1",)), known, BOTH).causes
    assert cause.layer == "limits"
    assert cause.probability < 0.9


def test_a_finding_of_several_layers_has_no_cause():
    layers = ("limits", "usage", "errors", "sampling")
    others = [fault(f"other-{each}", ("e.1",), each) for each in layers]
    known = Signatures(faults=(*KNOWN.faults, *others))
    found = diagnose(run_of(("e.1",)), known, BOTH)
    assert found.causes == ()
    assert found.unexplained == ("e.1",)


def test_findings_of_one_layer_are_one_cause():
    others = [fault(f"other-{n}", (f"e.{n}", f"e.{n + 1}"), "limits") for n in (3, 5)]
    known = Signatures(faults=(*KNOWN.faults, *others))
    (cause,) = diagnose(run_of(("e.3", "e.4", "e.5", "e.6")), known, BOTH).causes
    assert {each.name for each in cause.examples} == {"other-3", "other-5"}
    assert cause.explains == ("e.3", "e.4", "e.5", "e.6")


def test_a_pattern_of_no_known_defect_is_unknown():
    found = diagnose(run_of(("a.9", "b.9", "e.1")), KNOWN, BOTH)
    assert found.causes == ()
    assert found.unexplained == ("a.9", "b.9", "e.1")


@pytest.mark.parametrize("missing", [TWO, ONE])
def test_a_partial_pattern_is_not_a_confident_cause(missing):
    """One finding of a defect's three, while the checks of the other two passed."""
    (first, *_) = missing.found
    found = diagnose(run_of((first, "e.5", "e.6")), KNOWN, BOTH)
    assert all(cause.probability < 0.9 for cause in found.causes)


def test_checks_that_were_not_judged_are_not_evidence():
    some = [name for name in CHECKS if name not in ("a.2", "a.3")]
    whole = diagnose(run_of(("a.1",)), KNOWN, BOTH)
    part = diagnose(run_of(("a.1",), some), KNOWN, BOTH)
    absent = [result(name, applicable=0, status="not_verifiable") for name in ("a.2", "a.3")]
    assert diagnose([*run_of(("a.1",), some), *absent], KNOWN, BOTH) == part
    assert named(part) == ["one"]
    assert not whole.causes or whole.causes[0].probability < part.causes[0].probability


def test_two_defects_are_two_causes_and_the_rest_stays_unexplained():
    found = diagnose(run_of((*ONE.found, *TWO.found, "e.7")), KNOWN, BOTH)
    assert sorted(named(found)) == ["one", "two"]
    assert found.unexplained == ("e.7",)


def test_a_cause_of_errors_precedes_a_more_probable_one_of_warnings():
    run = run_of((*ONE.found, *TWO.found))
    warned = [
        each.model_copy(update={"status": "warned"}) if each.check.id in ONE.found else each
        for each in run
    ]
    for judged, names in ((run, {"one", "two"}), (warned, ["two", "one"])):
        found = named(diagnose(judged, KNOWN, BOTH))
        assert found == names or set(found) == names


def test_a_server_with_many_defects_has_causes():
    """Defects in one API each: no unknown defect explains the findings of all of them."""
    many = [fault(f"m{n}", (f"e.{2 * n}", f"e.{2 * n + 1}"), "parsing") for n in range(6)]
    known = Signatures(faults=(*KNOWN.faults, *many))
    failing = {name for each in many for name in each.found}
    run = [result(n, 20 if n in failing else 0, apis=("chat",)) for n in CHECKS]
    (cause,) = diagnose(run, known, BOTH).causes
    assert len(cause.examples) == 3
    assert len(cause.explains) == len(failing)
    assert cause.probability > 0.8


def test_defects_with_one_signature_are_one_cause():
    (cause,) = diagnose(run_of(("c.1", "c.2", "c.3")), KNOWN, BOTH).causes
    assert cause.probability > 0.8
    assert {example.name for example in cause.examples} == {"twin-0", "twin-1"}


def test_defects_of_the_model_are_no_examples():
    (cause,) = diagnose(run_of(("d.1", "d.2", "d.3")), KNOWN, BOTH).causes
    assert (cause.layer, cause.examples) == ("numerics", ())
    assert cause.probability > 0.8


def test_a_defect_named_by_a_finding_is_the_cause():
    one, *others = run_of(("d.1", "d.2", "d.3"))[60:]
    evidence = Evidence(record="r", exchange=0, expected="", got="")
    naming = Finding(id="d.1", severity="error", message="As with (number-7).", evidence=evidence)
    found = diagnose(
        [one, others[0].model_copy(update={"examples": (naming,)}), *others[1:]], KNOWN, BOTH
    )
    assert named(found) == ["number-7"]


def test_a_rare_defect_is_recognized_by_the_checks_it_reached():
    found = diagnose(run_of(("a.1", "a.2"), failures=1), KNOWN, BOTH)
    assert named(found) == ["one"]


def test_findings_of_healthy_servers_need_no_cause():
    usual = Signatures(faults=KNOWN.faults, healthy={"a.1": (3, 3)})
    found = diagnose(run_of(("a.1",)), usual, BOTH)
    assert found.causes == ()


def test_an_unmeasured_defect_is_found_by_its_detectors():
    only = Signature(
        name="new", layer="limits", description="It is new.", source="", expected=("e.1",)
    )
    found = diagnose(run_of(("e.1",)), Signatures(faults=(*KNOWN.faults, only)), BOTH)
    assert named(found) == ["new"]
    assert found.causes[0].probability < 0.9


@pytest.mark.parametrize(
    ("apis", "name"), [(BOTH, "everywhere"), (("chat",), "in chat"), (("responses",), "everywhere")]
)
def test_the_apis_with_findings_tell_defects_apart(apis, name):
    finds = ("e.1", "e.2", "e.3")
    everywhere = fault("everywhere", finds)
    in_chat = fault("in chat", finds, "usage").model_copy(
        update={"partial": dict.fromkeys(finds, ("chat",))}
    )
    known = Signatures(faults=(*KNOWN.faults, everywhere, in_chat))
    found = diagnose(run_of(finds, apis=apis), known, BOTH)
    assert named(found)[:1] == [name]


def test_a_run_over_one_api_is_not_evidence_about_others():
    finds = ("e.1", "e.2", "e.3")
    in_chat = fault("in chat", finds).model_copy(
        update={"partial": dict.fromkeys(finds, ("chat",))}
    )
    known = Signatures(faults=(*KNOWN.faults, in_chat))
    assert named(diagnose(run_of(finds, apis=("chat",)), known, ("chat",))) == ["in chat"]


def test_too_few_findings_do_not_exclude_an_api():
    finds = ("e.1", "e.2", "e.3")
    few = fault("few", finds).model_copy(update={"found": dict.fromkeys(finds, (1, 20))})
    known = Signatures(faults=(*KNOWN.faults, few))
    run = run_of(finds, failures=2, apis=("chat",))
    assert named(diagnose(run, known, BOTH)) == ["few"]


def test_a_passed_check_with_info_findings_is_not_evidence_against_a_defect():
    noted = [each for each in run_of(("a.1", "a.2")) if each.check.id != "a.3"]
    without = diagnose(noted, KNOWN, BOTH)
    with_ = diagnose([*noted, result("a.3", 2, status="passed")], KNOWN, BOTH)
    assert with_ == without
