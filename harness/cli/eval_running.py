"""An eval job on the screen: its plan before, its progress, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from evals.job import EvalJob
from evals.run_folder import discard_unused
from evals.tally import EvalTally
from rich.console import Console

from evals import job as eval_job
from evals.cost import expect
from harness.cli import eval_ending
from harness.cli.eval_jobs import Draft
from harness.cli.eval_options import EvalGateOptions
from harness.cli.screen import print_raw, stderr
from harness.display import display
from harness.errors import ProviderUnavailableError, StoppedError
from harness.sampling.watching import Watcher
from harness.text.plain import plain
from reports.eval_plan import plan_lines

Sampling: TypeAlias = Callable[[EvalJob, Watcher], None]
"""How the tries of a job are made."""

sample_here: Sampling = eval_job.sample


@dataclass(frozen=True)
class Show:
    """What the user wants to see, and how."""

    debug: bool = False
    as_json: bool = False
    questions: bool = False


def say_plan(draft: Draft, screen: Console, *, as_json: bool) -> None:
    """Say what a run would take."""
    expected = expect(draft.plan, draft.info.settings, draft.provider, draft.grader)
    if as_json:
        print_raw(expected.model_dump_json(indent=2))
        return
    for line in plan_lines(expected):
        screen.print(line, soft_wrap=True)
    parts = [expected.sampling, *([expected.grading] if expected.grading else [])]
    costs = [part.dollars for part in parts if part.dollars is not None]
    requests = 0 if draft.info.settings.until_decided else expected.sampling.requests
    if warning := draft.budget.foreseen(requests, draft.provider.rpm, sum(costs)):
        screen.print(plain(warning), soft_wrap=True)


def carry_out(job: EvalJob, show: Show, sample: Sampling = sample_here) -> int:
    """Sample, grade and judge; the exit code. Raises as `sample_shown` does."""
    sample_shown(job, sample, debug=show.debug)
    gate = EvalGateOptions(show_questions=show.questions)
    return eval_ending.finish(job.folder, gate, as_json=show.as_json)


def sample_shown(job: EvalJob, sample: Sampling = sample_here, *, debug: bool) -> None:
    """Sample and grade, with the progress on the screen.

    Raises:
        ProviderUnavailableError: The provider or grader could not be asked.
        StoppedError: The user stopped the run; what was finished is judged.
    """
    talk = stderr()
    screen = display(talk, EvalTally(job.plan), debug=debug)
    try:
        with screen.shown():
            sample(job, screen)
    except ProviderUnavailableError:
        if not job.info.resumed and discard_unused(job.folder):
            raise
        eval_ending.judge(job.folder)
        talk.print(f"What was finished is judged in {job.folder}/report.md", soft_wrap=True)
        raise
    except StoppedError as stop:
        eval_ending.judge(job.folder)
        raise StoppedError(f"{stop} {job.folder}") from None


def on_ray() -> Sampling:
    """How to sample in parts on a Ray cluster. Raises ConfigurationError without Ray."""
    from evals.on_ray import RayExecutor
    from evals.sharding import sample_in_parts

    executor = RayExecutor()
    return lambda job, watcher: sample_in_parts(job, executor, watcher)


def grade(job: EvalJob, *, debug: bool, as_json: bool) -> int:
    """Grade what a run has answered, and judge it; the exit code.

    Raises:
        ProviderUnavailableError: The grader could not be asked.
        StoppedError: The user stopped it; what was graded is kept.
    """
    screen = display(stderr(), EvalTally(job.plan), debug=debug)
    try:
        with screen.shown():
            eval_job.grade(job, screen)
    except StoppedError:
        raise StoppedError(f"stopped before the end; go on with grade {job.folder}") from None
    return eval_ending.finish(job.folder, as_json=as_json)
