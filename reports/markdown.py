"""`report.md`: the analysis of a run for people, small enough for a pull-request comment."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from evals.comparison.records import News
from harness.records.analysis import Analysis, CheckResult, CheckStatus, WorstCase
from reports import markup, news_words, words

_HEADS: Mapping[CheckStatus, str] = {
    "failed": "Errors",
    "warned": "Warnings",
    "declared": "Declared by the provider",
    "passed": "For information",
}


_LONGEST_PROMPT = 2_000
_IN_ONE_LINE = ("max invalid", "min pass at k", "min pass hat k")
"""Thresholds that are told together, and once more alone where they are not the defaults."""


def render_markdown(analysis: Analysis, news: News | None = None) -> str:
    """The report, with fewer examples of findings where it would be too long, and at last cut.

    Args:
        analysis: What to report.
        news: What is new since the run before.
    """
    text = ""
    for examples in (None, 1, 0):
        text = "\n".join(_lines(analysis, news, examples)) + "\n"
        if len(text) <= markup.MOST_CHARACTERS:
            break
    return markup.fitted(text)


def _lines(analysis: Analysis, news: News | None, examples: int | None) -> Iterator[str]:
    provider = analysis.run.provider
    verdict = analysis.verdict
    yield f"# {words.VERDICTS[verdict.decision]}: gpt-oss on {markup.code(provider.name)}"
    yield ""
    yield from (f"- {reason}" for reason in verdict.reasons)
    yield ""
    place = f"Model {markup.code(provider.model)}, {markup.code(words.address(provider))}"
    yield f"{place}, {analysis.run.started_at}. {words.size(analysis)}."
    yield ""
    yield from _table(analysis)
    yield from _checks(analysis.checks)
    yield from _findings(words.found(analysis.checks), examples)
    yield from _worst(analysis.worst_cases)
    if news is not None:
        yield from _news(news)
    yield from _repeat(analysis)


def _table(analysis: Analysis) -> Iterator[str]:
    if not analysis.groups:
        return
    yield "## Results"
    yield ""
    yield markup.row(["", *(group.name for group in analysis.groups)])
    yield markup.row(["---", *("---:" for _ in analysis.groups)])
    for label, cells in words.rows(analysis.groups):
        yield markup.row([label, *cells])
    yield ""
    yield (
        "Every planned attempt is in the denominator. pass@k: at least one of k tries passes; "
        "pass^k: all k do. In brackets the 95 % interval, cases as clusters. An attempt is invalid "
        "if a reply could not be read or an error was found in one."
    )
    yield ""


def _checks(results: Sequence[CheckResult]) -> Iterator[str]:
    head, *rows = words.families(results)
    yield "## Checks"
    yield ""
    yield markup.row(head)
    yield markup.row(["---", *("---:" for _ in head[1:])])
    yield from map(markup.row, rows)
    yield ""
    for status in ("not_verifiable", "skipped"):
        reasons: dict[str, list[str]] = {}
        for result in results:
            if result.status == status:
                reasons.setdefault(result.reason or "", []).append(f"`{result.check.id}`")
        for reason, ids in reasons.items():
            yield f"{words.STATUSES[status].capitalize()}: {', '.join(ids)}. {markup.plain(reason)}"
            yield ""


def _findings(found: Sequence[CheckResult], examples: int | None) -> Iterator[str]:
    for status, head in _HEADS.items():
        chosen = [result for result in found if result.status == status]
        if not chosen:
            continue
        yield f"## {head}"
        yield ""
        for result in chosen:
            yield from _finding(result, examples)


def _finding(finding: CheckResult, examples: int | None) -> Iterator[str]:
    about = finding.check
    yield f"### `{about.id}` in {words.share(finding)}"
    yield ""
    yield f"{about.summary} {finding.reason or about.why} ([source]({about.source}))"
    yield ""
    yield f"Seen in: {', '.join(finding.groups)}."
    yield ""
    for example in finding.examples[:examples]:
        evidence = example.evidence
        place = f"{markup.code(evidence.record)}, request {evidence.exchange + 1}"
        if evidence.event is not None:
            place += f", event {evidence.event}"
        if evidence.path is not None:
            place += f", {markup.code(evidence.path)}"
        yield f"- {place}: {markup.plain(example.message)}"
        yield f"  - expected {markup.code(evidence.expected)}"
        yield f"  - got {markup.code(evidence.got)}"
    yield ""


def _worst(cases: Sequence[WorstCase]) -> Iterator[str]:
    if not cases:
        return
    yield "## Worst cases"
    yield ""
    for case in cases:
        outcomes = ", ".join(f"{kind} {count}" for kind, count in case.outcomes.items())
        head = f"{case.passed} of {case.tries} passed"
        yield f"- **{head}**: {markup.code(case.sample)}, {case.group} ({outcomes})"
        yield f"  - prompt {markup.code(_shown(case.prompt))}"
        yield f"  - {markup.code(case.record)}: {markup.plain(case.example.detail)}"
        if case.example.expected is not None:
            yield f"  - expected {markup.code(case.example.expected)}"
            yield f"  - got {markup.code(case.example.got or '')}"
    yield ""


def _shown(prompt: str) -> str:
    return prompt if len(prompt) <= _LONGEST_PROMPT else f"{prompt[:_LONGEST_PROMPT]}…"


def _news(news: News) -> Iterator[str]:
    yield "## Since the run before"
    yield ""
    yield " ".join(map(markup.plain, news_words.sentences(news)))
    yield ""


def _repeat(analysis: Analysis) -> Iterator[str]:
    run = analysis.run
    thresholds = analysis.verdict.thresholds
    yield "## To repeat this run"
    yield ""
    yield "```sh"
    yield words.visible(shlex.join(run.command))
    yield "```"
    yield ""
    settings = {
        name: value
        for name, value in run.settings.model_dump(mode="json").items()
        if value not in (None, []) and name not in ("thresholds", "budget")
    }
    for name, value in settings.items():
        yield f"- {name}: {markup.code(str(value))}"
    yield (
        f"- thresholds: at most {thresholds.max_invalid} invalid, "
        f"pass@k above {thresholds.min_pass_at_k * 100:g}%, "
        f"pass^k above {thresholds.min_pass_hat_k * 100:g}%"
    )
    given = [*words.gate(thresholds), *words.gate(run.settings.budget)]
    yield from (f"- {n}: {markup.plain(v)}" for n, v in given if n not in _IN_ONE_LINE or "(" in v)
    yield f"- cases: {markup.code(run.cases_file)} (sha256 {run.cases_sha256[:16]}…)"
    yield f"- tools: {markup.code(run.tools_file)} (sha256 {run.tools_sha256[:16]}…)"
    versions = ", ".join(f"{name} {value}" for name, value in run.versions.items())
    yield f"- gpt-oss-verify {run.tool_version}; {versions}"
    yield f"- records: `{analysis.run_id}/rollouts.jsonl`, every exchange as it was on the wire"
    if (seal := words.seal(run.seals)) is not None:
        yield f"- seal: `{seal}`, to which `gpt-oss-verify audit RUN --seal …` holds the records"
