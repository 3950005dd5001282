"""Pack a run for publication, without keys, paths of the machine and gated texts."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from harness.errors import ConfigurationError, RunLogError
from harness.integrity.archive import MANIFEST_FILE, pack, scratch_folder
from harness.integrity.records import Manifest, Removal
from harness.integrity.seal import SEALS, file_hashes, hash_of_file, logs_of, member_hashes
from harness.integrity.secrets import Scrubber, known_secrets, shortened
from harness.records.analysis import Analysis
from harness.records.rollouts import Rollout
from harness.records.runs import SCHEMA_VERSION
from harness.run.run_folder import ANALYSIS_FILE, PROVIDER_LOG, read_analysis, write_text
from harness.run.run_log import RUN_FILE, read_members, read_run_info
from harness.storage import chain

_MAY_DIFFER = {"run", "run_id", "dataset", "detail"}
"""Members in which the analysis of a copy may differ: replaced contents, and quoted errors."""


@dataclass(frozen=True)
class Withholding:
    """What must not be published in addition to keys: the texts of gated questions."""

    members: Mapping[str, Any] = field(default_factory=dict)  # new ones of `run.json`
    files: Mapping[str, str] = field(default_factory=dict)  # new texts of files, by name
    record: Callable[[Rollout], Rollout] = lambda record: record  # as it may be published
    what: str = ""  # a description of the texts, for the manifest


def bundle(
    run: Path,
    out: Path,
    withholding: Callable[[Path], Withholding],
    judge: Callable[[Path, Analysis], object],
) -> Manifest:
    """Pack a run if the published copy is judged like the run itself.

    `withholding` decides which texts of the run in a folder to withhold. `judge` writes the
    analysis and reports of a copy, with the gate of an analysis.

    Raises ConfigurationError if the run cannot be packed, and RunLogError if a file cannot be read
    or written.
    """
    if (run / MANIFEST_FILE).exists():
        raise ConfigurationError(f"{run} was unpacked from a bundle; share that bundle.")
    if read_run_info(run).schema_version != SCHEMA_VERSION:
        raise ConfigurationError(
            f"{run} was recorded by an older version, and only that version can pack it; this "
            "version can audit, recheck and compare the run and its bundles."
        )
    stored = read_analysis(run)
    with scratch_folder() as place:
        copy = place / run.resolve().name
        copy.mkdir()
        manifest = _copy(run, copy, withholding(run), Scrubber(known_secrets()))
        judge(copy, stored)
        if _comparable(copy) != _comparable(run):
            raise ConfigurationError(
                f"{run} cannot be packed: its analysis does not follow from the records that "
                f"would be published. Judge it again: gpt-oss-verify recheck {run}"
            )
        files = {path.name: hash_of_file(path) for path in sorted(copy.iterdir())}
        manifest = manifest.model_copy(update={"files": files})
        write_text(copy / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")
        pack(copy, out)
    return manifest


def _copy(source: Path, target: Path, withholding: Withholding, scrubber: Scrubber) -> Manifest:
    """Copy everything but derived files; `files` of the manifest is still empty."""
    members = read_members(source)
    clean = {
        name: orjson.loads(scrubber.text(_json(shortened(value))))
        for name, value in {**members, **withholding.members}.items()
        if name != SEALS
    }
    changed = {name: value for name, value in clean.items() if value != members.get(name)}
    write_text(target / RUN_FILE, _json(members | changed))
    hashes = member_hashes(members)
    texts: Counter[str] = Counter()
    withheld = {
        log.name: _copy_log(log, target / log.name, withholding, scrubber, texts)
        for log in logs_of(source)
    }
    replaced = _copy_files(source, target, withholding.files, scrubber)
    removed = {
        "keys": ("found in texts although records are redacted", scrubber.count),
        "absolute paths and the name of this machine in members of run.json": (
            "they describe the machine, not the provider",
            sum(shortened(value) != value for value in members.values()),
        ),
        f"{PROVIDER_LOG}, the output of a provider that was started here": (
            "its contents were not reviewed",
            int((source / PROVIDER_LOG).exists()),
        ),
        withholding.what: ("the authors ask that they not be published", texts.total()),
    }
    seals = members.get(SEALS)
    return Manifest(
        run=source.resolve().name,
        tool_version=version("gpt-oss-verify"),
        seal=seals[-1]["hash"] if seals else None,
        run_members={name: hashes[name] for name in sorted(changed)},
        replaced=replaced,
        withheld_records=withheld,
        removals=tuple(
            Removal(what=what, why=why, count=count)
            for what, (why, count) in removed.items()
            if count
        ),
        files={},
    )


def _copy_log(
    path: Path, target: Path, withholding: Withholding, scrubber: Scrubber, texts: Counter[str]
) -> int:
    """Copy a log, and return the number of records whose contents were replaced."""
    withheld = 0
    try:
        with path.open("rb") as log, target.open("wb") as out:
            for line in log:
                if not line.endswith(b"\n"):
                    break
                record = chain.record_of(line).removesuffix(b"\n")
                rollout = Rollout.model_validate_json(record)
                shown = withholding.record(rollout)
                texts[path.name] += shown is not rollout
                text = record.decode() if shown is rollout else shown.model_dump_json()
                clean = scrubber.text(text).encode()
                link = chain.read_link(line)
                out.write(line if clean == record else chain.relinked(clean, link))
                withheld += clean != record and link.chain is not None
    except OSError as error:
        raise RunLogError(f"{path} cannot be copied: {error.strerror}.") from None
    except ValueError as error:
        raise RunLogError(f"{path} cannot be copied: {error}") from None
    return withheld


def _copy_files(
    source: Path, target: Path, replaced: Mapping[str, str], scrubber: Scrubber
) -> dict[str, str]:
    """Copy the files of tasks, and return the original hashes of replaced ones."""
    hashes = file_hashes(source)
    for name in hashes:
        text = replaced.get(name) or (source / name).read_bytes().decode(errors="replace")
        if scrubber.text(text) != text:
            raise ConfigurationError(
                f"{source / name} contains what looks like a key, so the run cannot be packed; "
                "remove the key from your cases or questions, and run again."
            )
        write_text(target / name, text)
    return {name: hashes[name] for name in sorted(replaced)}


def _comparable(folder: Path) -> object:
    """The analysis of a run without the members that may differ in a copy."""
    return _without(shortened(json.loads((folder / ANALYSIS_FILE).read_bytes())))


def _without(value: object) -> object:
    if isinstance(value, dict):
        return {k: _without(inner) for k, inner in value.items() if k not in _MAY_DIFFER}
    return list(map(_without, value)) if isinstance(value, list) else value


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n"
