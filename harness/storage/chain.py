"""The hash chain through a log: every line names the hash of itself and of all before it.

A line is a record as JSON, its last member `chain`. With H for SHA-256 and ‖ for the joining of
bytes, `chain` of line i is H(chain of line i-1 ‖ H(record i)), where record i is the bytes of the
line without that member; before the first line stands H of the log's file name. Since a record
goes into the chain by its hash, a log can be followed even where contents are withheld: such a line
has, before `chain`, a member `withheld` with the hash of the record as it was.

The scheme is that of secure audit logs (Schneier and Kelsey 1999, section 3.2), without keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

_MEMBERS = re.compile(rb'(?:,"withheld":"([0-9a-f]{64})")?,"chain":"([0-9a-f]{64})"\}\n?\Z')
_LONGEST = 180
"""No shorter than the members that a chain adds to a line."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a line says of its place in the chain.

    Attributes:
        digest: Hash of its record, as bytes; the one it names where contents are withheld.
        chain: The chain that it names, as bytes; None where it names none.
        withheld: Whether its contents are not those that were hashed.
    """

    digest: bytes
    chain: bytes | None
    withheld: bool = False

    def follows(self, before: bytes) -> bool:
        """Whether the line stands where it was written, `before` being the chain before it."""
        return self.chain is None or self.chain == following(before, self.digest)


def beginning(name: str) -> bytes:
    """The chain before the first line of a log, given its file name."""
    return sha256(name.encode()).digest()


def following(before: bytes, digest: bytes) -> bytes:
    """The chain of a line: 32 bytes, from the chain before it and the hash of its record."""
    return sha256(before + digest).digest()


def linked(record: bytes, before: bytes) -> tuple[bytes, bytes]:
    """A record, which must be a JSON object, as a line of a log; and the chain after it."""
    chain = following(before, sha256(record).digest())
    line = b'%b,"chain":"%b"}\n' % (record[:-1], chain.hex().encode())
    return line, chain


def relinked(record: bytes, link: Link) -> bytes:
    """The line of a record whose contents replace those that `link` was read from."""
    if link.chain is None:
        return record + b"\n"
    line = b'%b,"withheld":"%b","chain":"%b"}\n'
    return line % (record[:-1], link.digest.hex().encode(), link.chain.hex().encode())


def record_of(line: bytes) -> bytes:
    """The record of a line as it was before it was chained."""
    found = _members(line)
    return line if found is None else line[: found.start()] + b"}"


def is_chained(line: bytes) -> bool:
    """Whether a line names its chain."""
    return _members(line) is not None


def read_link(line: bytes) -> Link:
    """What a line says of its place; an older line has no chain and may stand anywhere."""
    found = _members(line)
    if found is None:
        return Link(sha256(line.removesuffix(b"\n")).digest(), None)
    chain = bytes.fromhex(found[2].decode())
    if found[1] is not None:
        return Link(bytes.fromhex(found[1].decode()), chain, withheld=True)
    digest = sha256(memoryview(line)[: found.start()])
    digest.update(b"}")
    return Link(digest.digest(), chain)


def after(line: bytes, before: bytes) -> bytes:
    """The chain to go on from after a line that is there, whether or not it follows on `before`."""
    found = _members(line)
    if found is not None:
        return bytes.fromhex(found[2].decode())
    return following(before, read_link(line).digest)


def _members(line: bytes) -> re.Match[bytes] | None:
    """The members at the end of a line that place it in the chain."""
    return _MEMBERS.search(line, max(0, len(line) - _LONGEST))
