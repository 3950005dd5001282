"""All probes, by id. A new bench is one entry in `BENCHES`."""

from __future__ import annotations

from collections.abc import Mapping

from harness.probes import (
    cot,
    distribution,
    errors,
    limits,
    load,
    logprobs,
    numerics,
    options,
    overflow,
    parity,
    prompt,
    sampling,
    state,
    structured,
    tools,
)
from harness.probes.base import Probe

__all__ = ["BENCHES", "PROBES", "Probe"]

BENCHES = (
    prompt.BENCH,
    *tools.BENCHES,
    parity.BENCH,
    load.BENCH,
    cot.BENCH,
    state.BENCH,
    errors.BENCH,
    overflow.BENCH,
    limits.BENCH,
    sampling.BENCH,
    logprobs.BENCH,
    numerics.BENCH,
    distribution.BENCH,
    structured.BENCH,
    options.BENCH,
)

PROBES: Mapping[str, Probe] = {probe.id: probe for bench in BENCHES for probe in bench.probes}
