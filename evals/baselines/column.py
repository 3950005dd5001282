"""Baselines by name, as columns of a comparison."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from evals.baselines.choice import RANGE
from evals.baselines.eval_scores import EvalScores
from evals.baselines.measured import MeasuredBaseline, log_baseline, read_baseline
from evals.baselines.published import choose_figures, pooled_mean, published_scores
from harness.compare.columns import KEY, MEASURED_TIMES, TRIES, Column, Key, Published
from harness.compare.comparison_types import ComparedEntry
from harness.compare.differing_settings import sampling_settings
from harness.compare.eval_log import EvalLog
from harness.compare.read_logs import KINDS, is_log, read_logs
from harness.errors import ConfigurationError
from harness.records.conditions import known_model
from harness.statistics.copies import copies_sentence
from harness.text import first_few, suggestion


def baseline_column(name: str) -> Column:
    """Return a log, a baseline file or a published baseline as a column.

    Raises ConfigurationError.
    """
    path = Path(name)
    if is_log(path):
        return _of_log(read_logs(path))
    if path.is_file():
        return _measured(read_baseline(path), path)
    published = published_scores()
    if name == RANGE or name in published.sources:
        entry = ComparedEntry(label=name, kind="published", provider=name, model="")
        return Column(entry, published=dict(_published(name)))
    kinds = f"a run folder, {KINDS}, a baseline file or a published baseline"
    if not path.exists():
        hint = suggestion(name, [RANGE, *published.sources], f"name {kinds}.")
        raise ConfigurationError(f"There is no {name}; {hint}")
    raise ConfigurationError(
        f"{name} is not {kinds}, but a folder with "
        f"{first_few(sorted(each.name for each in path.iterdir()), 4) or 'nothing'}; "
        "recorded traffic is judged with `gpt-oss-verify import`."
    )


def _of_log(logs: Sequence[EvalLog]) -> Column:
    import pandas as pd

    column = _measured(log_baseline(logs), logs[0].path)
    every = [(log, part, tried) for log in logs for part in log.parts for tried in log.tries]
    rows = [
        {
            "task": log.named(part),
            "group": log.group(part),
            "record": log.record(tried),
            "sample": tried.sample,
            "content": tried.content,
            "sample_data": True,
            "value": tried.values.get(part),
            "outcome": log.outcome(tried),
            "invalid": False,
        }
        for log, part, tried in every
    ]
    times = [
        {"task": log.named(part), "group": log.group(part), "request": tried.seconds}
        for log, part, tried in every
        if tried.seconds is not None
    ]
    tries = [tried for log in logs for tried in log.tries]
    lost, complete = sum(not tried.values for tried in tries), all(log.complete for log in logs)
    notes = [f"The scores of {log.task} are those of {log.scorer}." for log in logs]
    notes += [] if complete else ["The eval of this log is not finished, or was invalidated."]
    notes += [note for log in logs for note in log.notes]
    notes += [f"{lost} of {len(tries)} tries have no score."] if lost else []
    notes += filter(None, (each for log in logs for each in (log.failed, log.one_letter)))
    notes += [
        copies_sentence(log.copies, log.copies + len(log.tries), log.sampling.temperature)
        for log in logs
        if log.copies
    ]
    entry = column.entry.model_copy(
        update={"kind": "log", "complete": complete, "notes": tuple(notes)}
    )
    own = {log.named(part): log.settings for log in logs for part in log.parts}
    return replace(
        column,
        entry=entry,
        settings={task: {**known, **own.get(task, {})} for task, known in column.settings.items()},
        tries=pd.DataFrame(rows, columns=list(TRIES)),
        times=pd.DataFrame(times, columns=[*KEY, *MEASURED_TIMES]),
        logs=tuple(logs),
    )


def _measured(measured: MeasuredBaseline, path: Path) -> Column:
    import pandas as pd  # takes 0.4 s, and most commands do not need it

    tries = [
        {
            "task": scores.eval,
            "group": _name(scores.eval, scores.model, scores.effort, python=scores.python),
            "sample": sample,
            "content": scores.contents.get(sample, scores.dataset.content),
            "sample_data": scores.dataset.sample,
            "value": value,
        }
        for scores in measured.results
        for sample, values in scores.scores.items()
        for value in values
    ]
    entry = ComparedEntry(
        label=measured.provider,
        kind="baseline",
        provider=measured.provider,
        model=", ".join(dict.fromkeys(scores.model for scores in measured.results)),
        tasks=tuple(dict.fromkeys(scores.eval for scores in measured.results)),
        place=str(path),
        started_at=measured.created_at,
        tool_version=measured.tool_version,
    )
    settings = {scores.eval: _settings(scores, measured.results) for scores in measured.results}
    return Column(entry, pd.DataFrame(tries, columns=list(TRIES)), settings=settings)


def _settings(scores: EvalScores, every: Sequence[EvalScores]) -> dict[str, object]:
    efforts = tuple(result.effort for result in every if result.eval == scores.eval)
    return {
        **sampling_settings(scores.planned, scores.sampling),
        "efforts": tuple(dict.fromkeys(efforts)),
        "api": scores.api,
        "data": scores.dataset.sha256[:12],
        "scorer": scores.dataset.scorer,
        **({} if scores.until is None else {"until": tuple(map(repr, scores.until))}),
        **({} if scores.first_question is None else {"prompt": scores.first_question[:12]}),
    }


def _published(name: str) -> Iterator[tuple[Key, Published]]:
    scores = published_scores()
    source = None if name == RANGE else name
    for row in scores.rows:
        for effort in row.scores if row.benchmark in scores.benchmarks else ():
            figures = scores.figures(row.benchmark, row.model, effort, tools=row.tools)
            chosen = choose_figures(figures, source)
            if chosen is not None:
                benchmark = scores.benchmarks[row.benchmark]
                group = _name(row.benchmark, row.model, effort, python=row.tools)
                mean = pooled_mean(chosen.figures, benchmark)
                yield (row.benchmark, group), Published(mean, benchmark.questions)


def _name(task: str, model: str, effort: str, *, python: bool) -> str:
    tools = ", with Python" if python else ""
    return f"{task}, {known_model(model) or model}, {effort} effort{tools}"
