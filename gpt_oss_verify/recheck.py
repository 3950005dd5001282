"""The commands `recheck` and `merge`: judge runs again, and join eval runs."""

import webbrowser
from typing import Annotated

from cyclopts import Parameter

from evals.merging import merge as merge_runs
from evals.merging import merged_info
from evals.restoring import restored_evals
from gpt_oss_verify.choice import gate_changes, thresholds_of_run
from gpt_oss_verify.judge_and_report import judge_and_print
from gpt_oss_verify.options import (
    DEFAULT_OUT,
    AsJson,
    BaselineOptions,
    GateOptions,
    Out,
    Run,
    RunPath,
    ShowQuestions,
)
from harness.run import run_folder
from harness.run.run_log import read_run_info


def recheck(
    run: Run,
    /,
    *,
    gate: GateOptions = GateOptions(),
    baseline: BaselineOptions = BaselineOptions(),
    show_questions: ShowQuestions = False,
    open_page: Annotated[bool, Parameter(name="--open")] = False,
    as_json: AsJson = False,
) -> int:
    """Judge a run again from its records, with the current checks.

    Args:
        open_page: Open report.html in the browser.
    """
    thresholds = thresholds_of_run(gate, read_run_info(run))
    changes = {**gate_changes(gate), **baseline.changes()}
    code = judge_and_print(run, thresholds, changes, show_questions=show_questions, as_json=as_json)
    if open_page:
        webbrowser.open((run / run_folder.PAGE_FILE).resolve().as_uri())
    return code


def merge(run: Run, /, *runs: RunPath, out: Out = None, as_json: AsJson = False) -> int:
    """Join shards of an eval run, or tries from several days, into one.

    Args:
        runs: The other runs.
    """
    folders = [run, *runs]
    info = merged_info(folders)
    folder = run_folder.create(out or DEFAULT_OUT, info.provider.name)
    merge_runs(folders, info, folder, restored_evals(run, read_run_info(run)))
    return judge_and_print(folder, as_json=as_json)
