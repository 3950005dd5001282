"""The commands `bundle` and `audit`, and bundles as arguments of other commands."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evals.withholding import gated_texts
from harness.cli import judging
from harness.cli.judging import not_reproducible
from harness.cli.options import AsJson, RunOrBundle
from harness.cli.screen import print_raw, say, show, stdout
from harness.errors import ConfigurationError
from harness.integrity.archive import opened, unpack
from harness.integrity.audit import audit as audit_run
from harness.integrity.bundle import bundle as bundle_run
from harness.integrity.records import Manifest
from harness.integrity.secrets import shortened
from harness.records.analysis import Analysis
from harness.records.runs import Thresholds
from reports.audit import EXIT_CODES, print_audit


def bundle(
    run: Path,
    /,
    *,
    out: Path | None = None,
    open_in: Annotated[Path | None, Parameter(name="--open")] = None,
) -> int:
    """Pack a run into one file, which audit, recheck, report and compare accept as a run.

    The bundle has no keys, no paths of this machine, and no texts of gated questions (GPQA) or of
    the answers to them. Its manifest.json lists what was removed.

    Args:
        run: The run's folder; with --open, the bundle.
        out: The file to write. Default: <run>.tar.gz.
        open_in: Unpack a bundle into a folder below this one.
    """
    if open_in is not None:
        if out is not None:
            raise ConfigurationError("--open unpacks a bundle and --out packs one; use only one.")
        written = unpack(run, open_in)
    else:
        written = out or Path(f"{run.resolve().name}.tar.gz")
        manifest = packed(run, written)
        for removal in manifest.removals:
            say(f"removed: {removal.what} ({removal.count}): {removal.why}")
        if manifest.seal:
            say(f"seal: {manifest.seal[:32]}")
    show(str(written))
    return 0


def packed(run: Path, file: Path) -> Manifest:
    """Pack a run into a file. Raises ConfigurationError or RunLogError."""
    return bundle_run(run, file, gated_texts, _judge)


def _judge(copy: Path, stored: Analysis) -> None:
    """Judge a copy with the gate of the run, in which paths are shortened."""
    baseline = stored.run.settings.baseline
    if baseline is not None and Path(baseline).suffix:
        raise ConfigurationError(
            f"The run is compared with the file {baseline}, which is not part of a bundle. Compare "
            "it with published figures first: gpt-oss-verify recheck RUN --baseline range"
        )
    gate = judging.gate_of(stored)
    gate["origins"] = shortened(dict(stored.run.settings.origins))
    thresholds = shortened(stored.verdict.thresholds.model_dump(mode="json"))
    judging.judge(copy, Thresholds.model_validate(thresholds), gate)


def audit(run: RunOrBundle, /, *, seal: str | None = None, as_json: AsJson = False) -> int:
    """Check that a run is unchanged: no record was removed, changed, added or sampled twice.

    Only a seal that you stored elsewhere proves that the whole run was not replaced.

    Args:
        seal: The seal that the run must have, or at least its first 16 digits.
    """
    with opened(run) as folder:
        result = audit_run(folder, seal, not_reproducible)
    if as_json:
        print_raw(result.model_dump_json(indent=2))
    else:
        print_audit(result, stdout())
    return EXIT_CODES[result.conclusion]
