"""A run folder copied for publication: what must not be published is replaced on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import orjson

from harness.bundling.manifest import MANIFEST_FILE, Manifest, Removal
from harness.bundling.scrubbing import Scrubber, shortened
from harness.errors import ConfigurationError, RunLogError
from harness.records.rollouts import Rollout
from harness.storage import chain
from harness.storage.run_folder import PROVIDER_LOG, write_text
from harness.storage.run_log import RUN_FILE
from harness.storage.sealing import (
    SEALS,
    file_hashes,
    hash_of_file,
    logs_of,
    member_hashes,
    read_members,
)


class Hiding(Protocol):
    """What is kept from publication besides keys: the texts of gated questions."""

    def members(self) -> Mapping[str, Any]:
        """Members of `run.json` that change with it."""
        ...

    def files(self) -> Mapping[str, str]:
        """Files with other texts than they have, by name."""
        ...

    def record(self, record: Rollout) -> Rollout:
        """A record as it may be published."""
        ...

    def removals(self) -> tuple[Removal, ...]:
        """What was taken out, once all records were seen."""
        ...


class NothingHidden:
    """A run without gated questions."""

    def members(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def files(self) -> Mapping[str, str]:
        """None."""
        return {}

    def record(self, record: Rollout) -> Rollout:
        """The record as it is."""
        return record

    def removals(self) -> tuple[Removal, ...]:
        """None."""
        return ()


@dataclass(frozen=True)
class _Copied:
    """A log as it was copied: how many records carry the hash of other contents."""

    name: str
    withheld: int


def copy_run(source: Path, target: Path, hiding: Hiding, scrubber: Scrubber) -> Manifest:
    """Copy what may be published of a run.

    Args:
        source: The folder of a run, not of an opened bundle.
        target: An empty folder. What judging makes is not copied: it is to be made there again.
        hiding: What to hide.
        scrubber: Takes keys out.

    Returns:
        What the bundle says of itself, its files not yet counted.

    Raises:
        ConfigurationError: The cases or questions hold a key.
        RunLogError: Something cannot be read or written.
    """
    if (source / MANIFEST_FILE).exists():
        raise ConfigurationError(f"{source} was opened from a bundle; pass on that file.")
    members = read_members(source)
    changed = _members(members, hiding, scrubber)
    copied = [_log(path, target, hiding, scrubber) for path in logs_of(source)]
    replaced = _files(source, target, hiding, scrubber)
    write_text(target / RUN_FILE, _text(members | changed))
    before = member_hashes(members)
    seals = members.get(SEALS) or [{}]
    return Manifest(
        run=source.resolve().name,
        tool_version=version("gpt-oss-verify"),
        seal=seals[-1].get("hash") if isinstance(seals[-1], dict) else None,
        removals=(*_removals(source, members, scrubber), *hiding.removals()),
        run_members={name: before[name] for name in sorted(changed)},
        replaced=replaced,
        withheld_records={log.name: log.withheld for log in copied},
        files={},
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder that is now complete. Raises RunLogError."""
    files = {path.name: hash_of_file(path) for path in sorted(folder.iterdir())}
    whole = manifest.model_copy(update={"files": files})
    write_text(folder / MANIFEST_FILE, whole.model_dump_json(indent=2) + "\n")


def _members(members: Mapping[str, Any], hiding: Hiding, scrubber: Scrubber) -> dict[str, Any]:
    """The members of run.json that are not published as they are."""
    hidden = {**members, **hiding.members()}
    clean = {
        name: orjson.loads(scrubber.text(_text(shortened(value))))
        for name, value in hidden.items()
        if name != SEALS
    }
    return {name: value for name, value in clean.items() if value != members.get(name)}


def _log(path: Path, target: Path, hiding: Hiding, scrubber: Scrubber) -> _Copied:
    withheld = 0
    try:
        with path.open("rb") as log, (target / path.name).open("wb") as out:
            for line in log:
                if not line.endswith(b"\n"):
                    break
                record = chain.record_of(line).removesuffix(b"\n")
                clean = scrubber.text(_hidden(record, hiding).decode()).encode()
                if clean == record:
                    out.write(line)
                else:
                    link = chain.read_link(line)
                    out.write(chain.relinked(clean, link))
                    withheld += link.chain is not None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise RunLogError(f"{path} cannot be copied: {error}") from None
    return _Copied(path.name, withheld)


def _hidden(record: bytes, hiding: Hiding) -> bytes:
    read = Rollout.model_validate_json(record)
    shown = hiding.record(read)
    return record if shown is read else shown.model_dump_json().encode()


def _files(source: Path, target: Path, hiding: Hiding, scrubber: Scrubber) -> dict[str, str]:
    """Copy the cases and questions; the hashes of those that are replaced."""
    hidden = hiding.files()
    hashes = file_hashes(source)
    for name in hashes:
        text = hidden.get(name) or (source / name).read_bytes().decode(errors="replace")
        if scrubber.text(text) != text:
            raise ConfigurationError(
                f"{source / name} holds what looks like a key: a run that asks it is not packed."
            )
        write_text(target / name, text)
    return {name: hashes[name] for name in sorted(hidden)}


def _removals(source: Path, members: Mapping[str, Any], scrubber: Scrubber) -> list[Removal]:
    found = [
        Removal(
            what="keys", why="found in texts although records are redacted", count=scrubber.count
        ),
        Removal(
            what="absolute paths and this machine's name in members of run.json",
            why="they tell of the machine, not of the provider",
            count=sum(shortened(value) != value for value in members.values()),
        ),
        Removal(
            what=f"{PROVIDER_LOG}, what a provider started here printed",
            why="nobody has looked through it",
            count=int((source / PROVIDER_LOG).exists()),
        ),
    ]
    return [removal for removal in found if removal.count]


def _text(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n"
