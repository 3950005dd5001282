"""What the reference is asked for a golden file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

Bodies = Mapping[str, Mapping[str, Any]]
"""Bodies of Chat Completions requests by name."""


@dataclass(frozen=True)
class Requests:
    """Requests at temperature 0 with log probabilities, and others drawn at temperature 1."""

    greedy: Bodies
    drawn: Bodies

    @property
    def sha256(self) -> str:
        """SHA-256 (hexadecimal) of all bodies, by which a golden file knows what it answers."""
        bodies = [*self.greedy.values(), *self.drawn.values()]
        return sha256(orjson.dumps(bodies, option=orjson.OPT_SORT_KEYS)).hexdigest()
