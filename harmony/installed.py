"""Which package the module `openai_harmony` is from: OpenAI's, or another with that import name.

Two packages install this name: openai-harmony, and oss-harmony 0.0.11, which vLLM requires since
0.31. The one that is installed last wins, for every program of the environment.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PathDistribution
from pathlib import Path

import openai_harmony as oh

OPENAI = "openai-harmony"
_FOLDER = b"openai_harmony/"


@dataclass(frozen=True)
class HarmonyPackage:
    """The package of the installed module, `unknown` if none claims it.

    `others` are packages, with their versions, whose files it has overwritten.
    """

    name: str = "unknown"
    version: str = ""
    others: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".rstrip()

    @property
    def warning(self) -> str | None:
        """What follows, in one sentence, if not only OpenAI's package is installed."""
        if self.others:
            both = " and ".join([self.described, *self.others])
            return (
                f"{both} install the same module, openai_harmony, and {self.name} was installed "
                "last, so a server in this environment also renders with it: install "
                "gpt-oss-verify into an environment of its own."
            )
        if self.name != OPENAI:
            return (
                f"The module openai_harmony is from {self.described}, not from {OPENAI}: message "
                "headers are our own and stay the same, but the texts of tools and of the system "
                "message in all expected prompts come from that package."
            )
        return None


@cache
def harmony_package() -> HarmonyPackage:
    """The package of the module, found by the lists of installed files (PEP 376) beside it."""
    claims = list(_claims(Path(oh.__file__).parent))
    if not claims:
        return HarmonyPackage()
    _, owner = max(claims, key=lambda claim: claim[0])
    others = (f"{other.name} {other.version}" for _, other in claims if other is not owner)
    return HarmonyPackage(owner.name, owner.version, tuple(others))


def _claims(module: Path) -> Iterator[tuple[int, PathDistribution]]:
    """The packages with this module, each with the number of its files that are unchanged."""
    for record in module.parent.glob("*.dist-info/RECORD"):
        lines = [line.split(b",") for line in record.read_bytes().splitlines()]
        due = {row[0].decode(): row[1].decode() for row in lines if row[0].startswith(_FOLDER)}
        if due:
            same = sum(_hash(module.parent / name) == digest for name, digest in due.items())
            yield same, PathDistribution(record.parent)


def _hash(file: Path) -> str | None:
    """The SHA-256 of a file as RECORD writes it; None if it is missing."""
    try:
        digest = hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return None
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
