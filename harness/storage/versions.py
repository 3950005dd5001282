"""The versions that `run.json` records."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python, the platform, and these packages."""
    named = {name: version(name) for name in packages}
    return {"python": platform.python_version(), "platform": platform.platform(), **named}
