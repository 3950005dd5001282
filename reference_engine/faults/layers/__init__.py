"""The faults, one module per layer of a server."""
