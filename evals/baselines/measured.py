"""Measured baselines: the scores of a run by question, in a file that can be shared."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from evals.baselines.eval_scores import (
    EvalScores,
    Reading,
    Reference,
    differ_in_prompts,
    sampling_differences,
)
from harness.compare.eval_log import EvalLog
from harness.errors import ConfigurationError, os_errors, read_text
from harness.records.conditions import known_model
from harness.records.figures import BaselineFigure, BaselineInfo
from harness.records.record import Record, problem_of
from harness.records.runs import DatasetInfo
from harness.statistics.differences import paired_means
from harness.statistics.mean_scores import Mean

BASELINE_VERSION: Literal[2] = 2


class MeasuredBaseline(Record):
    """A baseline file: ids and scores of questions, no texts. `created_at` is ISO 8601 UTC."""

    kind: Literal["gpt-oss-verify baseline"] = "gpt-oss-verify baseline"
    version: Literal[2] = BASELINE_VERSION
    tool_version: str
    provider: str
    created_at: str
    results: tuple[EvalScores, ...]


@dataclass(frozen=True)
class MeasuredRun:
    """A measured run as the baseline, compared on the same questions, one by one."""

    measured: MeasuredBaseline
    name: str
    reading: Reading = "ours"

    def reference(self, scores: EvalScores) -> Reference | str:
        """Return the scores of the same questions in the measured run."""
        theirs = next((result for result in self.measured.results if _same(result, scores)), None)
        if theirs is None:
            return f"{self.name} has no scores of {scores.name}."
        here, there = scores.dataset, theirs.dataset
        published = here.identity == there.identity == "published"
        if here.sha256 != there.sha256 and not published:
            return (
                f"{self.name} was measured on different {scores.eval} data (the hashes differ);"
                " measure it again on these."
            )
        if here.scorer != there.scorer:
            return (
                f"{self.name} was scored by {there.scorer or 'our rules'}, this run by "
                f"{here.scorer or 'our rules'}; score both alike (recheck)."
            )
        unknown = [question for question in scores.scores if question not in theirs.scores]
        if unknown:
            return (
                f"{self.name} has no score of {len(unknown)} of the {len(scores.scores)} sampled"
                f" questions, such as {unknown[0]!r}; measure it again on these."
            )
        run, baseline = paired_means(
            list(scores.scores.values()), [theirs.scores[question] for question in scores.scores]
        )
        return Reference(
            run,
            baseline,
            self._info(baseline, theirs),
            _differences(scores, theirs, self.name),
            differ_in_prompts(scores.prompts, theirs.prompts),
        )

    def _info(self, baseline: Mean, theirs: EvalScores) -> BaselineInfo:
        where = f"{self.measured.provider}, measured {self.measured.created_at[:10]}"
        figure = BaselineFigure(
            source=self.name,
            where=where,
            kind="measured",
            value=baseline.value,
            tries=theirs.planned,
        )
        explanation = f"The same questions, answered by {where}."
        return BaselineInfo(name=self.name, explanation=explanation, figures=(figure,))


def log_baseline(logs: Sequence[EvalLog]) -> MeasuredBaseline:
    """Return the scores of a log, whose questions no published figure is about."""
    results = []
    for log in logs:
        contents = sorted(log.contents.values())
        data = DatasetInfo(
            eval=log.task,
            source=log.dataset,
            rows=len(contents),
            sha256=hashlib.sha256("".join(contents).encode()).hexdigest(),
            sample=True,
            identity="own",
            scorer=log.scorer,
        )
        results += [
            EvalScores(
                eval=name,
                model=log.model,
                effort=log.effort,
                dataset=data.model_copy(update={"eval": name}),
                api=log.api,
                sampling=log.sampling,
                contents=log.contents,
                until=log.until,
                first_question=hashlib.sha256(
                    "".join(tried.question for tried in log.tries[:1]).encode()
                ).hexdigest(),
                planned=log.epochs,
                copies=log.copies,
                scores=scores,
            )
            for name, scores in log.scores.items()
        ]
    return MeasuredBaseline(
        tool_version=logs[0].version,
        provider=logs[0].provider,
        created_at=logs[0].started_at,
        results=tuple(results),
    )


def create_baseline(
    results: Sequence[EvalScores], provider: str, tool_version: str, created_at: datetime
) -> MeasuredBaseline:
    """Create a baseline from a finished run. Raises ConfigurationError."""
    if not results:
        raise ConfigurationError("A run without evals is not a baseline; run an eval first.")
    for scores in results:
        if scores.missing:
            raise ConfigurationError(
                f"{scores.name} lacks scores of planned attempts ({scores.missing}); finish the run"
                " (--resume, grade or inspect eval-retry) before making it a baseline."
            )
    return MeasuredBaseline(
        tool_version=tool_version,
        provider=provider,
        created_at=created_at.isoformat(timespec="seconds"),
        results=tuple(results),
    )


def write_baseline(baseline: MeasuredBaseline, path: Path) -> None:
    """Write a baseline file. Raises ConfigurationError if it cannot be written."""
    with os_errors(ConfigurationError, f"The baseline cannot be written to {path}"):
        path.write_text(baseline.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_baseline(path: Path) -> MeasuredBaseline:
    """Read a baseline file. Raises ConfigurationError."""
    text = read_text(path)
    try:
        return MeasuredBaseline.model_validate_json(text)
    except ValidationError as error:
        raise ConfigurationError(
            f"{path} is not a baseline of version {BASELINE_VERSION} ({problem_of(error)});"
            " make one with `gpt-oss-verify export RUN --format baseline`. Recorded traffic is "
            f"judged with `gpt-oss-verify import {path} --provider NAME`."
        ) from error


def _differences(scores: EvalScores, theirs: EvalScores, name: str) -> tuple[str, ...]:
    warnings = sampling_differences(scores.sampling, theirs.sampling, name)
    if scores.api != theirs.api:
        warnings.append(f"Sampled over {scores.api}, {name} over {theirs.api}.")
    if scores.grader != theirs.grader:
        warnings.append(f"Graded by {scores.grader}, {name} by {theirs.grader}.")
    return tuple(warnings)


def _same(theirs: EvalScores, ours: EvalScores) -> bool:
    """Return whether both have the same eval, model (by any name), effort and access to Python."""
    one, other = (
        (result.eval, known_model(result.model) or result.model, result.effort, result.python)
        for result in (theirs, ours)
    )
    return one == other
