"""The command `recheck`: judge a run again."""

import webbrowser
from typing import Annotated

from cyclopts import Parameter

from gpt_oss_verify.judge_and_report import judge_and_print
from gpt_oss_verify.options import AsJson, BaselineOptions, GateOptions, Run, ShowQuestions
from gpt_oss_verify.resolve import gate_of_run
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
    thresholds, changes = gate_of_run(gate, read_run_info(run))
    changes |= baseline.stated
    code = judge_and_print(run, thresholds, changes, show_questions=show_questions, as_json=as_json)
    if open_page:
        webbrowser.open((run / run_folder.PAGE_FILE).resolve().as_uri())
    return code
