"""JSON by the book, where Python's own parser takes more than others do."""

from __future__ import annotations

import json
from typing import NoReturn


def loads(text: str) -> object:
    """The value of a JSON text.

    Raises:
        ValueError: If it is not JSON (NaN and Infinity are not), or nested too deeply to be read.
    """
    try:
        value: object = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")
