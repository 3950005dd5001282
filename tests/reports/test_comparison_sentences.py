"""The order of a comparison: verdicts, causes and checks, then statistics."""

from harness.compare.comparison_types import (
    SCORES,
    Changes,
    CheckChange,
    ComparedEntry,
    ComparedRow,
    Comparison,
    Measured,
)
from harness.statistics.differences import Difference
from reports.comparison import sections, summary

CAUSE = "The server drops the chain of thought."


def check(name, *statuses):
    cells = [
        None if status is None else Measured(status=status, hits=2, total=4) for status in statuses
    ]
    return ComparedRow(section="Checks: cot", name=name, unit="status", cells=tuple(cells),
               differences=(None,) * len(cells), differs=False)  # fmt: skip


def rate(group, value=0.0, seen="none"):
    found = Difference(
        value=value, low=value - 0.1, high=value + 0.1, p=1.0, adjusted=1.0, seen=seen,
        detectable=0.41, pairs=6,
    )  # fmt: skip
    return ComparedRow(section="Pass rates", name="pass@1", group=group, unit="share",
               cells=(Measured(value=1.0),) * 2, differences=(None, found),
               differs=False)  # fmt: skip


def comparison(*rows, causes=(), **changes):
    def entry(label, decision, causes=()):
        return ComparedEntry(
            label=label,
            kind="run",
            provider="p",
            model="m",
            decision=decision,
            reason="gpqa is too low.",
            causes=causes,
        )

    return Comparison(
        tool_version="1",
        against="a",
        entries=(entry("a", "pass"), entry("b", "fail", causes)),
        rows=rows,
        tested=4,
        changes=(Changes(label="b", **changes),),
    )


def part(found, title):
    return next(each for each in sections(found, most_checks=9) if each.title == title)


def test_the_summary_begins_with_verdicts_causes_and_failing_checks():
    rows = [check("cot.used", None, "failed"), check("cot.raw", "passed", "passed"), rate("chat")]
    assert list(summary(comparison(*rows, causes=(CAUSE,)))) == [
        "a (reference): PASS. No check fails.",
        f"b: FAIL. Likely cause: {CAUSE} 1 check fails: cot.used.",
        "1 check ran only in b; 1 failed.",
        "The pass rates of b and a do not differ by more than chance. Only a difference of more "
        "than 41 points would have been detected with 6 samples.",
    ]


def test_a_run_without_a_baseline_is_scored_and_its_scores_are_compared():
    found = comparison(rate("chat").model_copy(update={"section": SCORES}))
    entries = [entry.model_copy(update={"decision": None}) for entry in found.entries]
    first, second, third = summary(found.model_copy(update={"entries": tuple(entries)}))
    assert (first, second) == ("a (reference): SCORED.", "b: SCORED.")
    assert third.startswith("The scores of b and a do not differ")


def test_checks_that_fail_on_both_sides_are_marked_as_common():
    found = comparison(check("cot.used", "failed", "failed"), check("cot.raw", "failed", "passed"))
    assert "b: FAIL. 1 check fails: cot.used. The reference fails 1 of them too." in summary(found)


def test_a_failing_check_is_shown_even_if_the_other_side_did_not_test_it():
    found = comparison(check("cot.used", None, "failed"), check("cot.raw", "passed", "passed"))
    (row,) = part(found, "Checks that fail or differ").table.rows
    assert (row.label, [cell.text for cell in row.cells]) == ("cot.used", ["–", "✕ 2 of 4"])


def test_a_verdict_without_failing_checks_is_shown_with_its_reason():
    first, second, _ = summary(comparison(check("cot.raw", "passed", "passed"), rate("chat")))
    assert first == "a (reference): PASS. No check fails."
    assert second == "b: FAIL. gpqa is too low."


def test_equal_differences_are_one_sentence():
    rows = [rate("chat"), rate("responses"), rate("other", value=-0.5, seen="worse")]
    same, worse = part(comparison(*rows), "Differences").notes
    assert same.startswith("chat pass@1, responses pass@1: no difference found")
    assert worse.startswith("▼ other pass@1: worse: -50.0 points")


def test_checks_that_the_reference_fails_and_others_pass_are_fixed():
    rows = [check("cot.used", "failed", "passed"), check("cot.raw", "failed", None)]
    one = CheckChange(
        id="cot.used", before="failed", after="passed", here={"": (0, 4)}, there={"": (2, 4)},
        beyond_chance=False,
    )  # fmt: skip
    found = comparison(*rows, fixed=(one,))
    assert "b fixes 1 check that the reference fails: cot.used." in summary(found)
    part = {"streaming": (6, 6), "non-streaming": (0, 6)}
    untested = one.model_copy(update={"there": part, "here": {"non-streaming": (0, 1)}})
    assert untested.untested == ("streaming",)
    said = summary(comparison(*rows, untested=(untested,)))
    assert "b was not tested for cot.used in streaming, where the reference fails." in said
    assert not [sentence for sentence in said if "b fixes" in sentence]
