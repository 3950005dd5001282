"""The audit of a run folder: chains, seals, settings and files. What judging says is added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from harness.auditing.findings import Audit, Breach, BreachKind, Conclusion
from harness.auditing.folder import Folder
from harness.auditing.logs import Walk
from harness.bundling.manifest import Manifest
from harness.errors import ConfigurationError
from harness.records.runs import Seal
from harness.storage.run_folder import DERIVED
from harness.storage.run_log import ROLLOUTS_FILE, RUN_FILE
from harness.storage.sealing import file_hashes, hash_of, hash_of_file

SHORTEST_SEAL = 16
MOST_SHOWN = 10
"""Breaches of one kind that are told one by one."""

_WITHOUT_SEAL = "the run has no seal: an older version made it, or its only sitting was killed"
_CUT = "the last sitting was killed before it could be sealed"


def audit(
    folder: Folder, judged: Iterable[Breach], notes: Sequence[str], expected: str | None
) -> Audit:
    """Put together what is wrong with a run.

    Args:
        folder: The run.
        judged: What does not follow from its records.
        notes: What else is to be said.
        expected: A seal noted elsewhere, or its beginning.

    Raises:
        ConfigurationError: `expected` is no seal.
    """
    wanted = None if expected is None else _digits(expected)
    breaches = [*_breaches(folder, wanted), *judged]
    why_open = _why_open(folder)
    head = folder.head
    return Audit(
        run=folder.path.resolve().name,
        tool_version=head.tool_version,
        audited_by=version("gpt-oss-verify"),
        bundle=folder.manifest is not None,
        conclusion=_conclusion(bool(breaches), bool(why_open)),
        seal=folder.seals[-1].hash if folder.seals else None,
        expected=expected,
        started=head.started_at,
        finished=head.finished_at,
        ended=tuple(one.at for one in folder.seals),
        resumed=head.resumed,
        planned=head.planned,
        logs=tuple(walk.state for walk in folder.walks),
        breaches=tuple(_few(breaches)),
        notes=(*why_open, *_notes(folder, wanted), *notes),
    )


def _digits(seal: str) -> str:
    """A seal, or its beginning, as somebody gave it. Raises ConfigurationError if it is none."""
    digits = seal.strip().lower()
    if len(digits) < SHORTEST_SEAL or set(digits) - set("0123456789abcdef"):
        raise ConfigurationError(
            f"{seal!r} is no seal: give at least {SHORTEST_SEAL} of its hexadecimal digits."
        )
    return digits


def _conclusion(broken: bool, opened: bool) -> Conclusion:
    if broken:
        return "broken"
    return "not sealed" if opened else "sound"


def _breaches(folder: Folder, wanted: str | None) -> Iterator[Breach]:
    for walk in folder.walks:
        yield from walk.breaches
        yield from _contents(folder, walk)
    yield from _absent(folder)
    yield from _seals(folder)
    yield from _expected(folder, wanted)
    if folder.seals and not folder.cut:
        if not folder.as_sealed:
            yield _breach("settings", RUN_FILE, "was changed after the run was sealed")
        yield from _files(folder)


def _contents(folder: Folder, walk: Walk) -> Iterator[Breach]:
    """Contents that are not those recorded, save those that the maker of a bundle says are gone."""
    told = folder.manifest.withheld_records.get(walk.name, 0) if folder.manifest else 0
    found = walk.state.withheld
    if found != told:
        message = f"the contents of {found} records were replaced; {told} are accounted for"
        yield _breach("record", walk.name, message)


def _absent(folder: Folder) -> Iterator[Breach]:
    """Planned attempts of a finished run that are not there."""
    whole = folder.head.ended in {None, "all tries"}
    made = sum(len(walk.ids) for walk in folder.walks if walk.name == ROLLOUTS_FILE)
    planned = folder.head.planned
    if folder.finished and whole and made < planned:
        message = f"{planned - made} of {planned} attempts are absent, but the run is finished"
        yield _breach("absent", ROLLOUTS_FILE, message)


def _seals(folder: Folder) -> Iterator[Breach]:
    before = None
    walks = {walk.name: walk for walk in folder.walks}
    for number, seal in enumerate(folder.seals, start=1):
        where = f"seal {number}, of {seal.at}"
        if hash_of(seal) != seal.hash or seal.before != before:
            yield _breach("seal", where, "was changed after it was made")
        before = seal.hash
        for name, sealed in seal.logs.items():
            problem = walks[name].fits(sealed) if name in walks else "is missing"
            if problem is not None:
                yield _breach("seal", where, f"{name}: {problem}")
    if folder.seals and folder.finished:
        yield from _added(folder, folder.seals[-1])
    chained = any(walk.state.records > walk.state.unchained for walk in folder.walks)
    if folder.finished and chained and not folder.seals:
        yield _breach("seal", RUN_FILE, "a finished run with a chain has a seal; this one has none")


def _added(folder: Folder, last: Seal) -> Iterator[Breach]:
    """What came into a finished run after it was sealed."""
    for walk in folder.walks:
        sealed = last.logs.get(walk.name)
        more = walk.state.records if sealed is None else walk.beyond(sealed)
        if more > 0:
            yield _breach("seal", walk.name, f"{more} records were added after the run was sealed")
        if walk.torn:
            message = f"{walk.torn} bytes stand after the last record"
            yield _breach("seal", walk.name, message)


def _expected(folder: Folder, wanted: str | None) -> Iterator[Breach]:
    if wanted is not None and not any(seal.hash.startswith(wanted) for seal in folder.seals):
        own = folder.seals[-1].short if folder.seals else "none"
        message = f"the run's seal is {own}, not the one given"
        yield _breach("seal", RUN_FILE, message)


def _files(folder: Folder) -> Iterator[Breach]:
    hashes = file_hashes(folder.path)
    if folder.manifest is not None:
        yield from _bundled(folder.path, folder.manifest)
        hashes |= folder.manifest.replaced
    sealed = folder.seals[-1].files
    for name in sorted({*sealed, *hashes}):
        if name not in hashes:
            yield _breach("files", name, "is missing")
        elif hashes[name] != sealed.get(name):
            yield _breach("files", name, "was changed or added after the run was sealed")


def _bundled(path: Path, manifest: Manifest) -> Iterator[Breach]:
    """Files of a bundle that are not those its maker packed; what judging writes may be newer."""
    for name, packed in manifest.files.items():
        if name not in DERIVED and hash_of_file(path / name) != packed:
            yield _breach("files", name, "was changed after the bundle was made")


def _why_open(folder: Folder) -> list[str]:
    """What no seal vouches for, if there is something."""
    if not folder.seals:
        return [_WITHOUT_SEAL]
    if folder.cut:
        return [f"{_CUT}; {folder.unsealed} records are beyond the last seal"]
    unchained = sum(walk.state.unchained for walk in folder.walks)
    if unchained:
        return [f"{unchained} records were written by an older version and sealed only later"]
    return []


def _notes(folder: Folder, wanted: str | None) -> Iterator[str]:
    if not folder.finished:
        yield "the run is not finished; what is there is looked at"
    for walk in folder.walks:
        if walk.torn and not folder.finished:
            yield f"{walk.name} ends in half a line, as a killed process leaves it"
    if folder.manifest is not None and (
        withheld := sum(walk.state.withheld for walk in folder.walks)
    ):
        yield f"the contents of {withheld} records are withheld; their hashes are those recorded"
    earlier = [one for one in folder.seals[:-1] if wanted and one.hash.startswith(wanted)]
    for one in earlier:
        yield f"the seal given is an earlier one, of {one.at}; the run went on after it"
    for name, seal in zip(folder.head.merged, folder.head.merged_seals, strict=False):
        had = "had no seal" if seal is None else f"had the seal {seal[:32]}"
        yield f"merged from {name}, which {had}"


def _few(breaches: Iterable[Breach]) -> Iterator[Breach]:
    counts: Counter[BreachKind] = Counter()
    for breach in breaches:
        counts[breach.kind] += 1
        if counts[breach.kind] <= MOST_SHOWN:
            yield breach
    for kind, count in counts.items():
        if count > MOST_SHOWN:
            yield _breach(kind, "and further", f"{count - MOST_SHOWN} more of this kind")


def _breach(kind: BreachKind, where: str, message: str) -> Breach:
    return Breach(kind=kind, where=where, message=message)
