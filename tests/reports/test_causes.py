"""The diagnosis in every format of the report."""

import io

import pytest
from reporting import analysis, failed_rule, failing, finding
from rich.console import Console

from harness.records.diagnosis import Cause, ComponentFault, Diagnosis, Example
from reports.build import build_report
from reports.diagnosis import HYPOTHESES, NO_CAUSE, facts
from reports.html.report import render_html
from reports.markdown import render_markdown
from reports.terminal import print_report

CAUSE = Cause(
    component="usage",
    description="The server counts tokens wrongly.",
    effect="Costs that clients compute are wrong.",
    remedy="Add the counts.",
    examples=(
        Example(
            description="The total of the token counts is wrong.",
            sources=("https://github.com/vllm-project/vllm/issues/1", "vLLM 0.32, measured"),
        ),
        Example(description="The input is counted twice.", sources=()),
    ),
    explains=("usage.sum",),
)
NOT_EXPLAINED = "Findings without a known cause"
EXPECTED = (
    "The server counts tokens wrongly.",
    "The total of the token counts is wrong.",
    "The input is counted twice.",
    "Costs that clients compute are wrong.",
    "Add the counts.",
    "https://github.com/vllm-project/vllm/issues/1",
)


def report(*causes, unexplained=()):
    found = Diagnosis(causes=causes, unexplained=unexplained)
    return build_report(failing().model_copy(update={"diagnosis": found}), "runs/mock")


def printed(made):
    stream = io.StringIO()
    print_report(made, Console(file=stream, width=80, highlight=False))
    return stream.getvalue()


def page(made):
    return render_html(made, [], lambda _: []).partition('<section id="checks"')[0]


@pytest.mark.parametrize("render", [render_markdown, page])
def test_a_report_begins_with_causes_and_their_fixes(render):
    shown = render(report(CAUSE, unexplained=("stop.kept",)))
    assert all(text in shown for text in EXPECTED)
    order = ["Likely cause", CAUSE.description, CAUSE.remedy, "The total is not the sum"]
    places = [shown.index(text) for text in order]
    assert places == sorted(places)
    assert HYPOTHESES in " ".join(shown.split())


def test_the_page_begins_with_the_fix():
    shown = page(report(CAUSE))
    order = [CAUSE.remedy, "<h2>Why", 'aria-label="Key figures"', 'id="findings"']
    places = [shown.index(text) for text in order]
    assert places == sorted(places)


def test_sources_follow_their_example():
    names = [name for name, _ in facts(CAUSE)]
    assert names == ["breaks", "known defect", "seen in", "seen in", "known defect"]


def test_a_note_of_the_markdown_report_is_not_part_of_the_last_cause():
    assert f"\n\n{HYPOTHESES}\n\n" in render_markdown(report(CAUSE))


def test_causes_without_examples_do_not_mention_them():
    shown = render_markdown(report(CAUSE.model_copy(update={"examples": ()})))
    assert HYPOTHESES in shown
    assert "known defect" not in shown
    assert "known defect" in render_markdown(report(CAUSE))


def test_findings_are_listed_under_their_cause():
    shown = render_markdown(report(CAUSE))
    assert shown.index("Findings of cause 1") < shown.index("`usage.sum` failed")
    assert NOT_EXPLAINED not in shown
    other = render_markdown(report(CAUSE.model_copy(update={"explains": ("usage.present",)})))
    assert "Findings of cause" not in other
    assert other.index(NOT_EXPLAINED) < other.index("`usage.sum` failed")


def test_the_heaviest_finding_comes_first_whatever_explains_it():
    example = finding("a/chat/non-streaming/1")
    few, many, most = (
        failed_rule(name, "failed", example).model_copy(
            update={"failures": hits, "applicable": 829, "counts": {"chat": (hits, 829)}}
        )
        for name, hits in (("tools.few", 1), ("stream.many", 300), ("reply.most", 604))
    )
    causes = [
        CAUSE.model_copy(update={"description": f"{name}!", "explains": (name,)})
        for name in ("tools.few", "stream.many")
    ]
    found = Diagnosis(causes=causes, unexplained=("reply.most",), worst_unexplained="reply.most")
    made = analysis(checks=(few, many, most), decision="fail").model_copy(
        update={"diagnosis": found}
    )
    for render in (printed, render_markdown, page):
        shown = render(build_report(made, "runs/mock"))
        causes = "stream.many!", "tools.few!"
        if render is not printed:
            causes = NO_CAUSE, *causes
        places = [shown.index(text) for text in causes]
        assert places == sorted(places)


def test_findings_without_a_cause_follow_errors_with_one():
    """Unless the diagnosis says that one of them is the heaviest."""
    example = finding("a/chat/non-streaming/1")
    few, many = (
        failed_rule(name, "failed", example).model_copy(update={"failures": hits})
        for name, hits in (("sampling.few", 1), ("numerics.many", 20))
    )
    cause = CAUSE.model_copy(update={"explains": ("sampling.few",)})
    found = Diagnosis(causes=[cause], unexplained=("numerics.many",))
    made = analysis(checks=(few, many), decision="fail").model_copy(update={"diagnosis": found})
    for render in (printed, render_markdown, page):
        shown = render(build_report(made, "runs/mock"))
        assert shown.index("sampling.few") < shown.index("numerics.many")


def test_the_terminal_shows_a_cause_and_its_fix():
    shown = printed(report(CAUSE))
    cause = "Likely cause of 1 error: The server counts tokens wrongly.\n  Fix: Add the counts.\n"
    assert cause in shown


@pytest.mark.parametrize("render", [render_markdown, page])
def test_a_report_states_that_the_worst_finding_has_no_known_cause(render):
    diagnosis = Diagnosis(causes=(), unexplained=("usage.sum",), worst_unexplained="usage.sum")
    made = build_report(failing().model_copy(update={"diagnosis": diagnosis}), "runs/mock")
    assert NO_CAUSE in " ".join(render(made).split())


@pytest.mark.parametrize("render", [printed, render_markdown, page])
def test_a_report_names_the_component_at_fault(render):
    component = ComponentFault(component="engine", text="The engine is at fault: chat fails, too.")
    diagnosis = Diagnosis(causes=(), unexplained=(), components=(component,))
    made = build_report(failing().model_copy(update={"diagnosis": diagnosis}), "runs/mock")
    shown = " ".join(render(made).split())
    assert component.text in shown
    assert NO_CAUSE not in shown
