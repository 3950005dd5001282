"""The self-test without servers: stages of a fault, detection, and formats of the matrix."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import ConfigurationError
from harness.records.analysis import RuleResult
from harness.records.scores import Evidence, Finding, Severity
from harness.rules.catalogue import PROBES, RULES
from harness.rules.results import judged_result
from harness.rules.suites import choose
from harness.selftest import faults, rows
from harness.selftest.faults import Fault, FaultRow, Matrix
from harness.selftest.rows import DefectRun
from harness.selftest.selftest_run import SelfTestPlan
from harness.selftest.stages import SLICES, RunStage, known, of_laws, of_styles, stages
from harness.selftest.styles import PARTS, styles_of
from reports import selftest as report


def fault(
    name: str = "broken", *detectors: str, visible: bool = True, allowed: bool = False
) -> Fault:
    return Fault(
        name=name,
        layer="none" if name == faults.HEALTHY else "parsing",
        description="It <b>breaks</b> | things.",
        source="vllm#1",
        detectors=detectors,
        visible=visible,
        allowed=allowed,
        model=False,
    )


HEALTHY = fault(faults.HEALTHY, visible=False, allowed=True)
BROKEN = fault("broken", "harmony.markers", "parity.calls")


def found(check_id: str, severity: Severity) -> RuleResult:
    about = RULES[check_id].about
    evidence = Evidence(record="r", exchange=0, expected="a", got="b")
    finding = Finding(id=check_id, severity=severity, message="It is so.", evidence=evidence)
    return judged_result(about, [finding], {("s", "chat"): (1, 4)})


def made(**severities: Severity) -> DefectRun:
    results = tuple(found(name.replace("__", "."), each) for name, each in severities.items())
    return DefectRun(results=results, requests=10, tokens=1000, seconds=1.0)


def row_of(run: DefectRun, healthy: Mapping[str, Severity] | None = None) -> FaultRow:
    return rows.row(BROKEN, [run], healthy or {})


def test_detectors_are_ids_prefixes_or_families() -> None:
    assert known(fault("a", "harmony.markers")) == ("harmony.markers",)
    assert set(known(fault("a", "parity.usage"))) > {"parity.usage.prompt"}
    load = {probe for probe in PROBES if probe.startswith("load.")}
    assert set(known(fault("a", "load"))) == load | {
        "reply.degenerates",
        "reply.foreign",
        "reply.stored",
    }
    assert known(fault("a", "harmony.remains")) == ("harmony.remains", "harmony.remains.reasoning")


def test_the_detectors_of_a_fault_run_first() -> None:
    asked = stages(fault("a", "parity.calls"), "full")
    assert asked == (RunStage("full", ("parity.calls",)), RunStage("full", ()))
    assert set(stages(BROKEN, "full")[0].only) >= {"cases", "parity.calls"}
    assert "tools.choice.none" in stages(fault("a", "calls.choice"), "full")[0].only
    of_text = {"cases", "echo.returned"}
    assert set(stages(fault("a", "harmony.markers"), "standard")[0].only) == of_text
    assert stages(HEALTHY, "standard") == (RunStage("standard", ()),)
    everyday = stages(fault("ok:a", allowed=True), "standard")
    assert len(everyday) == 1
    assert "cases" in everyday[0].only
    assert "parity.calls" in everyday[0].only


def test_the_laws_are_tested_with_every_shape_of_a_run_if_they_are_named() -> None:
    laws = of_laws()
    assert not set(faults.chosen([HEALTHY, BROKEN, *laws], ())) & {*laws}
    assert not set(
        faults.chosen([HEALTHY, fault("ok:a", allowed=True), *laws], (faults.VARIATIONS,))
    ) & {*laws}
    assert faults.chosen([HEALTHY, BROKEN, *laws], ("laws",)) == (HEALTHY, *laws)
    planned = [stage for law in laws for stage in stages(law, "full")]
    assert {(s.suite, s.apis, s.modes) for s in planned if not s.only} == {
        (suite, apis, modes)
        for suite in ("tools", "standard")
        for apis in (("responses",), ("chat",), ("responses", "chat"))
        for modes in (("streaming",), ("non-streaming",), ("streaming", "non-streaming"))
    }
    assert len({s.only for s in planned if s.only}) == 20
    assert all(choose("standard", s.only).probes or "cases" in s.only for s in planned if s.only)
    warned = rows.row(laws[0], [made(harmony__markers="warning")], {})
    assert (warned.status, warned.bad) == ("false alarm", True)


@pytest.mark.parametrize(
    ("run", "healthy", "status"),
    [
        (made(harmony__markers="error"), {}, "detected"),
        (made(harmony__markers="error"), {"harmony.markers": "error"}, "missed"),
        (made(harmony__markers="error"), {"harmony.markers": "info"}, "detected"),
        (made(harmony__remains="error"), {}, "missed"),
        (made(parity__calls="error"), {}, "detected"),
        (made(), {}, "missed"),
    ],
)
def test_a_fault_is_detected_by_findings_the_healthy_engine_does_not_have(
    run: DefectRun, healthy: Mapping[str, Severity], status: str
) -> None:
    assert row_of(run, healthy).status == status
    assert row_of(run, healthy).bad is (status == "missed")


def test_healthy_servers_may_have_warnings_but_no_errors() -> None:
    warned = rows.row(HEALTHY, [made(harmony__markers="warning")], {})
    assert (warned.status, warned.bad) == ("clean", False)
    accused = rows.row(HEALTHY, [made(harmony__markers="error"), made()], {})
    assert (accused.status, accused.bad) == ("false alarm", True)
    assert "harmony.markers: It is so." in accused.note


@pytest.mark.parametrize(
    ("causes", "alone", "status"),
    [
        (("model",), (), "detected"),
        (("model",), ("history", "model"), "detected"),
        (("model",), ("history",), "false alarm"),
        (("model", "history"), (), "false alarm"),
    ],
)
def test_the_server_of_a_worse_model_must_not_be_named_as_a_cause(
    causes: tuple[str, ...], alone: tuple[str, ...], status: str
) -> None:
    model = fault("weak", "numerics").model_copy(update={"layer": "models"})
    run = made(numerics__logprobs="error").model_copy(
        update={"causes": causes, "causes_alone": alone}
    )
    row = rows.row(model, [run], {})
    assert row.status == status
    assert ("history" in row.note) is (status == "false alarm")
    assert stages(model, "full") == (RunStage("standard", (), tries=1),)


def test_the_reference_reads_the_replies_of_faults_that_readings_should_show() -> None:
    read = stages(fault("prompts", "prompt.system", "reference.prompt"), "full")
    not_read = stages(fault("calls", "calls.name"), "full")
    assert [stage.read for stage in (*read, *not_read)] == [True, False, False, False]


def test_the_false_alarm_rate_has_an_exact_bound() -> None:
    clean = rows.row(HEALTHY, [made()] * 20, {})
    variation = rows.row(fault("ok:a", allowed=True), [made()] * 40, {})
    found = rows.healthy_runs([clean, variation, row_of(made())])
    assert (found.runs, found.accused) == (60, 0)
    assert found.rate_at_most == pytest.approx(1 - 0.05 ** (1 / 60))
    accused = rows.row(HEALTHY, [made(harmony__markers="error"), made()], {})
    shown = report.markdown(_matrix(accused))
    assert "| healthy | none | vllm#1 | false alarm (1 of 2 runs) |" in shown
    assert "errors in 1 of 2 runs: at most 97.47% of runs" in shown


def test_repetitions_of_a_variation_cover_every_probe() -> None:
    allowed = fault("ok:a", allowed=True)
    every = [stages(allowed, "full", number)[0].only for number in range(SLICES)]
    assert set().union(*every) == {"cases", *(probe.id for probe in choose("full").probes)}
    assert max(map(len, every)) < len(PROBES) / 2


def test_only_healthy_servers_are_run_repeatedly() -> None:
    plan = SelfTestPlan(
        (HEALTHY, BROKEN, fault("ok:a", allowed=True)), True, "full", 1, Path(), repeat=3
    )
    queued = [(each.name, number) for each, number in plan.queue()]
    assert sorted(queued) == [("broken", 0), ("healthy", 1), ("healthy", 2), ("ok:a", 0),
                              ("ok:a", 1), ("ok:a", 2)]  # fmt: skip


def test_faults_without_detectors_are_not_run() -> None:
    unseen = rows.row_without_run(fault("a", "harmony.markers", visible=False))
    unnamed = rows.row_without_run(fault("a", "no.such.check"))
    assert (unseen.status, unnamed.status) == ("not visible", "no detector")
    assert rows.row_without_run(BROKEN) is None
    assert rows.row_without_run(HEALTHY) is None


def test_the_worst_of_several_healthy_runs_is_the_baseline() -> None:
    seen = [made(harmony__markers="info"), made(harmony__markers="warning", usage__sum="info")]
    assert rows.baseline(seen) == {"harmony.markers": "warning", "usage.sum": "info"}


def test_costs_of_all_runs_add_up() -> None:
    row = rows.row(BROKEN, [made(), made(harmony__markers="error")], {})
    assert (row.status, row.requests, row.tokens) == ("detected", 20, 2000)


def _matrix(*each: FaultRow) -> Matrix:
    return Matrix(
        tool_version="1",
        suite="full",
        started_at="now",
        seconds=90.0,
        rows=each,
        innocent=rows.healthy_runs(each),
    )


def test_the_matrix_passes_unless_a_fault_is_missed() -> None:
    clean = rows.row(HEALTHY, [made()], {})
    found = row_of(made(harmony__markers="error"))
    assert _matrix(clean, found).passed
    assert not _matrix(clean, found, row_of(made())).passed


def test_the_matrix_is_written_in_every_format() -> None:
    shown = _matrix(
        rows.row(HEALTHY, [made()], {}), row_of(made(harmony__markers="error")), row_of(made())
    )
    page, text = report.html(shown), report.markdown(shown)
    assert "It &lt;b&gt;breaks&lt;/b&gt; | things." in page
    assert "<script" not in page
    assert "http" not in page
    assert (
        "1 of 2 faults detected (1 as errors, 0 as warnings, 0 only as information); "
        "0 of them constructed, the others from public reports; "
        "0 false alarms on 1 healthy servers (errors in 0 of 1" in text
    )
    cells = "broken | parsing | vllm#1 | detected | error | harmony.markers (error) | 10 | 1,000"
    assert f"| {cells} |" in text
    shows = io.StringIO()
    report.print_matrix(shown, Console(width=140, file=shows))
    assert "harmony.markers (error)" in shows.getvalue()
    assert Matrix.model_validate_json(shown.model_dump_json()) == shown
    assert json.loads(shown.model_dump_json())["rows"][1]["status"] == "detected"


def test_names_choose_faults_and_layers() -> None:
    every = (HEALTHY, BROKEN, fault("other"))
    assert faults.chosen(every, ["broken"]) == (HEALTHY, BROKEN)
    assert faults.chosen(every, ["parsing"]) == every
    assert faults.chosen(every, ["allowed variations"]) == tuple(f for f in every if f.allowed)
    assert faults.chosen(every, []) == every
    with pytest.raises(ConfigurationError, match="did you mean 'broken"):
        faults.chosen(every, ["brokn"])


def test_the_engine_lists_its_faults() -> None:
    listed = faults.catalogue()
    assert listed[0].name == faults.HEALTHY
    assert len([each for each in listed if each.visible]) >= 60
    assert all(each.detectors for each in listed if not each.allowed)


def test_styles_must_be_named_and_have_each_share_or_each_seed_and_part() -> None:
    every = [HEALTHY, *of_styles()]
    assert faults.chosen(every, []) == (HEALTHY,)
    assert set(faults.chosen(every, ["styles"])) == set(every)
    assert len(every) > 60
    styles = styles_of("typography in arguments")
    shares = [(max(style.shares.values()), style.samples) for style in styles]
    few = [(1.0, 1), (1.0, 2)]
    assert shares == [*((share, None) for share in (0.02, 0.05, 0.2, 1.0)), *few]
    assert [(1.0, style.samples) for style in styles_of("lower case")] == few
    assert {(style.seed, style.part) for style in styles_of("20b")} == {
        (seed, part) for seed in range(3) for part in PARTS
    }
