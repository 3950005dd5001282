"""What everything written to disk has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of everything written to disk: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
