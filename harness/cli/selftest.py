"""`gpt-oss-verify selftest`: the proof that known defects are detected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from harness.cli.options import at_least, names
from harness.errors import StoppedError
from harness.records.runs import SuiteName

if TYPE_CHECKING:
    from harness.selftest.matrix import Row

_OUT = Path("runs")


def selftest(
    *,
    faults: str | None = None,
    suite: SuiteName = "full",
    workers: int = 2,
    repeat: int = 1,
    whole: bool = False,
    signatures: Path | None = None,
    out: Path = _OUT,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Run the tool against the reference engine with known defects, and report what it detects.

    Each fault is first tested with the rules that should detect it, then, if they find nothing,
    with the whole suite. The healthy engine and its allowed variations must have no error. With
    --repeat 20, every variation is tested with the whole suite, too. The defects are listed by
    `python -m reference_engine faults`.

    Args:
        faults: Only these faults or layers, separated by commas. Default: all.
        suite: The whole suite, which the healthy engine must pass. Default: full.
        workers: Concurrent servers; each needs a CPU core and 0.5 GB of memory. Default: 2.
        repeat: How often to run healthy servers, to bound the false-alarm rate. Default: 1.
        whole: Test every fault with the whole suite at once.
        signatures: Write what each fault causes to FILE, for the diagnosis of other runs.
        out: Where the folder with the matrix and the runs is created. Default: runs.
        as_json: Print the matrix as JSON on stdout.
    """
    from harness.cli.screen import print_raw, stdout
    from harness.pipeline.exit_codes import EXIT_FAIL, EXIT_PASS
    from harness.sampling.run import run_until_stopped
    from harness.selftest import faults as known
    from harness.selftest import run
    from harness.selftest.signatures import signatures as signatures_of
    from harness.storage import run_folder
    from reports import selftest as report

    at_least(1, {"--workers": workers, "--repeat": repeat})
    chosen = known.chosen(known.catalogue(), names(faults))
    folder = run_folder.create(out, "selftest", datetime.now(UTC))
    plan = run.Plan(chosen, faults is None, suite, workers, folder, repeat, whole)
    try:
        matrix = run_until_stopped(run.selftest(plan, _progress(len(chosen))))
    except StoppedError:
        raise StoppedError("stopped: an incomplete self-test has no matrix") from None
    texts = {
        folder / "matrix.json": matrix.model_dump_json(indent=1) + "\n",
        folder / "matrix.md": report.markdown(matrix),
        folder / "matrix.html": report.html(matrix),
    }
    if signatures is not None:
        texts[signatures] = signatures_of(matrix).model_dump_json() + "\n"
    for path, text in texts.items():
        run_folder.write_text(path, text)
    if as_json:
        print_raw(matrix.model_dump_json(indent=1))
    else:
        report.print_matrix(matrix, stdout())
        stdout().print(str(folder / "matrix.html"), soft_wrap=True)
    return EXIT_PASS if matrix.passed else EXIT_FAIL


def _progress(faults: int) -> Callable[[Row], None]:
    """A function that prints one line for each result, of so many faults."""
    from harness.cli.screen import stderr

    talk = stderr()
    finished: set[str] = set()

    def show(row: Row) -> None:
        finished.add(row.fault.name)
        line = f"{len(finished)}/{faults} {row.fault.name}: {row.status}"
        talk.print(line, soft_wrap=True)

    return show
