"""The command `export`: the tables of a run as files for other tools, or its baseline."""

from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from evals.baselines import measured
from evals.restoring import all_tasks, run_scores
from gpt_oss_verify.options import RunPath
from gpt_oss_verify.screen import show
from harmony.extras import install_command
from harness.compare.dataframes import COLUMNS, load
from harness.compare.inspect_export import write_inspect_logs
from harness.compare.read_logs import is_log, read_logs
from harness.errors import ConfigurationError, RunLogError, os_errors


def export(
    run: RunPath,
    /,
    *,
    output_format: Annotated[
        Literal["csv", "parquet", "inspect", "baseline"], Parameter(name="--format")
    ],
    out: Path | None = None,
    gated: bool = False,
) -> int:
    """Export a run as CSV, Parquet, a log for Inspect, or a baseline.

    A baseline is of a run, or of a log of another harness (docs/comparing.md). It has the scores of
    all attempts by question and the sampling settings, but no texts; `eval --baseline FILE` and
    `compare` compare with it.

    Args:
        output_format: csv, parquet: tables; inspect: logs for `inspect view`; baseline: scores.
        out: Folder for the files, or the baseline file. Default: RUN-FORMAT or baseline-RUN.json.
        gated: Include the texts of gated datasets (GPQA) in the logs.
    """
    if output_format == "baseline":
        name = run.resolve().name.removeprefix("eval-").removesuffix(run.suffix)
        path = out or Path(f"baseline-{name}.json")
        measured.write_baseline(_baseline(run), path)
        show(str(path))
        return 0
    if is_log(run):
        raise ConfigurationError(f"{run} is a log; only --format baseline takes one.")
    if out and out.suffix == f".{output_format}":
        raise ConfigurationError(f"--out {out} names a file, but a run has {len(COLUMNS)} tables.")
    if output_format == "parquet" and find_spec("pyarrow") is None:
        raise ConfigurationError(
            f"--format parquet needs pyarrow; install it with: {install_command('evals')}"
        )
    loaded = load(run)
    folder = out or Path(f"{loaded.folder.resolve().name}-{output_format}")
    with os_errors(RunLogError, f"{folder} cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        if output_format == "inspect":
            tasks = all_tasks(loaded.folder, loaded.info)
            paths = write_inspect_logs(loaded, tasks, folder, gated=gated)
        else:
            paths = [folder / f"{table}.{output_format}" for table in COLUMNS]
            for table, path in zip(COLUMNS, paths, strict=True):
                getattr(getattr(loaded, table), f"to_{output_format}")(path, index=False)
    for path in paths:
        show(str(path))
    return 0


def _baseline(run: Path) -> measured.MeasuredBaseline:
    """Return the scores of a run or of a log. Raises ConfigurationError or RunLogError."""
    if is_log(run):
        logs = read_logs(run)
        if silent := next((each.unanswered for each in logs if each.unanswered), None):
            raise ConfigurationError(
                f"{run} is no baseline: {silent}. Find out why, and run the eval again."
            )
        log = measured.log_baseline(logs)
        made = datetime.fromisoformat(log.created_at)
        return measured.create_baseline(log.results, log.provider, log.tool_version, made)
    info, results = run_scores(run)
    return measured.create_baseline(
        results, info.provider.name, version("gpt-oss-verify"), datetime.now(UTC)
    )
