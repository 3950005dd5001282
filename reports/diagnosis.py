"""The likely causes of a run's findings, and the next steps for the user. No I/O."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from urllib.parse import urlsplit

from harness.records.analysis import Analysis
from harness.records.diagnosis import Cause
from harness.records.runs import RetestInfo, RunInfo
from reports.model import Report, ShownRule, Status, count_statuses
from reports.text import counted

HYPOTHESES = "A cause is a hypothesis: check it against its findings."
NO_CAUSE = "The cause of the heaviest finding is not known."


@dataclass(frozen=True, slots=True)
class Group:
    """The findings of one likely cause, the heaviest first; without a cause, all others."""

    heading: str
    cause: Cause | None
    rules: tuple[ShownRule, ...]

    @property
    def title(self) -> str:
        """What the server does wrong."""
        return NO_CAUSE if self.cause is None else self.cause.sentence

    @property
    def anchor(self) -> str:
        """The heading as the id of an element: `findings-of-cause-1`."""
        return self.heading.lower().replace(" ", "-")

    @property
    def count(self) -> str:
        """The number of findings by severity: `5 errors, 1 warning`."""
        return severities(self.rules)


def severities(rules: Sequence[ShownRule], more: str = "") -> str:
    """Return the number of errors and warnings: `5 errors, 1 warning`; "" without any."""
    statuses = count_statuses(rules)
    names: tuple[tuple[Status, str], ...] = (("failed", "error"), ("warned", "warning"))
    return ", ".join(counted(statuses[e], more + name) for e, name in names if statuses[e])


def facts(cause: Cause) -> Iterator[tuple[str, str]]:
    """Yield the facts about a cause beyond its fix as names and values, without its findings.

    Its examples are known defects that fail the same rule; other defects can fail it too.
    """
    if cause.effect:
        yield "breaks", cause.effect
    for example in cause.examples:
        yield "known defect", example.description
        yield from (("seen in", source) for source in example.sources)


def notes(report: Report) -> Iterator[str]:
    """Yield sentences on the causes, and on the components at fault."""
    diagnosis = report.analysis.diagnosis
    if report.analysis.causes:
        yield HYPOTHESES
    if diagnosis is not None:
        yield from (component.text for component in diagnosis.components)


def groups(report: Report) -> list[Group]:
    """Return the findings by the cause that explains them, the heaviest finding first.

    A finding that several causes explain belongs to the first of them. Those that none explains
    follow errors with a cause, unless one of them is heavier than all of these.
    """
    left, made = list(report.findings), list[Group]()
    diagnosis = report.analysis.diagnosis
    late = diagnosis is not None and diagnosis.worst_unexplained is None
    for cause in report.analysis.causes:
        rules = tuple(rule for rule in left if rule.result.check.id in cause.explains)
        left = [rule for rule in left if rule not in rules]
        made.append(Group("Findings of cause {}", cause, rules))
    if left:
        alone = "Findings without a known cause" if made else "Findings"
        made.append(Group(alone, None, tuple(left)))
    late &= any(rule.status == "failed" for group in made if group.cause for rule in group.rules)
    made.sort(
        key=lambda group: (
            not group.rules,
            late and group.cause is None,
            *(rule.rank for rule in group.rules[:1]),
        )
    )
    number = count(1)
    return [
        replace(group, heading=group.heading.format(next(number))) if group.cause else group
        for group in made
    ]


def causes(report: Report) -> list[Group]:
    """Return the groups that have a cause, and the first one if its cause is not known."""
    diagnosis = report.analysis.diagnosis
    if diagnosis is None:
        return []
    unknown = diagnosis.worst_unexplained is not None
    return [g for at, g in enumerate(groups(report)) if g.cause or (unknown and not at)]


_PROBE = "gpt-oss-verify --provider NAME"


_PARTS = frozenset({"-n", "--only", "--skip"})  # options that choose a part of a run
_TRIES = frozenset({"-k", "--tries"})


def _whole_run(run: RunInfo) -> str:
    """Return the command of a complete run: what was typed, without the choice of a part.

    A single try of each case is such a part: it cannot pass. Without a typed one, a provider by
    address has its host and port as its name.
    """
    kept: list[str] = []
    words = iter(run.repeats)
    for word in words:
        name, _, value = word.partition("=")
        if word in _PARTS:
            next(words, None)
        elif word in _TRIES:
            value = next(words, "")
            kept += [] if value == "1" else [word, value]
        elif not (name in _PARTS or (name in _TRIES and value == "1")):
            kept.append(word)
    names = {"-p", "--provider", "--base-url"} & {word.partition("=")[0] for word in kept}
    if names and "--resume" not in kept:
        return shlex.join(kept)
    provider = run.provider
    if urlsplit(provider.base_url).netloc.replace(":", "-") != provider.name:
        return f"gpt-oss-verify --provider {shlex.quote(provider.name)}"
    return shlex.join(
        ["gpt-oss-verify", "--base-url", provider.base_url, "--model", provider.model]
    )


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
    rules = (rule for group in groups(report) for rule in group.rules)
    failed = [rule for rule in rules if rule.status == "failed"]
    varies = any(
        occasion.kind in ("under load", "intermittent")
        for cause in analysis.causes
        for occasion in cause.when
    )
    loaded = varies and analysis.complete and run.settings.concurrency > 1
    if loaded and run.retest is None and not run.of_kind("traffic"):
        yield Step(
            "Test whether it happens only under load:",
            f"gpt-oss-verify retest {folder} --concurrency 1",
        )
    elif failed:
        yield Step(
            "Reproduce a finding with the smallest request:",
            f"gpt-oss-verify reproduce {folder} {failed[0].result.check.id}{report.server}",
        )
    if not analysis.complete:
        only_evals = bool(run.tasks) and all(task.kind == "eval" for task in run.tasks)
        yield Step(
            "Finish the run with:",
            f"gpt-oss-verify{' eval' if only_evals else ''} --resume {folder}",
        )
    elif run.retest is not None:
        yield from _after_a_retest(analysis, run.retest)
    elif failed:
        if not run.of_kind("traffic"):
            yield Step(
                "After a fix, test whether its findings are gone:",
                f"gpt-oss-verify retest {folder}",
            )
    elif decision in ("pass", None) and analysis.evals:
        yield _after_evals(analysis, folder)
    elif decision == "pass":
        yield _after_a_pass(analysis)
    elif decision == "inconclusive":
        yield from _after_no_decision(analysis, folder)
    else:
        yield Step(_worst(analysis))


def _after_no_decision(analysis: Analysis, folder: str) -> Iterator[Step]:
    """Yield how a complete run can get a verdict, if more samples can settle it."""
    compared = [result.baseline and result.baseline.comparison for result in analysis.evals]
    settles = any(comparison and comparison.further_tries for comparison in compared)
    tries = analysis.verdict.enough_tries
    if settles and not analysis.run.settings.until_decided:
        yield Step("Sample until it is decided: repeat the run with --until-decided.")
    elif any(task.kind == "traffic" for task in analysis.run.tasks):
        yield Step("Record more traffic, or send tool calls and probes:", _PROBE)
    elif tries is not None or analysis.run.settings.first_cases is not None:
        if tries is not None:
            yield Step("Add tries to the run:", f"gpt-oss-verify --resume {folder} -k {tries}")
        if analysis.run.settings.first_cases is not None:
            what = "all cases" if analysis.run.settings.suite == "tools" else "all cases and probes"
            yield Step(f"Verify {what}:", _whole_run(analysis.run))
    elif any(each and each.baseline_too_uncertain for each in compared):
        yield Step(
            "Compare with a baseline of more tries, from a provider that you trust:",
            "gpt-oss-verify export RUN --format baseline",
        )


def _after_evals(analysis: Analysis, folder: str) -> Step:
    """Return the step after scores: a run that lacks grades is no baseline."""
    if any(result.rubric and result.rubric.grader_errors for result in analysis.evals):
        return Step("Ask again for the missing grades:", f"gpt-oss-verify grade {folder}")
    command = f"gpt-oss-verify export {folder} --format baseline"
    return Step("Create a baseline for other runs:", command)


def _after_a_pass(analysis: Analysis) -> Step:
    """Return what to test next after a pass without evals."""
    settings = analysis.run.settings
    if analysis.tool_calling and (settings.first_cases is not None or settings.skip):
        return Step("This run had a part of the suite. Verify all of it:", _whole_run(analysis.run))
    if analysis.tool_calling and settings.suite == "tools":
        return Step("Leave out --suite tools, so that probes test prompts, CoT, limits and more.")
    if analysis.tool_calling:
        return Step("In a new run, try --strict, or a higher --tries for narrower intervals.")
    if any(task.kind == "traffic" for task in analysis.run.tasks):
        return Step("Test more with tool calls and probes:", _PROBE)
    return Step("This run had no tool-calling cases; --suite tools has them.")


def _after_a_retest(analysis: Analysis, retest: RetestInfo) -> Iterator[Step]:
    """Yield the next step after a complete retest, which settles what this one left open.

    If tries of its findings cannot, because nothing shows them any more, a complete run does.
    """
    command = f"gpt-oss-verify retest {shlex.quote(retest.run)}"
    unclear = [e.enough for e in analysis.retest if e.decisive and e.status == "not verifiable"]
    settles = max(filter(None, unclear), default=0) if all(unclear) else 0
    if retest.concurrency is not None and analysis.verdict.decision != "fail":
        yield Step("Compare it with a retest under the load of the run:", command)
    elif analysis.verdict.decision == "pass":
        yield Step("Verify the provider again:", _whole_run(analysis.run))
    elif analysis.verdict.decision == "fail":
        yield Step("After the next fix:", command)
    elif settles:
        yield Step("Settle it with:", f"{command} -k {settles}")
    else:
        yield Step("More tries of it do not settle it; verify all:", _whole_run(analysis.run))


def _worst(analysis: Analysis) -> str:
    failures = [failed for result in analysis.results for failed in result.failures]
    if analysis.verdict.too_slow:
        return (
            f"Repeat it with less load than --concurrency {analysis.run.settings.concurrency}. "
            f"{analysis.verdict.too_slow[0]}"
        )
    if analysis.run.settings.findings_only:
        return "See whether the recording is enough for a PASS: import it with --verdict."
    if not failures:
        return "Inspect rollouts.jsonl, which contains every exchange as it was on the wire."
    worst = failures[0]
    return f"Start with sample {worst.sample}: record {worst.record} in rollouts.jsonl."
