"""`report.md`: the report of a run, short enough for a comment on a pull request."""

from collections.abc import Iterator, Sequence

from harness.records.figures import BaselineInfo
from reports import diagnosis, markup
from reports.model import STATUSES, Failure, Report, ShownRule
from reports.text import clipped, percent, visible

_LONGEST_PROMPT = 2_000


def render_markdown(report: Report) -> str:
    """Render a report with as many examples of findings as fit, and cut it if it is too long."""
    text = ""
    for examples in (None, 1, 0):
        text = "\n".join(_lines(report, examples)) + "\n"
        if len(text) <= markup.MOST_CHARACTERS:
            break
    return markup.fitted(text)


def _lines(report: Report, examples: int | None) -> Iterator[str]:
    run = report.analysis.run
    yield from (
        f"# {report.verdict}: {markup.code(run.model)} on {markup.code(run.provider.name)}",
        "",
    )
    yield from (f"- {markup.prose(reason)}" for reason in report.analysis.verdict.reasons)
    yield from (f"- Note: {markup.prose(warning)}" for warning in report.warnings)
    yield ""
    yield from _causes(report)
    place = f"Model {markup.code(run.model)}, {markup.code(report.address)}"
    yield from (f"{place}, {run.started_at}. {markup.plain(report.size)}.", "")
    if report.regressions:
        yield from ("## Since the previous run", "")
        yield from (" ".join(map(markup.plain, report.regressions)), "")
    for group in diagnosis.groups(report):
        if group.rules:
            yield from (f"## {group.heading}", "")
            yield from (line for rule in group.rules for line in _finding(rule, examples))
    steps = list(diagnosis.next_steps(report, report.analysis.run_id))
    if steps:
        yield from ("## What to do next", "")
        for step in steps:
            command = "" if step.command is None else f" {markup.code(step.command)}"
            yield f"- {markup.prose(step.text)}{command}"
        yield ""
    for section in report.sections:
        yield from (f"## {section.title}", "", *markup.table(section.table))
        yield from (line for note in section.notes for line in (markup.plain(note), ""))
        yield from _failures(section.failures, section.failed)
        for table in section.details:
            yield from (f"### {markup.plain(table.title)}", "", *markup.table(table))
        for baseline in section.baselines:
            yield from _baseline(*baseline)
    yield from _rules(report)
    yield from _repeat(report)


def _causes(report: Report) -> Iterator[str]:
    """Yield the likely causes, each with its fix first."""
    if report.analysis.diagnosis is None:
        return
    yield from ("## Likely causes", "")
    for number, group in enumerate(diagnosis.causes(report), 1):
        yield f"{number}. **{markup.plain(group.title)}**"
        if group.cause is not None:
            yield f"   - fix: {markup.prose(group.cause.remedy)}"
            for name, text in diagnosis.facts(group.cause):
                yield f"   - {name}: {markup.prose(text)}"
    for note in diagnosis.notes(report):
        yield from ("", markup.prose(note))
    yield ""


def _rules(report: Report) -> Iterator[str]:
    """Yield the families of rules, and why some judged nothing or what a pass proves."""
    if not report.families:
        return
    yield from ("## Checks and probes", "", *markup.table(report.family_table()))
    for status in ("in_part", "passed", "not_verifiable", "skipped"):
        reasons: dict[tuple[str, str], list[str]] = {}
        for rule in report.rules:
            if rule.status == status and (rule.result.reason or status != "passed"):
                said = rule.result.reason or "", rule.result.until or ""
                reasons.setdefault(said, []).append(rule.result.check.id)
        for (reason, until), ids in reasons.items():
            listed = ", ".join(markup.code(id_) for id_ in sorted(ids))
            text = f"{STATUSES[status][1].capitalize()}: {listed}. {markup.prose(reason)}"
            text += f" {markup.prose(until)}" if until else ""
            yield text
            yield ""


def _finding(rule: ShownRule, examples: int | None) -> Iterator[str]:
    about, result = rule.result.check, rule.result
    yield from (f"### {rule.sign} `{about.id}` {rule.label} in {rule.share}", "")
    reason = markup.prose(result.reason or about.why)
    yield from (f"{about.summary} {reason} ([source]({about.source}))", "")
    yield from (f"Seen in {markup.plain(rule.occurrence)}.", "")
    for example in result.examples[:examples]:
        evidence = example.evidence
        place = f"{markup.code(evidence.record)}, request {evidence.exchange + 1}"
        if evidence.event is not None:
            place += f", event {evidence.event}"
        if evidence.path is not None:
            place += f", {markup.code(evidence.path)}"
        if evidence.compared is not None:
            other = markup.code(evidence.compared)
            place += f", compared with {other} ({markup.prose(evidence.comparison)})"
        yield f"- {place}: {markup.prose(example.message)}"
        yield f"  - expected {markup.code(evidence.expected)}"
        yield f"  - got {markup.code(evidence.shown)}"
    yield ""


def _failures(failures: Sequence[Failure], failed: int) -> Iterator[str]:
    if not failures:
        return
    of_all = f": the worst {len(failures)} of {failed}" if failed > len(failures) else ""
    yield from (f"### Failed samples{of_all}", "")
    for failure in failures:
        where = f"{markup.code(failure.sample)}, {markup.plain(failure.where)}"
        yield f"- **{failure.head}**: {where} ({failure.outcomes})"
        message = markup.plain(failure.message or failure.outcome)
        yield f"  - {markup.code(failure.record)}: {message}"
        for label, value in failure.pairs:
            yield f"  - {label} {markup.code(clipped(value, _LONGEST_PROMPT))}"
    yield ""


def _baseline(name: str, baseline: BaselineInfo) -> Iterator[str]:
    yield from (f"### Baseline of {markup.plain(name)}", "")
    yield from (f"{markup.plain(baseline.name)}: {markup.plain(baseline.explanation)}", "")
    for figure in baseline.figures:
        more = [figure.hardware, figure.note, figure.tries and f"{figure.tries} tries"]
        note = "; ".join(markup.plain(str(part)) for part in more if part)
        where = markup.plain(figure.where)
        yield f"- {percent(figure.value)}%: {where}{f' ({note})' if note else ''}"
    yield ""


def _repeat(report: Report) -> Iterator[str]:
    yield from ("## Repeat this run", "", "```sh", visible(report.summary.command), "```", "")
    yield from (f"The result in one line: {markup.code(report.summary.line)}", "")
    yield from (f"- {markup.plain(name)}: {markup.code(value)}" for name, value in report.facts)
    run = report.analysis.run_id
    yield f"- records: {markup.code(f'{run}/rollouts.jsonl')}, every exchange as it was on the wire"
