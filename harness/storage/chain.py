"""The hash chain of a log: each line has a hash of its record and of all lines before it.

A line is a record as JSON whose last member is `chain`. H is SHA-256 and ‖ concatenates bytes. The
`chain` of line i is H(chain of line i-1 ‖ H(record i)), where record i is the bytes of the line
without that member. The chain starts with H(name of the log file). The chain uses the hash of a
record, so that a log can be verified even if contents are withheld: such a line has, before
`chain`, a member `withheld` with the hash of the original record.

The scheme is that of secure audit logs (Schneier and Kelsey 1999, section 3.2), without keys.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

_MEMBERS = re.compile(rb'(?:,"withheld":"([0-9a-f]{64})")?,"chain":"([0-9a-f]{64})"\}\n?\Z')
_LONGEST = 180  # upper bound of the length of the members that a chain adds to a line


@dataclass(frozen=True, slots=True)
class Link:
    """The place of a line in the chain."""

    digest: bytes  # hash of its original record, as bytes
    chain: bytes | None  # its member `chain`, as bytes; None without one
    withheld: bool = False  # whether its contents differ from the original record

    def follows(self, before: bytes) -> bool:
        """Whether the line continues the chain `before`."""
        return self.chain is None or self.chain == following(before, self.digest)


def beginning(name: str) -> bytes:
    """The chain before the first line of a log, given its file name."""
    return sha256(name.encode()).digest()


def following(before: bytes, digest: bytes) -> bytes:
    """The chain of a line (32 bytes), from the chain before it and the hash of its record."""
    return sha256(before + digest).digest()


def linked(record: bytes, before: bytes) -> tuple[bytes, bytes]:
    """The line of a record, which must be a JSON object, and the chain after it."""
    chain = following(before, sha256(record).digest())
    line = b'%b,"chain":"%b"}\n' % (record[:-1], chain.hex().encode())
    return line, chain


def relinked(record: bytes, link: Link) -> bytes:
    """The line of a record that replaces the record of `link`."""
    if link.chain is None:
        return record + b"\n"
    line = b'%b,"withheld":"%b","chain":"%b"}\n'
    return line % (record[:-1], link.digest.hex().encode(), link.chain.hex().encode())


def record_of(line: bytes) -> bytes:
    """The record of a line, without the members of the chain."""
    found = _members(line)
    return line if found is None else line[: found.start()] + b"}"


def is_chained(line: bytes) -> bool:
    """Whether a line has a member `chain`."""
    return _members(line) is not None


def read_link(line: bytes) -> Link:
    """The place of a line; lines of older versions have no chain."""
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
    """The chain after an existing line, whether or not it continues `before`."""
    found = _members(line)
    if found is not None:
        return bytes.fromhex(found[2].decode())
    return following(before, read_link(line).digest)


def _members(line: bytes) -> re.Match[bytes] | None:
    """The members of the chain at the end of a line."""
    return _MEMBERS.search(line, max(0, len(line) - _LONGEST))
