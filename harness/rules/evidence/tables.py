"""The tables of requests that families keep beside their probes."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

# The parser in C takes 14 ms for the largest table at every start, that in Python 110 ms.
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def table(family: str, name: str = "requests") -> Mapping[str, Any]:
    """Read the YAML file of this name in the folder of a family."""
    content = (resources.files("harness.rules") / family / f"{name}.yaml").read_bytes()
    parsed: Mapping[str, Any] = yaml.load(content, _Loader)  # noqa: S506 (a SafeLoader)
    return parsed
