"""`junit.xml`: the verdict, every check and every case as tests, for systems that show tests.

A run and its file agree: there is a failure or an error in the file exactly if the run did not
pass. So what a passing run tolerates, a case that failed now and then or a check that is allowed
to, is no failure of a test; it is told in the test's output.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from xml.etree import ElementTree as ET

from harness.records.judgements import Examination

from evals.results import CellResult, EvalAnalysis
from harness.records.analysis import Analysis, CheckResult, Decision
from harness.records.scores import Finding
from harness.text.plain import plain
from reports import eval_words, words
from reports.tries import Tries, Try

_LONGEST = 10_000
Result = Literal["passed", "failure", "error", "skipped"]


@dataclass
class Test:
    """One test case; `text` is the body of a failure, or the output of a test that passed."""

    place: str
    name: str
    result: Result = "passed"
    message: str = ""
    lines: list[str] = field(default_factory=list)


def render_junit(analysis: Analysis, judged: Iterable[Examination]) -> str:
    """The file of a smoke test."""
    passed = analysis.verdict.decision == "pass"
    suites = {
        "verdict": [_verdict(analysis.verdict.decision, analysis.verdict.reasons)],
        "checks": [_check(result, tolerant=passed) for result in analysis.checks],
    }
    by_group: dict[str, dict[str, list[Try]]] = defaultdict(lambda: defaultdict(list))
    for one in Tries(judged).every:
        by_group[one.group][one.row].append(one)
    for group in analysis.groups:
        suites[group.name] = [
            _case(case, tries, group.tries, tolerant=passed)
            for case, tries in by_group[group.name].items()
        ]
    return _file(suites)


def render_eval_junit(analysis: EvalAnalysis) -> str:
    """The file of an eval run: the verdict, and every cell."""
    decision = analysis.decision or "pass"
    return _file(
        {
            "verdict": [_verdict(decision, analysis.reasons)],
            "scores": [_cell(cell) for cell in analysis.cells],
        }
    )


def _verdict(decision: Decision, reasons: Sequence[str]) -> Test:
    results: Mapping[Decision, Result] = {
        "pass": "passed",
        "fail": "failure",
        "inconclusive": "error",
    }
    return Test("verdict", "verdict", results[decision], words.VERDICTS[decision], [*reasons])


def _check(result: CheckResult, *, tolerant: bool) -> Test:
    about = result.check
    found = Test(f"checks.{about.family}", about.id, lines=[about.summary])
    if result.reason is not None:
        found.lines.append(result.reason)
    if result.findings:
        found.lines.append(f"Seen in {words.share(result)}: {', '.join(result.groups)}.")
    for example in result.examples:
        found.lines += _evidence(example)
    if result.status == "failed" and not tolerant:
        found.result = "failure"
        found.message = result.examples[0].message if result.examples else about.summary
    elif result.status in ("not_verifiable", "skipped", "declared"):
        found.result = "skipped"
        found.message = result.reason or words.STATUSES[result.status]
    return found


def _case(case: str, tries: Sequence[Try], planned: int, *, tolerant: bool) -> Test:
    failed = [one for one in tries if not one.good]
    place = f"cases.{tries[0].group.replace(' · ', '.')}"
    head = f"{len(tries) - len(failed)} of {words.counted(planned, 'try', 'tries')} passed"
    found = Test(place, case, message=head, lines=[f"{head}."])
    for one in failed:
        found.lines.append(f"{one.record}: {one.kind}: {one.detail}")
        if one.expected is not None:
            found.lines += [f"  expected {one.expected}", f"  got {one.got or ''}"]
    if failed and not tolerant:
        found.result = "failure"
    return found


def _cell(cell: CellResult) -> Test:
    results: Mapping[Decision | None, Result] = {
        "pass": "passed",
        "fail": "failure",
        "inconclusive": "error",
        None: "passed",
    }
    return Test(
        f"scores.{cell.cell.eval}",
        eval_words.name(cell),
        results[cell.verdict.decision],
        cell.verdict.reason,
        [f"score {words.estimate(cell.score.estimate)} %", cell.verdict.reason],
    )


def _evidence(found: Finding) -> Iterator[str]:
    at = found.evidence
    event = "" if at.event is None else f", event {at.event}"
    path = "" if at.path is None else f", {at.path}"
    yield f"{at.record}, request {at.exchange + 1}{event}{path}: {found.message}"
    yield f"  expected {at.expected}"
    yield f"  got {at.got}"


def _file(suites: Mapping[str, Sequence[Test]]) -> str:
    every = [test for tests in suites.values() for test in tests]
    root = ET.Element("testsuites", {"name": "gpt-oss-verify", **_counts(every)})
    for name, tests in suites.items():
        if tests:
            suite = ET.SubElement(root, "testsuite", {"name": name, **_counts(tests)})
            for test in tests:
                _write(test, ET.SubElement(suite, "testcase"))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _counts(tests: Sequence[Test]) -> dict[str, str]:
    results = [test.result for test in tests]
    return {
        "tests": str(len(results)),
        "failures": str(results.count("failure")),
        "errors": str(results.count("error")),
        "skipped": str(results.count("skipped")),
    }


def _write(test: Test, element: ET.Element) -> None:
    element.set("classname", _legal(f"gpt-oss-verify.{test.place}"))
    element.set("name", _legal(test.name))
    text = _legal("\n".join(test.lines))
    if test.result == "passed":
        ET.SubElement(element, "system-out").text = text
        return
    message = _legal(test.message)
    if test.result == "skipped":
        ET.SubElement(element, "skipped", message=message)
    else:
        ET.SubElement(element, test.result, message=message, type=test.result).text = text


def _legal(text: str) -> str:
    """The text without what XML 1.0 forbids, and cut where it is very long."""
    return plain(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
