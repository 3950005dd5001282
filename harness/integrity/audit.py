"""Audit a run folder: are its records, settings and reports the original ones?"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.errors import ConfigurationError, RunLogError
from harness.integrity.archive import read_manifest
from harness.integrity.logs import ScannedLog
from harness.integrity.records import Audit, AuditProblem, Conclusion, Manifest, ProblemKind
from harness.integrity.seal import (
    file_hashes,
    hash_of,
    hash_of_file,
    json_hash,
    logs_of,
    member_hashes,
)
from harness.records.runs import SCHEMA_VERSION, RunInfo, Seal
from harness.run.run_folder import DERIVED
from harness.run.run_log import ROLLOUTS_FILE, RUN_FILE, read_members, read_run_info

SHORTEST_SEAL = 16
MOST_SHOWN = 10  # problems of one kind that are listed individually

_DERIVED_IN_VERSION_2 = "judgements.jsonl"


@dataclass(frozen=True)
class AuditedRun:
    """A run folder as an audit reads it; `members` are the JSON values of `run.json`."""

    path: Path
    members: dict[str, Any]
    info: RunInfo
    logs: tuple[ScannedLog, ...]
    manifest: Manifest | None

    @property
    def seals(self) -> tuple[Seal, ...]:
        """Its seals, oldest first."""
        return self.info.seals

    @property
    def finished(self) -> bool:
        """Whether sampling has ended."""
        return self.info.finished_at is not None

    @property
    def unsealed(self) -> int:
        """The number of records after the last seal."""
        sealed = self.seals[-1].logs if self.seals else {}
        return sum(log.unsealed(sealed.get(log.name)) for log in self.logs)

    @property
    def settings_unchanged(self) -> bool:
        """Whether `run.json` matches the last seal; a bundle has hashes of the original members."""
        hashes = member_hashes(self.members)
        if self.manifest is not None:
            hashes |= self.manifest.run_members
        return bool(self.seals) and json_hash(hashes) == self.seals[-1].run

    @property
    def killed(self) -> bool:
        """Whether the last session was killed before it could be sealed."""
        if self.finished or not self.seals:
            return not self.finished
        resumed = self.info.resumed[-1:] >= (self.seals[-1].at,)
        return self.unsealed > 0 or (resumed and not self.settings_unchanged)


def read_run(path: Path) -> AuditedRun:
    """Read a run folder for an audit. Raises RunLogError."""
    members = read_members(path)
    info = read_run_info(path)
    logs = logs_of(path)
    if not any(log.name == ROLLOUTS_FILE for log in logs):
        raise RunLogError(f"{path} has no {ROLLOUTS_FILE}, so there is nothing to audit.")
    sealed_at = {
        log.name: {seal.logs[log.name].records for seal in info.seals if log.name in seal.logs}
        for log in logs
    }
    scanned = tuple(ScannedLog(log, sealed_at[log.name]) for log in logs)
    return AuditedRun(path, members, info, scanned, read_manifest(path))


def audit(
    path: Path,
    expected: str | None = None,
    not_reproducible: Callable[[Path], Iterable[str]] = lambda _: (),
) -> Audit:
    """Audit the folder of a run, perhaps unpacked from a bundle.

    `expected` is a seal that was stored elsewhere, or its first digits. `not_reproducible` yields
    the names of the derived files that do not follow from the records.

    Raises ConfigurationError if `expected` is not a seal, RunLogError if the folder is unreadable.
    """
    run = read_run(path)
    expected_digits = None if expected is None else _digits(expected)
    differences, notes = _reproducibility(run, not_reproducible)
    problems = [*_problems(run, expected_digits), *differences]
    unsealed = _not_sealed(run)
    conclusion: Conclusion = "broken" if problems else "not sealed" if unsealed else "sound"
    return Audit(
        run=path.resolve().name,
        tool_version=run.info.tool_version,
        audited_by=version("gpt-oss-verify"),
        bundle=run.manifest is not None,
        conclusion=conclusion,
        seal=run.seals[-1].hash if run.seals else None,
        expected=expected,
        started=run.info.started_at,
        finished=run.info.finished_at,
        ended=tuple(seal.at for seal in run.seals),
        resumed=run.info.resumed,
        planned=run.info.planned,
        logs=tuple(log.state for log in run.logs),
        problems=tuple(_shown(problems)),
        notes=(*unsealed, *_notes(run, expected_digits), *notes),
    )


def _digits(seal: str) -> str:
    digits = seal.strip().lower()
    if len(digits) < SHORTEST_SEAL or set(digits) - set("0123456789abcdef"):
        raise ConfigurationError(
            f"{seal!r} is not a seal; give at least {SHORTEST_SEAL} of its hexadecimal digits."
        )
    return digits


def _reproducibility(
    run: AuditedRun, not_reproducible: Callable[[Path], Iterable[str]]
) -> tuple[list[AuditProblem], list[str]]:
    """Problems and notes about the derived files; other versions may derive others."""
    if any(problem.kind == "record" for log in run.logs for problem in log.problems()):
        return [], ["the analysis was not reproduced: some records cannot be read"]
    judged_by = (run.manifest or run.info).tool_version
    same = judged_by == version("gpt-oss-verify") and run.info.schema_version == SCHEMA_VERSION
    strict = same and not run.killed
    message, notes = "does not follow from the records", []
    try:
        names = list(not_reproducible(run.path))
    except (ConfigurationError, RunLogError) as error:
        message = f"the analysis was not reproduced: {error}"
        notes.append(message)
        strict = strict and isinstance(error, RunLogError)
        names = [name for name in DERIVED if strict and (run.path / name).exists()]
    if strict:
        return [_problem("reproducibility", name, message) for name in names], notes
    return [], [*notes, *(f"{name} {message}" for name in names)]


def _problems(run: AuditedRun, expected: str | None) -> Iterator[AuditProblem]:
    for log in run.logs:
        yield from log.problems()
        declared = run.manifest.withheld_records.get(log.name, 0) if run.manifest else 0
        replaced = log.state.withheld
        if replaced != declared:
            message = f"the contents of {replaced} records were replaced; {declared} are declared"
            yield _problem("record", log.name, message)
    attempts = sum(len(log.ids) for log in run.logs if log.name == ROLLOUTS_FILE)
    planned = run.info.planned
    if run.finished and run.info.ended in {None, "complete"} and attempts < planned:
        message = f"the run is complete, but {planned - attempts} of {planned} attempts are missing"
        yield _problem("missing", ROLLOUTS_FILE, message)
    yield from _seal_problems(run)
    if expected is not None and not any(seal.hash.startswith(expected) for seal in run.seals):
        own = run.seals[-1].short if run.seals else "none"
        yield _problem("seal", RUN_FILE, f"the seal of the run is {own}, not the expected one")
    if run.seals and not run.killed:
        if not run.settings_unchanged:
            yield _problem("settings", RUN_FILE, "was changed after the run was sealed")
        yield from _file_problems(run)


def _seal_problems(run: AuditedRun) -> Iterator[AuditProblem]:
    before = None
    logs = {log.name: log for log in run.logs}
    for number, seal in enumerate(run.seals, start=1):
        where = f"seal {number} of {seal.at}"
        if hash_of(seal) != seal.hash or seal.before != before:
            yield _problem("seal", where, "was changed after it was made")
        before = seal.hash
        for name, sealed in seal.logs.items():
            difference = logs[name].difference(sealed) if name in logs else "is missing"
            if difference is not None:
                yield _problem("seal", where, f"{name}: {difference}")
    if not run.finished:
        return
    if not run.seals and any(log.state.records > log.state.unchained for log in run.logs):
        yield _problem("seal", RUN_FILE, "the run is finished and chained, but its seal is missing")
    for log in run.logs if run.seals else ():
        added = log.unsealed(run.seals[-1].logs.get(log.name))
        if added > 0:
            yield _problem("seal", log.name, f"{added} records were added after the last seal")
        if log.torn:
            yield _problem("seal", log.name, f"{log.torn} bytes follow the last record")


def _file_problems(run: AuditedRun) -> Iterator[AuditProblem]:
    hashes = file_hashes(run.path)
    if run.manifest is not None:
        for name, packed in run.manifest.files.items():
            derived = name in {*DERIVED, _DERIVED_IN_VERSION_2}
            if not derived and hash_of_file(run.path / name) != packed:
                yield _problem("files", name, "was changed after the bundle was packed")
        hashes |= run.manifest.replaced
    sealed = run.seals[-1].files
    for name in sorted({*sealed, *hashes}):
        if name not in hashes:
            yield _problem("files", name, "is missing")
        elif hashes[name] != sealed.get(name):
            yield _problem("files", name, "was changed or added after the run was sealed")


def _not_sealed(run: AuditedRun) -> list[str]:
    """The reasons why no seal covers all records; empty if one does."""
    if not run.seals:
        return ["the run has no seal: an older version made it, or its only session was killed"]
    if run.killed:
        return [f"the last session was killed; {run.unsealed} records follow the last seal"]
    if unchained := sum(log.state.unchained for log in run.logs):
        return [
            f"an older version wrote {unchained} records without a chain; they were sealed later"
        ]
    return []


def _notes(run: AuditedRun, expected: str | None) -> Iterator[str]:
    if not run.finished:
        yield "the run is not finished; the audit covers the existing records"
        for log in run.logs:
            if log.torn:
                yield f"the last line of {log.name} is incomplete, as after a killed process"
    if run.manifest and (withheld := sum(log.state.withheld for log in run.logs)):
        yield f"the contents of {withheld} records are withheld; the hashes are the original ones"
    for seal in run.seals[:-1]:
        if expected and seal.hash.startswith(expected):
            yield f"the expected seal is an earlier one, of {seal.at}; the run was continued later"
    for name, hash_ in zip(run.info.merged, run.info.merged_seals, strict=False):
        yield f"merged from {name}, " + (f"seal {hash_[:32]}" if hash_ else "without a seal")


def _shown(problems: Iterable[AuditProblem]) -> Iterator[AuditProblem]:
    counts: Counter[ProblemKind] = Counter()
    for problem in problems:
        counts[problem.kind] += 1
        if counts[problem.kind] <= MOST_SHOWN:
            yield problem
    for kind, count in counts.items():
        if count > MOST_SHOWN:
            yield _problem(kind, "more", f"{count - MOST_SHOWN} further problems of this kind")


def _problem(kind: ProblemKind, where: str, message: str) -> AuditProblem:
    return AuditProblem(kind=kind, where=where, message=message)
