"""Commands that evaluate a HealthBench grader, for example a cheaper one, before it is used."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import App, Parameter

from evals.datasets.load import DataSource
from evals.datasets.rows import select
from evals.grader_trial import compare_graders, score_completions, try_on_labels
from evals.healthbench.grading_tasks import completions
from evals.healthbench.rows import load
from evals.healthbench.trials import CompletionScores, PhysicianTrial, load_meta
from gpt_oss_verify.choice import budget_for
from gpt_oss_verify.options import (
    COUNT,
    DEFAULT_OUT,
    AsJson,
    BudgetOptions,
    Debug,
    Out,
    ProvidersFile,
    RunPath,
    data_place,
)
from gpt_oss_verify.progress import display
from gpt_oss_verify.screen import print_raw, say
from harness.errors import EXIT_INCONCLUSIVE, EXIT_PASS, ConfigurationError, StoppedError
from harness.providers.entries import Provider, changed, find_provider
from harness.run import run_folder
from harness.run.budget import Budget
from harness.run.run_log import RUN_FILE
from harness.run.sampling import Observer, run_until_stopped
from reports.graders import render_comparison, render_completions, render_trial

Found = TypeVar("Found", PhysicianTrial, CompletionScores)

_RESULT_FILE = "grader.json"

app = App(
    name="grader",
    help="Evaluate a HealthBench grader, an entry of providers.yaml, before you trust it.",
)


@Parameter(name="*")
@dataclass(frozen=True)
class TrialOptions:
    """Where to read the data and write the results."""

    samples: bool = False
    """Use the sample rows that ship with the tool instead of the published ones."""
    data_file: Path | None = None
    """A local copy of the published file."""
    data_dir: Path | None = None
    """A folder with local copies of the published files, under their own names."""
    providers_file: ProvidersFile = None
    concurrency: Annotated[int | None, COUNT] = None
    """Requests in flight. Default: that of the entry."""
    out: Out = None
    resume: Path | None = None
    """Folder of an earlier call to continue; its grades are kept."""
    budget: BudgetOptions = BudgetOptions()
    """What grading may use."""
    debug: Debug = False
    as_json: AsJson = False

    @property
    def place(self) -> DataSource:
        """Where to read the data. Raises ConfigurationError."""
        return data_place(self, ("samples", "data_file", "data_dir"))


@app.command
def check(
    grader: str,
    /,
    *,
    examples: Annotated[int | None, COUNT] = None,
    seed: int = 0,
    trial: TrialOptions = TrialOptions(),
) -> int:
    """Compare a grader with physicians: HealthBench's meta-evaluation, 29,511 rows.

    Args:
        grader: Entry of providers.yaml.
        examples: Use only N rows, chosen at random.
        seed: Seed of the random choice. Default: 0.
    """
    entry = _entry(grader, trial)
    data = load_meta(trial.place)
    rows = select(data.rows, examples, seed)
    carry_out = partial(try_on_labels, entry, rows, data.info)
    return _finish(entry, trial, carry_out, render_trial)


@app.command
def physicians(
    grader: str,
    /,
    *,
    eval_name: Annotated[
        Literal["healthbench", "healthbench_hard", "healthbench_consensus"],
        Parameter(name="--eval"),
    ] = "healthbench",
    references: bool = False,
    trial: TrialOptions = TrialOptions(),
) -> int:
    """Score answers of physicians like those of a model; no provider is sampled.

    Args:
        grader: Entry of providers.yaml.
        eval_name: Eval whose conversations are used. Default: healthbench.
        references: Score instead the model answers that the physicians were shown.
    """
    entry = _entry(grader, trial)
    bench = load(eval_name, trial.place)
    groups = completions(bench, references=references)
    carry_out = partial(score_completions, entry, bench, groups, references=references)
    return _finish(entry, trial, carry_out, render_completions)


@app.command
def compare(run: RunPath, /, *graders: str, as_json: AsJson = False) -> int:
    """Measure the agreement of two graders of one run: rate and Cohen's kappa, by axis.

    Args:
        run: Folder of a run that both graders have graded (with gpt-oss-verify grade).
        graders: The two graders; not needed if exactly two have graded the run.
    """
    found = compare_graders(run, graders)
    print_raw(found.model_dump_json(indent=2) if as_json else render_comparison(found))
    return 0


def _entry(name: str, trial: TrialOptions) -> Provider:
    entry = find_provider(name, trial.providers_file)
    return entry if trial.concurrency is None else changed(entry, concurrency=trial.concurrency)


def _finish(
    entry: Provider,
    trial: TrialOptions,
    carry_out: Callable[[Path, Observer, Budget], Coroutine[Any, Any, Found]],
    render: Callable[[Found], str],
) -> int:
    """Grade, write `grader.json` and `report.md`, print the result, and return the exit code."""
    if trial.resume is not None and not trial.resume.is_dir():
        raise ConfigurationError(f"There is no folder {trial.resume} to resume.")
    if trial.resume is not None and (trial.resume / RUN_FILE).exists():
        raise ConfigurationError(
            f"{trial.resume} is the folder of a run; use the folder of an earlier grader command."
        )
    budget = budget_for(trial.budget, entry)
    folder = trial.resume or run_folder.create(trial.out or DEFAULT_OUT, f"grader-{entry.name}")
    try:
        with display(debug=trial.debug) as screen:
            found = run_until_stopped(carry_out(folder, screen, budget))
    except StoppedError as stop:
        raise StoppedError(f"{stop} {folder}") from None
    text = found.model_dump_json(indent=2)
    run_folder.write_text(folder / _RESULT_FILE, f"{text}\n")
    run_folder.write_text(folder / run_folder.REPORT_FILE, render(found))
    print_raw(
        text if trial.as_json else f"{render(found)}\nReport: {folder}/{run_folder.REPORT_FILE}"
    )
    if budget.stopped is None:
        return EXIT_PASS
    say(budget.stopped.replace("RUN", str(folder)))
    return EXIT_INCONCLUSIVE
