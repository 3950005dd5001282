"""Builds the report of a run from its analysis. No I/O."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase

from harness.compare.key_figures import result_summary, worst_figures
from harness.records.analysis import Analysis, FailedSample, TaskResult
from harness.records.families import short_title
from harness.records.runs import ProviderInfo, RunInfo, TaskInfo
from harness.records.scores import RuleKind, never_blank
from harness.records.settings import Limits, Thresholds
from harness.text import percentage
from reports.labels import Labels
from reports.model import REPORTED, Failure, Family, Report, Section, ShownRule, Tile, rules_passed
from reports.rescored import reading_section
from reports.results import (
    clients_table,
    evals_summary,
    evals_table,
    outcome_name,
    retest_section,
    rubric_table,
    tool_calling_summary,
    tool_calling_table,
)
from reports.text import address, counted, interval, percent, sample_label, setting, spread

SAMPLE_DATA = (
    "The sample questions that ship with the tool only show that the setup works. "
    "No published score refers to them."
)
CLIENTS_NOTE = (
    "A client works if the server accepts and understands the forms of requests that it sends by "
    "default. `gpt-oss-verify checks --family clients` lists all forms."
)
_MADE = (
    "made by a client, a tracer or a gateway, not bytes of the server: framing, fields and absent "
    "CoT are not judged"
)
OWN_DATA = "These are not all of the published questions. No published score refers to them."
Texts = Mapping[tuple[str, str], str]
Fact = tuple[str, str]


def build_report(
    analysis: Analysis,
    folder: str,
    *,
    regressions: Sequence[str] = (),
    texts: Texts | None = None,
    server: str = "",
) -> Report:
    """Build the report that all formats are rendered from.

    `folder` is the run folder as commands on the terminal name it; reports in files name only the
    run. `regressions` has a sentence for each change since the previous run, `texts` the prompts
    and questions, `server` options that commands need to find the server.
    """
    run = analysis.run
    labels = Labels(analysis)
    verdicts = [result.baseline for result in analysis.evals if result.baseline is not None]
    return Report(
        analysis=analysis,
        folder=folder,
        warnings=(
            *analysis.verdict.warnings,
            *dict.fromkeys(warning for v in verdicts for warning in v.warnings),
        ),
        regressions=tuple(regressions),
        address=address(run.provider),
        size=_size(analysis, labels),
        tiles=(
            *_rule_tiles(analysis),
            *_tool_calling_tiles(analysis),
            *_eval_tiles(analysis, labels),
        ),
        families=_families(analysis),
        sections=tuple(_sections(analysis, labels, texts or {})),
        summary=result_summary(analysis),
        facts=tuple(_facts(run, analysis.verdict.thresholds)),
        server=server,
        texts=texts or {},
    )


def _guide(analysis: Analysis) -> Iterator[str]:
    """Yield the decision of the rule in OpenAI's guide, and its false-alarm rate."""
    rule, thresholds = analysis.verdict.guide, analysis.verdict.thresholds
    if rule is not None:
        yield (
            f"OpenAI's guide requires pass@{rule.k} above {thresholds.min_pass_at_k * 100:g}% and "
            f"pass^{rule.k} above {thresholds.min_pass_hat_k * 100:g}% under every condition: "
            f"{rule.decision}. With this number of tries, the rule fails "
            f"{percentage(rule.false_alarm)} of providers whose tries succeed "
            f"{percentage(rule.rate)} of the time."
        )


def _families(analysis: Analysis) -> tuple[Family, ...]:
    """Return the families of rules, those with failures first."""
    grouped: dict[str, list[ShownRule]] = defaultdict(list)
    for result in analysis.checks:
        grouped[result.check.family].append(ShownRule(result))
    families = [
        Family(name, short_title(name), tuple(sorted(rules, key=lambda rule: rule.rank)))
        for name, rules in grouped.items()
    ]
    last = len(REPORTED)
    return tuple(sorted(families, key=lambda family: min(last, family.rules[0].rank[0])))


def _sections(analysis: Analysis, labels: Labels, texts: Texts) -> Iterator[Section]:
    if analysis.run.retest is not None:
        yield retest_section(analysis, analysis.run.retest)
    if results := analysis.tool_calling:
        yield Section(
            title="Tool calling",
            table=tool_calling_table(results, labels),
            summary=tool_calling_summary(results, labels),
            notes=tuple(_guide(analysis)),
            failures=tuple(_failures(results, labels, texts)),
            failed=sum(result.failed for result in results),
        )
    if results := analysis.evals:
        named = {labels.result(result): result for result in results}
        yield Section(
            title="Evals",
            table=evals_table(results, labels),
            summary=evals_summary(results, labels),
            notes=tuple(_eval_notes(named)),
            details=tuple(t for name, result in named.items() for t in rubric_table(result, name)),
            baselines=tuple(
                (name, result.baseline.baseline)
                for name, result in named.items()
                if result.baseline is not None and result.baseline.baseline is not None
            ),
            failures=tuple(_failures(results, labels, texts)),
            failed=sum(result.failed for result in results),
        )
    if analysis.rescored is not None:
        yield reading_section(analysis.rescored)
    if analysis.clients:
        yield Section(title="Clients", table=clients_table(analysis.clients), notes=(CLIENTS_NOTE,))


def _eval_notes(named: Mapping[str, TaskResult]) -> Iterator[str]:
    samples = [
        result.dataset for result in named.values() if result.dataset and result.dataset.sample
    ]
    if any(dataset.shipped for dataset in samples):
        yield SAMPLE_DATA
    if not all(dataset.shipped for dataset in samples):
        yield OWN_DATA
    for name, result in named.items():
        if (rubric := result.rubric) is not None:
            axes = ", ".join(f"{axis} {f.mean * 100:.0f}" for axis, f in rubric.axes.items())
            graded = f"{rubric.items - rubric.ungraded_items:,} of {rubric.items:,} rubric items"
            nothing = f"; {counted(rubric.unanswered, 'attempt')} had no answer to grade"
            yield (
                f"{name}: {graded} were graded by {result.grader or 'no grader'}"
                f"{nothing if rubric.unanswered else ''}. Scores by axis in %: {axes or 'none'}."
            )


def _failures(results: Sequence[TaskResult], labels: Labels, texts: Texts) -> Iterator[Failure]:
    failures = [(result, failed) for result in results for failed in result.failures]
    for result, failed in sorted(failures, key=lambda pair: pair[1].mean):
        prompt = failed.prompt or texts.get((result.task, failed.sample))
        tries = result.tries + result.further.get(failed.sample, 0)
        planned = f", {tries} planned" if failed.tries < tries else ""
        passed = f"{failed.passed} of {failed.tries} passed{planned}"
        yield Failure(
            head=passed if result.rubric is None else f"scores {percent(failed.mean)}%",
            sample=sample_label(failed.sample, prompt or ""),
            where=labels.result(result),
            outcomes=", ".join(
                f"{outcome_name(outcome)} {count}" for outcome, count in failed.outcomes.items()
            ),
            record=failed.record,
            outcome=outcome_name(failed.outcome),
            message=failed.detail,
            pairs=tuple(_pairs(failed, prompt)),
        )


def _pairs(failed: FailedSample, prompt: str | None) -> Iterator[tuple[str, str]]:
    if prompt is not None:
        yield "prompt", prompt
    if failed.expected is not None:
        yield "expected", failed.expected
    if failed.got is not None:
        yield "got", never_blank(failed.got)
    if failed.answer is not None:
        yield "answer", failed.answer
    if failed.order is not None:
        yield "choices", _choices(failed.order)


def _choices(order: Sequence[int]) -> str:
    """Return the number of each choice in the data: `A=3 B=1 C=2 (numbered as in the data)`."""
    letters = zip(ascii_uppercase, order, strict=False)
    shown = " ".join(f"{letter}={choice + 1}" for letter, choice in letters)
    return f"{shown} (numbered as in the data)"


def _size(analysis: Analysis, labels: Labels) -> str:
    """Return `3 cases × 2 tries, 4 conditions, 24 of 24 attempts; probes: 40 of 40 attempts`."""
    parts = []
    if results := analysis.tool_calling:
        cases = counted(results[0].samples, "case")
        tries = counted(results[0].tries, "try", "tries")
        further = sum(sum(result.further.values()) for result in results)
        more = f" and {further} further" if further else ""
        text = f"{cases} × {tries}{more}, {_progress(results)}"
        if analysis.bad_lines:
            text += f" ({counted(analysis.bad_lines, 'invalid line')} of the case file skipped)"
        parts.append(text)
    if analysis.probe_attempts:
        made = f"{analysis.probe_attempts_made:,} of {analysis.probe_attempts:,} attempts"
        parts.append(f"probes: {made}")
    for task in analysis.run.of_kind("traffic"):
        if (imported := task.imported) is not None:
            conversations = counted(task.planned, "conversation")
            text = f"{conversations} with {counted(imported.requests, 'request')} from "
            text += counted(len(imported.files), "recording")
            left_out = sum(imported.left_out.values())
            parts.append(f"{text} ({left_out:,} requests left out)" if left_out else text)
            replies = counted(imported.made, "reply", "replies")
            parts += [f"{replies} {_MADE}"] if imported.made else []
            if first := analysis.recorded.first_token:
                parts.append(f"first token (CoT or answer) {spread(first)} s")
    if results := analysis.evals:
        names = {result.task for result in results}
        text = f"{counted(len(names), 'eval')}, {_progress(results)}"
        if shared := labels.shared(results[0].task, results[0].condition):
            text += f", {' · '.join(shared)}"
        if analysis.run.settings.until_decided:
            text += f", ended by: {analysis.run.ended or 'interruption'}"
        parts.append(text)
    return "; ".join(parts)


def _progress(results: Sequence[TaskResult]) -> str:
    finished, planned = (sum(getattr(r, name) for r in results) for name in ("finished", "planned"))
    return f"{counted(len(results), 'condition')}, {finished:,} of {planned:,} attempts"


def _tool_calling_tiles(analysis: Analysis) -> Iterator[Tile]:
    """Yield invalid responses, and the pass rates and speed of the worst condition."""
    results = analysis.tool_calling
    if not results:
        return
    thresholds, worst = analysis.verdict.thresholds, worst_figures(analysis)
    invalid = sum(result.invalid for result in results)
    allowed = f"{thresholds.max_invalid or 'none'} allowed in a condition"
    made = sum(result.finished for result in results)
    planned = sum(result.planned for result in results)
    beside = f", {planned:,} planned" if made < planned else ""
    yield Tile("Invalid responses", f"{invalid:,}", f"of {made:,} attempts{beside}; {allowed}")
    if not thresholds.by_guide and (lowest := _lowest(results)) is not None:
        name, passed, tries = lowest
        note = (
            f"{name}: {passed:,} of {tries:,}; required: more than {thresholds.lower_rate * 100:g}%"
        )
        yield Tile("Lowest success rate", f"{percent(passed / tries)}%", note)
    for prefix, rate, least in (
        ("pass@", worst.pass_at, thresholds.min_pass_at_k),
        ("pass^", worst.pass_hat, thresholds.min_pass_hat_k),
    ):
        if rate is not None and (worst.k != 1 or thresholds.by_guide):
            note = f"worst condition, interval {interval(rate)}%"
            if thresholds.by_guide:
                note += f"; required: more than {least * 100:g}%"
            yield Tile(f"{prefix}{worst.k}", f"{percent(rate.value)}%", note)
    if worst.first_token is not None:
        p50, p90 = worst.first_token.p50, worst.first_token.p90
        note = f"median of the slowest condition; 90th percentile {p90:.2f} s"
        yield Tile("First token", f"{p50:.2f} s", note)


def _lowest(results: Sequence[TaskResult]) -> tuple[str, int, int] | None:
    """Return the condition, or the mode of one, in which fewest attempts passed, and the counts."""
    groups = {result.name: list(result.cases.values()) for result in results}
    for result in results:
        for mode, cases in result.modes.items():
            counts = [(tries.passed, tries.finished) for tries in cases.values()]
            groups[f"{result.name} · {mode}"] = counts
    sums = [
        (name, sum(passed for passed, _ in counts), sum(tries for _, tries in counts))
        for name, counts in groups.items()
    ]
    made = [group for group in sums if group[2]]
    return min(made, key=lambda group: group[1] / group[2], default=None)


def _rule_tiles(analysis: Analysis) -> Iterator[Tile]:
    rules = list(map(ShownRule, analysis.checks))
    kinds: tuple[tuple[RuleKind, str], ...] = (
        ("check", "Checks passed"),
        ("probe", "Probes passed"),
    )
    for kind, label in kinds:
        passed, others = rules_passed(rules, kind)
        if passed:
            yield Tile(label, passed, others)


def _eval_tiles(analysis: Analysis, labels: Labels) -> Iterator[Tile]:
    for result in analysis.evals:
        if result.score is not None:
            score = result.score.estimate
            note = f"interval {interval(score)}%"
            compared = result.baseline.comparison if result.baseline else None
            if compared is not None:
                note += (
                    f"; baseline {percent(compared.baseline)}%, margin {compared.margin * 100:g}"
                )
            yield Tile(labels.result(result), f"{percent(score.value)}%", note)


def _facts(run: RunInfo, thresholds: Thresholds) -> Iterator[Fact]:
    """Yield the information needed to repeat a run: a name and a value."""
    yield from _provider_facts(run.provider)
    excluded = {"thresholds", "budget", "grader", "origins", "prompts"}
    only_scores = bool(run.tasks) and run.of_kind("eval") == run.tasks
    excluded |= {"suite"} if only_scores else set()
    for name, value in run.settings.model_dump(mode="json", exclude=excluded).items():
        if value not in (None, False, [], {}):
            origin = run.settings.origins.get(name)
            yield name.replace("_", " "), setting(value) + (f" ({origin})" if origin else "")
    if run.settings.grader is not None:
        yield "grader", f"{run.settings.grader.name}, {run.settings.grader.model}"
    if (prompts := run.settings.prompts) is not None:
        yield "prompts", f"{prompts.source}, sha256 {prompts.sha256[:16]}…"
    if not only_scores:
        yield from _limit_facts(thresholds)
    yield from _limit_facts(run.settings.budget)
    for task in run.tasks:
        yield from _task_facts(task)
    yield "gpt-oss-verify", run.tool_version
    yield from run.versions.items()
    yield "started", run.started_at
    if run.resumed:
        yield "resumed", ", ".join(run.resumed)
    yield "finished", run.finished_at or "not finished"


def _provider_facts(provider: ProviderInfo) -> Iterator[Fact]:
    yield "provider", provider.name
    yield "address", address(provider)
    yield "model", provider.model
    if provider.extra_body:
        yield "extra body", setting(provider.extra_body)
    if provider.header_names:
        yield "extra headers", f"{', '.join(provider.header_names)} (values are not recorded)"
    if provider.limitations:
        yield "limitations by its entry", ", ".join(provider.limitations)


def _limit_facts(limits: Thresholds | Limits | None) -> Iterator[Fact]:
    """Yield each threshold or limit: its value and, unless it is a default, where it is set."""
    hidden = ("origins", "reference_cases", "reference_rules")
    for name, value in limits or ():
        if value not in (None, ()) and name not in hidden:
            origin = limits.origins.get(name) if limits else None
            yield name.replace("_", " "), setting(value) + (f" ({origin})" if origin else "")


def _task_facts(task: TaskInfo) -> Iterator[Fact]:
    sampled = f"{counted(task.samples, 'sample')} × {counted(task.tries, 'try', 'tries')}"
    sampling = task.sampling.model_dump(exclude_none=True)
    parameters = "".join(f", {name} {value}" for name, value in sampling.items())
    yield task.name.replace("_", " "), sampled + parameters.replace("_", " ")
    if (data := task.dataset) is not None:
        revision = f" at {data.revision[:12]}" if data.revision else ""
        rows = f"{data.source}{revision}, {data.rows} rows"
        yield f"{data.eval} data", f"{rows}, sha256 {data.sha256[:16]}…"
    if (imported := task.imported) is not None:
        for reason, count in imported.left_out.items():
            yield f"left out: {reason}", counted(count, "request")
        for file, sha256 in imported.files.items():
            yield file, f"sha256 {sha256[:16]}…"
    for file, sha256 in task.files.items():
        yield file, f"sha256 {sha256[:16]}…"
