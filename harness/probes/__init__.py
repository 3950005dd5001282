"""All probes by id. A new group of probes is one entry in `GROUPS`."""

from collections.abc import Mapping

from harness.probes import (
    builtin,
    clients,
    cot,
    echo,
    invalid_requests,
    limits,
    load,
    logprobs,
    long,
    numerics,
    options,
    parity,
    prompt,
    sampling,
    state,
    structured,
)
from harness.probes.probe import Probe, ProbeGroup, ProbeRequest
from harness.probes.tools import arguments, choice, names, preamble, results, schemas

__all__ = ["GROUPS", "PROBES", "Probe", "ProbeGroup", "ProbeRequest", "clients"]

GROUPS: tuple[ProbeGroup, ...] = (
    prompt.GROUP,
    choice.TRIGGER_GROUP,
    choice.GROUP,
    names.GROUP,
    arguments.GROUP,
    arguments.TYPES_GROUP,
    results.LOOP_GROUP,
    results.GROUP,
    preamble.GROUP,
    schemas.GROUP,
    echo.GROUP,
    parity.GROUP,
    load.GROUP,
    cot.GROUP,
    state.GROUP,
    invalid_requests.GROUP,
    invalid_requests.OVERFLOW_GROUP,
    limits.GROUP,
    sampling.GROUP,
    logprobs.GROUP,
    logprobs.DRAWN_GROUP,
    numerics.GROUP,
    numerics.DRAWN_GROUP,
    structured.GROUP,
    options.GROUP,
    long.GROUP,
    numerics.LONG_GROUP,
    builtin.GROUP,
)

PROBES: Mapping[str, Probe] = {probe.id: probe for group in GROUPS for probe in group.probes}
