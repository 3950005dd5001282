"""The versions that a run notes of what it was made with."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python, of the platform, and of these packages."""
    named = {name: version(name) for name in packages}
    return {"python": platform.python_version(), "platform": platform.platform(), **named}
