"""`gpt-oss-verify selftest`: the proof that known defects are detected."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli.options import at_least, names
from harness.errors import StoppedError
from harness.records.runs import SuiteName

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
    from harness.cli.screen import print_raw, stderr, stdout
    from harness.pipeline.exit_codes import EXIT_FAIL, EXIT_PASS
    from harness.sampling.run import run_until_stopped
    from harness.selftest import faults as known
    from harness.selftest import run
    from harness.selftest.matrix import Row
    from harness.selftest.signatures import signatures as signatures_of
    from harness.storage import run_folder
    from reports import selftest as report

    at_least(1, {"--workers": workers, "--repeat": repeat})
    chosen = known.chosen(known.catalogue(), names(faults))
    folder = run_folder.create(out, "selftest", datetime.now(UTC))
    talk = stderr()
    finished: set[str] = set()

    def show(row: Row) -> None:
        finished.add(row.fault.name)
        line = f"{len(finished)}/{len(chosen)} {row.fault.name}: {row.status}"
        talk.print(line, soft_wrap=True)

    plan = run.Plan(chosen, faults is None, suite, workers, folder, repeat, whole)
    try:
        matrix = run_until_stopped(run.selftest(plan, show))
    except StoppedError:
        raise StoppedError("stopped: an incomplete self-test has no matrix") from None
    run_folder.write_text(folder / "matrix.json", matrix.model_dump_json(indent=1) + "\n")
    run_folder.write_text(folder / "matrix.md", report.markdown(matrix))
    run_folder.write_text(folder / "matrix.html", report.html(matrix))
    if signatures is not None:
        run_folder.write_text(signatures, signatures_of(matrix).model_dump_json() + "\n")
    if as_json:
        print_raw(matrix.model_dump_json(indent=1))
    else:
        report.print_matrix(matrix, stdout())
        stdout().print(str(folder / "matrix.html"), soft_wrap=True)
    return EXIT_PASS if matrix.passed else EXIT_FAIL
