"""Commands on finished runs; none of them needs the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli.eval_options import EvalGateOptions
from harness.cli.formats import FORMATS, Format
from harness.cli.options import GateOptions
from harness.errors import ConfigurationError

_GATE = GateOptions()
_EVAL_GATE = EvalGateOptions()


def recheck(
    run: Path,
    /,
    *,
    gate: GateOptions = _GATE,
    evals: EvalGateOptions = _EVAL_GATE,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Judge a run again from its records, with the checks of this version.

    Args:
        run: The run's folder, or a bundle of it.
        gate: Other thresholds than the run's own, for a smoke test.
        evals: For an eval run.
        as_json: Print verdict and summary as JSON on stdout.
    """
    from harness.cli import ending, gating
    from harness.cli.bundle import opened_to_stay
    from harness.storage.run_log import read_run_info

    run = opened_to_stay(run)
    if _is_eval(run):
        from harness.cli import eval_ending

        return eval_ending.finish(run, gating.eval_gate(gate, evals), as_json=as_json)
    thresholds = gating.thresholds_again(gate, read_run_info(run).settings.thresholds)
    return ending.finish(run, thresholds, as_json=as_json)


def report(
    run: Path,
    /,
    *,
    form: Annotated[Format | None, Parameter(name="--format")] = None,
    open_page: Annotated[bool, Parameter(name="--open")] = False,
    show_questions: bool = False,
) -> int:
    """Write the reports of a run again; one that an older version judged is judged again first.

    Args:
        run: The run's folder, or a bundle of it.
        form: Only this one of report.html, report.md, junit.xml and analysis.json.
        open_page: Open report.html in the browser.
        show_questions: Put the text of an eval's questions into it; GPQA's authors ask not to.
    """
    import webbrowser

    from harness.cli.bundle import opened_to_stay
    from harness.cli.screen import stdout

    formats: tuple[Format, ...] = FORMATS if form is None else (form,)
    if open_page and "html" not in formats:
        raise ConfigurationError("--open opens report.html; leave out --format or make it html.")
    run = opened_to_stay(run)
    if _is_eval(run):
        from harness.cli import eval_ending

        paths = eval_ending.write_reports(run, formats, show_questions=show_questions)
    else:
        from harness.cli import report_files

        paths = report_files.write_reports(run, formats)
    for path in paths:
        stdout().print(str(path), soft_wrap=True)
    if open_page:
        webbrowser.open(paths[0].resolve().as_uri())
    return 0


def _is_eval(run: Path) -> bool:
    from harness.storage.run_log import RUN_FILE, SMOKE_TEST, run_kind

    return (run / RUN_FILE).exists() and run_kind(run) != SMOKE_TEST
