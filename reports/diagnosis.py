"""The likely causes of a run's findings, and the next steps for the user. No I/O."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.records.analysis import Analysis
from harness.records.diagnosis import Cause
from harness.records.runs import RetestInfo
from reports.model import Report, ShownRule

HYPOTHESES = "A cause is a hypothesis: check it against its findings."
EXAMPLES = "The examples are known defects that fail the same rule; other defects can fail it too."


def facts(cause: Cause) -> Iterator[tuple[str, str]]:
    """Yield the facts about a cause as names and values, without the findings that it explains."""
    yield from (("or", title) for title in cause.alternatives)
    for example in cause.examples:
        yield "example", example.description
        yield from (("seen in", source) for source in example.sources)
    yield "breaks", cause.effect
    yield "fix", cause.remedy


def unknown(report: Report) -> Iterator[str]:
    """Yield a sentence on the worst finding if it has no cause, with the server's own text."""
    found = report.analysis.diagnosis
    for result in report.analysis.checks:
        if found is not None and result.check.id == found.worst_unexplained and result.examples:
            first = result.examples[0]
            got = " ".join(first.evidence.got.split())[:_MOST_QUOTED]
            yield f"No known cause: {result.check.id}, {result.share}. {first.message} Got: {got}"


def notes(report: Report) -> Iterator[str]:
    """Yield sentences on findings without a cause, the causes, and the components at fault."""
    yield from unknown(report)
    causes = report.analysis.causes
    if causes:
        yield f"{HYPOTHESES} {EXAMPLES}" if any(e.examples for e in causes) else HYPOTHESES
    if report.analysis.diagnosis is not None:
        yield from (component.text for component in report.analysis.diagnosis.components)


def by_cause(report: Report) -> Iterator[tuple[str, Sequence[ShownRule]]]:
    """Return titles and rules with findings: by the cause that explains them, then the others."""
    unassigned = list(report.findings)
    for number, cause in enumerate(report.analysis.causes, 1):
        if rules := [rule for rule in unassigned if rule.result.check.id in cause.explains]:
            yield f"Findings of cause {number}", rules
        unassigned = [rule for rule in unassigned if rule not in rules]
    if unassigned:
        yield "Other findings" if report.analysis.causes else "Findings", unassigned


_MOST_QUOTED = 120  # characters of a server's text


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: a sentence, and the command for it if there is one."""

    text: str
    command: str | None = None

    @property
    def line(self) -> str:
        """The sentence and the command on one line."""
        return self.text if self.command is None else f"{self.text} {self.command}"


def next_steps(report: Report, folder: str) -> Iterator[Step]:
    """Yield the next steps for the user, in order; `folder` is the run folder in commands."""
    analysis, folder = report.analysis, shlex.quote(folder)
    run, decision = analysis.run, analysis.verdict.decision
    rules = (rule for _, group in by_cause(report) for rule in group)
    failed = [rule for rule in rules if rule.status == "failed"]
    if failed:
        example = failed[0].result.check.id
        yield Step(
            "Reproduce a finding with the smallest request:",
            f"gpt-oss-verify reproduce {folder} {example}",
        )
    if not analysis.complete:
        only_evals = bool(run.tasks) and all(task.kind == "eval" for task in run.tasks)
        command = "gpt-oss-verify eval" if only_evals else "gpt-oss-verify"
        yield Step("Finish the run with:", f"{command} --resume {folder}")
    elif run.retest is not None:
        yield from _after_a_retest(analysis, run.retest)
    elif run.shard is not None:
        yield Step("Merge all shards with:", f"gpt-oss-verify merge {folder} RUN …")
    elif failed:
        if not run.of_kind("traffic"):
            command = f"gpt-oss-verify retest {folder}"
            yield Step("After a fix, test whether its findings are gone:", command)
    elif decision in ("pass", None) and analysis.evals:
        command = f"gpt-oss-verify export {folder} --format baseline"
        yield Step("Create a baseline for other runs:", command)
    elif decision == "pass":
        yield _after_a_pass(analysis)
    elif decision == "inconclusive":
        yield _after_no_decision(analysis, folder)
    else:
        yield Step(_worst(analysis))


def _after_no_decision(analysis: Analysis, folder: str) -> Step:
    """Return how a complete run can get a verdict."""
    missing = "The reasons state what is missing"
    compared = [result.baseline and result.baseline.comparison for result in analysis.evals]
    settles = any(comparison and comparison.further_tries for comparison in compared)
    if settles and not analysis.run.settings.until_decided:
        return Step(f"{missing}; --until-decided samples until it is enough.")
    if any(task.kind == "traffic" for task in analysis.run.tasks):
        return Step(f"{missing}.")
    if (tries := analysis.verdict.enough_tries) is None:
        return Step(f"{missing}.")
    command = f"gpt-oss-verify --resume {folder} -k {tries}"
    return Step("Add tries, without repeating any:", command)


def _after_a_pass(analysis: Analysis) -> Step:
    """Return what to test next after a pass without evals."""
    if analysis.tool_calling:
        return Step("Try --strict, or a higher --tries for narrower intervals.")
    if any(task.kind == "traffic" for task in analysis.run.tasks):
        return Step("Test more with tool calls and probes:", "gpt-oss-verify --provider NAME")
    return Step("This run had no tool-calling cases; --suite tools has them.")


def _after_a_retest(analysis: Analysis, retest: RetestInfo) -> Iterator[Step]:
    """Yield the next step after a complete retest."""
    command = f"gpt-oss-verify retest {shlex.quote(retest.run)}"
    tries = [one.enough or 0 for one in analysis.retest if one.status == "not verifiable"]
    if analysis.verdict.decision == "pass":
        yield Step("A retest does not replace a complete run; verify the provider again.")
    elif analysis.verdict.decision == "fail":
        yield Step("After another fix:", command)
    elif max(tries, default=0) > 0:
        yield Step("Settle it with:", f"{command} -k {max(tries)}")
    else:
        yield Step("Repeat it with:", command)


def _worst(analysis: Analysis) -> str:
    failures = [failed for result in analysis.results for failed in result.failures]
    if not failures:
        return "Inspect rollouts.jsonl, which contains every exchange as it was on the wire."
    worst = failures[0]
    return f"Start with sample {worst.sample}: record {worst.record} in rollouts.jsonl."
