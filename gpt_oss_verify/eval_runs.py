"""The command `merge`: join eval runs."""

from evals.merging import merge as merge_runs
from evals.merging import merged_info
from evals.restoring import restored_evals
from gpt_oss_verify.judge_and_report import judge_and_print
from gpt_oss_verify.options import DEFAULT_OUT, AsJson, Out, Run, RunPath
from harness.run import run_folder
from harness.run.run_log import read_run_info


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
