"""The command `audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli.judging import not_reproducible
from harness.cli.screen import print_raw, stdout
from harness.integrity.archive import opened
from harness.integrity.audit import audit as audit_run
from reports.audit import EXIT_CODES, print_audit


def audit(
    run: Path,
    /,
    *,
    seal: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Check that a run is unchanged: no record was removed, changed, added or sampled twice.

    Only a seal that you stored elsewhere proves that the whole run was not replaced.

    Args:
        run: The run's folder, or a bundle.
        seal: The seal that the run must have, or at least its first 16 digits.
        as_json: Print the audit as JSON on stdout.
    """
    with opened(run) as folder:
        result = audit_run(folder, seal, not_reproducible)
    if as_json:
        print_raw(result.model_dump_json(indent=2))
    else:
        print_audit(result, stdout())
    return EXIT_CODES[result.conclusion]
