"""Commands on finished eval runs: grade again, merge, make a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from harness.cli.options import BudgetOptions, ProviderOptions

_BUDGET = BudgetOptions()
_JSON = Parameter(name="--json")

baseline_app = App(name="baseline", help="Measured baselines.")


def grade(
    run: Path,
    /,
    *,
    grader: str | None = None,
    providers_file: Annotated[Path | None, Parameter(name="--providers")] = None,
    budget: BudgetOptions = _BUDGET,
    debug: bool = False,
    as_json: Annotated[bool, _JSON] = False,
) -> int:
    """Grade the HealthBench answers of a run, without sampling anything again.

    Args:
        run: The run's folder.
        grader: Entry of providers.yaml. Default: the run's own grader, for what it left open.
        providers_file: Your providers file. Default: ./providers.yaml, if it exists.
        budget: What it may use.
        debug: Print every request and response on stderr, keys redacted.
        as_json: Print verdict and figures as JSON on stdout.
    """
    from evals.healthbench.grader import find_grader
    from evals.run_folder import read_eval_info
    from harness.cli import eval_jobs, eval_running

    info = read_eval_info(run)
    if grader is None:
        chosen = eval_jobs.same_grader(info, ProviderOptions(providers_file=providers_file))
    else:
        chosen = find_grader(grader, providers_file)
    job = eval_jobs.graded(run, info, chosen, budget)
    return eval_running.grade(job, debug=debug, as_json=as_json)


def merge(
    run: Path,
    /,
    *runs: Path,
    out: Path | None = None,
    as_json: Annotated[bool, _JSON] = False,
) -> int:
    """Join runs into one: the shards of a run, or tries taken on different days or machines.

    Args:
        run: The folder of a run.
        runs: The folders of the others.
        out: Where the folder of the merged run is made. Default: runs.
        as_json: Print verdict and figures as JSON on stdout.
    """
    from evals.job import new_folder
    from evals.merging import merge as merge_runs
    from evals.merging import merged_info
    from harness.cli import eval_ending
    from harness.cli.eval_jobs import DEFAULT_OUT

    folders = [run, *runs]
    info = merged_info(folders)
    folder = new_folder(out or DEFAULT_OUT, info.provider.name)
    merge_runs(folders, info, folder)
    return eval_ending.finish(folder, as_json=as_json)


@baseline_app.command(name="create")
def create_baseline(run: Path, file: Path | None = None, /) -> int:
    """Make a baseline of a finished run, for others to be held to with --baseline FILE.

    The file has the score of every try by question, and how it was sampled; no question's text.

    Args:
        run: The run's folder.
        file: Where to write it. Default: baseline-<run>.json.
    """
    from datetime import UTC, datetime
    from importlib.metadata import version

    from evals.baselines import measured
    from evals.judging import finished_scores
    from harness.cli.screen import stdout

    info, cells = finished_scores(run)
    path = file or Path(f"baseline-{run.resolve().name.removeprefix('eval-')}.json")
    baseline = measured.create_baseline(
        cells, info.provider.name, version("gpt-oss-verify"), datetime.now(UTC)
    )
    measured.write_baseline(baseline, path)
    stdout().print(str(path), soft_wrap=True)
    return 0
