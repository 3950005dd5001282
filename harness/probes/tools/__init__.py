"""Tool calling in depth: one bench for each question, all of the family `tools`."""

from __future__ import annotations

from harness.probes.tools import arguments, choice, loop, names, preamble, results, schemas, trigger

BENCHES = (
    trigger.BENCH,
    choice.BENCH,
    names.BENCH,
    arguments.BENCH,
    loop.BENCH,
    results.BENCH,
    preamble.BENCH,
    schemas.BENCH,
)
