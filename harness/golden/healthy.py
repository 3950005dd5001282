"""Healthy engines: how they compute, and what a golden file learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.golden.distance import LEAST_ALONE, Compared, distance, tolerance
from harness.golden.engine import EngineOptions
from harness.golden.records import Golden, HealthyRun

_FP8 = "kv-cache-fp8"


@dataclass(frozen=True)
class Numbers:
    """How a healthy engine computes: number formats, batch size, and whether keys and values are
    stored as 8-bit floats.
    """

    dtype: str
    batch: int = 32
    residual: str = "float32"
    fp8_cache: bool = False

    def __str__(self) -> str:
        parts = [self.dtype, f"batch {self.batch}"]
        parts += ["residual stream in bfloat16"] if self.residual == "bfloat16" else []
        parts += ["KV cache in fp8 (e4m3)"] if self.fp8_cache else []
        return ", ".join(parts)

    def options(self, given: EngineOptions) -> EngineOptions:
        """The engine's options."""
        fault = _FP8 if self.fp8_cache else None
        return replace(
            given, dtype=self.dtype, batch=self.batch, residual=self.residual, fault=fault
        )


HEALTHY = (
    Numbers("float32"),
    *(Numbers("bfloat16", batch) for batch in (1, 8, 32)),
    Numbers("bfloat16", residual="bfloat16"),
    Numbers("bfloat16", residual="bfloat16", fp8_cache=True),
)
"""Healthy ways to compute that providers use."""
HEALTHY_LONG = HEALTHY[-2:]
"""Those that differ most, for prompts whose computation takes long."""


def learn(golden: Golden, run: HealthyRun) -> Golden:
    """The golden file with another healthy run, whose deviation its tolerances then cover."""
    runs = (*golden.healthy, run)
    return golden.model_copy(
        update={
            "healthy": runs,
            "tolerance": tolerance(runs),
            "exact_tolerance": tolerance([each for each in runs if each.exact]),
        }
    )


def healthy_run(
    name: str, numbers: str, *, exact: bool, replies: Sequence[Compared], gaps: Sequence[float]
) -> HealthyRun:
    """The deviation of a healthy engine. `gaps` are those of the replies that diverge."""
    judged = [one for one in replies if len(one.differences) >= LEAST_ALONE]
    return HealthyRun(
        engine=name,
        numbers=numbers,
        exact=exact,
        distance=distance(sum(replies, Compared()), gaps),
        farthest=max((distance(one).p95 for one in judged), default=0.0),
    )
