"""The change of each fault at its hooks, by layer of the server."""

# ruff: noqa: F401 - importing a module declares its changes
from reference_engine.faults.layers import (
    builtin,
    errors,
    history,
    intermittent,
    limits,
    long_context,
    numerics,
    parsing,
    rendering,
    sampling,
    streaming,
    tools,
    usage,
    variations,
)
