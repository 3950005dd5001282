"""The results of an audit and the manifest of a bundle, as they are written."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.records.record import Record

AUDIT_VERSION = 2
MANIFEST_VERSION = 1

ProblemKind = Literal[
    "chain", "record", "duplicate", "missing", "seal", "settings", "files", "reproducibility"
]
Conclusion = Literal["sound", "not sealed", "broken"]


class AuditProblem(Record):
    """One difference between a run and what was recorded.

    `chain`: a line does not continue the hash chain. `record`: a line cannot be read, or its
    contents were replaced. `duplicate`: an attempt is recorded more than once. `missing`: a
    complete run lacks planned attempts. `seal`: the records differ from the sealed ones, or the
    seal is not the expected one. `settings`, `files`: run.json, or a file of a task, differs from
    the sealed one. `reproducibility`: the analysis or a report does not follow from the records.
    """

    kind: ProblemKind
    where: str
    message: str


class LogState(Record):
    """The contents of a log, and the times of its first and last request (ISO 8601 UTC)."""

    name: str
    records: int
    unchained: int = Field(description="records from a version without hash chains")
    withheld: int = Field(description="records whose contents a bundle omits")
    first: str | None
    last: str | None


class Audit(Record):
    """The audit of one run.

    `sound`: the run is unchanged since it was sealed. `not sealed`: no problem was found, but no
    seal covers all records, because an older version made the run or it was killed. `broken`:
    there are problems.
    """

    version: int = AUDIT_VERSION
    run: str
    tool_version: str
    audited_by: str
    bundle: bool
    conclusion: Conclusion
    seal: str | None = Field(description="the run's last seal")
    expected: str | None = Field(description="the seal that it was compared with")
    started: str
    finished: str | None
    ended: tuple[str, ...] = Field(description="times at which sessions were sealed")
    resumed: tuple[str, ...] = Field(description="times of --resume")
    planned: int
    logs: tuple[LogState, ...]
    problems: tuple[AuditProblem, ...]
    notes: tuple[str, ...]


class Removal(Record):
    """Something that a bundle omits: the number of times, and the reason."""

    what: str
    why: str
    count: int


class Manifest(Record):
    """`manifest.json` of a bundle. Hashes are SHA-256, hexadecimal.

    With `run_members`, `replaced` and the hashes in withheld records, the chain and the seal of the
    run can be verified without the originals.
    """

    version: int = MANIFEST_VERSION
    run: str
    tool_version: str = Field(description="the version that packed and judged the bundle")
    seal: str | None = Field(description="hash of the run's last seal")
    removals: tuple[Removal, ...]
    run_members: Mapping[str, str] = Field(
        description="hashes of the original members of run.json that were shortened"
    )
    replaced: Mapping[str, str] = Field(
        description="hashes of the original files that were replaced by others of the same name"
    )
    withheld_records: Mapping[str, int] = Field(
        description="by log, the number of records with the hash of omitted contents"
    )
    files: Mapping[str, str] = Field(description="hashes of the files in the bundle")
