"""Commands on finished eval runs: `merge` and `baseline create`."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from cyclopts import App

from evals.baselines import measured
from evals.merging import merge as merge_runs
from evals.merging import merged_info
from evals.restoring import restored_evals, run_scores
from gpt_oss_verify.judge_and_report import judge_and_print
from gpt_oss_verify.options import DEFAULT_OUT, AsJson, Out, Run, RunPath
from gpt_oss_verify.screen import show
from harness.run import run_folder
from harness.run.run_log import read_run_info

baseline = App(
    name="baseline",
    help="Create measured baselines.",
    help_epilogue="Exit codes: 0 done · 2 usage or configuration",
)


def merge(run: Run, /, *runs: RunPath, out: Out = None, as_json: AsJson = False) -> int:
    """Join eval runs into one: the shards of a run, or tries from different days or machines.

    Args:
        runs: The other runs.
    """
    folders = [run, *runs]
    info = merged_info(folders)
    folder = run_folder.create(out or DEFAULT_OUT, info.provider.name)
    merge_runs(folders, info, folder, restored_evals(run, read_run_info(run)))
    return judge_and_print(folder, as_json=as_json)


@baseline.command
def create(run: Run, file: Path | None = None, /) -> int:
    """Create a baseline from a finished run, for comparisons with --baseline FILE.

    The file has the scores of all attempts by question and the sampling settings, but no texts.

    Args:
        file: The file to write. Default: baseline-<run>.json.
    """
    info, results = run_scores(run)
    path = file or Path(f"baseline-{run.resolve().name.removeprefix('eval-')}.json")
    made = measured.create_baseline(
        results, info.provider.name, version("gpt-oss-verify"), datetime.now(UTC)
    )
    measured.write_baseline(made, path)
    show(str(path))
    return 0
