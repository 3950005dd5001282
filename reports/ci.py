"""The result of a run for CI systems: `junit.xml`, GitHub annotations and step outputs. No I/O.

`junit.xml` has the verdict, all rules, clients, samples and eval scores as tests. It has a failure
if and only if the run failed, and an error if and only if the tool did. A test that decided
nothing, such as the verdict of an inconclusive run, is skipped, with the reason. What a passing run
tolerates, such as a sample that failed once, is in the output of a passed test. The duration of a
sample or score is the time that the provider took for its attempts.

Class names have the provider and the model, so that the tests of two providers are different tests
for readers that know a test by its class and name, and the same test in the next run. The name of
a suite also has the run. Texts are CDATA, because some readers show entities as they stand.

Annotations are workflow commands on stdout (docs.github.com, "Workflow commands for GitHub
Actions"). Outputs go to the file that `GITHUB_OUTPUT` names.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal
from xml.dom import minidom

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from harness.records.analysis import Analysis, ClientResult, TaskResult
from harness.records.diagnosis import Cause
from harness.records.figures import Decision, verdict_name
from harness.records.scores import Finding, Score, never_blank
from harness.text import plain
from reports.diagnosis import groups
from reports.labels import Labels
from reports.model import CLIENT_STATUSES, Report, ShownRule
from reports.text import clipped, counted, estimate, share

_LONGEST = 10_000
_TEXTS = ("failure", "error", "system-out")
Result = Literal["passed", "failure", "error", "skipped"]
_RESULTS: Mapping[Decision | None, Result] = {
    "pass": "passed",
    "fail": "failure",
    "inconclusive": "skipped",
    None: "passed",
}


def render_junit(report: Report, scores: Iterable[Score]) -> str:
    """Render a report; reads the scores of all attempts once."""
    analysis = report.analysis
    labels = Labels(analysis)
    decision, reasons = analysis.verdict.decision, analysis.verdict.reasons
    outcome, sentence = _RESULTS[decision], ": ".join([report.verdict, *reasons[:1]])
    if analysis.verdict.internal_errors and decision != "fail":
        outcome = "error"
    passed = decision != "fail"
    problems: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    seconds: defaultdict[tuple[str, ...], float] = defaultdict(float)
    tasks = {result.task for result in analysis.tool_calling}
    for score in scores:
        place = score.task, labels.condition(score.task, score.condition)
        seconds[place] += _seconds(score)
        if score.task in tasks:
            problems[place][score.sample] += _problem(score)
            seconds[*place, score.sample] += _seconds(score)
    causes = {rule.result.check.id: g.cause for g in groups(report) for rule in g.rules}
    suites = {
        "verdict": [
            _test("verdict", "verdict", outcome, [sentence, *reasons[1:]], sentence),
        ],
        "checks": [
            _check(ShownRule(result), causes.get(result.check.id), tolerant=passed)
            for result in analysis.checks
        ],
        "clients": [_client(result, tolerant=passed) for result in analysis.clients],
    }
    for result in analysis.tool_calling:
        name = labels.condition(result.task, result.condition)
        tests = {
            sample: _sample(result, name, sample, lines, tolerant=passed)
            for sample, lines in problems[result.task, name].items()
        }
        for sample, test in tests.items():
            test.time = round(seconds[result.task, name, sample], 3)
        suites[name] = list(tests.values())
    suites["scores"] = []
    for result in analysis.evals:
        test = _score(result, labels.result(result), tolerant=passed)
        test.time = round(seconds[result.task, labels.condition(result.task, result.condition)], 3)
        suites["scores"].append(test)
    return _file(report, suites)


def _seconds(score: Score) -> float:
    """Return the time of all exchanges of an attempt; the last one may be incomplete."""
    times = [exchange.total for exchange in score.timing]
    if score.seconds is not None and score.seconds not in times[-1:]:
        times.append(score.seconds)
    return sum(times)


def _problem(score: Score) -> list[str]:
    """Return one text for an attempt that failed."""
    if score.outcome in ("success", "not_run"):
        return []
    text = f"{score.record}: {score.outcome}: {score.detail}"
    if score.expected is not None:
        text += f"\n  expected {score.expected}\n  got {never_blank(score.got or '')}"
    return [text]


def _check(rule: ShownRule, cause: Cause | None, *, tolerant: bool) -> TestCase:
    result, about = rule.result, rule.result.check
    lines = [about.summary, *filter(None, (result.reason, result.until))]
    if result.findings:
        lines.append(f"Seen in {rule.share}: {rule.occurrence}.")
    for example in result.examples:
        lines += _evidence(example)
    if cause is not None:
        lines += [f"likely cause: {cause.sentence}", f"fix: {cause.remedy}"]
    outcome: Result = "passed"
    message = result.examples[0].message if result.examples else about.summary
    if result.status == "failed" and not tolerant:
        outcome = "failure"
    elif result.status in ("not_verifiable", "skipped", "declared"):
        outcome, message = "skipped", result.reason or rule.label
    return _test(f"checks.{about.family}", about.id, outcome, lines, message)


def _client(result: ClientResult, *, tolerant: bool) -> TestCase:
    outcome: Result = "passed"
    if result.status == "not_verifiable":
        outcome = "skipped"
    elif result.status == "breaks" and not tolerant:
        outcome = "failure"
    label = f"{result.client} {CLIENT_STATUSES[result.status][0]} over {result.api}"
    parts = result.breaking or result.sometimes or result.not_verifiable
    message = f"{label}: {', '.join(parts)}" if parts else label
    return _test(f"clients.{result.api}", result.client, outcome, [message], message)


def _sample(
    result: TaskResult, name: str, sample: str, problems: Sequence[str], *, tolerant: bool
) -> TestCase:
    passed, made = result.cases[sample]
    planned = result.tries + result.further.get(sample, 0)
    head = f"{passed} of {counted(made, 'try', 'tries')} passed"
    if made < planned:
        head += f", {planned} planned"
    outcome: Result = "failure" if problems and not tolerant else "passed"
    if made < planned and not problems:
        outcome = "skipped"
    place = f"{result.task}.{name.replace(' · ', '.')}"
    return _test(place, sample, outcome, [f"{head}.", *problems], head)


def _score(result: TaskResult, name: str, *, tolerant: bool) -> TestCase:
    verdict = result.baseline
    reason = "" if verdict is None else verdict.reason
    score = "no score" if result.score is None else f"score {estimate(result.score.estimate)}%"
    outcome = _RESULTS[None if verdict is None or tolerant else verdict.decision]
    return _test(f"scores.{result.task}", name, outcome, [score, reason], reason)


def _evidence(finding: Finding) -> Iterator[str]:
    at = finding.evidence
    event = "" if at.event is None else f", event {at.event}"
    path = "" if at.path is None else f", {at.path}"
    other = "" if at.compared is None else f", compared with {at.compared} ({at.comparison})"
    yield f"{at.record}, request {at.exchange + 1}{event}{path}{other}: {finding.message}"
    yield f"  expected {at.expected}"
    yield f"  got {at.shown}"


def _test(place: str, name: str, outcome: Result, lines: Iterable[str], message: str) -> TestCase:
    """Return a test; the lines are the text of a failure or the output of a passed test."""
    case, text, short = TestCase(_legal(name), place), _legal("\n".join(lines)), _short(message)
    if outcome == "passed":
        case.system_out = text
    elif outcome == "skipped":
        case.result = [Skipped(short)]
    else:
        problem = (Failure if outcome == "failure" else Error)(short, outcome)
        problem.text = text
        case.result = [problem]
    return case


def _file(report: Report, suites: Mapping[str, Sequence[TestCase]]) -> str:
    run = report.analysis.run
    names = run.provider.name, run.provider.model, report.analysis.run_id
    properties = {
        **dict(zip(("provider", "model", "run"), names, strict=True)),
        "address": report.address,
        "verdict": report.verdict,
        "gpt-oss-verify": run.tool_version,
    }
    place = ".".join(["gpt-oss-verify", *(re.sub(r"[^\w-]", "_", name) for name in names[:2])])
    root = JUnitXml("gpt-oss-verify")
    for title, tests in suites.items():
        if not tests:
            continue
        suite = TestSuite(_short(" · ".join([*names, title])))
        suite.timestamp = run.started_at
        for name, value in properties.items():
            suite.add_property(name, _short(value))
        for test in tests:
            test.classname = _legal(f"{place}.{test.classname}")
        suite.add_testcases(list(tests))
        root.add_testsuite(suite)
    root.update_statistics()  # type: ignore[no-untyped-call]
    page: Any = minidom.parseString(root.tostring())  # type: ignore[no-untyped-call]  # noqa: S318
    page.documentElement.removeAttribute("skipped")  # not in the schema of Jenkins
    for element in (e for tag in _TEXTS for e in page.getElementsByTagName(tag) if e.firstChild):
        for part in re.split(r"(?<=]])(?=>)", element.removeChild(element.firstChild).data):
            element.appendChild(page.createCDATASection(part))
    text: bytes = page.toxml("utf-8")
    return text.decode() + "\n"


def _legal(text: str) -> str:
    """Return the text without characters that XML 1.0 forbids, cut if it is very long."""
    return plain(clipped(text, _LONGEST))


def _short(text: str) -> str:
    """Return the text as one line for an attribute, cut if it is long."""
    return _legal(clipped(" ".join(text.split()), _LONGEST_MESSAGE))


MOST_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings per step and silently drops the rest."""

_LONGEST_MESSAGE = 500
_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTY = _IN_MESSAGE | {":": "%3A", ",": "%2C"}

Level = Literal["error", "warning"]


def annotations(analysis: Analysis) -> list[str]:
    """Return the verdict unless it passes, then failed rules and warnings; at most ten lines."""
    return list(_annotations(analysis))[:MOST_ANNOTATIONS]


def annotation(level: Level, title: str, message: str) -> str:
    """Return an annotation on one line; its texts are escaped."""
    return f"::{level} title={_escaped(title, _IN_PROPERTY)}::{_escaped(message, _IN_MESSAGE)}"


def outputs(values: Mapping[str, str]) -> str:
    """Return the lines of `GITHUB_OUTPUT`; line breaks in values become spaces."""
    return "".join(f"{name}={' '.join(value.split())}\n" for name, value in values.items())


def _annotations(analysis: Analysis) -> Iterator[str]:
    verdict = analysis.verdict
    if verdict.decision not in ("pass", None):
        level: Level = "error" if verdict.decision == "fail" else "warning"
        title = f"gpt-oss-verify: {verdict_name(verdict.decision)}"
        causes = [f"Likely cause: {cause.sentence}" for cause in analysis.causes[:1]]
        yield annotation(level, title, " ".join([*verdict.reasons, *causes]))
    for rule in sorted(map(ShownRule, analysis.checks), key=lambda rule: rule.rank):
        if rule.status in ("failed", "warned"):
            level = "error" if rule.status == "failed" else "warning"
            example = next((example.message for example in rule.result.examples), "")
            about = rule.result.check
            yield annotation(level, about.id, f"{share(rule.result)}: {example} {about.source}")


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(char, char) for char in plain(clipped(text, _LONGEST_MESSAGE)))
