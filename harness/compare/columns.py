"""What is compared: runs, baseline files and published baselines in one form."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.compare.comparison_types import Entry
from harness.compare.dataframes import Run, load
from harness.compare.differing_settings import SettingsByScope, settings_of
from harness.records.analysis import RuleResult, TaskResult
from harness.records.conditions import Condition, known_model, varying
from harness.records.runs import TaskInfo
from harness.records.scores import Score
from harness.run.cases import Case, load_suite, planned_cases
from harness.run.run_folder import CASES_FILE, TOOLS_FILE
from harness.statistics.differences import Pair, paired_means
from harness.statistics.estimators import complete_rounds
from harness.statistics.mean_scores import Mean, run_mean

MEASURE = "measure a baseline with `gpt-oss-verify export RUN --format baseline`"
SAMPLE_QUESTIONS = f"these are sample questions, for which nothing is published; {MEASURE}."

Key = tuple[str, str]  # a task, and the name of one of its conditions in comparisons
SampleTries = tuple[str, Sequence[float], Sequence[float]]
"""A sample and the values of its tries in two columns."""


@dataclass(frozen=True)
class Group:
    """One task under one condition in one column."""

    task: str
    name: str  # `chat · streaming`, `aime25, gpt-oss-20b, high effort`
    tries: int = 1  # planned at every sample
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By sample, the values of the tries that were made."""
    script_values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """The same as OpenAI's script reads the answers, as for published scores (evals)."""
    contents: Mapping[str, object] = field(default_factory=dict)
    """By sample, what it asks (a case, or the hash of its dataset), to be compared."""
    example_data: bool = False  # nothing is published for example questions
    published: Mean | None = None  # the mean of a published baseline, which has no samples
    questions: int = 0  # of a published baseline
    outcomes: Mapping[str, Counter[str]] | None = None
    """By sample, the number of tries of each outcome, `invalid` and `planned`."""
    times: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By measure, one value per request or attempt."""
    result: TaskResult | None = None  # of a run

    @property
    def is_eval(self) -> bool:
        """Whether it has a score instead of pass rates; only runs have the latter."""
        return self.result is None or self.result.is_eval

    @property
    def filled(self) -> list[list[float]]:
        """The values of all planned tries; a try that was not made counts as 0."""
        missing = {sample: self.tries - len(made) for sample, made in self.values.items()}
        return [[*made, *[0.0] * missing[sample]] for sample, made in self.values.items()]


@dataclass(frozen=True)
class Column:
    """One column of a comparison."""

    entry: Entry
    groups: Mapping[Key, Group]
    settings: SettingsByScope = field(default_factory=dict)
    checks: Mapping[str, RuleResult] = field(default_factory=dict)


def read_run(folder: Path) -> Column:
    """Return a run as a column.

    Raises RunLogError if it is damaged, unscored, or of another version.
    """
    run = load(folder)
    info, analysis = run.info, run.analysis
    tasks = dict.fromkeys("probes" if task.kind == "probes" else task.name for task in info.tasks)
    unfinished = (
        f"The run is not finished; the comparison uses the attempts made so far. Finish it with: "
        f"gpt-oss-verify --resume {folder}"
    )
    entry = Entry(
        label=folder.resolve().name,
        kind="run",
        provider=info.provider.name,
        model=info.model,
        tasks=tuple(tasks),
        place=str(folder),
        started_at=info.started_at,
        tool_version=info.tool_version,
        decision=analysis.verdict.decision,
        reason=next(iter(analysis.verdict.reasons), None),
        causes=tuple(cause.description for cause in analysis.causes),
        complete=analysis.complete,
        notes=() if analysis.complete else (unfinished,),
    )
    groups = {(group.task, group.name): group for group in _groups(run)}
    checks = {result.check.id: result for result in analysis.checks}
    return Column(entry, groups, settings_of(info), checks)


def group_name(task: TaskInfo, condition: Condition) -> str:
    """Return a task and condition as rows name them; providers name the same model differently."""
    parts = varying(task.conditions)
    model = known_model(condition.model) or condition.model
    effort = f"{condition.effort or 'default'} effort"
    if task.kind == "tool_calling":
        named = {"model": model, "effort": effort}
        return ", ".join([condition.name, *(named[part] for part in parts if part in named)])
    python = ["with Python"] if task.sampling.python else []
    several = [condition.name] if "api" in parts or "mode" in parts else []
    return ", ".join([task.name, model, effort, *python, *several])


def pair(here: Group | None, there: Group | None) -> Pair | str:
    """Return the two means over the samples that both groups have, or why they are not compared."""
    if here is None or there is None:
        return "only one of the two has it."
    if there.published is not None:
        return _published_pair(here, there)
    if here.published is not None:
        turned = _published_pair(there, here)
        if isinstance(turned, str):
            return turned
        return Pair(turned.reference, turned.run, turned.cases)
    shared = shared_tries(here, there)
    if shared:
        ours, theirs = [one for _, one, _ in shared], [other for _, _, other in shared]
        return Pair(*paired_means(ours, theirs), cases=len(shared))
    return "no sample was answered in both."


def shared_tries(here: Group, there: Group) -> list[SampleTries]:
    """Return the samples with the same content that have tries in both groups."""
    return [
        (sample, tries, there.values[sample])
        for sample, tries in here.values.items()
        if tries and there.values.get(sample) and _same(sample, here, there)
    ]


def shared_content(here: Group, there: Group) -> int:
    """Return the number of samples that are the same in both groups."""
    return sum(_same(sample, here, there) for sample in here.contents)


def _same(sample: str, here: Group, there: Group) -> bool:
    return sample in there.contents and here.contents.get(sample) == there.contents[sample]


def _published_pair(run: Group, baseline: Group) -> Pair | str:
    missing = sum(max(0, run.tries - len(tries)) for tries in run.values.values())
    if run.published is not None or baseline.published is None:
        return "it has no samples."
    if run.example_data:
        return SAMPLE_QUESTIONS
    if missing:
        return f"{missing} tries are missing."
    if len(run.values) != baseline.questions:
        return (
            f"it has {len(run.values)} of {baseline.questions} questions, and published figures "
            "cover all of them."
        )
    values = run.script_values or run.values
    return Pair(run_mean(list(values.values())), baseline.published, len(values))


def _groups(run: Run) -> Iterator[Group]:
    scores: dict[tuple[str, Condition], list[Score]] = defaultdict(list)
    for score in run.every_score():
        for condition in (score.condition, score.condition.alternating):
            scores[score.task, condition].append(score)
    for task in run.info.tasks:
        if task.kind in ("tool_calling", "eval"):
            cases = _cases(run) if task.kind == "tool_calling" else {}
            for condition in task.conditions:
                yield _group(task, condition, scores[task.name, condition], cases, run)


def _cases(run: Run) -> Mapping[str, Case]:
    suite = load_suite(run.folder / CASES_FILE, run.folder / TOOLS_FILE)
    return {case.id: case for case in planned_cases(suite, run.info.settings).cases}


def _group(
    task: TaskInfo,
    condition: Condition,
    scores: Sequence[Score],
    cases: Mapping[str, Case],
    run: Run,
) -> Group:
    """Return a group; `scores` are those of all planned attempts of the task and condition."""
    made = sorted((score for score in scores if score.finished), key=lambda each: each.attempt)
    samples = list(cases or dict.fromkeys(score.sample for score in scores))
    rounds = task.kind == "eval" and run.info.settings.until_decided
    values = _by_sample([(each.sample, each.value) for each in made], samples, rounds=rounds)
    tries = max(1, min(map(len, values.values()), default=1)) if rounds else task.tries
    by_script = [(each.sample, each.openai_value) for each in made if each.value is not None]
    read_by_script = task.kind == "eval" and any(value is not None for _, value in by_script)
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for score in scores:
        kinds = (score.outcome, "planned", *(["invalid"] if score.invalid else []))
        outcomes[score.sample].update(kinds)
    data = task.dataset
    results = (each for each in run.analysis.results if each.task == task.name)
    return Group(
        task=task.name,
        name=group_name(task, condition),
        tries=tries,
        values=values,
        script_values=(_by_sample(by_script, samples, rounds=rounds) if read_by_script else {}),
        contents=cases or dict.fromkeys(values, data.sha256 if data else None),
        example_data=data is not None and data.sample,
        outcomes=outcomes,
        times=_times(task, made),
        result=next((each for each in results if each.condition == condition), None),
    )


def _by_sample(
    made: Iterable[tuple[str, float | None]], samples: Iterable[str], *, rounds: bool
) -> dict[str, Sequence[float]]:
    """Return the values by sample in the order of tries, or in complete rounds only."""
    values: dict[str, list[float]] = {sample: [] for sample in samples}
    for sample, value in made:
        if value is not None and sample in values:
            values[sample].append(float(value))
    if not rounds:
        return dict(values)
    return dict(zip(values, complete_rounds(list(values.values())), strict=True))


def _times(task: TaskInfo, made: Sequence[Score]) -> Mapping[str, Sequence[float]]:
    """Return times of single requests in tool calling; evals are measured by attempt."""
    if task.kind == "eval":
        usage = [score.usage for score in made if score.usage.output is not None]
        return {
            "request": [score.seconds for score in made if score.seconds is not None],
            "reasoning tokens": [
                float(each.reasoning) for each in usage if each.reasoning is not None
            ],
        }
    timing = [each for score in made for each in score.timing]
    speeds = (each.tokens_per_second for each in timing)
    return {
        "request": [each.total for each in timing],
        "first token": [each.first_token for each in timing if each.first_token is not None],
        "tokens per second": [speed for speed in speeds if speed is not None],
    }
