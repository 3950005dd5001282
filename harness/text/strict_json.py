"""Strict JSON: Python's own parser also accepts NaN and Infinity."""

from __future__ import annotations

import json
from typing import NoReturn


def loads(text: str) -> object:
    """The value of a JSON text. Raises ValueError if it is not JSON or nested too deeply."""
    try:
        value: object = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")
