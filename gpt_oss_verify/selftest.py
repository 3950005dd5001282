"""The command `selftest`: test that known defects are detected."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Annotated

from gpt_oss_verify.options import COUNT, DEFAULT_OUT, AsJson, Out
from gpt_oss_verify.rescore import ReaderOptions
from gpt_oss_verify.screen import print_raw, say, show, stdout
from harness.errors import EXIT_FAIL, EXIT_PASS, ConfigurationError, StoppedError
from harness.records.runs import RunInfo
from harness.records.settings import SuiteName, names
from harness.run import run_folder
from harness.run.sampling import run_until_stopped
from harness.selftest import selftest_run as run
from harness.selftest.faults import FaultRow, Matrix, catalogue
from harness.selftest.faults import chosen as chosen_faults
from harness.selftest.stages import of_laws, of_styles
from harness.selftest.styles import StyledServer
from reports import selftest as report
from reports.text import counted

_ROWS = "rows.jsonl"


def selftest(
    *,
    faults: str | None = None,
    suite: SuiteName = "full",
    workers: Annotated[int, COUNT] = 4,
    repeat: Annotated[int, COUNT] = 1,
    whole: bool = False,
    out: Out = None,
    resume: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Test the tool with known defects of the reference engine.

    Each fault is first tested with the rules that should detect it and, if they find nothing, with
    the whole suite. The healthy engine and its allowed variations must cause no errors, and a worse
    model (layer `models`) must not be taken for a defect of the server. With --repeat 20, every
    variation is also tested with the whole suite. With --faults laws, the healthy engine is run
    with each API, mode and suite, and with random selections of rules; neither a run nor a random
    part of it may cause an error or a warning. To list the defects, run
    `python -m reference_engine faults`.

    Args:
        faults: Only these faults or layers (or 'allowed variations'), separated by commas.
            Default: all except 'laws' and 'styles'.
        suite: The whole suite, which the healthy engine must pass. Default: full.
        workers: Concurrent runs; each fault of the model needs its own server of 1 GB. Default: 4.
        repeat: How often to run healthy servers, to bound the false-alarm rate. Default: 1.
        whole: Test every fault with the whole suite from the start, except faults of the model.
        resume: Folder of an interrupted self-test with the same options; finished faults are kept.
    """
    chosen = chosen_faults((*catalogue(), *of_laws(), *of_styles()), names(faults))
    folder = resume or run_folder.create(out or DEFAULT_OUT, "selftest")
    finished = _finished(folder / _ROWS, repeat) if resume else {}
    plan = run.SelfTestPlan(
        chosen, faults is None, suite, workers, folder, repeat, whole, finished, _server, _reader()
    )
    done = set(finished)
    say(_announced(plan))
    try:
        with (folder / _ROWS).open("a", encoding="utf-8") as file:

            def record(row: FaultRow) -> None:
                file.write(row.model_dump_json() + "\n")
                file.flush()
                done.add(row.fault.name)
                say(f"{len(done)}/{len(chosen)} {row.fault.name}: {row.status}")

            matrix = run_until_stopped(run.selftest(plan, record))
    except StoppedError:
        raise StoppedError(f"stopped; finish it with --resume {folder}") from None
    _write(matrix, folder)
    if as_json:
        print_raw(matrix.model_dump_json(indent=1))
    else:
        report.print_matrix(matrix, stdout())
        show(str(folder / "matrix.html"))
    return EXIT_PASS if matrix.passed else EXIT_FAIL


def _server(max_context: int) -> StyledServer:
    from reference_engine.prescribed import PrescribedServer

    return PrescribedServer(max_context)


def _reader() -> Callable[[Path, RunInfo], None]:
    """Return what reads the replies of a run; it uses all cores, so one run is read at a time."""
    lock = Lock()

    def read(run: Path, info: RunInfo) -> None:
        from gpt_oss_verify.reading import read_run

        with lock:
            read_run(run, info, ReaderOptions(), "auto")

    return read


def _announced(plan: run.SelfTestPlan) -> str:
    """Say what is run first, which takes minutes, and what then."""
    planned = run.healthy_stages(plan)
    rules = {rule for stage in planned for rule in stage.only}
    parts = [f"the {len(rules)} rules that detect these faults"] if rules else []
    if any(stage.whole for stage in planned):
        parts.append("the whole suite")
    first = f"First the healthy engine with {' and '.join(parts)}, then " if parts else ""
    faults = counted(len(plan.faults) - 1, "fault")
    return f"{first}{faults}, {plan.workers} at once."


def _write(matrix: Matrix, folder: Path) -> None:
    """Write the matrix in each format. Raises RunLogError."""
    texts = {
        folder / "matrix.json": matrix.model_dump_json(indent=1) + "\n",
        folder / "matrix.md": report.markdown(matrix),
        folder / "matrix.html": report.html(matrix),
    }
    for path, text in texts.items():
        run_folder.write_text(path, text)


def _finished(path: Path, repeat: int) -> dict[str, FaultRow]:
    """Return the rows of an interrupted self-test by fault. Raises ConfigurationError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = [FaultRow.model_validate_json(line) for line in lines if line.endswith("\n")]
    except (OSError, ValueError):
        raise ConfigurationError(
            f"--resume needs the folder of a self-test; {path} cannot be read."
        ) from None
    return {
        row.fault.name: row
        for row in rows
        if row.status != "failed" and (row.runs >= repeat or not row.fault.allowed)
    }
