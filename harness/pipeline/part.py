"""The decision on one part of a run."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records.analysis import Decision


@dataclass(frozen=True)
class Part:
    """A decision, its reasons, and what should be known beside it; most important first."""

    decision: Decision | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()
