"""Identify data by hashes of the content of rows, independent of the file format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces and only the necessary escapes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def rows_sha256(rows: Iterable[object]) -> str:
    """Hash of the rows in canonical JSON, one per line.

    The lines are sorted, so that a copy with another row order has the same hash.
    """
    lines = sorted(canonical(row).encode("utf-8", "surrogatepass") for row in rows)
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def text_id(text: str) -> str:
    """A stable id for a row without one: the first 12 hex digits of the hash of its text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
