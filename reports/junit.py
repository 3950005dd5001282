"""`junit.xml`: the verdict, all checks, all samples and all eval scores as tests for CI systems.

The file has a failure or an error exactly if the run did not pass. What a passing run tolerates,
such as a sample that failed once, is in the output of a passed test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from harness.records.analysis import Decision, TaskResult
from harness.records.scores import Finding, Score
from harness.text.plain import plain
from reports.labels import Labels
from reports.model import Report, Rule
from reports.text import clipped, counted, estimate

_LONGEST = 10_000
Result = Literal["passed", "failure", "error", "skipped"]
_RESULTS: Mapping[Decision | None, Result] = {
    "pass": "passed",
    "fail": "failure",
    "inconclusive": "error",
    None: "passed",
}


@dataclass
class _Test:
    """One test; `lines` are the body of a failure or the output of a passed test."""

    place: str
    name: str
    result: Result = "passed"
    message: str = ""
    lines: list[str] = field(default_factory=list)


@dataclass
class _Attempts:
    """The attempts at one sample under one condition: how many passed, and why others failed."""

    passed: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, score: Score) -> None:
        if score.outcome == "success":
            self.passed += 1
            return
        self.lines.append(f"{score.record}: {score.outcome}: {score.detail}")
        if score.expected is not None:
            self.lines += [f"  expected {score.expected}", f"  got {score.got or ''}"]


def render_junit(report: Report, scores: Iterable[Score]) -> str:
    """Render a report.

    Args:
        report: The report.
        scores: The scores of all attempts; read once.
    """
    analysis = report.analysis
    labels = Labels(analysis)
    passed = report.decision in ("pass", None)
    suites = {
        "verdict": [_verdict(report)],
        "checks": [_check(Rule(result), tolerant=passed) for result in analysis.checks],
    }
    attempts: dict[tuple[str, str], dict[str, _Attempts]] = defaultdict(dict)
    tasks = {result.task for result in analysis.tool_calling}
    for score in scores:
        if score.task in tasks:
            place = score.task, labels.condition(score.task, score.condition)
            attempts[place].setdefault(score.sample, _Attempts()).add(score)
    for result in analysis.tool_calling:
        name = labels.condition(result.task, result.condition)
        suites[name] = [
            _sample(f"{result.task}.{name.replace(' · ', '.')}", sample, found, result, passed)
            for sample, found in attempts[result.task, name].items()
        ]
    suites["scores"] = [
        _score(result, labels.result(result), tolerant=passed) for result in analysis.evals
    ]
    return _file(suites)


def _verdict(report: Report) -> _Test:
    result = _RESULTS[report.decision]
    return _Test("verdict", "verdict", result, report.verdict, [*report.reasons])


def _check(rule: Rule, *, tolerant: bool) -> _Test:
    result, about = rule.result, rule.result.check
    test = _Test(f"checks.{about.family}", about.id, lines=[about.summary])
    if result.reason is not None:
        test.lines.append(result.reason)
    if result.findings:
        test.lines.append(f"Seen in {rule.share}: {', '.join(result.groups)}.")
    for example in result.examples:
        test.lines += _evidence(example)
    if result.status == "failed" and not tolerant:
        test.result = "failure"
        test.message = result.examples[0].message if result.examples else about.summary
    elif result.status in ("not_verifiable", "skipped", "declared"):
        test.result = "skipped"
        test.message = result.reason or rule.label
    return test


def _sample(
    place: str, sample: str, attempts: _Attempts, result: TaskResult, tolerant: bool
) -> _Test:
    head = f"{attempts.passed} of {counted(result.tries, 'try', 'tries')} passed"
    test = _Test(place, sample, message=head, lines=[f"{head}.", *attempts.lines])
    if attempts.lines and not tolerant:
        test.result = "failure"
    return test


def _score(result: TaskResult, name: str, *, tolerant: bool) -> _Test:
    verdict = result.baseline
    reason = "" if verdict is None else verdict.reason
    score = "no score" if result.score is None else f"score {estimate(result.score.estimate)} %"
    decided = _RESULTS[None if verdict is None or tolerant else verdict.decision]
    return _Test(f"scores.{result.task}", name, decided, reason, [score, reason])


def _evidence(found: Finding) -> Iterator[str]:
    at = found.evidence
    event = "" if at.event is None else f", event {at.event}"
    path = "" if at.path is None else f", {at.path}"
    yield f"{at.record}, request {at.exchange + 1}{event}{path}: {found.message}"
    yield f"  expected {at.expected}"
    yield f"  got {at.got}"


def _file(suites: Mapping[str, list[_Test]]) -> str:
    root = JUnitXml("gpt-oss-verify")
    for name, tests in suites.items():
        if tests:
            suite = TestSuite(_legal(name))
            suite.add_testcases([_case(test) for test in tests])
            root.add_testsuite(suite)
    root.update_statistics()  # type: ignore[no-untyped-call]
    text: bytes = root.tostring()  # type: ignore[no-untyped-call]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text.decode()}\n'


def _case(test: _Test) -> TestCase:
    case = TestCase(_legal(test.name), _legal(f"gpt-oss-verify.{test.place}"))
    text, message = _legal("\n".join(test.lines)), _legal(test.message)
    if test.result == "passed":
        case.system_out = text
    elif test.result == "skipped":
        case.result = [Skipped(message)]
    else:
        outcome = (Failure if test.result == "failure" else Error)(message, test.result)
        outcome.text = text
        case.result = [outcome]
    return case


def _legal(text: str) -> str:
    """The text without characters that XML 1.0 forbids, cut if it is very long."""
    return plain(clipped(text, _LONGEST))
