"""Logs of inspect_ai and lm_eval: which they are, and their tasks."""

from collections.abc import Iterator
from pathlib import Path

from harness.compare.eval_log import EvalLog
from harness.compare.inspect_log import is_inspect_log, read_inspect_log
from harness.compare.lm_eval_log import is_samples_file, read_lm_eval, results_files

KINDS = "an Inspect log, samples of lm_eval or a folder of them"


def is_log(path: Path) -> bool:
    """Return whether a file or a folder is a log, by its name or its first members."""
    if path.is_dir():
        return bool(results_files(path))
    return is_samples_file(path) or is_inspect_log(path) or path in results_files(path.parent)


def read_logs(path: Path) -> tuple[EvalLog, ...]:
    """Return a log as its tasks, without copies. Raises ConfigurationError if it is damaged."""
    logs = (read_inspect_log(path),) if is_inspect_log(path) else read_lm_eval(path)
    return tuple(log.without_copies() for log in logs)


def logs_in(folder: Path) -> Iterator[Path]:
    """Yield the logs in a folder of runs; of lm_eval, the results of each run."""
    yield from (path for path in sorted(folder.iterdir()) if is_inspect_log(path))
    yield from results_files(folder)
